"""What a node has on disk as the consensus machine sees it: term, vote and log, and what is on its way there.

Used by ``core/consensus`` and its parts. Guarantees: an entry is there from the moment it is appended; ``stored`` never
counts one that may still be lost, or be replaced by an append that is under way; what ``send`` is given leaves only
once term and vote are stored. The newest entries are in memory: what goes round all the time does not touch the disk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import accumulate, islice
from typing import NamedTuple

from swarm.core.ordering import Append, Effect, Log, LogEntry, Message, Send

RECENT_BYTES = 4 * 1024 * 1024


class _UnderWay(NamedTuple):
    number: int
    after: int
    last: int  # 0: only term and vote


class Journal:
    def __init__(
        self,
        uid: str,
        log: Log,
        emit: Callable[[Effect], None],
        *,
        term: int,
        vote: str,
        commit: int,
        founder: bool = False,
    ) -> None:
        self.term = term
        self.vote = vote
        self.stored = log.last_index
        """Up to here entries are on disk, and stay unless they are replaced by an append to come."""
        self.commit = commit
        self.voters_index = 0
        """The entry that named the voters, if it was appended since the start."""
        self.number = 0
        """Of the latest append."""
        self.done = 0
        """Of the latest append that is on disk."""
        self.sworn = 0
        """Of the append that holds the present term and vote."""
        self._log = log
        self.emit = emit
        self._owed: deque[tuple[int, Send]] = deque()  # what leaves once the append of this number is stored
        self._founders = (uid,) if founder else ()
        self._under_way: deque[_UnderWay] = deque()
        self._recent: list[LogEntry] = []
        self._from = self.stored + 1  # the index of the first recent entry
        self._ends: list[int] = []  # bytes up to the end of each recent entry
        self._begin = 0  # bytes before the first
        self._changes: list[tuple[int, tuple[str, ...]]] = []  # of the voters, by entries not yet stored
        self._last_term = log.term_at(self.stored)
        self.voters = self.voters_at(self.stored)
        # An only voter may have acknowledged whatever it had stored, known to be committed or not.
        self._kept = self.stored if self.voters == (uid,) else 0

    # ---- reading

    @property
    def kept(self) -> int:
        """Up to here entries are never given up: committed, as far as this node knows it or can tell."""
        return max(self.commit, self._kept)

    @property
    def first_index(self) -> int:
        return self._log.first_index

    @property
    def snapshot_index(self) -> int:
        return self._log.snapshot_index

    @property
    def last_index(self) -> int:
        return self._from - 1 + len(self._recent)

    @property
    def last_term(self) -> int:
        return self._last_term

    def entry(self, index: int) -> LogEntry:
        return self._recent[index - self._from] if index >= self._from else self._log.entry(index)

    def hash_at(self, index: int) -> bytes:
        return self._recent[index - self._from].hash if index >= self._from else self._log.hash_at(index)

    def term_at(self, index: int) -> int:
        return self._recent[index - self._from].term if index >= self._from else self._log.term_at(index)

    def voters_at(self, index: int) -> tuple[str, ...]:
        for changed, voters in reversed(self._changes):
            if changed <= index:
                return voters
        return self._log.voters_at(min(index, self.stored)) or self._founders

    @property
    def decided(self) -> tuple[str, ...]:
        """The voters that are committed for sure: a change is made only once the one before it is."""
        latest = self._changes[-1][0] if self._changes else self._log.naming(self.stored)
        return self.voters_at(max(self.commit, latest - 1))

    @property
    def shared(self) -> int:
        """Up to here a leader's entries may leave. With other voters that is all: its own copy counts when it is
        stored, theirs when theirs is (Raft thesis 10.2.1). What one voter decides alone it has stored before."""
        alone = len(self.voters) == 1 or self.voters_index > self.stored
        return self.stored if alone else self.last_index

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        """Entries behind ``after`` up to ``upto``: at least one, more as ``max_bytes`` allows."""
        if after + 1 < self._from:
            return self._log.read(after, min(upto, self.stored), max_bytes)
        start = after + 1 - self._from
        stop = bisect_right(self._ends, self._bytes_before(start) + max_bytes, start + 1)
        return tuple(self._recent[start : min(stop, upto + 1 - self._from)])

    def fills(self, after: int, upto: int, size: int) -> bool:
        """Whether the entries behind ``after`` up to ``upto`` have so many bytes; older than recent ones pass for
        many."""
        if after + 1 < self._from:
            return True
        return self._bytes_before(upto + 1 - self._from) - self._bytes_before(after + 1 - self._from) >= size

    def _bytes_before(self, place: int) -> int:
        return self._ends[place - 1] if place else self._begin

    # ---- writing

    def swear(self, term: int, vote: str, entries: tuple[LogEntry, ...] = ()) -> int:
        """Enter a term or vote in it, and append entries in the same piece."""
        self.term, self.vote = term, vote
        self.sworn = self.append(self.last_index, entries)
        return self.sworn

    def append(self, after: int, entries: tuple[LogEntry, ...]) -> int:
        """``entries`` take the place of what is behind ``after``. Returns the number that will be reported stored."""
        self.number += 1
        self._under_way.append(_UnderWay(self.number, after, after + len(entries) if entries else 0))
        if entries:
            if after < self.last_index:
                self._cut(after)
            self._extend(entries)
        self.emit(Append(self.number, self.term, self.vote, after, entries))
        return self.number

    def _extend(self, entries: tuple[LogEntry, ...]) -> None:
        self._recent.extend(entries)
        sizes = accumulate((len(entry.raw) for entry in entries), initial=self._bytes_recent())
        self._ends.extend(islice(sizes, 1, None))
        self._last_term = entries[-1].term
        for entry in entries:
            if entry.voters is not None:
                self._changes.append((entry.index, entry.voters))
                self.voters, self.voters_index = entry.voters, entry.index

    def _bytes_recent(self) -> int:
        return self._ends[-1] if self._ends else self._begin

    def _cut(self, after: int) -> None:
        assert after >= self.kept, "what is committed stays"
        keep = max(after + 1 - self._from, 0)
        del self._recent[keep:], self._ends[keep:]
        self._from = min(self._from, after + 1)
        self.stored = min(self.stored, after)
        self._changes = [change for change in self._changes if change[0] <= after]
        self.voters = self.voters_at(after)
        self.voters_index = min(self.voters_index, after)

    def keep(self, index: int) -> None:
        self._kept = max(self._kept, index)

    def send(self, to: str, message: Message) -> None:
        """As soon as this term and vote are stored."""
        if self.sworn <= self.done:
            self.emit(Send(to, message))
        else:
            self._owed.append((self.sworn, Send(to, message)))

    def note_stored(self, number: int) -> None:
        reached = self.stored
        while self._under_way and self._under_way[0].number <= number:
            piece = self._under_way.popleft()
            self.done = piece.number
            reached = piece.last or reached
        self.stored = min([reached, *(piece.after for piece in self._under_way if piece.last)])
        while self._owed and self._owed[0][0] <= self.done:
            self.emit(self._owed.popleft()[1])
        if self._changes and self._changes[0][0] <= self.stored:
            self._changes = [change for change in self._changes if change[0] > self.stored]
        if self._bytes_recent() - self._begin > 2 * RECENT_BYTES:
            self._forget()

    def _forget(self) -> None:
        """Let go of the oldest recent entries that are stored."""
        place = bisect_right(self._ends, self._bytes_recent() - RECENT_BYTES)
        place = min(place, self.stored + 1 - self._from)
        if place > 0:
            self._begin = self._ends[place - 1]
            self._from += place
            del self._recent[:place], self._ends[:place]

    def hush(self) -> None:
        """What was to be sent is not."""
        self._owed.clear()

    def install(self, index: int, term: int, voters: tuple[str, ...]) -> None:
        """A snapshot has taken the place of the whole stored log."""
        assert not any(piece.last for piece in self._under_way), "no entries come while a snapshot is fetched"
        self._recent, self._ends, self._begin, self._changes = [], [], 0, []
        self._from, self.stored, self._last_term = index + 1, index, term
        self.voters, self.voters_index = voters, index
        self.commit = max(self.commit, index)

    # ---- for tests and the simulator

    def check(self) -> None:
        assert self.first_index - 1 <= self.commit <= self.stored <= self.last_index, (
            "only stored entries are committed"
        )
        assert self._from - 1 <= self.stored, "what is not stored is in memory"
        indexes = [entry.index for entry in self._recent]
        assert indexes == list(range(self._from, self.last_index + 1)), "the log has no gap"
        terms = [entry.term for entry in self._recent]
        assert terms == sorted(terms), "terms do not go back"
        assert len(self._ends) == len(self._recent)
        assert self.voters == self.voters_at(self.last_index), "the latest configuration is in force"
        assert self._last_term == self.term_at(self.last_index)
        assert self.term >= self._last_term, "no entry is of a term to come"
        assert self.stored == self.last_index or self._under_way, "every entry that is not stored is on its way"
        numbers = [piece.number for piece in self._under_way]
        assert numbers == list(range(self.done + 1, self.number + 1)), "appends are numbered in their order"
