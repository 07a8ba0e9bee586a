"""Whoever asks a driver is answered: by the orderer, or when time is up."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from swarm.core.asking import Answered, AskedTogether, GaveUp, TurnedAway
from swarm.core.events import Outcome
from swarm.errors import Crowded, SwarmError, Unreachable, from_wire
from swarm.runtime.answers import Questions


def test_an_answer_that_comes_while_others_are_given_up_is_no_second_one() -> None:
    asked: list[int] = []

    def step(event: Any) -> None:
        match event:
            case AskedTogether():
                asked.extend(each.number for each in event.asked)
            case GaveUp():  # the ledger goes on applying with every event
                for number in asked:
                    questions.answer(Answered(number, Outcome(1, True)))

    questions = Questions(step)
    told: list[SwarmError] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(Unreachable, match="the ledger did not acknowledge it within 5 s") as raised:
                    await questions.ask_together([b"a", b"b", b"c"], 0, 5)
                told.append(raised.value)

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            questions.expire()
            assert not told
            await trio.sleep(5)
            questions.expire()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(told) == 1


def test_one_too_many_of_an_organisation_is_told_so_and_to_come_again_and_the_others_have_their_outcome() -> None:
    def step(event: Any) -> None:
        first, second = event.asked
        assert {each.by for each in event.asked} == {b"org"}
        questions.answer(Answered(first.number, Outcome(7, True)))
        questions.answer(TurnedAway(second.number))

    questions = Questions(step)
    outcome, error = trio.run(questions.ask_together, [b"a", b"b"], 0, 5.0, b"org")
    assert outcome == Outcome(7, True)
    assert isinstance(error, Crowded)
    told = from_wire(error.to_wire())
    assert isinstance(told, Crowded)
    assert told.message == "more than 4096 proposals of this organisation wait for the ledger"
    assert told.hint.startswith("the same may be proposed again in a while")
