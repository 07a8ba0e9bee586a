"""Reading archives (tar, zip) from others: what they hold, one member after the other, in bounded memory.

Used by `nodes/unpacking`; `nodes/codesource` says how. Python's readers take into memory whatever an archive says of
itself: a header of gigabytes, a list of holes without end, every member's header until the archive is closed.
Guarantee: what is read for the sake of headers is bounded, for each member and for what is kept for all of them, and so
is what a decompressor may take.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from swarm.errors import BadInput

NAME_MAX = 4096
HEADER_MAX = 1 << 20
"""Bytes of one member's headers, and of what a tar says for all of its members."""
SHARED_MAX = 100
"""Of the latter so many attributes."""
DIRECTORY_MAX = 64 << 20
"""Bytes of a zip's directory: that of about a million files."""
ENTRY_MAX = 1200
"""Of it, for each file that there may be."""
DECOMPRESSOR_MAX = 256 << 20
PIECE = 1 << 16
_ZIPPED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Not LZMA, whose memory a zip's member chooses."""


@dataclass(frozen=True)
class Member:
    name: str
    kind: str
    """``file``, ``directory``, ``link``, or what else it is."""
    open: Callable[[], IO[bytes] | None]
    executable: bool = False
    target: str = ""


def members(archive: Path, files_max: int) -> Iterator[Member]:
    """Of a tar, compressed or not, or of a zip; each is to be read before the next is asked for.

    Raises BadInput for what is neither or takes too much memory, and what Python's readers raise for what is damaged.
    """
    with archive.open("rb") as file:
        bounded = _Bounded(_decompressed(file), archive)
        try:
            with bounded.headers(HEADER_MAX):
                tar = tarfile.TarFile(fileobj=bounded)  # type: ignore[arg-type]  # it is as much of a file as is used
        except tarfile.ReadError:
            if not zipfile.is_zipfile(file):
                raise BadInput(f"{archive.name} is neither a tar nor a zip archive") from None
        else:
            yield from _tar_members(archive, tar, bounded)
            return
        yield from _zip_members(archive, _Bounded(file, archive), files_max)


def zip_members(archive: Path, files_max: int) -> Iterator[Member]:
    """The same of a zip and of nothing else: one that is a tar, too, would be something else than people see who unzip
    it."""
    with archive.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise BadInput(f"{archive.name} is no zip archive")
        yield from _zip_members(archive, _Bounded(file, archive), files_max)


def _tar_members(archive: Path, tar: tarfile.TarFile, bounded: _Bounded) -> Iterator[Member]:
    while True:
        with bounded.headers(HEADER_MAX):
            info = tar.next()
        if info is None:
            return
        tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        shared = tar.pax_headers
        if len(shared) > SHARED_MAX or sum(len(text) for item in shared.items() for text in item) > HEADER_MAX:
            raise bounded.too_much()
        kind = "file" if info.isreg() else "directory" if info.isdir() else "link" if info.issym() else "other"
        yield Member(info.name, kind, lambda info=info: tar.extractfile(info), bool(info.mode & 0o100), info.linkname)  # type: ignore[misc]


def _zip_members(archive: Path, bounded: _Bounded, files_max: int) -> Iterator[Member]:
    with bounded.headers(min(DIRECTORY_MAX, max(HEADER_MAX, files_max * ENTRY_MAX))):
        zipped = zipfile.ZipFile(bounded)
    listed = zipped.infolist()
    if len(listed) > files_max:
        raise BadInput(f"{archive.name} holds more than {files_max} files")
    for info in listed:
        if info.compress_type not in _ZIPPED:
            raise BadInput(
                f"{archive.name} holds {info.filename[:80]!r} in a form that is not unpacked: zip it plainly"
            )
        mode = info.external_attr >> 16
        link = stat.S_ISLNK(mode)
        target = ""
        if link:
            with zipped.open(info) as said:  # no more than may be used is unpacked
                target = said.read(NAME_MAX).decode()
        kind = "link" if link else "directory" if info.is_dir() else "file"
        yield Member(info.filename, kind, lambda info=info: zipped.open(info), bool(mode & 0o100), target)  # type: ignore[misc]


class _Bounded:
    """A file for Python's readers, of which only so many bytes are read while they look for headers."""

    def __init__(self, file: Any, archive: Path) -> None:
        self._file, self._archive = file, archive
        self._left: int | None = None
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    @contextmanager
    def headers(self, limit: int) -> Iterator[None]:
        self._left = limit
        try:
            yield
        finally:
            self._left = None

    def read(self, size: int = -1) -> bytes:
        if self._left is None:
            return bytes(self._file.read(size))
        data = bytes(self._file.read(self._left + 1 if size < 0 else min(size, self._left + 1)))
        self._left -= len(data)
        if self._left < 0:
            raise self.too_much()
        return data

    def too_much(self) -> BadInput:
        return BadInput(f"{self._archive.name} says more of its files than memory is spent on")


def _decompressed(file: IO[bytes]) -> Any:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return _Xz(file) if magic.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")) else file


class _Xz:
    """Python's LZMAFile, but for its memory, which would be up to what the file says: 4 GiB."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0
        self._decoder = self._new()

    def _new(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=DECOMPRESSOR_MAX)

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size and (piece := self._piece(size - len(found))):
            found += piece
        self._at += len(found)
        return bytes(found)

    def _piece(self, most: int) -> bytes:
        """At least one byte; none at the end."""
        piece = b""
        while not piece:
            if self._decoder.eof:
                given = self._decoder.unused_data.lstrip(b"\0") or self._next_stream()
                if not given:
                    break
                self._decoder = self._new()
            else:
                given = self._file.read(PIECE) if self._decoder.needs_input else b""
                if not given and self._decoder.needs_input:
                    raise EOFError("it ends in the middle")
            piece = self._decoder.decompress(given, most)
        return piece

    def _next_stream(self) -> bytes:
        while read := self._file.read(PIECE):
            if given := read.lstrip(b"\0"):  # streams may be padded
                return given
        return b""

    def seek(self, to: int) -> int:
        if to < self._at:
            raise ValueError("its members lie over each other")
        while self._at < to and self.read(min(PIECE, to - self._at)):
            pass
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True
