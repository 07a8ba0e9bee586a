"""What one end of a link asks the other: as much at a time as the other takes, the rest in turn."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swarm.errors import BadInput
from swarm.runtime.calls import CONCURRENT_MAX, Answer, Calls


class Scene:
    """``asked``: the numbers that have left."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.asked: list[int] = []
        self.answers: list[Answer | None] = []

    async def call(self) -> None:
        async def send(number: int) -> None:
            self.asked.append(number)

        self.answers.append(await self.calls.make(send, 5.0))


def test_who_finds_no_room_leaves_when_another_is_answered() -> None:
    async def main() -> None:
        scene = Scene()
        async with trio.open_nursery() as nursery:
            for _ in range(CONCURRENT_MAX + 1):
                nursery.start_soon(scene.call)
            await trio.testing.wait_all_tasks_blocked()
            assert len(scene.asked) == CONCURRENT_MAX
            scene.calls.take("reply", scene.asked[0], None)
            await trio.testing.wait_all_tasks_blocked()
            assert len(scene.asked) == CONCURRENT_MAX + 1
            for number in scene.asked[1:]:
                scene.calls.take("reply", number, None)
        assert len(scene.answers) == CONCURRENT_MAX + 1

    trio.run(main)


def test_what_answers_nothing_that_was_asked_or_answers_it_twice_is_an_error() -> None:
    async def main() -> None:
        scene = Scene()
        with pytest.raises(BadInput, match="an answer under the number 1, and no question"):
            scene.calls.take("reply", 1, None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.call)
            await trio.testing.wait_all_tasks_blocked()
            scene.calls.take("reply", 1, "said")
        assert scene.answers == [Answer("reply", "said")]
        with pytest.raises(BadInput, match="an answer under the number 1"):
            scene.calls.take("error", 1, {})

    trio.run(main)


def test_an_answer_may_come_before_its_question_has_quite_left() -> None:
    async def main() -> None:
        calls = Calls()

        async def send(number: int) -> None:
            calls.take("reply", number, "quick")

        assert await calls.make(send, 5.0) == Answer("reply", "quick")

    trio.run(main)
