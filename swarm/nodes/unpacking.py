"""Archives (tar, zip) from others, unpacked below a directory and nowhere else.

Used by `nodes/contents` and `nodes/codesource`. Nothing of an archive is believed: files and directories are made by
us, as plain ones that their owner may change and everybody read, links are made last and only where they stay below the
directory, and everything else is refused. Why links stay: they are made when nothing is written any more, each in a
directory that is none itself, and their target goes up only at its beginning, to a place below the directory. So
following one leads to a place below it, and from there only names go on.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import BadInput
from swarm.nodes.archive import NAME_MAX, Member, members
from swarm.wire.manifest import PARTS_MAX

PIECE = 1 << 20
FILES_MAX = 1_000_000
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    ValueError, RuntimeError, LookupError, ArithmeticError, MemoryError, OSError,
)  # fmt: skip
"""What Python's readers make of archives that lie about themselves, and what a file system does not take."""


@dataclass
class Limits:
    """What is left."""

    bytes: int
    files: int = FILES_MAX

    def __post_init__(self) -> None:
        self._bytes_max, self._files_max = self.bytes, self.files

    def one_more(self, archive: Path) -> None:
        self.files -= 1
        if self.files < 0:
            raise BadInput(f"{archive.name} holds more than {self._files_max} files")

    def take(self, count: int, archive: Path) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise BadInput(f"{archive.name} unpacks to more than {self._bytes_max} bytes")


def unpack(
    archive: Path,
    into: Path,
    limits: Limits,
    go_on: Callable[[], None],
    read: Callable[[Path, int], Iterator[Member]] = members,
) -> None:
    """Raises BadInput for what is no archive, is damaged, cannot be written, or holds what may not be unpacked.

    ``read``: as what it is read (`nodes/archive`). `go_on` may raise.
    """
    try:
        _unpack(archive, read(archive, limits.files), into, limits, go_on)
    except _BROKEN as error:
        raise BadInput(f"{archive.name} cannot be unpacked: {_why(error)}") from None


def _unpack(archive: Path, found: Iterator[Member], into: Path, limits: Limits, go_on: Callable[[], None]) -> None:
    into.mkdir(parents=True, exist_ok=True)
    links: list[tuple[Member, Path, str]] = []
    for member in found:
        go_on()
        limits.one_more(archive)
        place = into / _below(archive, member.name)
        with _named(archive, member):
            if member.kind == "directory":
                place.mkdir(parents=True, exist_ok=True)
            elif place == into or member.kind not in ("file", "link"):
                raise BadInput(f"{archive.name} holds {member.name[:80]!r}, which is no file, directory or plain link")
            elif member.kind == "file":
                _write(archive, member, place, limits, go_on)
            else:
                links.append((member, place, _target(archive, member)))
    for member, place, target in links:
        with _named(archive, member):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.parent.resolve() != into.resolve() / place.parent.relative_to(into):
                raise BadInput(f"{archive.name} holds a link below a link")
            place.symlink_to(target)


@contextmanager
def _named(archive: Path, member: Member) -> Iterator[None]:
    """What the file system does not take is told by its name in the archive."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{archive.name} cannot be unpacked: {member.name[:80]!r}: {_why(error)}") from None


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _below(archive: Path, name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or "\\" in name or len(name) > NAME_MAX:
        raise BadInput(f"{archive.name} holds {name[:80]!r}, which leads out of where it is unpacked")
    if len(parts) > PARTS_MAX:
        raise BadInput(f"{archive.name} holds {name[:80]!r}, a path of more than {PARTS_MAX} parts")
    return "/".join(parts)


def _target(archive: Path, member: Member) -> str:
    """Where a link may lead: up at the beginning, as far as its own directory is below the top, and then down."""
    parts = [part for part in member.target.split("/") if part not in ("", ".")]
    ups = len([part for part in parts if part == ".."])
    deep = _below(archive, member.name).count("/")
    leads_up = ups > deep or ".." in parts[ups:]
    if member.target.startswith("/") or leads_up or "\0" in member.target or not member.target:
        raise BadInput(f"{archive.name} holds the link {member.name[:80]!r}, which leads out of where it is unpacked")
    return "/".join(parts) or "."


def _write(archive: Path, member: Member, place: Path, limits: Limits, go_on: Callable[[], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    data = member.open()
    assert data is not None
    place.unlink(missing_ok=True)  # the last of a name counts, as in tar
    with data, place.open("xb") as file:
        while piece := data.read(PIECE):
            go_on()
            limits.take(len(piece), archive)
            file.write(piece)
    place.chmod(0o755 if member.executable else 0o644)
