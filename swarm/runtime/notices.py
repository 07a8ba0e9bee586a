"""What the other end of a link tells without asking, until it is handled.

Used by `runtime.control`. Guarantees: notices are handled one after the other, in their order; how many of them wait is
bounded, and in how much memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from swarm.errors import BadInput
from swarm.wire import frame

WAITING_MAX = 1024
MEMORY_MAX = 4 << 20
"""The nodes of one release handle theirs as they come in: `Control`'s listeners."""


class Notices:
    """``who`` names the other end; ``handle`` raises nothing."""

    def __init__(self, who: str, handle: Callable[[str, dict[str, Any]], Awaitable[None]]) -> None:
        self._who, self._handle = who, handle
        self._waiting, self._to_handle = trio.open_memory_channel[tuple[str, dict[str, Any], int]](WAITING_MAX)
        self._memory = 0

    def put(self, verb: str, body: dict[str, Any]) -> None:
        """Raises BadInput when it is too much."""
        memory = frame.memory(body)
        if self._memory and self._memory + memory > MEMORY_MAX:
            raise BadInput(f"notices of {self._who} wait to be handled, in more than {MEMORY_MAX >> 20} MiB of memory")
        try:
            self._waiting.send_nowait((verb, body, memory))
        except trio.WouldBlock:
            raise BadInput(f"more than {WAITING_MAX} notices of {self._who} wait to be handled") from None
        self._memory += memory

    async def handle(self) -> None:
        """Until the link has ended."""
        async for verb, body, memory in self._to_handle:
            await self._handle(verb, body)
            self._memory -= memory

    def close(self) -> None:
        self._waiting.close()
