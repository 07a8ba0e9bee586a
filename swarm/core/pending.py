"""The entries that a leader has made and not yet applied, and who waits for what becomes of them.

Used by the orderer. Guarantees: entries follow each other in index, hash and time, whatever the wall clock does; of
equal proposals one entry is made, however many ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from swarm.core.claims import Claim, EntryHeader
from swarm.core.ordering import NO_HASH


@dataclass(slots=True)
class _Waiting:
    digest: bytes
    claim: Claim | None
    numbers: list[int] = field(default_factory=list)


class Pending:
    def __init__(self) -> None:
        self.index = 0
        """Of the last entry made, or stored."""
        self.time = 0
        self.hash = NO_HASH
        self._at: dict[int, _Waiting] = {}
        self._index_of: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._at)

    def follow(self, last: EntryHeader) -> None:
        """Go on behind this entry."""
        self.index, self.time, self.hash = last.index, last.time, last.hash

    def due(self, term: int, wall_ms: int) -> EntryHeader:
        """What the next entry has to say of itself; its hash is made with it."""
        return EntryHeader(self.index + 1, term, max(self.time, wall_ms), self.hash, NO_HASH)

    def made(self, header: EntryHeader, digest: bytes, claim: Claim | None = None) -> None:
        """``claim``: the proposal's, if it was verified in the very state in which this entry will be applied."""
        self.follow(header)
        self._at[header.index] = _Waiting(digest, claim)
        if digest:
            self._index_of[digest] = header.index

    def claim_of(self, index: int) -> Claim | None:
        """What need not be verified again."""
        waiting = self._at.get(index)
        return waiting.claim if waiting is not None else None

    def index_of(self, digest: bytes) -> int:
        """The entry under way that holds this proposal; 0 if there is none."""
        return self._index_of.get(digest, 0)

    def wait(self, index: int, number: int) -> None:
        self._at[index].numbers.append(number)

    def settle(self, index: int) -> list[int]:
        """The entry has been applied: who waited for it."""
        waiting = self._at.pop(index, None)
        if waiting is None:
            return []
        if self._index_of.get(waiting.digest) == index:
            del self._index_of[waiting.digest]
        return waiting.numbers

    def forget(self, number: int) -> None:
        for waiting in self._at.values():
            if number in waiting.numbers:
                waiting.numbers.remove(number)

    def release(self) -> Iterable[int]:
        """Nothing is under way any longer: everybody who waited."""
        waiting, self._at, self._index_of = self._at, {}, {}
        return [number for each in waiting.values() for number in each.numbers]
