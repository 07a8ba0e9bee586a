"""What an operator's host holds of datasets: where a version's files are, once they are found to be what they were.

Used by `nodes/swop` before a job begins, and when a task was deleted; its work is for a thread. Guarantees: what a job
is pointed at holds exactly the files of the version; a file is hashed once for as long as it stays as it is; the
owner's files are never written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from swarm.core.dataset import Placed, Version
from swarm.core.filelist import FileEntry
from swarm.errors import BadInput, Refused

_PIECE = 1 << 20


@dataclass(frozen=True)
class Holdings:
    """``views``: where a version of several files is put together, of links to them."""

    views: Path
    _seen: dict[Path, tuple[tuple[int, ...], bytes]] = field(default_factory=dict)
    """What was found when a file was hashed, and its SHA-256."""
    _one_at_a_time: Lock = field(default_factory=Lock)

    def places(self, versions: Mapping[str, Version]) -> dict[str, str]:
        """For each tag the path of its files.

        Raises Refused if this host does not have them, BadInput if one is not what it was when it was registered.
        """
        with self._one_at_a_time:
            return {tag: str(self._place(version)) for tag, version in versions.items()}

    def tidy(self, used: Callable[[], Container[tuple[str, str]]]) -> None:
        """Take the links away that were made for versions other than these, by name and hash. It asks for them when
        nothing else is under way here: a job that began meanwhile keeps its own."""
        with self._one_at_a_time:
            kept = used()
            for view in self.views.glob("*/*"):
                if (view.parent.name, f"sha256:{view.name}") not in kept:
                    shutil.rmtree(view, ignore_errors=True)
                    with contextlib.suppress(OSError):
                        view.parent.rmdir()

    def _place(self, version: Version) -> Path:
        for root in sorted({placed.root for placed in version.files}):
            if not os.path.isdir(root):
                raise Refused(
                    f"this host does not hold dataset {version.name}: there is no directory {root}",
                    hint="its files are on another host of its owner, or its disk is not there",
                )
        for placed in version.files:
            self._must_be_as_registered(version.name, placed)
        if version.alone:
            return _path(version.files[0])
        return self._view(version)

    def _must_be_as_registered(self, name: str, placed: Placed) -> None:
        path = _path(placed)
        try:
            found = self._hash(path)
        except OSError as error:
            raise BadInput(f"file {path} of dataset {name} cannot be read: {error.strerror}") from None
        if found != placed.file.sha256:
            now = FileEntry(placed.file.name, found, 0)
            raise BadInput(
                f"file {path} of dataset {name} has changed since it was registered: "
                f"its hash is {now.hash}, and commit {placed.commit} says {placed.file.hash}",
                hint="put the file back as it was, or register what it is now with swarm data commit",
            )

    def _hash(self, path: Path) -> bytes:
        status = path.stat()
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._seen.get(path)
        if known is None or known[0] != stamp:
            known = self._seen[path] = (stamp, hash_of(path))
        return known[1]

    def _view(self, version: Version) -> Path:
        view = self.views / version.name / version.hash.partition(":")[2]
        if view.is_dir():
            return view
        part = view.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            for placed in version.files:
                link = part / placed.file.name
                link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                link.symlink_to(_path(placed))
            os.rename(part, view)
        except OSError as error:
            raise BadInput(
                f"the files of dataset {version.name} cannot be put together in {self.views}: {error.strerror}",
                hint="what one commit has as a file and another as a directory is never in one version",
            ) from None
        return view


def hash_of(path: Path) -> bytes:
    """The SHA-256 of a file; raises OSError."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            content.update(piece)
    return content.digest()


def _path(placed: Placed) -> Path:
    return Path(placed.root, placed.file.name)
