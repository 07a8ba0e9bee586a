"""What a network node says of its ledger to people: in its log as things happen, in every status while they last.

Used by the driver. Every sentence names whom or what it is about.
"""

from __future__ import annotations

import logging

from swarm.core.orderer import Orderer
from swarm.core.ordering import Copies, Refuse, Role
from swarm.runtime.founding import FORK_HINT, node_name
from swarm.runtime.store import Store

log = logging.getLogger("swarm.SN")


class Voice:
    def __init__(self, orderer: Orderer, store: Store) -> None:
        self._orderer = orderer
        self._store = store
        self.refused = ""
        """With whom this node disagrees on the ledger."""

    def notes(self) -> list[str]:
        trouble = self._store.trouble
        notes = [f"ledger pauses here: {trouble.message}"] if trouble is not None else []
        return [*notes, *([self.refused] if self.refused else [])]

    def tell(self, news: Role | Copies) -> None:
        match news:
            case Role(name="leader"):
                log.info("this network node leads the ledger, in term %d", news.term)
            case Role(leader=""):
                log.info("the ledger has no leader yet in term %d; this node is %s", news.term, news.name)
            case Role():
                log.info("the ledger is led by %s, in term %d", self._name(news.leader), news.term)
            case Copies() if len(self._orderer.consensus.voters) != 1:
                pass  # several voters store every entry before it is acknowledged
            case Copies(in_step=()):
                log.warning("ledger has one copy: no other SN stores it in step")
            case Copies():
                log.info("ledger is stored in step by %s", ", ".join(map(self._name, news.in_step)))

    def refuse(self, refusal: Refuse) -> None:
        """Somebody has lost part of its log: the node that decides alone, or another one; or somebody lies."""
        peer = self._name(refusal.peer)
        if self._orderer.consensus.voters == (self._orderer.uid,):
            self.refused = (
                f"{peer} says that its ledger is another one from entry {refusal.index} on, and nothing that this node "
                "has signed shows that: it goes on"
            )
        else:
            self.refused = (
                f"the network node {peer} does not have entry {refusal.index} as this node holds it: it was started "
                "from an old copy of its state directory, or lost its disk; this node keeps its own"
            )
        log.error("%s (%s)", self.refused, FORK_HINT)

    def _name(self, uid: str) -> str:
        return node_name(self._orderer.ledger, uid)
