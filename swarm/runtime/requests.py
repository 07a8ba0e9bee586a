"""What the other end of a link asks here, until it is answered.

Used by `runtime.control`. Guarantees: no more than ``CONCURRENT_MAX`` at a time, which take ``MEMORY_MAX`` together if
they are several; whoever asks is answered once, with what the handler returns or the error that it raises. Most
handlers wait for something, each in a task of its own; where the answer arises elsewhere and soon, a prompt one leaves
the request there: turns of the loop and a task for each cost more than what is asked.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from swarm.errors import BadInput, Crowded, InternalError, SwarmError
from swarm.runtime.calls import CONCURRENT_MAX
from swarm.runtime.outbox import Outbox
from swarm.wire import frame

MEMORY_MAX = 8 << 20
"""What is over it is to be asked again: bodies of a network node that passes on what many propose may be large."""
T = TypeVar("T")

log = logging.getLogger("swarm.control")


class Requests:
    """``who`` names the other end. ``handle`` answers in a task of ``nursery``; ``begin`` does so promptly, or says
    False."""

    def __init__(
        self,
        who: str,
        outbox: Outbox,
        nursery: trio.Nursery,
        *,
        admitted: trio.Event,
        handle: Callable[[Request], Awaitable[Any]],
        begin: Callable[[Request], bool],
    ) -> None:
        self._who = who
        self._outbox, self._nursery, self._admitted = outbox, nursery, admitted
        self._handle, self._begin = handle, begin
        self._unanswered = 0
        self._memory = 0

    def take(self, number: int, verb: str, body: dict[str, Any]) -> None:
        """Raises BadInput when it is one too many."""
        self._unanswered += 1
        if self._unanswered > CONCURRENT_MAX:
            raise BadInput(f"{self._who} asked more than {CONCURRENT_MAX} things at once")
        request = Request(self, number, verb, body)
        others, self._memory = self._memory, self._memory + request.memory
        try:
            if others and self._memory > MEMORY_MAX:
                raise _too_much(verb)
            begun = self._admitted.is_set() and self._begin(request)
        except Exception as error:
            request.fail(error)
        else:
            if not begun:
                request.take_time()

    def start(self, request: Request) -> None:
        self._start(self._answer, request)

    async def _answer(self, request: Request) -> None:
        try:
            await self._admitted.wait()
            data = request.packed(await self._handle(request))
        except Exception as error:
            data = self._told(request, error)
        await self._send((request, data))

    def reply(self, request: Request, content: Any) -> None:
        try:
            data = request.packed(content)
        except Exception as error:
            data = self._told(request, error)
        self._post(request, data)

    def fail(self, request: Request, error: Exception) -> None:
        self._post(request, self._told(request, error))

    def _told(self, request: Request, error: Exception) -> bytes:
        """What the other end hears of this error."""
        if not isinstance(error, SwarmError):
            log.error("'%s' of %s", request.verb, self._who, exc_info=error)
            error = InternalError(f"internal error while '{request.verb}' was handled: {type(error).__name__}")
        return frame.pack(["error", request.number, error.to_wire()])

    def _post(self, request: Request, data: bytes) -> None:
        try:
            self._outbox.post(data)
        except trio.WouldBlock:
            self._start(self._send, (request, data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._is_over(request)  # and nobody is there any longer
        else:
            self._is_over(request)

    async def _send(self, answer: tuple[Request, bytes]) -> None:
        request, data = answer
        self._is_over(request)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._outbox.send(data)

    def _is_over(self, request: Request) -> None:
        self._unanswered -= 1
        self._memory -= request.memory

    def _start(self, task: Callable[[T], Awaitable[None]], value: T) -> None:
        with contextlib.suppress(RuntimeError):  # the link has ended, and all its tasks
            self._nursery.start_soon(task, value)


class Request:
    """One of them. Exactly one of ``reply``, ``fail`` and ``take_time`` is called, whether the link still is there or
    not."""

    def __init__(self, requests: Requests, number: int, verb: str, body: dict[str, Any]) -> None:
        self.number, self.verb, self.body = number, verb, body
        self.memory = frame.memory(body)
        self._requests = requests

    def reply(self, content: Any) -> None:
        self._requests.reply(self, content)

    def fail(self, error: Exception) -> None:
        self._requests.fail(self, error)

    def take_time(self) -> None:
        """The handler of this verb is to answer, in a task of its own."""
        self._requests.start(self)

    def packed(self, content: Any) -> bytes:
        return frame.pack(["reply", self.number, content])


def _too_much(verb: str) -> Crowded:
    return Crowded(
        f"what was asked over this link and is not answered takes more than {MEMORY_MAX >> 20} MiB of memory with "
        f"{verb[:40]!r}",
        hint="the same may be asked again in a while",
    )
