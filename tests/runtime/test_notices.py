"""What is told over a link waits for its handler in order, and in little memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from swarm.errors import BadInput
from swarm.runtime.notices import MEMORY_MAX, WAITING_MAX, Notices
from swarm.wire import frame

TEXTS = {"words": [f"{number:02x}" for number in range(256)] * 64}
"""A sixteenth of a frame that takes a megabyte."""


def full(put: Callable[[], None]) -> tuple[int, str]:
    count = 0
    while True:
        try:
            put()
        except BadInput as error:
            return count, error.message
        count += 1


def test_notices_wait_in_no_more_memory_than_is_said_and_in_no_greater_number() -> None:
    async def handle(verb: str, body: dict[str, Any]) -> None:
        raise AssertionError("nothing is handled here")

    async def main() -> None:
        notices = Notices("somebody", handle)
        count, why = full(lambda: notices.put("words", frame.unpack_body(frame.pack(TEXTS)[4:])))
        assert count == MEMORY_MAX // frame.memory(frame.unpack_body(frame.pack(TEXTS)[4:])) < 8
        assert why == "notices of somebody wait to be handled, in more than 4 MiB of memory"
        count, why = full(lambda: Notices.put(few, "word", {"a": 1}))
        assert (count, why) == (WAITING_MAX, f"more than {WAITING_MAX} notices of somebody wait to be handled")

    few = Notices("somebody", handle)
    trio.run(main)


def test_the_largest_is_taken_where_none_waits_and_what_was_handled_counts_no_longer() -> None:
    handled: list[int] = []

    async def handle(verb: str, body: dict[str, Any]) -> None:
        handled.append(body["n"])

    async def main() -> None:
        notices = Notices("somebody", handle)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notices.handle)
            for n in range(2):
                notices.put("large", {"n": n, "x": b"x" * (MEMORY_MAX + 1)})
                with pytest.raises(BadInput, match="MiB of memory"):
                    notices.put("small", {"n": 0})
                await trio.testing.wait_all_tasks_blocked()
            notices.close()

    trio.run(main)
    assert handled == [0, 1]
