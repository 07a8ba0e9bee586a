"""A dataset: a name for files that stay with their owner, in commits that may have tags; and its versions.

Kept by the registry (`core/datasets`), read by everybody. Guarantees: a version is named by what its files hold, so
the same selection of commits has the same hash wherever and whenever it is made; a commit never changes but for tags.

    user.alice.mnist                all commits
    user.alice.mnist@2              those up to the second
    user.alice.mnist@gold           those with this tag; @2,gold: those of the first two with it
    user.alice.mnist@sha256:9f3c…   the version with this hash, or the only one whose hash begins so

Of files with one name, in several commits, the newest counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from swarm.core import filelist
from swarm.core.filelist import UNCOUNTED, FileEntry
from swarm.errors import BadInput

TAGS_MAX = 8
"""Of one commit: what it selects is hashed by every network node when it is given."""
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.=-]{0,63}")
_HASH = re.compile(r"sha256:[0-9a-f]{8,64}")
_LONGEST_REFERENCE = 300


def is_tag(text: Any) -> bool:
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


class Reference(NamedTuple):
    """``selection``: what stands behind the @, empty for all commits."""

    name: str
    selection: str

    def __str__(self) -> str:
        return f"{self.name}@{self.selection}" if self.selection else self.name


def is_reference(text: str) -> bool:
    """Whether it means a dataset where it could be a path, too: all names begin so, and none has a slash."""
    return text.startswith("user.") and "/" not in text


def reference(text: str) -> Reference:
    """Raises BadInput for what names no dataset."""
    name, at, selection = text.partition("@")
    parts = [selection] if _HASH.fullmatch(selection) else selection.split(",")
    fits = all(part.isdecimal() or is_tag(part) or _HASH.fullmatch(part) for part in parts) if at else True
    if not name or not fits or len(text) > _LONGEST_REFERENCE:
        raise BadInput(
            f"{text[:80]!r} names no dataset: expected NAME, NAME@COMMIT, NAME@TAG, NAME@COMMIT,TAG or NAME@sha256:HASH"
        )
    return Reference(name, selection)


@dataclass(slots=True)
class Commit:
    """Files below the directory ``root`` of the owner's hosts.

    ``alone``: it was one file, and no directory. ``labels``: fingerprints of the kinds of examples in it, to count them
    without telling them; None if they were not counted.
    """

    message: str
    root: str
    alone: bool
    files: tuple[FileEntry, ...]
    labels: tuple[bytes, ...] | None
    tags: list[str]
    by: str
    time_ms: int

    def to_state(self) -> list[Any]:
        labels = None if self.labels is None else list(self.labels)
        files = filelist.to_wire(self.files)
        return [self.message, self.root, self.alone, files, labels, list(self.tags), self.by, self.time_ms]

    @classmethod
    def from_state(cls, state: list[Any]) -> Commit:
        message, root, alone, files, labels, tags, by, time_ms = state
        known = None if labels is None else tuple(labels)
        return cls(message, root, alone, filelist.from_wire(files), known, list(tags), by, time_ms)


class Placed(NamedTuple):
    """A file of a version: where it lies on its owner's hosts, and in which commit it came."""

    root: str
    file: FileEntry
    commit: int


@dataclass(frozen=True, slots=True)
class Version:
    """``files`` in the order of their names. ``alone``: it is one file, which was added as such."""

    name: str
    hash: str
    commits: tuple[int, ...]
    files: tuple[Placed, ...]
    alone: bool
    labels: int | None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.hash}"

    @property
    def bytes(self) -> int:
        return sum(placed.file.size for placed in self.files)

    @property
    def examples(self) -> int | None:
        """None if some file's were not counted."""
        counts = [placed.file.examples for placed in self.files]
        return None if UNCOUNTED in counts else sum(counts)


