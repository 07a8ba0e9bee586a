"""What the consensus machine takes in and gives out: entries, messages, events, effects, and the log that it reads.

Used by ``core/consensus``, by ``wire/order``, which writes the messages, and by the driver and the store, which do what
the effects say. Events are past tense, effects imperative.

A term is ``epoch << 32 | number``: elections raise the number, a forced recovery raises the epoch, so that *the highest
epoch wins* is the rule of terms itself. Nobody signs a term: one of a later epoch counts once the signature under its
recovery has been seen (``EpochProven``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

NO_HASH = bytes(32)
"""Stands for what comes before the first entry, whose index is 1."""

EPOCH_BITS = 32
LEAP_MAX = 2**20
"""Elections in a row that a node may miss: weeks of nothing else, and far less than the numbers of an epoch. Behind the
last of them an election would begin an epoch, which only a forced recovery may."""


def epoch_of(term: int) -> int:
    return term >> EPOCH_BITS


def leaps(term: int, own: int, proven: int) -> bool:
    """Whether this term cannot have come about by elections since this node's own, or since the recovery that began
    a later epoch, the latest of which that anybody can have signed is ``proven``."""
    if term <= own:
        return False
    epoch = epoch_of(term)
    return epoch > max(epoch_of(own), proven) or term > max(own, first_term(epoch)) + LEAP_MAX


def first_term(epoch: int) -> int:
    """The term in which the node promoted by the forced recovery of this epoch begins to lead."""
    return epoch << EPOCH_BITS | 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    index: int
    term: int
    hash: bytes
    raw: bytes
    voters: tuple[str, ...] | None = None
    """Who decides from this entry on, committed or not (Genesis, Configuration, ForcedRecovery); None for the rest."""


class Log(Protocol):
    """The stored entries: what the machine's appends have made of them, and nothing else."""

    @property
    def first_index(self) -> int:
        """The first entry that is here; what came before is in the snapshot only. 1 if nothing was compacted."""
        ...

    @property
    def last_index(self) -> int: ...

    @property
    def snapshot_index(self) -> int:
        """The entry after which the snapshot was taken that others may fetch; at least ``first_index - 1``, 0: none."""
        ...

    def entry(self, index: int) -> LogEntry: ...

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        """The entries behind ``after`` up to ``upto``: at least one, more as ``max_bytes`` (of ``raw``) allows."""
        ...

    def hash_at(self, index: int) -> bytes:
        """From ``first_index - 1`` to ``last_index``; NO_HASH at 0."""
        ...

    def term_at(self, index: int) -> int:
        """From ``first_index - 1`` to ``last_index``; 0 at 0."""
        ...

    def voters_at(self, index: int) -> tuple[str, ...]:
        """``voters`` of the latest entry that has some, up to ``index`` (or the snapshot's); none at 0."""
        ...

    def naming(self, index: int) -> int:
        """The latest entry that has ``voters``, up to ``index``; 0 if only the snapshot has some."""
        ...


# ---- messages


class Entries(NamedTuple):
    """Leader to follower: what comes behind ``prev_index``; without entries a heartbeat, or the news of a commit."""

    term: int
    stamp: int  # grows with every message of this leader; its answer repeats it; 0: no answer is wanted
    prev_index: int
    prev_hash: bytes
    entries: tuple[LogEntry, ...]
    last: int  # the leader's log up to where others may have it
    commit: int
    one_copy: bool


@dataclass(frozen=True, slots=True)
class SnapshotOffered:
    """Leader to a follower that needs entries which the leader has only in its snapshot; in place of Entries."""

    term: int
    stamp: int
    index: int
    hash: bytes
    last: int  # the leader's last stored index


class Answer(NamedTuple):
    """Follower to leader, sent when all it speaks of is stored."""

    term: int
    stamp: int
    found: bool  # the entry at prev_index is here, with the same hash
    match: int  # stored here and equal to the leader's log up to this index (when found)
    last: int  # when not found: where the leader may try next
    conflict: int  # this node may not give up its entry there, and the leader has another, or none; 0: no conflict


@dataclass(frozen=True, slots=True)
class Campaign:
    """A voter asks for votes in ``term``, or (``pre``) whether it would get them."""

    term: int
    pre: bool
    last_index: int
    last_term: int


