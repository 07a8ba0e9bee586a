"""What the consensus machine takes in and gives out: entries, messages, events, effects.

Used by ``core/consensus``, by ``wire/order``, which writes the messages, and by the driver and the store, which do what
the effects say. Events are past tense, effects imperative.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_HASH = bytes(32)
"""Stands for what comes before the first entry, whose index is 1."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    index: int
    term: int
    hash: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who decides (voters) and who stores along (learners), by uid; both empty while the node knows no ledger."""

    voters: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()


# ---- messages


@dataclass(frozen=True, slots=True)
class Entries:
    """Leader to follower: what comes behind ``prev_index``; without entries a heartbeat."""

    term: int
    stamp: int  # grows with every message of this leader to this follower; its answer repeats it
    prev_index: int
    prev_hash: bytes
    entries: tuple[LogEntry, ...]
    last: int  # the leader's last stored index
    commit: int
    one_copy: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Follower to leader, sent when all it speaks of is stored."""

    term: int
    stamp: int
    found: bool  # the entry at prev_index is here, with the same hash
    match: int  # stored here and equal to the leader's log up to this index (when found)
    last: int
    conflict: int  # this node has another entry there (or one that the leader has not); 0: none


Message = Entries | Answer


# ---- events


@dataclass(frozen=True, slots=True)
class Proposed:
    """The leader's driver made these entries: consecutive, of the current term, behind ``last_index``."""

    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Received:
    sender: str
    message: Message


@dataclass(frozen=True, slots=True)
class Ticked:
    now_s: float


@dataclass(frozen=True, slots=True)
class Stored:
    """The ``Append`` of this number is on disk, and so are all before it."""

    number: int


@dataclass(frozen=True, slots=True)
class Configured:
    configuration: Configuration


Event = Proposed | Received | Ticked | Stored | Configured


# ---- effects


@dataclass(frozen=True, slots=True)
class Append:
    """Store term, vote and entries, all or nothing and in the order of the numbers; then report ``Stored``."""

    number: int
    term: int
    vote: str
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class Send:
    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Commit:
    upto: int


@dataclass(frozen=True, slots=True)
class Role:
    name: str  # "leader" | "learner"
    term: int
    leader: str


@dataclass(frozen=True, slots=True)
class Copies:
    """The learners that store each entry before it is acknowledged; none: the ledger has one copy."""

    in_step: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """This node and ``peer`` hold different ledgers from ``index`` on: a leader decides nothing more."""

    peer: str
    index: int


Effect = Append | Send | Commit | Role | Copies | Refuse
