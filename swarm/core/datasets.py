"""The registry of datasets: names in the ledger for files whose bytes stay with their owners.

Kept by the board, which hands on the proposals; asked by jobs for the versions that they use. Guarantees: a name begins
with its user's own prefix and is one dataset's; only the owner's organisation adds to it; what a task of that
organisation uses stays.

    proposal          by                                what it does
    DatasetAdded      swci                              a new name, with its first commit
    DatasetCommitted  swci, dataset's organisation      one commit more
    DatasetTagged     swci, dataset's organisation      a commit has one tag more
    DatasetRemoved    swci, dataset's organisation      the name is free again; the files stay as they are
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from swarm.core import filelist
from swarm.core.claims import EntryHeader, Verified
from swarm.core.dataset import TAGS_MAX, Commit, Dataset, Version, is_tag, reference
from swarm.core.events import Event
from swarm.core.fields import Field, bytes_of, is_map, list_of, optional, printable, whole
from swarm.core.filelist import FILES
from swarm.core.names import Identity
from swarm.errors import BadInput, Refused

COMMITS_MAX = 200
"""Of one dataset."""
LABELS_MAX = 1000
KEPT_MAX = 50_000
"""Files of one organisation in the state: every network node keeps them all."""
USED_MAX = 32
"""Datasets of one task."""
USED_FILES_MAX = 100_000
"""Files of them all, commit by commit: every network node hashes their list when the task is submitted."""

Answer = tuple[dict[str, Any], list[Event]]


def is_dataset_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 160 and value.isprintable() and not set(value) & set(" @/,\\")


def _is_use(value: Any) -> bool:
    if not is_map(value) or set(value) != {"name", "commits"}:
        return False
    return is_dataset_name(value["name"]) and list_of(whole(1, COMMITS_MAX), 1, COMMITS_MAX)(value["commits"])


_USES = list_of(_is_use, 1, USED_MAX)
NAME = Field("a name of 1 to 160 printable characters, without blanks, commas, slashes and @", is_dataset_name)
TAG = Field("a tag of 1 to 64 of the characters A-Z a-z 0-9 _ . = -, with a letter first", is_tag)
USED = Field(
    f"a list of at most {USED_MAX} datasets, each with its name and the numbers of its commits, and none of them twice",
    lambda value: _USES(value) and len({(each["name"], *each["commits"]) for each in value}) == len(value),
    required=False,
    since=4,
    before=Field(
        f"a list of at most {USED_MAX} datasets, each with its name and the numbers of its commits",
        _USES,
        required=False,
        since=3,
    ),
)
_COMMIT = {
    "name": NAME,
    "message": Field("a printable text of at most 200 characters", printable(0, 200)),
    "tags": Field(f"a list of at most {TAGS_MAX} tags", list_of(is_tag, 0, TAGS_MAX)),
    "root": Field(
        "an absolute path of at most 1000 characters",
        lambda value: printable(1, 1000)(value) and value.startswith("/"),
    ),
    "alone": Field("true or false", lambda value: isinstance(value, bool)),
    "files": FILES,
    "labels": optional(
        Field(
            f"a list of at most {LABELS_MAX} fingerprints of 8 bytes",
            list_of(bytes_of(8, 8), 0, LABELS_MAX),
        )
    ),
}
DATASET_FIELDS: dict[str, dict[str, Field]] = {
    "DatasetAdded": _COMMIT,
    "DatasetCommitted": _COMMIT,
    "DatasetTagged": {
        "name": NAME,
        "commit": Field("the number of a commit", whole(1, COMMITS_MAX)),
        "tag": TAG,
    },
    "DatasetRemoved": {"name": NAME},
}


class Uses(NamedTuple):
    """What a task uses: the datasets with the hashes of their versions, and the organisation that has all of them."""

    versions: tuple[tuple[str, str], ...] = ()
    anchor: bytes = b""
    organisation: str = ""

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.versions]

    def to_state(self) -> list[Any]:
        return [[list(version) for version in self.versions], self.anchor, self.organisation]

    @classmethod
    def from_state(cls, state: list[Any]) -> Uses:
        versions, *owner = state
        return cls(tuple((name, hash_) for name, hash_ in versions), *owner)


class Datasets:
    """``user_of`` says which task of an organisation uses a dataset, "" if none does."""

    def __init__(self, user_of: Callable[[str, bytes], str]) -> None:
        self.by_name: dict[str, Dataset] = {}
        self._user_of = user_of
        self.kinds: dict[str, Callable[[Verified, EntryHeader, Identity], Answer]] = {
            "DatasetAdded": self._added,
            "DatasetCommitted": self._committed,
            "DatasetTagged": self._tagged,
            "DatasetRemoved": self._removed,
        }

    # ---- reading

    def of(self, name: str) -> Dataset:
        """Raises BadInput when there is none."""
        if name not in self.by_name:
            raise BadInput(f"dataset {name[:160]!r} not found", hint="swarm data ls shows all of them")
        return self.by_name[name]

    def version(self, text: str) -> Version:
        """What a text as NAME@SELECTION names; raises BadInput that says what there is not."""
        named = reference(text)
        return self.of(named.name).select(named.selection)

    # ---- people

    def _added(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        name = claim.body["name"]
        prefix = f"user.{identity.name}."
        if not name.startswith(prefix) or name == prefix:
            raise Refused(
                f"{identity} cannot add a dataset {name}: names of its datasets begin with {prefix}",
                hint=f"swarm data add {prefix}{name.rpartition('.')[2] or 'NAME'} …",
            )
        if (known := self.by_name.get(name)) is not None:
            raise Refused(
                f"there is a dataset {name} already, of {known.organisation}",
                hint="swarm data commit adds to it, swarm data rm gives its name free",
            )
        dataset = Dataset(name, identity.anchor, identity.organisation, str(identity), header.time)
        return self._commit(dataset, claim, header, identity)

    def _committed(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        dataset = self._own(claim, identity, "added to")
        if len(dataset.commits) >= COMMITS_MAX:
            raise Refused(f"dataset {dataset.name} has {COMMITS_MAX} commits, and takes no more")
        return self._commit(dataset, claim, header, identity)

    def _commit(self, dataset: Dataset, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        files = filelist.from_wire(body["files"])
        kept = sum(
            len(commit.files)
            for other in self.by_name.values()
            if other.anchor == identity.anchor
            for commit in other.commits
        )
        if kept + len(files) > KEPT_MAX:
            raise Refused(
                f"{identity.organisation} has {kept} files in the ledger, and {len(files)} more are over {KEPT_MAX}",
                hint="pack many small files into few, or swarm data rm what nobody uses",
            )
        labels = tuple(body["labels"]) if "labels" in body else None
        tags = sorted(set(body["tags"]))
        said = (body["message"], body["root"], body["alone"], files, labels, tags)
        dataset.add(Commit(*said, str(identity), header.time))
        self.by_name[dataset.name] = dataset
        return {"commit": len(dataset.commits), "hash": dataset.whole}, []

    def _tagged(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        dataset, number, tag = self._own(claim, identity, "tagged"), claim.body["commit"], claim.body["tag"]
        if number > len(dataset.commits):
            raise Refused(f"dataset {dataset.name} has no commit {number}: it has {len(dataset.commits)}")
        commit = dataset.commits[number - 1]
        if tag not in commit.tags:
            if len(commit.tags) >= TAGS_MAX:
                raise Refused(f"commit {number} of dataset {dataset.name} has {TAGS_MAX} tags, and takes no more")
            dataset.tag(number, tag)
        return {"tags": list(commit.tags)}, []

    def _removed(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        dataset = self._own(claim, identity, "removed")
        if user := self._user_of(dataset.name, dataset.anchor):
            raise Refused(
                f"dataset {dataset.name} is used by task {user}: it cannot be removed",
                hint=f"swarm task rm {user} first, once it has ended",
            )
        del self.by_name[dataset.name]
        return {}, []

    def _own(self, claim: Verified, identity: Identity, what: str) -> Dataset:
        dataset = self.of(claim.body["name"])
        if dataset.anchor != identity.anchor:
            raise Refused(
                f"dataset {dataset.name} cannot be {what} by {identity}: only the organisation that has its files may",
                hint=f"ask a swci of {dataset.organisation}",
            )
        return dataset

    # ---- tasks

    def used(self, said: list[dict[str, Any]]) -> Uses:
        """What a task asks for, to be kept from now on; raises what stands against it."""
        found, listed = list[tuple[Dataset, tuple[int, ...]]](), 0
        for each in said:
            dataset, commits = self.of(each["name"]), tuple(each["commits"])
            if not dataset.has(commits):
                raise BadInput(f"dataset {dataset.name} has no such commits: it has {len(dataset.commits)}")
            listed += sum(len(dataset.commits[number - 1].files) for number in commits)
            if listed > USED_FILES_MAX:
                raise Refused(f"the datasets of one task list over {USED_FILES_MAX} files, commit by commit")
            found.append((dataset, commits))
        if not found:
            return Uses()
        first, *rest = (dataset for dataset, _ in found)
        for second in (other for other in rest if other.anchor != first.anchor):
            raise Refused(
                f"no operator has both {first.name} and {second.name}: "
                f"their files are with {first.organisation} and with {second.organisation}"
            )
        hashed = [(dataset, dataset.hash_of(commits), commits) for dataset, commits in found]
        for dataset, hash_, commits in hashed:
            dataset.versions[hash_] = commits
        return Uses(tuple((dataset.name, hash_) for dataset, hash_, _ in hashed), first.anchor, first.organisation)

    def release(self, uses: Uses, others: Iterable[Uses]) -> None:
        """The task that used them is gone, ``others`` are there."""
        if not uses.versions:
            return
        left = {version for other in others for version in other.versions}
        for name, hash_ in set(uses.versions) - left:
            if name in self.by_name:  # its owner may have removed it
                self.by_name[name].versions.pop(hash_, None)

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing while there is nothing: as networks were before there were datasets."""
        if not self.by_name:
            return {}
        return {"datasets": [dataset.to_state() for _, dataset in sorted(self.by_name.items())]}

    def restore(self, state: dict[str, Any]) -> None:
        """From the board's state."""
        self.by_name.clear()
        self.by_name.update({each.name: each for each in map(Dataset.from_state, state.get("datasets", []))})

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        for name, dataset in self.by_name.items():
            assert name == dataset.name
            assert dataset.commits, f"{name} has no files"
            assert all(dataset.has(commits) for commits in (*dataset.versions.values(), *dataset.known.values()))
            assert dataset.whole in dataset.known
