"""The manifest of code: one line a file, and the SHA-256 of the lines is the hash that names the code.

Made of a directory by `nodes/code`; read again by who fetches code that another has published (`nodes/codefetch`).
Guarantees: a manifest that was read is the one that its hash names; it holds plain files below one directory, each
once, within the bounds that are known before a byte of them is taken; nothing in it leads anywhere else.

The lines are those of `core/filelist`: SHA-256 of the file, its size in bytes, its name, with blanks between them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from swarm.core import filelist
from swarm.core.filelist import FileEntry
from swarm.errors import BadInput

FILES_MAX = 2000
PUBLISHED_MAX = 16 * 1024 * 1024
"""Bytes of all files of published code: data belong elsewhere."""
BYTES_MAX = FILES_MAX * 1200
"""Of a manifest itself."""
PATH_MAX = 1000
PARTS_MAX = 64
"""Of a path: copying and removing what lies deeper fails in the middle."""
PART_BYTES_MAX = 255
"""What file systems take."""
LEFT_OUT = ("__pycache__", ".git")
"""Directories that programs and people leave there, and no part of what runs."""
_LINE = re.compile(r"([0-9a-f]{64}) (0|[1-9][0-9]{0,11}) (.+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    files: tuple[FileEntry, ...]

    @property
    def data(self) -> bytes:
        return filelist.lines(self.files)

    @property
    def digest(self) -> str:
        """The hash of the code."""
        return digest_of(self.data)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def of_role(self, role: str, others: Collection[str]) -> tuple[FileEntry, ...]:
        """What this role is given: all but the folders of the other roles."""
        return tuple(file for file in self.files if folder_of(file) == role or folder_of(file) not in others)

    def must_be_publishable(self) -> None:
        """Raises BadInput that names what others would refuse to take."""
        if self.size > PUBLISHED_MAX:
            raise BadInput(
                f"the code holds {self.size} bytes, at most {PUBLISHED_MAX} are published",
                hint="data belong elsewhere: each participant has its own",
            )
        _check(self.files)


def folder_of(file: FileEntry) -> str:
    """The first part of its name; empty for a file that lies right there."""
    return file.name.partition("/")[0] if "/" in file.name else ""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def read(data: bytes, digest: str) -> Manifest:
    """The manifest in these bytes; raises BadInput unless they are what the hash names, and fit to be taken."""
    if digest_of(data) != digest:
        raise BadInput(f"what came for the code {digest} is other bytes: their hash is {digest_of(data)}")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise _unfit("holds a path that is no UTF-8 text") from None
    if lines.pop():
        raise _unfit("ends within a line")
    if not lines:
        raise _unfit("holds no files")
    manifest = Manifest(tuple(_file(line) for line in lines))
    manifest.must_be_publishable()
    return manifest


def _file(line: str) -> FileEntry:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _unfit(f"holds the line {line[:80]!r}")
    content, size, path = match.groups()
    return FileEntry(path, bytes.fromhex(content), int(size))


def _check(files: tuple[FileEntry, ...]) -> None:
    if len(files) > FILES_MAX:
        raise _unfit(f"holds {len(files)} files, at most {FILES_MAX} are published")
    places: set[str] = set()
    folders: set[str] = set()
    for file in files:
        parts = file.name.split("/")
        if any(part in ("", ".", "..", *LEFT_OUT) for part in parts) or "\\" in file.name or len(file.name) > PATH_MAX:
            raise _unfit(f"holds {file.name[:80]!r}, which leads out of it or is no part of code")
        if not file.name.isprintable():
            raise _unfit(f"holds {file.name[:80]!r}, which has characters that names of published files may not have")
        if len(parts) > PARTS_MAX or any(len(part.encode()) > PART_BYTES_MAX for part in parts):
            raise _unfit(f"holds {file.name[:80]!r}, which is too deep or too long for a file's name")
        if file.name in places:
            raise _unfit(f"holds {file.name[:80]!r} twice")
        places.add(file.name)
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    if both := sorted(places & folders):
        raise _unfit(f"holds {both[0][:80]!r} as a file and as a directory")


def _unfit(why: str) -> BadInput:
    return BadInput(f"the code {why}")
