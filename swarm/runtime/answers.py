"""What somebody who asks a network node's driver gets: the outcome, or why there is none.

Used by the driver and by ``nodes/sn``. Guarantees: who asks is answered, by the orderer, at the deadline or when the
driver ends; every refusal is an error of `swarm.errors` that says what to do next.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarm.core.asking import Answered, Asked, Declined, GaveUp, NotLeading, Paused, ReadReady, RecoveryAsked
from swarm.core.events import Outcome
from swarm.core.ordering import ReadAsked
from swarm.errors import BY_CODE, InternalError, Refused, SwarmError, Unreachable

Question = Asked | RecoveryAsked | ReadAsked
Answer = Answered | NotLeading | Paused | Declined | ReadReady


class NotLeader(Unreachable):
    """The question belongs to ``leader_uid`` (None: this node does not know it yet)."""

    def __init__(self, leader_uid: str | None) -> None:
        super().__init__("this network node does not order the ledger's entries: the leader does")
        self.leader_uid = leader_uid


class LedgerSuperseded(Refused):
    """A forced recovery went past this node: what its ledger holds behind ``common`` is not the network's."""

    def __init__(self, who: str, common: int, epoch: int) -> None:
        super().__init__(
            f"{who} leads epoch {epoch} of this ledger, begun by a forced recovery behind entry {common}, "
            "and does not have what this node acknowledged since",
            hint="it comes back as a learner, and lists what is lost",
        )
        self.common = common
        self.epoch = epoch


class Questions:
    """``step`` hands an event to the orderer, which may answer at once or later."""

    def __init__(self, step: Callable[[Question | GaveUp], None]) -> None:
        self._step = step
        self._number = 0
        self._waiting: dict[int, _Waiter] = {}

    def number(self) -> int:
        self._number += 1
        return self._number

    async def ask(self, question: Question, deadline_s: float) -> Outcome | None:
        """The outcome; None for a read, which may be made now. Raises SwarmError for every other answer."""
        waiter = self._waiting[question.number] = _Waiter()
        self._step(question)
        with trio.move_on_after(deadline_s):
            await waiter.done.wait()
        if self._waiting.pop(question.number, None) is not None and not waiter.done.is_set():
            self._step(GaveUp(question.number))
            raise Unreachable(f"the ledger did not acknowledge it within {deadline_s:g} s")
        return _result(waiter.answer)

    def answer(self, answer: Answer) -> None:
        if (waiter := self._waiting.pop(answer.number, None)) is not None:
            waiter.release(answer)

    def release(self, why: SwarmError) -> None:
        """Nobody will be answered any longer."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter.release(why)


class _Waiter:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: Answer | SwarmError | None = None

    def release(self, answer: Answer | SwarmError) -> None:
        self.answer = answer
        self.done.set()


def _result(answer: Answer | SwarmError | None) -> Outcome | None:
    match answer:
        case Answered():
            return answer.outcome
        case NotLeading():
            raise NotLeader(answer.leader or None)
        case Paused():
            raise Unreachable(f"the ledger pauses: {answer.reason}", hint=answer.hint)
        case Declined():
            raise BY_CODE.get(answer.code, InternalError)(answer.reason, hint=answer.hint)
        case SwarmError():
            raise answer
    return None