@dataclass(frozen=True, slots=True)
class Ballot:
    """The answer to a Campaign; ``term`` is the campaign's if it is granted, else the voter's own."""

    term: int
    pre: bool
    granted: bool


Message = Entries | SnapshotOffered | Answer | Campaign | Ballot


# ---- events


class Proposed(NamedTuple):
    """The leader's orderer made these entries: consecutive, of the current term, behind ``last_index``."""

    entries: tuple[LogEntry, ...]


class Received(NamedTuple):
    """From a network node of this network, as its link proves."""

    sender: str
    message: Message


class Ticked(NamedTuple):
    now_s: float


class Stored(NamedTuple):
    """The ``Append`` of this number is on disk, and so are all before it."""

    number: int


@dataclass(frozen=True, slots=True)
class Configured:
    """The ledger's network nodes that do not vote; voters come from the log itself."""

    learners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether this node should lead: no while its disk is full or its clock is off."""

    stands: bool


@dataclass(frozen=True, slots=True)
class ReadAsked:
    """Somebody wants to read what is committed by now. Only the leader can tell; see Readable."""

    number: int


@dataclass(frozen=True, slots=True)
class Promoted:
    """A person has made this node the only voter of a new epoch.

    The ForcedRecovery entry behind ``last_index``: its term is ``first_term(epoch)`` of a higher epoch than the node's
    term has, its ``voters`` are this node alone. The node leads as soon as term and entry are stored, in one piece.
    """

    entry: LogEntry


@dataclass(frozen=True, slots=True)
class EpochProven:
    """The signed ForcedRecovery that begins this epoch has been seen and judged: its terms are believed."""

    epoch: int


@dataclass(frozen=True, slots=True)
class SnapshotInstalled:
    """What FetchSnapshot asked for is in the store, in place of the whole log: ``first_index`` is ``index + 1``."""

    index: int
    term: int
    hash: bytes
    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotFailed:
    """What FetchSnapshot asked for could not be had; nothing has changed. (Each FetchSnapshot ends in one of these.)"""


Event = (
    Proposed
    | Received
    | Ticked
    | Stored
    | Configured
    | Fit
    | ReadAsked
    | Promoted
    | EpochProven
    | SnapshotInstalled
    | SnapshotFailed
)


# ---- effects


class Append(NamedTuple):
    """Store term, vote and entries, all or nothing and in the order of the numbers; then report ``Stored``.

    The entries take the place of all that is stored behind ``after`` (where nothing is, they are simply appended).
    Without entries the log stays as it is.
    """

    number: int
    term: int
    vote: str
    after: int
    entries: tuple[LogEntry, ...]


class Send(NamedTuple):
    to: str
    message: Message


class Commit(NamedTuple):
    upto: int


@dataclass(frozen=True, slots=True)
class Role:
    """What this node is from now on. A leader's first entry is a blank one; reads asked before are forgotten."""

    name: str  # "leader" | "candidate" | "follower" | "learner"
    term: int
    leader: str  # empty while it is not known


@dataclass(frozen=True, slots=True)
class Copies:
    """While one voter decides alone: the learners that store each entry before it is acknowledged; none: one copy."""

    in_step: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """This node and ``peer`` hold different ledgers from ``index`` on: one of them has lost its log.

    By the word of one of them: a leader goes on, and the other does not follow it; signed heads show who is right.
    """

    peer: str
    index: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """``peer`` leads a later epoch, which does not have what this node committed behind ``index``.

    The machine does nothing more; the node comes back as a learner, under another key.
    """

    peer: str
    index: int
    epoch: int


@dataclass(frozen=True, slots=True)
class FetchSnapshot:
    """Fetch the snapshot that ``sender`` has (this one, or a later one) and install it; no entries come meanwhile."""

    sender: str
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Readable:
    """A majority followed this leader after ReadAsked: who has applied ``index`` may answer."""

    number: int
    index: int


Effect = Append | Send | Commit | Role | Copies | Refuse | Superseded | FetchSnapshot | Readable
INNER = frozenset({Commit, Readable})
"""The effects that end in the orderer."""
