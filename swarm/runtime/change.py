"""Something that happens again and again, and can be waited for.

Used in trio's loop. Guarantee: who waits is woken by the next `tell`, and by none before.
"""

from __future__ import annotations

import trio


class Change:
    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()
