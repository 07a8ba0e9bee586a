"""The verbs `propose` and `forward` of a network node: one proposal, or a list of them that become entries together.

Used by ``nodes/sn``. Guarantees: what only leaders make is taken from nobody; who asks is answered, after ``PROPOSE_S``
and ``HAND_OVER_S`` at the latest. While this node leads, a single proposal, which is what nearly all are, waits without
a task of its own.
"""

from __future__ import annotations

from typing import Any

import trio

from swarm.core.events import Outcome
from swarm.errors import BadInput, Refused, SwarmError, Unreachable
from swarm.nodes.sn_leader import Leader, answers_as_wire, as_wire
from swarm.runtime.answers import NotLeader
from swarm.runtime.control import Handler, Link, Prompt
from swarm.runtime.driver import Driver
from swarm.runtime.requests import Request
from swarm.wire.signed import proposal_header

PROPOSE_S = 8.0
HAND_OVER_S = 1.0
"""So long after it was asked, a question is begun anew when this node turns out not to be who answers it."""
PROPOSALS_MAX = 1024
"""Of one question: as many as an answer of small outcomes has room for."""
LEADERS_OWN = frozenset({"Configuration", "ForcedRecovery"})
"""Kinds that consensus follows as soon as they are stored: no leader takes them from anybody."""


class Proposals:
    def __init__(self, driver: Driver, leader: Leader) -> None:
        self._driver, self._leader = driver, leader

    def handlers(self) -> dict[str, Handler]:
        return {"propose": self._propose, "forward": self._forward}

    def prompt(self) -> dict[str, Prompt]:
        return {"propose": self._propose_promptly, "forward": self._propose_promptly}

    async def _propose(self, link: Link, body: dict[str, Any]) -> dict[str, Any] | None:
        raws = _proposals(body)
        if "proposals" in body:
            return {"outcomes": await self._leader.propose_all(raws, PROPOSE_S, _asker(link))}
        return as_wire(await self._leader.propose(raws[0], PROPOSE_S, _asker(link)))

    async def _forward(self, link: Link, body: dict[str, Any]) -> dict[str, Any] | None:
        """Of another network node, which finds another leader by itself when this node is none."""
        raws, by = _proposals(body), self._asker_there(body)
        if "proposals" in body:
            return {"outcomes": answers_as_wire(await self._driver.propose_all(raws, deadline_s=PROPOSE_S, by=by))}
        return as_wire(await self._driver.propose(raws[0], deadline_s=PROPOSE_S, by=by))

    def _asker_there(self, body: dict[str, Any]) -> bytes:
        """By the word of the network node that passes it on: an organisation that the ledger has admitted, or none."""
        by = body.get("by")
        return by if isinstance(by, bytes) and by in self._driver.ledger.anchors else b""

    def _propose_promptly(self, link: Link, request: Request) -> bool:
        if self._driver.role != "leader" or "proposals" in request.body:
            return False
        (raw,) = _proposals(request.body)
        anew_until_s = trio.current_time() + HAND_OVER_S

        def told(answer: Outcome | SwarmError) -> None:
            if isinstance(answer, Outcome):
                request.reply(as_wire(answer))
            elif type(answer) in (Unreachable, NotLeader) and trio.current_time() < anew_until_s:
                request.take_time()  # another one leads, or it pauses: there is time to wait for that
            else:
                request.fail(answer)

        by = _asker(link) if request.verb == "propose" else self._asker_there(request.body)
        self._driver.propose_for(raw, told, deadline_s=PROPOSE_S, by=by)
        return True


def _asker(link: Link) -> bytes:
    return link.peer.identity.anchor


def _proposals(body: dict[str, Any]) -> list[bytes]:
    raws = body["proposals"] if "proposals" in body else [body["proposal"]]
    if not isinstance(raws, list) or not 0 < len(raws) <= PROPOSALS_MAX:
        raise BadInput(f"'proposals' has to be a list of 1 to {PROPOSALS_MAX}")
    for raw in raws:
        kind = proposal_header(raw).kind
        if kind in LEADERS_OWN:
            raise Refused(f"a proposal of the kind {kind} is nobody's to make but the leader's")
    return raws
