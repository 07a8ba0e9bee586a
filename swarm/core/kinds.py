"""The kinds of proposals and the fields of their bodies: one table, checked before anything else looks at a body.

Used by the ledger (which refuses a body that does not fit) and by wire/signed (which signs none that does not fit).
Guarantees: after `check_body`, every field is there with its type and within its bounds, and there is no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swarm.errors import BadInput

COUNT_MAX = 2**53
TENSORS_MAX = 100_000
_NAME = re.compile(r"[a-z0-9._-]{1,64}")
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST = re.compile(r"(blake3|sha256):[0-9a-f]{64}")
_ADDRESS = re.compile(r"[^\s/]{1,255}:[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Field:
    expected: str
    fits: Callable[[Any], bool]
    required: bool = True


def _text(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _list(item: Callable[[Any], bool], low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and low <= len(value) <= high and all(map(item, value))


def _bytes(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, bytes) and low <= len(value) <= high


def _map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _said(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 500 and value.isprintable()


def _counters(value: Any) -> bool:
    return _map(value) and set(value) <= {"batches", "epochs"} and all(map(_whole(0, COUNT_MAX), value.values()))


_CERTIFICATE = _bytes(1, 8192)
CONTRACT = Field("the name of a contract (a-z 0-9 . _ -, at most 64)", _text(_NAME))
ROUND = Field("the number of a round", _whole(0, COUNT_MAX))
ATTEMPT = Field("the number of an attempt", _whole(0, 100))
DIGEST = Field("a digest (blake3:... or sha256:..., 64 hexadecimal digits)", _text(_DIGEST))
UID = Field("the uid of a node", _text(_UID))
REASON = Field("a printable text of at most 500 characters", _said)
FLAG = Field("true or false", lambda value: isinstance(value, bool), required=False)
INCARNATION = Field("an incarnation (16 bytes)", _bytes(16, 16))
ROLE = Field("a role", lambda value: value in ("sn", "sl", "swop", "swci"))
ADDRESSES = Field("a list of at most 8 addresses host:port", _list(_text(_ADDRESS), 0, 8))
ADDRESS = Field("an address host:port", _text(_ADDRESS))

JOINING: dict[str, Field] = {
    "chain": Field("a certificate, with at most one intermediate", _list(_CERTIFICATE, 1, 2)),
    "node_key": Field("a node key (32 bytes)", _bytes(32, 32)),
    "role": ROLE,
    "addresses": ADDRESSES,
    "incarnation": INCARNATION,
}

FIELDS: dict[str, dict[str, Field]] = {
    "Genesis": {
        "rules": Field("the version of the ledger's rules (1)", lambda value: value == 1),
        "anchors": Field("a list of CA certificates", _list(_CERTIFICATE, 1, 64)),
        "joined": Field("what NodeJoined holds", lambda value: _map(value) and not _misfit("NodeJoined", value)),
        "created": Field("a time in ms", _whole(0, COUNT_MAX)),
    },
    "OrganisationAdmitted": {"ca": Field("a CA certificate", _CERTIFICATE)},
    "NodeJoined": JOINING,
    "NodeLeft": {},
    "NodeLost": {"uid": UID, "incarnation": INCARNATION, "reason": REASON},
    "Enrolled": {
        "contract": CONTRACT,
        "schema": Field("a list of tensors", lambda value: isinstance(value, list) and len(value) <= TENSORS_MAX),
        "hash": Field("blake3 or sha256", lambda value: value in ("blake3", "sha256")),
        "initial_base": DIGEST,
        "options": Field("a map of options", _map),
        "weight": Field("a nodeWeightage of 1 to 100", _whole(1, 100)),
        "syncFrequency": Field("a positive number of batches", _whole(1, COUNT_MAX)),
        "data_address": ADDRESS,
    },
    "Offer": {
        "contract": CONTRACT,
        "round": ROUND,
        "base": DIGEST,
        "digest": DIGEST,
        "weight_permille": Field("a share of 1 to 1000", _whole(1, 1000), required=False),
        "inactive": FLAG,
        "stop": FLAG,
        "counters": Field("counts of batches and epochs", _counters, required=False),
    },
    "WindowClosed": {"contract": CONTRACT, "round": ROUND},
    "Ready": {
        "contract": CONTRACT,
        "round": ROUND,
        "attempt": ATTEMPT,
        "digest": DIGEST,
        "shards": Field("a list of shard digests of 32 bytes", _list(_bytes(32, 32), 0, 1000), required=False),
    },
    "Suspect": {"contract": CONTRACT, "round": ROUND, "attempt": ATTEMPT, "uid": UID, "reason": REASON},
    "DeadlinePassed": {"contract": CONTRACT, "round": ROUND, "attempt": ATTEMPT},
    "Missing": {"contract": CONTRACT, "digest": DIGEST},
    "Leave": {"contract": CONTRACT, "reason": REASON},
    "ContractReset": {"contract": CONTRACT},
}


def check_body(kind: str, body: Any) -> None:
    """Raise BadInput, naming the field, unless the body is what its kind holds."""
    if kind not in FIELDS:
        raise BadInput(
            f"a proposal of the unknown kind {kind[:40]!r}",
            hint="the author runs a newer version: upgrade this network",
        )
    misfit = _misfit(kind, body) if _map(body) else "its body is no map"
    if misfit:
        raise BadInput(f"this {kind} proposal cannot be taken: {misfit}")


def _misfit(kind: str, body: dict[str, Any]) -> str:
    fields = FIELDS[kind]
    for name in body:
        if name not in fields:
            return f"unknown field {name[:40]!r}"
    for name, field in fields.items():
        if name not in body:
            if field.required:
                return f"the field '{name}' is missing"
        elif not field.fits(body[name]):
            return f"the field '{name}' has to be {field.expected}"
    return ""
