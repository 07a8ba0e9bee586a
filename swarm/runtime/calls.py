"""What one end of a link has asked the other, until it is answered.

Used by `runtime.control`. Guarantees: no more than ``CONCURRENT_MAX`` of what was sent are unanswered at a time,
whoever waits for it; an answer goes to whoever asked, and to nobody when that one has given up; what answers nothing
ends the link.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from swarm.errors import BadInput

CONCURRENT_MAX = 64


class Answer(NamedTuple):
    kind: str
    content: Any


class Calls:
    def __init__(self) -> None:
        self._waiting: dict[int, tuple[trio.Event, list[Answer]]] = {}
        self._unanswered: set[int] = set()
        self._room = trio.Semaphore(CONCURRENT_MAX)
        self._number = 0

    async def make(self, send: Callable[[int], Awaitable[None]], deadline_s: float) -> Answer | None:
        """The answer to what ``send`` asks under a number; None when the link has ended. Raises trio.TooSlowError."""
        self._number = number = self._number + 1
        self._waiting[number] = answered, answers = trio.Event(), list[Answer]()
        try:
            with trio.fail_after(deadline_s):
                await self._ask(number, send)
                await answered.wait()
        finally:
            del self._waiting[number]
        return answers[0] if answers else None

    async def _ask(self, number: int, send: Callable[[int], Awaitable[None]]) -> None:
        """As one of those that the other side is at until it has answered, even if nobody waits for that any more."""
        try:
            self._room.acquire_nowait()  # not a turn of the loop for each call, while there is room
        except trio.WouldBlock:
            await self._room.acquire()
        self._unanswered.add(number)
        try:
            await send(number)
        except BaseException:
            self._settle(number)
            raise

    def take(self, kind: str, number: int, content: Any) -> None:
        """Raises BadInput when nothing was asked under this number, or that is answered already."""
        if number not in self._unanswered:
            raise BadInput(f"an answer under the number {number}, and no question of that number waits for one")
        self._settle(number)
        if number in self._waiting:
            answered, answers = self._waiting[number]
            answers[:] = [Answer(kind, content)]
            answered.set()

    def _settle(self, number: int) -> None:
        if number in self._unanswered:
            self._unanswered.remove(number)
            self._room.release()

    def end(self) -> None:
        """Nothing is answered any more."""
        for answered, _ in self._waiting.values():
            answered.set()
