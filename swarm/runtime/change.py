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


async def either(one: trio.Event, other: trio.Event) -> None:
    """Return when one of them has happened."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(wait, one)
        nursery.start_soon(wait, other)
