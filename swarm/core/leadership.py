"""What a leader does in its term: it replicates, decides what is committed, and confirms that it still leads.

One object for each term that ``core/consensus`` wins. Guarantees: an entry is committed when a majority of the voters
and this node have stored it, and every learner in step too while one voter decides alone, which sends nothing that it
has not stored; of earlier terms' entries only those count that one of the own term follows (Raft 5.4.2). Whom an entry
drops is told that it is committed, as long as it answers, and counts for nothing meanwhile: nobody else would tell it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from swarm.core.election import ELECTION_MAX_S, ELECTION_MIN_S, majority
from swarm.core.journal import Journal
from swarm.core.ordering import (
    Answer,
    Commit,
    Copies,
    Entries,
    LogEntry,
    Message,
    Readable,
    Send,
    SnapshotOffered,
)
from swarm.core.progress import Progress, State

IN_STEP_S = 1.0
PIECE_BYTES = 256 * 1024


class _Read(NamedTuple):
    number: int
    commit: int
    stamp: int  # whoever answers a later one followed this leader after the question


class Leadership:
    def __init__(self, uid: str, journal: Journal, now_s: float) -> None:
        self.uid = uid
        self.term = journal.term
        self.start = journal.last_index + (journal.last_term < journal.term)
        """The first entry of this term."""
        self.copies: tuple[str, ...] = ()
        self._journal = journal
        self._now_s = now_s
        self._stamp = 0
        self._followers: dict[str, Progress] = {}
        self._reads: deque[_Read] = deque()

    # ---- what others ask

    @property
    def alone(self) -> bool:
        """One voter decides: this one."""
        return self._journal.voters == (self.uid,)

    @property
    def settled(self) -> bool:
        """An entry of the own term is committed."""
        return self._journal.commit >= self.start

    @property
    def changing(self) -> bool:
        """A change of the voters is not yet committed."""
        return self._journal.voters_index > self._journal.commit

    @property
    def may_change(self) -> bool:
        return self.settled and not self.changing

    @property
    def removed(self) -> bool:
        """The voters have decided to go on without this node."""
        return self.uid not in self._journal.voters and self.may_change

    def tells(self, uid: str) -> bool:
        """That node gets the entries from here."""
        return uid in self._followers

    def lets_go(self, uid: str) -> bool:
        """Whether that node is sent to only until it knows that it was dropped."""
        return self._followers[uid].leaves > 0

    @property
    def leaving(self) -> tuple[str, ...]:
        """Those of them that are none of the network's any longer, and have yet to know it."""
        return tuple(uid for uid, follower in self._followers.items() if follower.leaves)

    def heard(self, within_s: float) -> int:
        """How many of the other voters answered in the last so many seconds."""
        return sum(self._now_s - self._followers[uid].heard_s <= within_s for uid in self._others())

    @property
    def lost_majority(self) -> bool:
        return self.heard(ELECTION_MAX_S) + (self.uid in self._journal.voters) < majority(self._journal.voters)

    @property
    def others_can_lead(self) -> bool:
        return self.heard(ELECTION_MIN_S) >= majority(self._journal.voters)

    def behind(self) -> dict[str, int]:
        """How many entries each node lacks that answers; this one none."""
        last = self._journal.last_index
        return {self.uid: 0} | {
            uid: last - follower.match
            for uid, follower in self._followers.items()
            if follower.answered and not follower.leaves and self._now_s - follower.heard_s <= ELECTION_MAX_S
        }

    # ---- events

    def tick(self, now_s: float) -> None:
        self._now_s = now_s
        for uid in self.leaving:
            self._let_go(uid)
        for uid, follower in self._followers.items():
            if follower.in_step and not self._is_fresh(follower):
                follower.in_step = False
                self._note_copies()
                self.advance()
            if follower.doubt(now_s) or follower.is_due(now_s):
                self._ask(uid, follower)

    def set_followers(self, learners: Iterable[str]) -> None:
        """Voters as the log names them, learners as the ledger does."""
        journal, known = self._journal, self._followers
        stay = dict.fromkeys([*journal.voters, *learners])
        self._followers = {
            uid: known.get(uid) or Progress(journal.stored + 1, self._now_s)
            for uid in dict.fromkeys([*stay, *known, *journal.decided])
            if uid != self.uid
        }
        for uid, follower in self._followers.items():
            follower.in_step = follower.in_step and self.alone
            if uid in stay:
                follower.stay()
            elif not follower.leaves:
                follower.leave(max(journal.commit, journal.voters_index), self._now_s)
        self._note_copies()
        self.advance()
        for uid, follower in self._followers.items():
            if not follower.asked:
                self._ask(uid, follower)

    def take(self, sender: str, answer: Answer) -> None:
        follower = self._followers[sender]
        if answer.stamp == 0:
            return
        go_on = follower.take(answer, self._journal.last_index, self._journal.shared, self._now_s)
        has_all = follower.match >= self._journal.commit and self._is_fresh(follower)
        follower.in_step = self.alone and has_all and not follower.leaves
        self._note_copies()
        if follower.leaves and self._let_go(sender):
            return
        if go_on:
            self.advance(sender)
            if not answer.found and follower.state is State.PROBING:
                self._ask(sender, follower)
        self._release()

    def _let_go(self, uid: str) -> bool:
        """Whether nothing is left to tell that node."""
        gone = self._followers[uid].is_gone(self._now_s, ELECTION_MAX_S)
        if gone:
            del self._followers[uid]
        return gone

    def read(self, number: int) -> None:
        gathers = bool(self._reads)  # a question is on its way: the next one is asked for all that wait by then
        self._reads.append(_Read(number, self._journal.commit, self._stamp))
        if not gathers:
            self._confirm()
        self._release()

    # ---- deciding

    def advance(self, sender: str = "") -> None:
        """Commit what is stored wherever it must be; send on what is new (``sender`` may take more in any case)."""
        decided = self._decided()
        if decided > self._journal.commit and decided >= self.start:
            self._journal.commit = decided
            self._journal.emit(Commit(decided))
            self._release()
        elif sender in self._followers:
            self._feed(sender, self._followers[sender])
            return
        for uid, follower in self._followers.items():
            self._feed(uid, follower)

    def _decided(self) -> int:
        voters, stored = self._journal.voters, self._journal.stored
        marks = [stored if uid == self.uid else self._followers[uid].match for uid in voters]
        decided = min(self._majority_of(marks), stored)
        if self.alone:
            decided = min([decided, *(follower.match for follower in self._followers.values() if follower.in_step)])
        return decided

    def _majority_of(self, marks: list[int]) -> int:
        """The highest mark that a majority has reached."""
        return sorted(marks, reverse=True)[majority(self._journal.voters) - 1]

    def _note_copies(self) -> None:
        followers = self._followers.items() if self.alone else ()
        copies = tuple(sorted(uid for uid, follower in followers if follower.in_step))
        if copies != self.copies:
            self.copies = copies
            self._journal.emit(Copies(copies))

    def _is_fresh(self, follower: Progress) -> bool:
        return self._now_s - follower.fresh_s <= IN_STEP_S

    def _others(self) -> list[str]:
        return [uid for uid in self._journal.voters if uid != self.uid]

    # ---- reading

    def _confirm(self) -> None:
        for uid in self._others():
            self._ask(uid, self._followers[uid])

    def _release(self) -> None:
        """Answer the reads for which a majority has confirmed this leader, as of an entry of its own term."""
        if not self._reads or not self.settled:
            return
        stamps = [self._stamp + 1 if uid == self.uid else self._followers[uid].answered for uid in self._journal.voters]
        confirmed = self._majority_of(stamps)
        released = False
        while self._reads and self._reads[0].stamp < confirmed:
            read = self._reads.popleft()
            self._journal.emit(Readable(read.number, max(read.commit, self.start)))
            released = True
        if released and self._reads:
            self._confirm()

    # ---- sending

    def _feed(self, uid: str, follower: Progress) -> None:
        """Send what is new, piece by piece, as far as it may be ahead of the answers."""
        journal, upto = self._journal, self._journal.shared
        while follower.next <= upto and follower.has_room(journal.fills(follower.next - 1, upto, PIECE_BYTES)):
            prev = follower.next - 1
            if prev < journal.first_index - 1:
                self._ask(uid, follower)
                return
            entries = journal.read(prev, upto, PIECE_BYTES)
            follower.note_sent(prev + len(entries), self._now_s)
            self._send_entries(uid, follower, prev, entries, self._next_stamp(follower))
        if follower.state is State.STREAMING and not follower.flight and follower.commit_sent < journal.commit:
            self._send_entries(uid, follower, follower.match, (), 0)

    def _ask(self, uid: str, follower: Progress) -> None:
        """How far are you? Also the heartbeat. The answer to it tells where to go on when anything was lost."""
        journal = self._journal
        prev = follower.match if follower.state is State.STREAMING else follower.next - 1
        stamp = self._next_stamp(follower)
        if prev < journal.first_index - 1:
            follower.offer()
            index = journal.snapshot_index
            self._send(uid, SnapshotOffered(self.term, stamp, index, journal.hash_at(index), journal.stored))
        else:
            self._send_entries(uid, follower, prev, (), stamp)
        if follower.state is not State.STREAMING:
            follower.asked = stamp

    def _next_stamp(self, follower: Progress) -> int:
        self._stamp += 1
        follower.sent_s = self._now_s
        return self._stamp

    def _send_entries(self, uid: str, follower: Progress, prev: int, entries: tuple[LogEntry, ...], stamp: int) -> None:
        journal = self._journal
        follower.note_commit(journal.commit, stamp)
        one_copy = self.alone and not self.copies
        last = max(journal.shared, prev + len(entries))
        self._send(uid, Entries(self.term, stamp, prev, journal.hash_at(prev), entries, last, journal.commit, one_copy))

    def _send(self, uid: str, message: Message) -> None:
        self._journal.emit(Send(uid, message))

    # ---- for tests and the simulator

    def check(self) -> None:
        for follower in self._followers.values():
            follower.check(self._journal.last_index)
            assert not follower.in_step or follower.match >= self._journal.commit, "who is in step has all"
        assert set(self._others()) <= set(self._followers), "every voter is told of every entry"
        assert not set(self._others()) & set(self.leaving), "and stays"
        assert [read.stamp for read in self._reads] == sorted(read.stamp for read in self._reads)
