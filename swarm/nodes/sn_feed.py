"""Entries for whoever follows: pushed to each follower, some pieces ahead of its answers where it is far away.

Used by ``nodes/sn``. Guarantees: entries come in order and without a gap; no more than AHEAD pieces are unanswered; a
slow follower holds up nobody else.

A piece says behind which entry it goes on. A follower takes what goes on where its own entries end, as far as it has
the time, and answers up to where it has them: so it takes nothing of what is under way behind a piece that it took a
part of, and once all is answered that is sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import trio

from swarm.core.fields import COUNT_MAX
from swarm.errors import BadInput, Refused, SwarmError
from swarm.nodes.sn_recoveries import Recoveries
from swarm.runtime.change import Change
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver
from swarm.runtime.started import TaskStatus

FOLLOW_S = 60.0
"""One that is gone is told by its missing beats; one that takes entries slowly on a busy machine still takes them."""
AHEAD = 4
AHEAD_S = 0.005
"""What is new waits so long for the answer to the piece before it: who is near gets fewer pieces, with more in them."""

log = logging.getLogger("swarm.SN")


class Feed:
    """``applied`` tells of every entry that the driver has applied."""

    def __init__(self, driver: Driver, recoveries: Recoveries, nursery: trio.Nursery, applied: Change) -> None:
        self._driver, self._recoveries, self._nursery, self._applied = driver, recoveries, nursery, applied
        self._followers: set[Link] = set()

    async def follow(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        after = body.get("after")
        if type(after) is not int or not 0 <= after < COUNT_MAX:
            raise BadInput(f"'follow' says after which entry, received {after!r:.40}")
        if link in self._followers:
            raise Refused("this link follows the ledger already")
        entry, hash_ = self._driver.entry_at(after), body.get("hash")
        shown = self._recovery(after, body.get("epoch"))
        if entry is not None and hash_ is not None and entry.hash != hash_:
            return {"head": self._driver.head, "goes_on": False, **shown}
        self._followers.add(link)
        follower = Follower(link, after, AHEAD if body.get("ahead") is True else 1, self._applied.tell)
        self._nursery.start_soon(self._feed, follower)
        return {"head": self._driver.head, **shown}

    def _recovery(self, after: int, epoch: Any) -> dict[str, bytes]:
        """What gave up some of what somebody has who has read up to ``after``, and no forced recovery since ``epoch``:
        the entry that begins a later epoch, if there is one up to there."""
        if type(epoch) is not int:
            return {}
        entry = self._recoveries.after(epoch, after)
        return {"recovery": entry.raw} if entry is not None else {}

    async def _feed(self, follower: Follower) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._push, follower, nursery)
                await follower.link.closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._followers.discard(follower.link)

    async def _push(self, follower: Follower, nursery: trio.Nursery) -> None:
        epoch = self._driver.ledger.epoch
        try:
            while True:
                await follower.ready()
                while self._driver.ledger.head_index <= follower.sent:
                    await self._applied.wait()
                    if epoch < self._driver.ledger.epoch and follower.sent > self._driver.ledger.voting.lost_after:
                        raise Refused("it has read what a forced recovery gave up, and is told when it comes again")
                epoch = self._driver.ledger.epoch
                if follower.may_be_sent_to:  # it may have answered meanwhile that it lacks some
                    entries = self._driver.entries_after(follower.sent)
                    await nursery.start(follower.take, entries)
        except (SwarmError, OSError) as error:  # old ones are read from files
            await follower.give_up(error)


class Follower:
    """One of them: up to where entries were sent to it, and it has them. ``ahead``: pieces that it takes unanswered;
    ``again`` is called when some are to be sent again."""

    def __init__(self, link: Link, after: int, ahead: int, again: Callable[[], None]) -> None:
        self.link = link
        self.sent = self._taken = after
        self._ahead, self._again = ahead, again
        self._unanswered = 0
        self._before = after
        """What it had when all was answered."""
        self._lacks = False
        self._answered = Change()

    @property
    def may_be_sent_to(self) -> bool:
        return not self._lacks and self._unanswered < self._ahead

    async def ready(self) -> None:
        """Wait until it has answered, or is far away, and may be sent more."""
        with trio.move_on_after(AHEAD_S):
            while self._unanswered:
                await self._answered.wait()
        while not self.may_be_sent_to:
            await self._answered.wait()

    async def take(self, entries: list[bytes], *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Send it the next ones; its answer is seen to when it comes."""
        after, self.sent = self.sent, self.sent + len(entries)
        self._unanswered += 1
        task_status.started()  # who waits for that goes on when this task waits: when they have been sent
        body = {"after": after, "entries": entries}
        try:
            self._has(await self.link.call("entries", body, deadline_s=FOLLOW_S), after + len(entries))
        except SwarmError as error:
            await self.give_up(error)

    def _has(self, answer: Any, due: int) -> None:
        match answer:
            case {"head": int(head)}:
                self._taken = max(self._taken, head)  # tasks that wait for answers go on in any order
            case _:
                raise self._took_nothing()
        self._unanswered -= 1
        self._lacks |= self._taken < due
        if not self._unanswered:
            if self._taken <= self._before:
                raise self._took_nothing()
            self.sent = self._before = self._taken
            if self._lacks:
                self._lacks = False
                self._again()
        self._answered.tell()

    def _took_nothing(self) -> BadInput:
        return BadInput(f"it took no entry behind {self._taken}")

    async def give_up(self, error: Exception) -> None:
        log.info("no more entries to %s: %s", self.link.peer.identity, error)
        await self.link.close()
