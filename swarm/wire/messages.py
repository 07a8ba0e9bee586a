"""What the training program (ML) and its learning node (SL) say to each other over the channel.

Used by ``runtime/channel`` (ML) and ``runtime/channel_server`` (SL), inside ``wire/frame`` frames. A message is a flat
map with its name under ``type``; the tensors themselves lie in shared memory and never in a message. Guarantees:
``decode`` returns a message whose every field has the type and bounds written here, or raises one sentence.

    ML                                   SL
    Hello ────────────────────────────►
           ◄──────────────────────────── Welcome
    Open  ────────────────────────────►
           ◄───────────────── Note, Alive …
           ◄──────────────────────────── Opened   (+ descriptors of the two buffers)
    Sync  ────────────────────────────►           (own weights lie in the out buffer)
           ◄───────────────── Note, Alive …
           ◄──────────────────────────── Merged   (the model lies in the in buffer, when ``how`` says so)
    Report ───────────────────────────►           any time: how the program trains, without an answer
    Leave ────────────────────────────►           any time: the program withdraws and says why
    Bye   ────────────────────────────►

Any request may be answered by ``Error`` instead.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from swarm.errors import BadInput, Refused

VERSION = 4
TEXT_CAP = 4096
MAP_CAP = 64
LIST_CAP = 1 << 16

Kind = Literal["begin", "sync", "end"]
How = Literal["merged", "adopted", "alone", "kept"]
Level = Literal["info", "warning", "error"]
Checkin = Literal["inactive", "active", "snapshot"]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message. ``pid`` as the program sees it, which in a container is not what the SL sees."""

    version: int
    pid: int
    token: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """``node`` is the SL's name as people know it, for the program's log and errors."""

    version: int
    node: str


@dataclass(frozen=True, slots=True)
class Open:
    """Enrol in a contract. ``options`` are the contract's; weight, syncFrequency and checkin are this peer's."""

    contract: str
    options: dict[str, Any]
    weight: int
    syncFrequency: int
    checkin: Checkin
    schema: list[Any]
    leads: bool = False
    """Its learning node takes part in the upper contract for its group."""


@dataclass(frozen=True, slots=True)
class Opened:
    contract: str
    round: int
    base: str
    hash: str
    uid: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Sync:
    """The program stands still with its weights in the out buffer. ``metrics`` are for people to look at."""

    kind: Kind
    batches: int
    epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """How the program trains, for people to look at. ``total_epochs`` 0: it does not say."""

    batches: int
    epochs: int
    total_epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Merged:
    """``merged`` and ``adopted``: the model ``digest`` lies in the in buffer. ``alone`` and ``kept``: keep your own.

    ``interval``: until the next sync point, in 1/1000 of syncFrequency.
    """

    round: int
    digest: str
    members: int
    training_over: bool
    how: How
    note: str
    interval: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the program's log."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The SL is at work on the request."""


@dataclass(frozen=True, slots=True)
class Leave:
    """``code`` is the exit code that the reason stands for (see ``swarm.errors``)."""

    reason: str
    code: int


@dataclass(frozen=True, slots=True)
class Bye:
    pass


@dataclass(frozen=True, slots=True)
class Error:
    code: int
    message: str
    hint: str


FromProgram = Hello | Open | Sync | Report | Leave | Bye
FromNode = Welcome | Opened | Merged | Note | Alive | Error
Message = FromProgram | FromNode

_NAMES: dict[type[Any], str] = {kind: kind.__name__.lower() for kind in (*get_args(FromProgram), *get_args(FromNode))}
_FIELDS: dict[type[Any], dict[str, Any]] = {kind: get_type_hints(kind) for kind in _NAMES}
_FROM_PROGRAM: dict[str, type[Any]] = {_NAMES[kind]: kind for kind in get_args(FromProgram)}
_FROM_NODE: dict[str, type[Any]] = {_NAMES[kind]: kind for kind in get_args(FromNode)}


def encode(message: Message) -> dict[str, Any]:
    """The map that ``decode_…`` turns back into ``message``."""
    name = _NAMES[type(message)]
    return {**{field.name: getattr(message, field.name) for field in fields(message)}, "type": name}


def decode_from_program(wire: Any) -> FromProgram:
    """What an SL accepts from a program; another protocol version is refused before anything else is looked at."""
    if isinstance(wire, dict) and wire.get("type") == "hello":
        _check_version(wire.get("version"), "training program", "learning node")
    message: FromProgram = _decode(wire, _FROM_PROGRAM)
    return message


def decode_from_node(wire: Any) -> FromNode:
    """What a program accepts from its SL."""
    if isinstance(wire, dict) and wire.get("type") == "welcome":
        _check_version(wire.get("version"), "learning node", "training program")
    message: FromNode = _decode(wire, _FROM_NODE)
    return message


def _check_version(theirs: Any, they: str, we: str) -> None:
    if theirs != VERSION:
        raise Refused(
            f"the {they} speaks version {str(theirs)[:20]} of the channel, this {we} version {VERSION}",
            hint="install the same version of swarm-learning on both sides",
        )


def _decode(wire: Any, kinds: dict[str, type[Any]]) -> Any:
    if not isinstance(wire, dict) or not isinstance(wire.get("type"), str):
        raise BadInput(f"a channel message is a map with its name under 'type', received {_short(wire)}")
    name = wire["type"]
    kind = kinds.get(name)
    if kind is None:
        raise BadInput(f"channel message {_short(name)} is unknown here, expected one of {', '.join(sorted(kinds))}")
    hints = _FIELDS[kind]
    for field in wire.keys() ^ {"type", *hints}:
        raise BadInput(f"channel message {name}: field {_short(field)} is {'missing' if field in hints else 'unknown'}")
    for field, hint in hints.items():
        if not _fits(wire[field], hint):
            raise BadInput(f"channel message {name}: {field} is {_short(wire[field])}, expected {_expected(hint)}")
    return kind(**{field: wire[field] for field in hints})


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if hint is int:
        return type(value) is int and 0 <= value < 1 << 63
    if hint is float:
        return type(value) in (int, float)
    if hint is bool:
        return isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and len(value) <= TEXT_CAP
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list) and len(value) <= LIST_CAP
    assert get_origin(hint) is dict, hint
    inner = get_args(hint)[1]
    return (
        isinstance(value, dict)
        and len(value) <= MAP_CAP
        and all(_fits(key, str) and _fits(entry, inner) for key, entry in value.items())
    )


def _expected(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    plain = {
        int: "a whole number from 0 to 2^63 - 1",
        bool: "true or false",
        str: f"text of at most {TEXT_CAP} characters",
    }
    return plain.get(hint) or f"a {get_origin(hint).__name__} within its bounds"


def _short(value: Any) -> str:
    text = reprlib.repr(value)  # bounded in depth: what came in may nest a thousand lists
    return text if len(text) <= 60 else text[:57] + "…"
