"""Old entries of the ledger, in files of their own: STATE/archive/<first>-<last>.seg.

Written by the store's thread when a snapshot stands for them, read for followers that begin before it, and by the
audit. Guarantees: a segment is whole or absent after a crash, and never changed; its checksum covers every byte.

    segment = "swarm archive 1" newline | (u32 length | entry) ... | SHA-256 of all before
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import BadInput

MAGIC = b"swarm archive 1\n"
_LENGTH = struct.Struct(">I")
_NAME = re.compile(r"(\d{12})-(\d{12})\.seg")


@dataclass(frozen=True, slots=True)
class Segment:
    first: int
    last: int
    path: Path

    def read(self) -> list[bytes]:
        """The entries' bytes in order; raises BadInput when the file is damaged."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise self._damaged(f"it cannot be read: {error.strerror}") from error
        body, checksum = data[:-32], data[-32:]
        if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != checksum:
            raise self._damaged("its bytes do not have its checksum")
        raws, at = [], len(MAGIC)
        while at + _LENGTH.size <= len(body):
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size + length
            raws.append(body[at - length : at])
        if len(raws) != self.last - self.first + 1 or at != len(body):
            raise self._damaged(f"it holds {len(raws)} entries")
        return raws

    def _damaged(self, why: str) -> BadInput:
        return BadInput(
            f"archive segment {self.path} with the entries {self.first} to {self.last} is damaged: {why}",
            hint="copy the file of this name from another SN's archive",
        )


class Archive:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._read: tuple[Segment, list[bytes]] | None = None

    def segments(self) -> list[Segment]:
        names = os.listdir(self.directory) if self.directory.is_dir() else []
        found = [(match, name) for name in names if (match := _NAME.fullmatch(name))]
        segments = [Segment(int(match[1]), int(match[2]), self.directory / name) for match, name in found]
        return sorted(segments, key=lambda segment: segment.first)

    def write(self, first: int, raws: list[bytes]) -> None:
        """Add a segment, durably. What a crash left before its entries had gone from the store is replaced."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        last = first + len(raws) - 1
        for segment in self.segments():
            if segment.first <= last and segment.last >= first:
                segment.path.unlink()
        body = MAGIC + b"".join(_LENGTH.pack(len(raw)) + raw for raw in raws)
        target = self.directory / f"{first:012d}-{last:012d}.seg"
        part = target.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(body + hashlib.sha256(body).digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def reach(self) -> int:
        """Up to which entry it holds all from the first one on."""
        reach = 0
        for segment in self.segments():
            if segment.first > reach + 1:
                break
            reach = max(reach, segment.last)
        return reach

    def drop(self, upto: int) -> None:
        """Throw away what it holds up to this entry."""
        self._read = None
        for segment in self.segments():
            if segment.last <= upto:
                segment.path.unlink()

    def after(self, index: int) -> Iterable[bytes]:
        """The entries behind ``index`` as far as one segment has them; none if it is not here."""
        if self._read is None or not self._read[0].first <= index + 1 <= self._read[0].last:
            segment = next((each for each in self.segments() if each.first <= index + 1 <= each.last), None)
            if segment is None:
                return []
            self._read = segment, segment.read()
        segment, raws = self._read
        return raws[index + 1 - segment.first :]
