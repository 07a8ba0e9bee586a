"""Signs of life, and last words: whom this network node hears, and who told it that it stops.

Run by ``nodes/sn``. Guarantees: whoever leads hears both, of every network node, as long as there is a way to it; that
a process stops is believed of itself alone, by its signature: of nobody by the word of who passes it on, and of no
later start of it.
"""

from __future__ import annotations

from typing import Any

import trio

from swarm.core.timekeeper import SILENCE_S
from swarm.errors import BadInput
from swarm.nodes.sn_leader import Leader
from swarm.nodes.sn_links import Links
from swarm.runtime.clock import Clock
from swarm.runtime.control import Handler, Link, Listener
from swarm.runtime.driver import Driver
from swarm.wire.lastwords import who_goes

ALIVE_EVERY_S = 2.0


class Life:
    def __init__(self, driver: Driver, leader: Leader, links: Links, clock: Clock, own_uid: str) -> None:
        self._driver, self._leader, self._links = driver, leader, links
        self._clock, self._own_uid = clock, own_uid
        self.heard_ms: dict[str, int] = {}
        """When each node of the ledger was heard last, by the wall clock."""
        self._heard_s: dict[str, float] = {}
        """The same by the other clock, of network nodes, who have this from when they are known here."""

    def handlers(self) -> dict[str, Handler]:
        return {"going": self._told_going}

    def listeners(self) -> dict[str, Listener]:
        return {"alive": self._told_alive}

    def silent(self) -> set[str]:
        """Network nodes that are not heard here: others would be lost by now, they are removed by a person only."""
        now_s = self._clock.now_s()
        network = (uid for uid, _ in self._driver.ledger.sns())
        return {uid for uid in network if now_s - self._heard_s.get(uid, now_s) > SILENCE_S}

    async def run(self) -> None:
        """The leader times them; the others tell it whom they hear. Of whom the ledger has let go, nothing is kept."""
        while True:
            now_s = self._clock.now_s()
            for uid, _ in self._driver.ledger.sns():
                self._heard_s.setdefault(uid, now_s)
            for gone in self.heard_ms.keys() - self._driver.ledger.nodes.keys():
                del self.heard_ms[gone]
            self._pass_on([*self._links.heard(), self._own_uid])
            await trio.sleep(ALIVE_EVERY_S)

    def _pass_on(self, heard: list[str], words: Any = b"") -> None:
        self._note(heard, words)
        if self._driver.role != "leader" and (leader := self._leader.link()) is not None:
            leader.tell("alive", {"uids": heard, "going": words})

    async def _told_going(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        """It stops, and is answered so that it knows that this was heard."""
        self._pass_on([], body.get("words"))
        return {}

    def _told_alive(self, link: Link, body: dict[str, Any]) -> None:
        match body:
            case {"uids": list(uids)} if all(isinstance(uid, str) for uid in uids):
                self._note(uids, body.get("going", b""))
            case _:
                raise BadInput(f"{link.peer} does not say whom it hears")

    def _note(self, uids: list[str], words: Any) -> None:
        """``words``: the last ones of somebody, or none."""
        ledger = self._driver.ledger
        self._driver.alive(uids, () if words == b"" else (who_goes(words, ledger.network_id),))
        now_ms, now_s = self._clock.wall_ms(), self._clock.now_s()
        self.heard_ms |= {uid: now_ms for uid in uids if uid in ledger.nodes}
        self._heard_s |= {uid: now_s for uid in uids if uid in self._heard_s}
