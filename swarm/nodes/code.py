"""The code of a task of jobs: a directory, named by the hash of everything in it.

Used where a task is submitted (`nodes/submitting`) and where its jobs begin (`nodes/jobdirectory`). Guarantees: equal
names and contents give equal hashes on every host, whatever times, owners and order the files have; nothing outside of
the directory is ever part of it. The hash: `core/filelist`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from swarm.core import filelist
from swarm.core.filelist import FileEntry
from swarm.errors import BadInput

FILES_MAX = 2000
BYTES_MAX = 256 * 1024 * 1024
_LEFT_OUT = ("__pycache__", ".git")
"""Directories that programs and people leave there, and no part of what runs."""


def digest_of(directory: Path) -> str:
    """Its hash; raises BadInput that names what cannot be code: a link, a pipe, too much of it."""
    if not directory.is_dir():
        raise BadInput(f"the code {directory} is no directory")
    found: list[FileEntry] = []
    size = 0
    for path in _files(directory):
        size += path.stat().st_size
        if len(found) >= FILES_MAX or size > BYTES_MAX:
            raise BadInput(
                f"the code {directory} holds over {FILES_MAX} files or {BYTES_MAX // 2**20} MiB",
                hint="data belong elsewhere: what is hashed here is copied for every job",
            )
        content = hashlib.sha256(path.read_bytes()).digest()
        found.append(FileEntry(str(path.relative_to(directory)), content, path.stat().st_size))
    return filelist.digest(found)


def left_out(directory: str, names: list[str]) -> set[str]:
    """What a copy of it does without, as `shutil.copytree` asks."""
    return {name for name in names if name in _LEFT_OUT}


def _files(directory: Path) -> Iterator[Path]:
    for place, directories, names in os.walk(directory, onerror=_unreadable):
        directories[:] = sorted(name for name in directories if name not in _LEFT_OUT)
        for name in [*directories, *sorted(names)]:
            path = Path(place, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BadInput(
                    f"{path} is neither a file nor a directory, so it cannot be part of the code {directory}"
                )
        yield from (Path(place, name) for name in sorted(names))


def _unreadable(error: OSError) -> None:
    raise BadInput(f"the code in {error.filename} cannot be read: {error.strerror}")
