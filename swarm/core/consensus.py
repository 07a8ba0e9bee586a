"""The order of the ledger's entries: a Raft machine, run by each network node.

Driven by ``runtime/driver``: every event goes through ``handle``, and the effects that come back are performed in their
order. Guarantees, whatever is lost, doubled, reordered or crashes:

* nothing leaves this node (no entry, answer or term) before it is stored here: *persist before send*;
* an entry is committed only when every voter that must have stored it has, and, while one voter decides alone, every
  learner *in step* too: one that keeps answering within a second and has all that was committed before;
* a log never gives up an entry: who is asked to replace one refuses and names the index. While one voter decides alone
  everything stored anywhere was stored by that voter first, so a difference proves that it lost part of its log.

Entries are identified by their hash, which covers all that came before, so equal hashes mean equal logs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from swarm.core.ordering import (
    NO_HASH,
    Answer,
    Append,
    Commit,
    Configuration,
    Configured,
    Copies,
    Effect,
    Entries,
    Event,
    LogEntry,
    Proposed,
    Refuse,
    Role,
    Send,
    Stored,
    Ticked,
)

HEARTBEAT_S = 0.25
IN_STEP_S = 1.0
RESEND_S = 0.5
PIECE_BYTES = 256 * 1024


class Log(Protocol):
    """The stored entries."""

    @property
    def last_index(self) -> int: ...

    def entry(self, index: int) -> LogEntry: ...

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        """The entries behind ``after`` up to ``upto``: at least one, more as ``max_bytes`` allows."""
        ...


@dataclass(slots=True)
class _Follower:
    """What the leader knows of another node's log."""

    next: int  # the first index to send
    match: int = 0
    stamp: int = 0
    answered: int = 0
    in_flight: int = 0  # stamp of the message that must be answered before more entries go out; 0: none
    sent_s: float = 0.0
    commit_sent: int = 0
    in_step: bool = False
    fresh_s: float = 0.0  # when it last had everything, or came nearer to it


@dataclass(slots=True)
class _Following:
    """What a follower knows of the leader of this term."""

    matched: int = 0
    commit: int = 0
    one_copy: bool = True
    owed: tuple[int, bool, int] | None = None  # stamp, found and conflict of the answer that waits for the disk


