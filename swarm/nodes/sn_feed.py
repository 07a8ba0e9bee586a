"""Entries for whoever follows: pushed to each follower, the next piece when it has taken the last.

Used by ``nodes/sn``. Guarantees: entries come in order and without a gap; a slow follower holds up nobody else.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from swarm.core.fields import COUNT_MAX
from swarm.errors import BadInput, Refused, SwarmError
from swarm.runtime.change import Change
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver

FOLLOW_S = 60.0
"""One that is gone is told by its missing beats; one that takes entries slowly on a busy machine still takes them."""

log = logging.getLogger("swarm.SN")


class Feed:
    """``applied`` tells of every entry that the driver has applied."""

    def __init__(self, driver: Driver, nursery: trio.Nursery, applied: Change) -> None:
        self._driver, self._nursery, self._applied = driver, nursery, applied
        self._followers: set[Link] = set()

    async def follow(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        after = body.get("after")
        if type(after) is not int or not 0 <= after < COUNT_MAX:
            raise BadInput(f"'follow' says after which entry, received {after!r:.40}")
        if link in self._followers:
            raise Refused("this link follows the ledger already")
        entry, hash_ = self._driver.entry_at(after), body.get("hash")
        if entry is not None and hash_ is not None and entry.hash != hash_:
            return {"head": self._driver.head, "goes_on": False}
        self._followers.add(link)
        self._nursery.start_soon(self._feed, link, after)
        return {"head": self._driver.head}

    async def _feed(self, link: Link, after: int) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._push, link, after)
                await link.closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._followers.discard(link)

    async def _push(self, link: Link, after: int) -> None:
        try:
            while True:
                while self._driver.ledger.head_index <= after:
                    await self._applied.wait()
                entries = self._driver.entries_after(after)
                after = _progress(await link.call("entries", {"entries": entries}, deadline_s=FOLLOW_S), after)
        except (SwarmError, OSError) as error:  # old ones are read from files
            log.info("no more entries to %s: %s", link.peer.identity, error)
            await link.close()


def _progress(taken: Any, after: int) -> int:
    """Up to where a follower has the entries, which it says itself."""
    match taken:
        case {"head": int(head)} if head > after:
            return head
    raise BadInput(f"it took no entry behind {after}")