@dataclass(slots=True)
class Dataset:
    """``anchor``: the organisation that has the files, ``by``: who added it.

    ``versions``: those that tasks use, by hash; ``known``: those of the first commits, and what tags have selected.
    """

    name: str
    anchor: bytes
    organisation: str
    by: str
    created_ms: int
    commits: list[Commit] = field(default_factory=list)
    versions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    known: dict[str, tuple[int, ...]] = field(default_factory=dict)
    whole: str = ""
    """The hash of the version of all commits."""

    def add(self, commit: Commit) -> None:
        self.commits.append(commit)
        version = self.select("")
        self.whole, self.known[version.hash] = version.hash, version.commits
        for tag in commit.tags:
            self._know(tag)

    def tag(self, number: int, tag: str) -> None:
        self.commits[number - 1].tags = sorted({*self.commits[number - 1].tags, tag})
        self._know(tag)

    def _know(self, tag: str) -> None:
        version = self.select(tag)
        self.known[version.hash] = version.commits

    def all_of_it(self) -> Version:
        return self.version(tuple(range(1, len(self.commits) + 1)), self.whole)

    def version(self, commits: tuple[int, ...], hash_: str = "") -> Version:
        """What these commits, by their numbers from 1 on, amount to; ``hash_``: the version's, where it is known."""
        files: dict[str, Placed] = {}
        for number in commits:
            commit = self.commits[number - 1]
            files |= {file.name: Placed(commit.root, file, number) for file in commit.files}
        placed = tuple(files[name] for name in sorted(files))
        known = [self.commits[number - 1].labels for number in commits]
        labels = None if None in known else len({label for each in known for label in each or ()})
        alone = len(placed) == 1 and self.commits[placed[0].commit - 1].alone
        known_as = (each for each, numbers in self.known.items() if numbers == commits)
        hash_ = hash_ or next(known_as, "") or filelist.digest(each.file for each in placed)
        return Version(self.name, hash_, commits, placed, alone, labels)

    def hash_of(self, commits: tuple[int, ...]) -> str:
        """Of the version that they amount to; no file is looked at where it is known."""
        known = (hash_ for hash_, numbers in self.known.items() if numbers == commits)
        return next(known, "") or filelist.digest(self._files(commits))

    def _files(self, commits: tuple[int, ...]) -> Iterable[FileEntry]:
        """Of files with one name the newest."""
        return {file.name: file for number in commits for file in self.commits[number - 1].files}.values()

    def select(self, selection: str) -> Version:
        """Raises BadInput that says what there is not."""
        if selection.startswith("sha256:"):
            return self._with_hash(selection)
        numbers = list(range(1, len(self.commits) + 1))
        for part in filter(None, selection.split(",")):
            if part.isdecimal():
                if int(part) not in numbers and not 0 < int(part) <= len(self.commits):
                    raise BadInput(f"dataset {self.name} has no commit {part}: it has {len(self.commits)}")
                numbers = [number for number in numbers if number <= int(part)]
            else:
                numbers = [number for number in numbers if part in self.commits[number - 1].tags]
        if not numbers:
            raise BadInput(
                f"dataset {self.name} has no commit that {selection} selects",
                hint=f"swarm data show {self.name} lists its commits and tags",
            )
        return self.version(tuple(numbers))

    def has(self, numbers: tuple[int, ...]) -> bool:
        """Whether these are commits of it, in their order."""
        return list(numbers) == sorted(set(numbers)) and 0 < min(numbers, default=0) <= max(numbers) <= len(
            self.commits
        )

    def _with_hash(self, beginning: str) -> Version:
        every = {**self.known, **self.versions}
        found = [beginning] if beginning in every else [hash_ for hash_ in every if hash_.startswith(beginning)]
        if len(found) == 1:
            return self.version(every[found[0]], found[0])
        what = "no version" if not found else f"{len(found)} versions"
        raise BadInput(
            f"dataset {self.name} has {what} whose hash begins with {beginning}",
            hint=f"swarm data show {self.name} says the hash of a selection",
        )

    def to_state(self) -> list[Any]:
        versions, known = (
            [[hash_, list(commits)] for hash_, commits in sorted(each.items())] for each in (self.versions, self.known)
        )
        commits = [commit.to_state() for commit in self.commits]
        owner = [self.name, self.anchor, self.organisation, self.by, self.created_ms]
        return [*owner, commits, versions, known, self.whole]

    @classmethod
    def from_state(cls, state: list[Any]) -> Dataset:
        name, anchor, organisation, by, created_ms, commits, versions, known, whole = state
        used, selected = ({hash_: tuple(numbers) for hash_, numbers in each} for each in (versions, known))
        made = [Commit.from_state(each) for each in commits]
        return cls(name, anchor, organisation, by, created_ms, made, used, selected, whole)
