"""What the orderer of a network node is told besides consensus' events, and what it has done besides their effects.

Used by ``core/orderer``, the driver and the simulator. Who asks gives a number, which the answer repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from swarm.core.claims import EntryHeader
from swarm.core.events import Applied, Outcome
from swarm.core.ordering import LogEntry
from swarm.core.snapshot import Snapshot

# ---- events


class Asked(NamedTuple):
    """Somebody proposes these bytes. The wall clock stamps the entry."""

    number: int
    raw: bytes
    wall_ms: int
    by: bytes = b""
    """The organisation of who asks, by its anchor; empty: this node itself, or somebody of whom that is not known."""


@dataclass(frozen=True, slots=True)
class AskedTogether:
    """The same for many, which become entries in one piece."""

    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class RecoveryAsked:
    """Somebody with the right to it has signed a ForcedRecovery for this node: it decides alone from now on."""

    number: int
    raw: bytes
    wall_ms: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Nobody waits for this answer any longer; what was asked goes on."""

    number: int


@dataclass(frozen=True, slots=True)
class Heard:
    """Signs of life, seen here or by another network node, and last words: uid and incarnation of who stops."""

    uids: tuple[str, ...]
    going: tuple[tuple[str, bytes], ...] = ()


class Clocked(NamedTuple):
    """Both clocks: durations are measured on the first, which only goes forward."""

    now_s: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing can be stored at present, and why; without a reason: it can again."""

    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ClockJudged:
    """Whether this node's wall clock is near the others': one that is far off does not lead."""

    good: bool


@dataclass(frozen=True, slots=True)
class Breathed:
    """The loop had its turn: apply on."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The snapshot that ``FetchSnapshot`` asked for, with good signatures of a majority of its voters."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Installed:
    """The snapshot of ``Install`` is on disk, in place of the log."""

    snapshot: Snapshot


AskingEvent = (
    Asked
    | AskedTogether
    | RecoveryAsked
    | GaveUp
    | Heard
    | Clocked
    | Blocked
    | ClockJudged
    | Breathed
    | Fetched
    | Installed
)

# ---- effects


class Answered(NamedTuple):
    number: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class NotLeading:
    """Another node answers that: ``leader``, or (empty) nobody that this one knows of yet."""

    number: int
    leader: str


@dataclass(frozen=True, slots=True)
class Paused:
    number: int
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Too many proposals of its organisation wait already: it may be asked again in a while."""

    number: int


@dataclass(frozen=True, slots=True)
class Declined:
    """Bytes that nobody can have signed: no entry is made of them. Code, reason and hint of an error."""

    number: int
    code: int
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class ReadReady:
    """The ledger now holds everything that was acknowledged, anywhere, when ``ReadAsked`` came."""

    number: int


class Publish(NamedTuple):
    """An entry has been applied: tell whoever follows."""

    entry: LogEntry
    header: EntryHeader
    proposal: bytes
    applied: Applied


@dataclass(frozen=True, slots=True)
class Keep:
    """Store this snapshot of the state; behind it old entries may go once a majority has signed it."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Install:
    """Put this snapshot in the place of the whole log, in one step; then report ``Installed``."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Restored:
    """The ledger is another object now, with the state of an installed snapshot."""


Answer = Answered | NotLeading | Paused | TurnedAway | Declined | ReadReady
AskingEffect = Answer | Publish | Keep | Install | Restored
