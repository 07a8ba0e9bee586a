"""Watching: what a list shows, again and again, until nothing of it goes on.

Used by `swarm task ls --watch` and `swarm slots ls --watch`. Guarantees: it is looked at after entries of the ledger,
or after 30 s without any, and at most twice a second; it is shown when it has changed; a network that answers no longer
ends it, in one sentence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from swarm.core.ledger import Ledger
from swarm.nodes.client import Client

QUIET_S = 30.0
"""So long nothing may come before the network node is asked whether it is still there."""
BETWEEN_S = 0.5
T = TypeVar("T")


def watched(
    look: Callable[[Ledger], T], show: Callable[[T], None], goes_on: Callable[[Ledger], bool]
) -> Callable[[Client], Awaitable[T]]:
    """What was shown last, once nothing of it goes on."""

    async def work(client: Client) -> T:
        ledger = await client.ledger()
        shown = look(ledger)
        show(shown)
        while goes_on(ledger):
            seen = ledger.head_index
            await client.until(lambda ledger: True if ledger.head_index > seen else None, QUIET_S)  # noqa: B023
            await trio.sleep(BETWEEN_S)  # many entries at once are one change
            ledger = await client.ledger()
            if (now := look(ledger)) != shown:
                shown = now
                show(shown)
        return shown

    return work
