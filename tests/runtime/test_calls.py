"""What one end of a link asks the other: as much at a time as the other takes, the rest in turn."""

from __future__ import annotations

import trio
import trio.testing

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
