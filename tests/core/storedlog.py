"""A log as it is stored: what a consensus machine's appends have made of it, and nothing else.

The base of every simulated disk (`consensus_world`, `orderers`, `tests/sim/disk`), which add what is under way and what
a crash leaves of it. It is the ``Log`` that the machine reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.core.ordering import NO_HASH, Append, LogEntry


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a log begins, or a snapshot was taken."""

    index: int = 0
    term: int = 0
    hash: bytes = NO_HASH
    voters: tuple[str, ...] = ()


class StoredLog:
    def __init__(self) -> None:
        self.floor = Mark()
        """The entry before the first one: all up to there is in a snapshot only."""
        self.entries: list[LogEntry] = []
        self.term = 0
        self.vote = ""
        self.commit = 0

    @property
    def first_index(self) -> int:
        return self.floor.index + 1

    @property
    def last_index(self) -> int:
        return self.floor.index + len(self.entries)

    def entry(self, index: int) -> LogEntry:
        assert index > self.floor.index, f"entry {index} is only in the snapshot"
        return self.entries[index - self.floor.index - 1]

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        taken: list[LogEntry] = []
        room = max_bytes
        for index in range(after + 1, upto + 1):
            entry = self.entry(index)
            room -= len(entry.raw)
            if taken and room < 0:
                break
            taken.append(entry)
        return tuple(taken)

    def hash_at(self, index: int) -> bytes:
        return self.floor.hash if index == self.floor.index else self.entry(index).hash

    def term_at(self, index: int) -> int:
        return self.floor.term if index == self.floor.index else self.entry(index).term

    def voters_at(self, index: int) -> tuple[str, ...]:
        naming = self.naming(index)
        return self.entry(naming).voters or () if naming else self.floor.voters

    def naming(self, index: int) -> int:
        for place in range(index, self.floor.index, -1):
            if self.entry(place).voters is not None:
                return place
        return 0

    def mark(self, index: int) -> Mark:
        return Mark(index, self.term_at(index), self.hash_at(index), self.voters_at(index))

    # ---- writing

    def write(self, append: Append) -> None:
        self.term, self.vote = append.term, append.vote
        if append.entries:
            assert self.floor.index <= append.after <= self.last_index, "entries follow what they stand behind"
            assert append.entries[0].index == append.after + 1
            self.entries[append.after - self.floor.index :] = append.entries

    def raise_floor(self, upto: int) -> list[LogEntry]:
        """Entries up to there go, because a snapshot has them; which ones these were."""
        if upto <= self.floor.index:
            return []
        floor = self.mark(upto)
        gone = self.entries[: upto - self.floor.index]
        del self.entries[: len(gone)]
        self.floor = floor
        return gone

    def replace(self, floor: Mark) -> None:
        """A snapshot takes the place of all entries."""
        self.floor, self.entries = floor, []
        self.commit = max(self.commit, floor.index)
