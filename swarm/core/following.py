"""What a follower knows of its leader, and how the leader's entries fit into its own log.

Used by ``core/consensus``; one object for each leader that it follows. Guarantees: nothing is answered before it is
stored; what is committed is given up for nobody. That includes what an only voter sent in its own term, although it may
not have acknowledged it: it was stored by all voters before it left, so a difference proves that this voter lost it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from swarm.core.journal import Journal
from swarm.core.ordering import Answer, Commit, Entries, LogEntry, Send, SnapshotOffered


class Place(NamedTuple):
    """How a message fits: ``found``, then ``entries`` come behind ``after``; else the leader goes back to ``last``."""

    found: bool
    after: int = 0
    entries: tuple[LogEntry, ...] = ()
    last: int = 0
    conflict: int = 0
    """The first index known at which this node has committed an entry, and the leader has another."""


class _Owed(NamedTuple):
    number: int
    """The append that has to be stored before this is answered."""
    stamp: int
    found: bool
    last: int
    conflict: int


class Following:
    def __init__(self, journal: Journal, leader: str) -> None:
        self.leader = leader
        self.one_copy = True
        self._journal = journal
        self._matched = 0  # equal to the leader's log up to here, stored or under way
        self._commit = 0
        self._stamp = 0
        self._owed: deque[_Owed] = deque()

    # ---- comparing

    def place(self, message: Entries | SnapshotOffered) -> Place:
        if isinstance(message, SnapshotOffered):
            return self._place_offer(message)
        journal, prev, entries = self._journal, message.prev_index, message.entries
        if prev > journal.last_index:
            return Place(False, last=journal.last_index)
        floor = journal.first_index - 1
        if prev < floor:  # committed and compacted here: compared from where it can be
            if prev + len(entries) <= floor:
                return Place(True, journal.last_index)
            before, entries, prev = entries[floor - prev - 1], entries[floor - prev :], floor
            if before.hash != journal.hash_at(floor):
                return Place(False, conflict=floor)
        elif journal.hash_at(prev) != message.prev_hash:
            return self._go_back(message)
        return self._join(message, prev, entries)

    def _place_offer(self, message: SnapshotOffered) -> Place:
        """``found``: what the snapshot holds is here."""
        journal, index = self._journal, message.index
        if not journal.first_index - 1 <= index <= journal.last_index:
            return Place(index <= journal.kept, last=journal.last_index)
        same = journal.hash_at(index) == message.hash
        return Place(same, last=journal.last_index, conflict=0 if same or index > journal.kept else index)

    def _go_back(self, message: Entries) -> Place:
        """The entry at ``prev_index`` is another: where may the leader try next?"""
        journal, prev, floor = self._journal, message.prev_index, self._journal.first_index - 1
        if prev > journal.kept:
            return Place(False, last=max(journal.kept, self._matched))
        if prev == floor:
            return Place(False, conflict=prev)
        # It must not be, so it is found out where it began: one, three, seven, ... entries further back.
        return Place(False, last=max(floor, 2 * prev - 1 - journal.last_index))

    def _join(self, message: Entries, prev: int, entries: tuple[LogEntry, ...]) -> Place:
        """Equal up to ``prev``; the hash chain tells the same of all entries before an equal one."""
        journal = self._journal
        same = min(len(entries), journal.last_index - prev)
        if same and journal.hash_at(prev + same) != entries[same - 1].hash:
            same = next(n for n in range(same) if journal.hash_at(prev + n + 1) != entries[n].hash)
            if prev + same < journal.kept:
                return Place(False, conflict=prev + same + 1)
        return Place(True, prev + same, entries[same:])

    # ---- answering

    def take(self, message: Entries | SnapshotOffered, place: Place) -> None:
        """Append what is new; to be answered as soon as that is stored."""
        journal = self._journal
        number = journal.number
        if place.found and isinstance(message, SnapshotOffered):
            self._matched = max(self._matched, message.index)
        elif place.found and isinstance(message, Entries):
            number = journal.append(place.after, place.entries) if place.entries else journal.sworn
            last = message.prev_index + len(message.entries)
            self._matched = max(self._matched, last)
            self._commit = max(self._commit, message.commit)
            if self._is_decided(last, message.term):
                journal.keep(last)
            self.one_copy = message.one_copy
        self._owe(number, message.stamp, place.found, place.last, place.conflict)

    def _is_decided(self, index: int, term: int) -> bool:
        journal = self._journal
        return index == journal.last_index and journal.last_term == term and journal.voters == (self.leader,)

    def note_installed(self, index: int) -> None:
        """A snapshot holds nothing that is not committed, so every leader to come has it."""
        self._matched = max(self._matched, index)
        self._owe(self._journal.sworn, self._stamp, True, index, 0)

    def _owe(self, number: int, stamp: int, found: bool, last: int, conflict: int) -> None:
        self._stamp = max(self._stamp, stamp)
        if stamp or conflict:
            self._owed.append(_Owed(number, stamp, found, last, conflict))

    def settle(self) -> None:
        """Commit and answer as far as things are stored: one answer to all messages of which everything is."""
        journal = self._journal
        committed = min(self._commit, self._matched, journal.stored)
        if committed > journal.commit:
            journal.commit = committed
            journal.emit(Commit(committed))
        due = [owed for owed in self._owed if owed.number <= journal.done]
        if not due:
            return
        self._owed = deque(owed for owed in self._owed if owed.number > journal.done)
        latest = max(due, key=lambda owed: owed.stamp)
        conflict = max(owed.conflict for owed in due)
        match = min(self._matched, journal.stored) if latest.found else 0
        last = min(latest.last, journal.stored)
        journal.emit(Send(self.leader, Answer(journal.term, latest.stamp, latest.found, match, last, conflict)))
