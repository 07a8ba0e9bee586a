"""A network node that a person removes: it ends when it decides nothing any longer, and is told so if it was away.

Used by ``nodes/sn``, and by ``nodes/sn_heads`` for what network nodes tell each other beside their heads. Guarantees:
it ends by its own ledger, which whoever leads completes while there is a way to it; else by the word of others, as
`Voters.believes` has it. While it waits for somebody to hand over to, its status says for whom.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from swarm.core.electorate import wanted
from swarm.errors import Refused, SwarmError
from swarm.nodes.sn_links import Links
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver
from swarm.runtime.founding import node_name

log = logging.getLogger("swarm.SN")


class Removal:
    """``end`` is called with the sentence with which this node ends."""

    def __init__(self, driver: Driver, own_uid: str, end: Callable[[SwarmError], None]) -> None:
        self._driver, self._own_uid, self._end = driver, own_uid, end
        self._said_by: set[str] = set()

    # ---- its end

    def check(self) -> None:
        """Whether the ledger still has a place for this node, under this node key."""
        if self._is_over(self._own_uid):
            self._leave()

    def told(self, link: Link) -> dict[str, Any]:
        """Whether who is at the other end decides nothing any longer."""
        return {"removed": True} if self._is_over(link.peer.uid) else {}

    def take(self, link: Link, body: Any) -> None:
        uid, driver = link.peer.uid, self._driver
        if not isinstance(body, dict) or body.get("removed") is not True or uid in self._said_by:
            return
        if uid in dict(driver.ledger.sns()):
            self._said_by.add(uid)
            log.warning("%s says that this network node was removed", link.peer)
            if driver.ledger.voting.believes(self._own_uid, self._said_by, driver.voters):
                self._leave()

    def _is_over(self, uid: str) -> bool:
        return self._driver.ledger.voting.is_over(uid, self._driver.voters)

    def _leave(self) -> None:
        self._end(
            Refused(
                "this network node was removed from its network",
                hint="to have it back as a new one, start it with a new state directory (--state)",
            )
        )

    # ---- before its end

    @property
    def _was_removed(self) -> bool:
        own = self._driver.ledger.nodes.get(self._own_uid)
        return own is not None and own.state == "removed"

    @property
    def hands_over(self) -> bool:
        """Whether it decides until others do. By older rules the ledger would not follow who was started again."""
        followed = self._driver.ledger.voting.is_followed("Configuration")
        return self._was_removed and self._driver.role == "leader" and followed

    def notes(self, links: Links) -> list[str]:
        """What a status must say of it, a sentence each."""
        ledger = self._driver.ledger
        if not self.hands_over:
            names = ", ".join(node_name(ledger, uid) for uid in sorted(self._said_by))
            return [f"this network node was removed, by the word of {names}"] if names else []
        to = wanted(ledger.sns(), ledger.sentinel)
        away = ", ".join(node_name(ledger, uid) for uid in to if links.of(uid) is None)
        start = f" as soon as it reaches {away}: start what is missing with its state directory" if away else ""
        return [f"this network node was removed: it hands over{start}"]
