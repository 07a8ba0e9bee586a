"""The fields of which the bodies of proposals are made: what is expected, and whether a value fits.

Used by the tables of kinds (`core/kinds`, `core/task_kinds`). Guarantees: a check looks at the value only, never
raises, and costs no more than the value's size; the words of `expected` complete "the field 'x' has to be ...".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

COUNT_MAX = 2**53
FIRST_RULES = 1
"""The version of the ledger's rules that every network can be of (`core/rules`)."""
_NAME = re.compile(r"(?!\.{1,2}$)[a-z0-9._-]{1,64}")  # a name may name a directory: no . and ..
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"(blake3|sha256):[0-9a-f]{64}")
_ADDRESS = re.compile(r"[A-Za-z0-9._:%\[\]-]{1,255}:([0-9]{1,5})")

_TEXT = frozenset({str})

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Field:
    """``since``: the version of the ledger's rules with which it came; ``before``: what it was until then."""

    expected: str
    fits: Check
    required: bool = True
    since: int = FIRST_RULES
    before: Field | None = None

    def at(self, version: int) -> Field | None:
        """The field under this version of the rules; None where there is no such field."""
        if self.since <= version:
            return self
        return self.before.at(version) if self.before else None


def matching(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def printable(low: int, high: int) -> Check:
    return lambda value: isinstance(value, str) and low <= len(value) <= high and value.isprintable()


def whole(low: int, high: int) -> Check:
    return lambda value: type(value) is int and low <= value <= high


def list_of(item: Check, low: int, high: int) -> Check:
    return lambda value: isinstance(value, list | tuple) and low <= len(value) <= high and all(map(item, value))


def is_address(value: Any) -> bool:
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    return match is not None and int(match.group(1)) < 1 << 16


def bytes_of(low: int, high: int) -> Check:
    return lambda value: isinstance(value, bytes) and low <= len(value) <= high


def is_map(value: Any) -> bool:
    return isinstance(value, dict) and {*map(type, value)} <= _TEXT


def optional(field: Field) -> Field:
    return replace(field, required=False)


CERTIFICATE = bytes_of(1, 8192)
CONTRACT = Field("the name of a contract (a-z 0-9 . _ -, at most 64)", matching(_NAME))
DIGEST = Field("a digest (blake3:... or sha256:..., 64 hexadecimal digits)", matching(_DIGEST))
UID = Field("the uid of a node", matching(_UID))
REASON = Field("a printable text of at most 500 characters", printable(0, 500))
FLAG = Field("true or false", lambda value: isinstance(value, bool), required=False)
INCARNATION = Field("an incarnation (16 bytes)", bytes_of(16, 16))
ADDRESS = Field("an address host:port", is_address)
ADDRESSES = Field("a list of at most 8 addresses host:port", list_of(ADDRESS.fits, 0, 8))
