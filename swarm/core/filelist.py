"""A list of files: each by its name below one directory, its content by SHA-256, and its size; and what names them all.

Used for datasets (`core/dataset`), the outputs of jobs (`core/artifacts`) and code (`nodes/code`). Guarantee: equal
names and contents give equal digests on every host, in whatever order and wherever the files lie.

    digest = SHA-256 of the lines "SHA-256 of a file, its size, its name" in the order of the names
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from swarm.core.fields import COUNT_MAX, Field, is_map, list_of, whole

FILES_MAX = 4000
"""Of one list: so many fit into one proposal."""
NAME_MAX = 240
UNCOUNTED = -1
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """``sha256``: 32 bytes. ``examples``: how many it holds, `UNCOUNTED` if nobody can tell."""

    name: str
    sha256: bytes
    size: int
    examples: int = UNCOUNTED

    @property
    def hash(self) -> str:
        return "sha256:" + self.sha256.hex()


def digest(files: Iterable[FileEntry]) -> str:
    return "sha256:" + hashlib.sha256(lines(files)).hexdigest()


def lines(files: Iterable[FileEntry]) -> bytes:
    """What the digest is of."""
    ordered = sorted(files, key=lambda file: file.name)
    said = (f"{file.sha256.hex()} {file.size} {file.name}\n" for file in ordered)
    return "".join(said).encode(errors="surrogateescape")


def is_file_name(name: Any) -> bool:
    """Whether it leads to a file below a directory, and nowhere else."""
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX or not name.isprintable():
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def to_wire(files: Sequence[FileEntry]) -> dict[str, Any]:
    """By columns, since there may be thousands."""
    return {
        "names": [file.name for file in files],
        "hashes": b"".join(file.sha256 for file in files),
        "sizes": [file.size for file in files],
        "examples": [file.examples for file in files],
    }


def from_wire(columns: dict[str, Any]) -> tuple[FileEntry, ...]:
    hashes = columns["hashes"]
    apart = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    return tuple(map(FileEntry, columns["names"], apart, columns["sizes"], columns["examples"]))


def _is_summary(value: Any) -> bool:
    if not is_map(value) or set(value) != {"hash", "bytes", "files"}:
        return False
    hashed = isinstance(value["hash"], str) and _HASH.fullmatch(value["hash"]) is not None
    return hashed and whole(0, COUNT_MAX)(value["bytes"]) and whole(1, COUNT_MAX)(value["files"])


def _fits(value: Any) -> bool:
    if not is_map(value) or set(value) != {"names", "hashes", "sizes", "examples"}:
        return False
    names, hashes = value["names"], value["hashes"]
    if not list_of(is_file_name, 1, FILES_MAX)(names) or len(set(names)) < len(names):
        return False
    if not isinstance(hashes, bytes) or len(hashes) != 32 * len(names):
        return False
    columns = ((value["sizes"], 0), (value["examples"], UNCOUNTED))
    return all(list_of(whole(low, COUNT_MAX), len(names), len(names))(column) for column, low in columns)


HASH = Field(
    "a hash (sha256: and 64 hexadecimal digits)", lambda value: isinstance(value, str) and bool(_HASH.fullmatch(value))
)
SUMMARY = Field("of files: their hash, how many bytes and how many files", _is_summary)
FILES = Field(f"a list of 1 to {FILES_MAX} files: names, hashes, sizes and examples of each", _fits)
