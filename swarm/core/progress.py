"""What a leader knows of one follower's log, and what it may send it.

Used by ``core/leadership``. Three states, and what leads from one to the next:

    probing    one question without entries after the other, until the follower has what comes before ``next``
               found -> streaming; not found -> probing further back, or streaming when that is known, or offered
    streaming  entries go out before the earlier ones are answered, at most ``WINDOW`` messages ahead
               not found, or nothing more arrives for ``RESEND_S`` -> probing from the last match
    offered    it needs what only the snapshot has; the offer is repeated as a heartbeat
               found -> streaming
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from swarm.core.ordering import Answer

HEARTBEAT_S = 0.25
RESEND_S = 0.5
WINDOW = 4
"""Messages with entries that may be unanswered, while they are full."""
WINDOW_OF_SMALL = 2
"""The same while they are not: what comes meanwhile gathers for the next."""


class State(Enum):
    PROBING = "probing"
    STREAMING = "streaming"
    OFFERED = "offered"


@dataclass(slots=True)
class Progress:
    next: int
    """The first index to send."""
    heard_s: float
    """When it answered last."""
    match: int = 0
    """Stored there, and equal to this log, up to here."""
    state: State = State.PROBING
    answered: int = 0
    """The highest stamp that it answered."""
    asked: int = 0
    """The stamp of the latest question outside streaming: an earlier *not found* is no news."""
    lost: int = 0
    """The stamp of the answer that told of a lost log: earlier matches are void."""
    flight: deque[int] = field(default_factory=deque)
    """The last index of each message with entries that is not known to have arrived."""
    flight_s: float = 0.0
    """Since when nothing of them arrived."""
    sent_s: float = float("-inf")
    commit_sent: int = 0
    in_step: bool = False
    fresh_s: float = float("-inf")
    """When it last had everything, or came nearer to it."""
    leaves: int = 0
    """The entry by which it is none of the network's any longer, and which it has yet to be told; 0: it is one."""
    left_s: float = 0.0
    told: int = 0
    """The first stamp with which it was told that this entry is committed."""

    def take(self, answer: Answer, last: int, shared: int, now_s: float) -> bool:
        """Note an answer of this term; the log ends with ``last`` and may be sent up to ``shared``. Whether there is
        reason to ask or to send at once."""
        self.heard_s = now_s
        if answer.stamp < self.lost:
            return False
        news = answer.stamp > self.answered
        self.answered = max(self.answered, answer.stamp)
        if not answer.found:
            return news and answer.stamp >= self.asked and self._back_to(min(answer.last, last), answer.stamp)
        self._note_match(min(answer.match, last), shared, now_s)
        if self.state is not State.STREAMING and answer.stamp >= self.asked:
            self.state = State.STREAMING
            self.next = self.match + 1
        return True

    def _note_match(self, match: int, shared: int, now_s: float) -> None:
        if match > self.match or match >= shared:
            self.fresh_s = now_s
        self.match = max(self.match, match)
        self.next = max(self.next, self.match + 1)
        while self.flight and self.flight[0] <= self.match:
            self.flight.popleft()
            self.flight_s = now_s

    def _back_to(self, last: int, stamp: int) -> bool:
        if last < self.match:
            self.match, self.lost = last, stamp
        if self.state is not State.STREAMING and self.next == last + 1:
            return False  # it said so before: the next heartbeat asks again
        known = self.state is State.PROBING and last == self.match
        self._go(State.STREAMING if known else State.PROBING, last + 1)
        return True

    def _go(self, state: State, next_index: int) -> None:
        self.state = state
        self.next = next_index
        self.flight.clear()

    def note_sent(self, last: int, now_s: float) -> None:
        """A message with the entries up to ``last`` goes out."""
        if not self.flight:
            self.flight_s = now_s
        self.flight.append(last)
        self.next = last + 1

    def doubt(self, now_s: float) -> bool:
        """Whether what is in flight has been lost, by the time that it takes: then it is asked where to go on."""
        if not self.flight or now_s - self.flight_s < RESEND_S:
            return False
        self._go(State.PROBING, self.match + 1)
        return True

    def is_due(self, now_s: float) -> bool:
        return now_s - self.sent_s >= HEARTBEAT_S

    def leave(self, index: int, now_s: float) -> None:
        self.leaves, self.left_s, self.told, self.in_step = index, now_s, 0, False

    def stay(self) -> None:
        self.leaves = 0

    def note_commit(self, commit: int, stamp: int) -> None:
        """A message goes out that says so; one without a stamp is not answered."""
        self.commit_sent = commit
        if self.leaves and not self.told and commit >= self.leaves:
            self.told = stamp

    def is_gone(self, now_s: float, patience_s: float) -> bool:
        """Nothing is left to tell it: it knows, or does not answer."""
        knows = 0 < self.told <= self.answered and self.match >= self.leaves
        return self.leaves > 0 and (knows or now_s - max(self.heard_s, self.left_s) > patience_s)

    def offer(self) -> None:
        self._go(State.OFFERED, self.next)

    def has_room(self, full: bool) -> bool:
        return self.state is State.STREAMING and len(self.flight) < (WINDOW if full else WINDOW_OF_SMALL)

    def check(self, last: int) -> None:
        assert self.match < self.next <= last + 1, "nothing was sent that is not in the log"
        assert len(self.flight) <= WINDOW, "what is unanswered is bounded"
        assert list(self.flight) == sorted(set(self.flight)), "entries are sent in their order"
        assert not self.flight or self.flight[-1] == self.next - 1
        assert not (self.leaves and self.in_step), "who leaves is no copy"