class Consensus:
    """One node's part. ``log`` shows what is stored; term, vote and commit are what the store held at start."""

    def __init__(self, uid: str, log: Log, *, term: int, vote: str, commit: int, configuration: Configuration) -> None:
        self.uid = uid
        self.role = "learner"
        self.leader = ""
        self.term = term
        self.vote = vote
        self.commit = commit
        self.configuration = configuration
        self.refused = False
        self.heard_s = float("-inf")
        """When the leader was last heard, on the clock of the ticks."""
        self._log = log
        self._unstored: deque[LogEntry] = deque()
        self._pending: deque[tuple[int, int]] = deque()  # number and last index of the appends under way
        self._number = 0
        self._now_s = 0.0
        self._followers: dict[str, _Follower] = {}
        self._following = _Following()
        self._effects: list[Effect] = []

    # ---- the log: stored entries, then those under way

    @property
    def stored(self) -> int:
        return self._log.last_index if not self._unstored else self._unstored[0].index - 1

    @property
    def last_index(self) -> int:
        return self._unstored[-1].index if self._unstored else self._log.last_index

    def _entry(self, index: int) -> LogEntry:
        if self._unstored and index >= self._unstored[0].index:
            return self._unstored[index - self._unstored[0].index]
        return self._log.entry(index)

    def hash_at(self, index: int) -> bytes:
        return self._entry(index).hash if index else NO_HASH

    # ---- what others may ask

    @property
    def in_step(self) -> tuple[str, ...]:
        return tuple(uid for uid, follower in sorted(self._followers.items()) if follower.in_step)

    @property
    def one_copy(self) -> bool:
        if self.role == "leader":
            return not self.in_step
        return self._following.one_copy or self._now_s - self.heard_s > IN_STEP_S

    def handle(self, event: Event) -> list[Effect]:
        if isinstance(event, Ticked):
            self._now_s = max(self._now_s, event.now_s)
        if not (self.refused and self.role == "leader"):
            self._take(event)
        effects, self._effects = self._effects, []
        return effects

    def _take(self, event: Event) -> None:
        if isinstance(event, Proposed):
            self._propose(event.entries)
        elif isinstance(event, Stored):
            self._note_stored(event.number)
        elif isinstance(event, Ticked):
            self._tick()
        elif isinstance(event, Configured):
            self._configure(event.configuration)
        elif isinstance(event.message, Entries):
            self._receive_entries(event.sender, event.message)
        else:
            self._receive_answer(event.sender, event.message)

    # ---- leading

    def _tick(self) -> None:
        if self.role == "leader":
            for uid, follower in self._followers.items():
                if follower.in_step and self._now_s - follower.fresh_s > IN_STEP_S:
                    self._set_in_step(follower, False)
                    self._advance()
                if self._now_s - follower.sent_s >= (RESEND_S if follower.in_flight else HEARTBEAT_S):
                    self._ask(uid, follower)
        elif self.configuration.voters == (self.uid,) and not self._pending:
            self._stand()

    def _stand(self) -> None:
        """The only voter is elected as soon as its own vote is stored."""
        self.term += 1
        self.vote = self.uid
        self._save(())

    def _lead(self) -> None:
        self.role = "leader"
        self.leader = self.uid
        self._effects.append(Role("leader", self.term, self.uid))
        self._set_followers()

    def _propose(self, entries: tuple[LogEntry, ...]) -> None:
        assert self.role == "leader", "only the leader makes entries"
        for place, entry in enumerate(entries, self.last_index + 1):
            assert (entry.index, entry.term) == (place, self.term), "entries follow the log, in the leader's term"
        self._save(entries)

    def _configure(self, configuration: Configuration) -> None:
        self.configuration = configuration
        if self.role == "leader":
            self._set_followers()

    def _set_followers(self) -> None:
        before, known = self.in_step, self._followers
        others = [uid for uid in (*self.configuration.voters, *self.configuration.learners) if uid != self.uid]
        self._followers = {uid: known.get(uid) or _Follower(next=self.stored + 1) for uid in others}
        if self.in_step != before:
            self._effects.append(Copies(self.in_step))
        self._advance()
        for uid, follower in self._followers.items():
            if follower.stamp == 0:
                self._ask(uid, follower)

    def _set_in_step(self, follower: _Follower, in_step: bool) -> None:
        if follower.in_step != in_step:
            follower.in_step = in_step
            self._effects.append(Copies(self.in_step))

    def _advance(self) -> None:
        """Commit what is stored wherever it must be."""
        stored = [self.stored if uid == self.uid else self._followers[uid].match for uid in self.configuration.voters]
        decided = sorted(stored, reverse=True)[len(stored) // 2]
        if len(stored) == 1:
            decided = min([decided, *(follower.match for follower in self._followers.values() if follower.in_step)])
        # Of earlier terms' entries only those count that one of the own term follows (Raft 5.4.2).
        if decided > self.commit and self._entry(decided).term == self.term:
            self.commit = decided
            self._effects.append(Commit(decided))
        for uid, follower in self._followers.items():
            self._feed(uid, follower)

    def _feed(self, uid: str, follower: _Follower) -> None:
        """Send what is new, piece by piece: while one is unanswered, entries gather for the next."""
        if follower.in_flight:
            return
        if follower.next <= self.stored:
            # Until the follower has shown that it has what comes before, nothing big goes out on suspicion.
            known = follower.match == follower.next - 1
            entries = self._log.read(follower.match, self.stored, PIECE_BYTES) if known else ()
            follower.in_flight = follower.stamp + 1
            self._send_entries(uid, follower, entries)
        elif follower.commit_sent < self.commit:
            self._send_entries(uid, follower, ())

    def _ask(self, uid: str, follower: _Follower) -> None:
        """How far are you? Also the heartbeat. The answer to it tells where to go on when anything was lost."""
        if not follower.answered:
            follower.next = self.stored + 1
        if follower.in_flight or follower.match != follower.next - 1:
            follower.in_flight = follower.stamp + 1
        self._send_entries(uid, follower, ())

    def _send_entries(self, uid: str, follower: _Follower, entries: tuple[LogEntry, ...]) -> None:
        prev = follower.next - 1
        follower.stamp += 1
        follower.sent_s = self._now_s
        follower.commit_sent = self.commit
        message = Entries(
            self.term, follower.stamp, prev, self.hash_at(prev), entries, self.stored, self.commit, not self.in_step
        )
        self._effects.append(Send(uid, message))

    def _receive_answer(self, sender: str, answer: Answer) -> None:
        follower = self._followers.get(sender)
        if follower is None or answer.term < self.term:
            return
        if answer.conflict or answer.term > self.term or answer.last > self.last_index:
            self._refuse(sender, answer.conflict or min(answer.last, self.last_index) + 1)
            return
        if answer.stamp < follower.answered:
            return
        follower.answered = answer.stamp
        if answer.stamp >= follower.in_flight:
            follower.in_flight = 0
        if answer.found:
            self._note_match(follower, answer.match)
        else:
            follower.match = min(follower.match, answer.last)  # less than before: it started anew without its log
            follower.next = answer.last + 1
            if follower.match < self.commit:
                self._set_in_step(follower, False)
        self._advance()

    def _note_match(self, follower: _Follower, match: int) -> None:
        fresh = match > follower.match or match >= self.stored
        follower.match = max(follower.match, match)
        follower.next = follower.match + 1
        if fresh:
            follower.fresh_s = self._now_s
            if follower.match >= self.commit:
                self._set_in_step(follower, True)

    # ---- following

    def _receive_entries(self, sender: str, message: Entries) -> None:
        if self.configuration.voters and sender not in self.configuration.voters:
            return
        if message.term < self.term:
            if not self._pending:
                self._effects.append(Send(sender, Answer(self.term, message.stamp, False, 0, self.stored, 0)))
            return
        if message.term > self.term or sender != self.leader:
            self._follow(sender, message.term)
        self.heard_s = self._now_s
        following = self._following
        conflict = self._conflict(message)
        found = not conflict and message.prev_index <= self.last_index
        if found:
            following.matched = max(following.matched, message.prev_index + len(message.entries))
            following.commit = max(following.commit, message.commit)
            following.one_copy = message.one_copy
            if fresh := tuple(entry for entry in message.entries if entry.index > self.last_index):
                self._save(fresh)
        stamp, _, earlier = following.owed or (0, False, 0)
        following.owed = (max(stamp, message.stamp), found, conflict or earlier)
        self._settle()
        if conflict and not self.refused:
            self._refuse(sender, conflict)

    def _follow(self, sender: str, term: int) -> None:
        self.leader = sender
        self._following = _Following()
        if term > self.term:
            self.term = term
            self.vote = ""
            self._save(())
        self._effects.append(Role("learner", term, sender))

    def _conflict(self, message: Entries) -> int:
        """The first index known at which this log holds what the leader's does not; 0 if there is none."""
        if message.prev_index <= self.last_index and self.hash_at(message.prev_index) != message.prev_hash:
            return message.prev_index
        for entry in message.entries:
            if entry.index <= self.last_index and self.hash_at(entry.index) != entry.hash:
                return entry.index
        # All that is stored here came from the only voter's log in earlier terms, and a log does not get shorter.
        if message.last < self.last_index and self._entry(self.last_index).term < message.term:
            return message.last + 1
        return 0

    def _settle(self) -> None:
        """Answer and commit once everything is stored."""
        following = self._following
        if self._pending:
            return
        commit = min(following.commit, following.matched)
        if commit > self.commit:
            self.commit = commit
            self._effects.append(Commit(commit))
        if following.owed:
            stamp, found, conflict = following.owed
            following.owed = None
            answer = Answer(self.term, stamp, found, following.matched, self.stored, conflict)
            self._effects.append(Send(self.leader, answer))

    # ---- storing

    def _save(self, entries: tuple[LogEntry, ...]) -> None:
        self._number += 1
        self._unstored.extend(entries)
        self._pending.append((self._number, self.last_index))
        self._effects.append(Append(self._number, self.term, self.vote, entries))

    def _note_stored(self, number: int) -> None:
        while self._pending and self._pending[0][0] <= number:
            _, last = self._pending.popleft()
            while self._unstored and self._unstored[0].index <= last:
                self._unstored.popleft()
        if self.role == "leader":
            self._advance()
        elif self.vote == self.uid and not self._pending:
            self._lead()
        else:
            self._settle()

    def _refuse(self, peer: str, index: int) -> None:
        self.refused = True
        self._effects.append(Refuse(peer, index))

    # ---- for tests and the simulator

    def check(self) -> None:
        """Every invariant that this node can see of itself."""
        assert self.commit <= self.stored <= self.last_index, "only stored entries are committed"
        assert not self._unstored or self._pending, "every entry that is not stored is on its way"
        numbers = [number for number, _ in self._pending]
        assert numbers == sorted(set(numbers)), "appends are numbered in their order"
        indexes = [entry.index for entry in self._unstored]
        assert indexes == list(range(self.stored + 1, self.last_index + 1)), "the log has no gap"
        for follower in self._followers.values():
            assert self.role == "leader", "only the leader has followers"
            assert follower.match <= self.stored, "nothing was sent before it was stored"
            assert follower.match < follower.next <= self.stored + 1
        if self.role == "leader":
            assert self.vote == self.leader == self.uid, "a leader voted for itself"
