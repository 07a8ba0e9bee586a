"""The entries that a leading SN has made and not yet applied, and whoever waits for their outcome.

Used by the driver. Guarantees: entries follow each other in index, hash and time, whatever the wall clock does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from swarm.core.ledger import Outcome
from swarm.errors import Unreachable
from swarm.wire.signed import Entry, make_entry, proposal_digest


class NotLeader(Unreachable):
    """The proposal belongs to ``leader_uid`` (None: this node does not know it yet)."""

    def __init__(self, leader_uid: str | None) -> None:
        super().__init__("this network node does not order the ledger's entries: the sentinel does")
        self.leader_uid = leader_uid


@dataclass(slots=True)
class Waiter:
    index: int
    digest: bytes
    done: trio.Event = field(default_factory=trio.Event)
    """Set with the outcome, or without one when the driver ends."""
    outcome: Outcome | None = None


class Pending:
    def __init__(self) -> None:
        self.index = 0
        """Of the last entry stored or under way."""
        self.time = 0
        self._hash = bytes(32)
        self._waiting: dict[int, Waiter] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def follow(self, last: Entry) -> None:
        """Go on behind this entry."""
        self.index, self.time, self._hash = last.index, last.time, last.hash

    def make(self, raw: bytes, term: int, wall_ms: int) -> tuple[Entry, Waiter]:
        """The next entry, of a proposal or (``b""``) blank."""
        entry = make_entry(self.index + 1, term, max(self.time, wall_ms), self._hash, raw)
        self.follow(entry)
        waiter = self._waiting[entry.index] = Waiter(entry.index, proposal_digest(raw) if raw else b"")
        return entry, waiter

    def find(self, digest: bytes) -> Waiter | None:
        return next((waiter for waiter in self._waiting.values() if waiter.digest == digest), None)

    def last(self) -> Waiter | None:
        return next(reversed(self._waiting.values()), None)

    def settle(self, index: int, outcome: Outcome) -> None:
        """The entry has been applied."""
        if (waiter := self._waiting.pop(index, None)) is not None:
            waiter.outcome = outcome
            waiter.done.set()

    def release(self) -> None:
        """Nobody waits any longer: the driver ends."""
        for waiter in self._waiting.values():
            waiter.done.set()
