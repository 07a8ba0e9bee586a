"""What somebody who asks a network node's driver gets: the outcome, or why there is none.

Used by the driver and by ``nodes/sn``. Guarantees: who asks is answered, by the orderer, when time is up or when the
driver ends; every refusal is an error of `swarm.errors` that says what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from swarm.core.asking import (
    Answer,
    Answered,
    Asked,
    AskedTogether,
    Declined,
    GaveUp,
    NotLeading,
    Paused,
    RecoveryAsked,
    TurnedAway,
)
from swarm.core.events import Outcome
from swarm.core.intake import LINE_MAX
from swarm.core.ordering import ReadAsked
from swarm.errors import BY_CODE, Crowded, InternalError, Refused, SwarmError, Unreachable

Question = Asked | RecoveryAsked | ReadAsked
Told = Callable[[Outcome | SwarmError], None]


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
    """``step`` hands an event to the orderer, which may answer at once or later. Whoever asks waits for an answer, or
    leaves a function that gets it; whose time is up is found out by ``expire``, called again and again."""

    def __init__(self, step: Callable[[Question | AskedTogether | GaveUp], None]) -> None:
        self._step = step
        self._number = 0
        self._waiting: dict[int, _Waiter] = {}

    def number(self) -> int:
        self._number += 1
        return self._number

    async def ask(self, question: Question, deadline_s: float) -> Outcome | None:
        """The outcome; None for a read, which may be made now. Raises SwarmError for every other answer."""
        return _result((await self._ask(question, [question.number], deadline_s))[0])

    async def ask_together(
        self, raws: Sequence[bytes], wall_ms: int, deadline_s: float, by: bytes = b""
    ) -> list[Outcome | SwarmError]:
        """The outcome of each proposal, or why nobody can have made it, or that it is one too many of this
        organisation. Raises what holds for all of them."""
        asked = tuple(Asked(self.number(), raw, wall_ms, by) for raw in raws)
        answers = await self._ask(AskedTogether(asked), [each.number for each in asked], deadline_s)
        return [_why_not(answer) or as_outcome(_result(answer)) for answer in answers]

    def ask_for(self, raw: bytes, wall_ms: int, deadline_s: float, told: Told, by: bytes = b"") -> None:
        """``told`` gets the outcome of this proposal, or what ``ask`` would raise: within this call, or later."""
        asked = Asked(self.number(), raw, wall_ms, by)

        def tell(waiter: _Waiter) -> None:
            try:
                told(as_outcome(_result(waiter.answers[asked.number])))
            except SwarmError as error:
                told(error)

        self._begin(asked, [asked.number], deadline_s, tell)

    async def _ask(self, event: Question | AskedTogether, numbers: list[int], deadline_s: float) -> list[_Said]:
        done = trio.Event()
        waiter = self._begin(event, numbers, deadline_s, lambda waiter: done.set())
        await done.wait()
        return [waiter.answers[number] for number in numbers]

    def _begin(
        self,
        event: Question | AskedTogether,
        numbers: list[int],
        deadline_s: float,
        done: Callable[[_Waiter], None],
    ) -> _Waiter:
        waiter = _Waiter(numbers, deadline_s, done)
        for number in numbers:
            self._waiting[number] = waiter
        self._step(event)
        return waiter

    def answer(self, answer: Answer) -> None:
        if (waiter := self._waiting.pop(answer.number, None)) is not None:
            waiter.take(answer.number, answer)

    def expire(self) -> None:
        """Answer those whose time is up."""
        now_s = trio.current_time()
        over = {number: waiter for number, waiter in self._waiting.items() if waiter.end_s <= now_s}
        for number in over:  # all of them first: a step may have other answers come
            del self._waiting[number]
        for number, waiter in over.items():
            self._step(GaveUp(number))
            waiter.take(number, Unreachable(f"the ledger did not acknowledge it within {waiter.deadline_s:g} s"))

    def release(self, why: SwarmError) -> None:
        """Nobody will be answered any longer."""
        waiting, self._waiting = self._waiting, {}
        for number, waiter in waiting.items():
            waiter.take(number, why)


_Said = Answer | SwarmError


class _Waiter:
    """For the answers to all these numbers."""

    def __init__(self, numbers: list[int], deadline_s: float, done: Callable[[_Waiter], None]) -> None:
        assert numbers, "who asks nothing would never be answered"
        self.answers: dict[int, _Said] = {}
        self.deadline_s, self.end_s = deadline_s, trio.current_time() + deadline_s
        self._done = done
        self._missing = len(numbers)

    def take(self, number: int, answer: _Said) -> None:
        self.answers[number] = answer
        self._missing -= 1
        if not self._missing:
            self._done(self)


def as_outcome(answer: Outcome | None) -> Outcome:
    """Of a question that is no read."""
    assert answer is not None
    return answer


def _why_not(answer: _Said) -> SwarmError | None:
    """Of this proposal, and not of others that came with it."""
    match answer:
        case Declined():
            return BY_CODE.get(answer.code, InternalError)(answer.reason, hint=answer.hint)
        case TurnedAway():
            return Crowded(
                f"more than {LINE_MAX} proposals of this organisation wait for the ledger",
                hint="the same may be proposed again in a while; see which of its nodes proposes so much",
            )
    return None


def _result(answer: _Said) -> Outcome | None:
    match answer:
        case Answered():
            return answer.outcome
        case NotLeading():
            raise NotLeader(answer.leader or None)
        case Paused():
            raise Unreachable(f"the ledger pauses: {answer.reason}", hint=answer.hint)
        case SwarmError():
            raise answer
    if (why_not := _why_not(answer)) is not None:
        raise why_not
    return None
