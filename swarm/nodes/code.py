"""The code of a task: a directory, named by the hash of everything in it.

Used where a task is submitted (`nodes/submitting`, `nodes/publishing`) and where its programs begin (`nodes/workplace`,
`nodes/participant`). Guarantees: equal names and contents give equal hashes on every host, whatever times, owners and
order the files have, and no others do; nothing outside of the directory is ever part of it; a copy holds what the hash
covers and nothing else. The hash is that of its manifest (`core/filelist`, `wire/manifest`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from swarm.core.filelist import FileEntry
from swarm.errors import BadInput
from swarm.wire.manifest import FILES_MAX, LEFT_OUT, PARTS_MAX, Manifest

BYTES_MAX = 256 * 1024 * 1024


def digest_of(directory: Path) -> str:
    """Its hash; raises BadInput that names what cannot be code: a link, a pipe, too much of it."""
    return manifest_of(directory).digest


def manifest_of(directory: Path) -> Manifest:
    """What it holds; raises BadInput as `digest_of` does."""
    if not directory.is_dir():
        raise BadInput(f"the code {directory} is no directory")
    files = []
    for path in bounded(directory):
        content = path.read_bytes()
        files.append(FileEntry(str(path.relative_to(directory)), hashlib.sha256(content).digest(), len(content)))
    return Manifest(tuple(sorted(files, key=lambda file: file.name)))


def bounded(directory: Path) -> list[Path]:
    """Its files, none of which was read; raises BadInput as `digest_of` does."""
    files: list[Path] = []
    size = 0
    for path in _files(directory):
        size += path.stat().st_size
        if len(files) >= FILES_MAX or size > BYTES_MAX:
            raise BadInput(
                f"the code {directory} holds over {FILES_MAX} files or {BYTES_MAX // 2**20} MiB",
                hint="data belong elsewhere: what is hashed here is copied for every job",
            )
        files.append(path)
    return files


def copied(directory: Path, into: Path) -> None:
    """Make ``into`` a copy of what the hash covers. Raises OSError, and BadInput as `digest_of` does."""
    bounded(directory)
    shutil.copytree(directory, into, symlinks=True, ignore=lambda place, names: set(LEFT_OUT).intersection(names))


def must_be(digest: str | None, copy: Path, said: Path) -> None:
    """Raise BadInput unless the copy of the code ``said`` has the hash that the task was submitted with."""
    if (found := digest_of(copy)) != digest:
        raise BadInput(f"the code {said} has changed: its hash is {found}, the task was submitted with {digest}")


def _files(directory: Path) -> Iterator[Path]:
    for place, directories, files in os.walk(directory, onerror=_unreadable):
        directories[:] = sorted(name for name in directories if name not in LEFT_OUT)
        names = sorted(name for name in files if name not in LEFT_OUT)
        for name in [*directories, *names]:
            _must_be_code(directory, Path(place, name))
        yield from (Path(place, name) for name in names)


def _must_be_code(directory: Path, path: Path) -> None:
    said = path.relative_to(directory)
    shown = repr(str(said)[:80])
    if len(said.parts) > PARTS_MAX:
        raise BadInput(f"the code holds {shown}, a path of more than {PARTS_MAX} parts")
    if not path.name.isprintable():  # its line of the manifest could read as two
        raise BadInput(f"the code holds {shown}, which has characters that names of code may not have")
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise BadInput(f"the code holds {shown}, which is neither a file nor a directory")


def _unreadable(error: OSError) -> None:
    raise BadInput(f"the code in {error.filename} cannot be read: {error.strerror}")
