"""One question or one proposal to the network, from a command: connect, ask, go.

Used by `swarm demo|run|contract`. The certificate's role decides what may be asked. Guarantee: an answer, or one
sentence within the deadline; no connection and no node that stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import trio

from swarm.core.events import Outcome
from swarm.errors import Interrupted, Unreachable
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.starting import run_node
from swarm.runtime.control import Control
from swarm.runtime.credentials import Credentials
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local, Peer

ANSWER_S = 10.0
ACCEPTED_S = 30.0
T = TypeVar("T")


def ask_status(address: Address, credentials: Credentials, state: Path) -> dict[str, Any]:
    """What the network node at this address says of itself, the ledger and its contracts."""

    async def ask(local: Local) -> dict[str, Any]:
        mesh = Mesh(local)
        control = Control(mesh, {}, _nothing_is_asked_here)
        async with mesh.run(listen=[]), control.run():
            link = await control.connect(*address, deadline_s=ANSWER_S)
            status: dict[str, Any] = await link.call("status", {}, deadline_s=ANSWER_S)
            return status

    return _run(ask, credentials, state)


def propose(address: Address, credentials: Credentials, state: Path, kind: str, body: dict[str, Any]) -> Outcome:
    """Join the network, have the ledger decide on this, leave. Raises what it refused."""

    async def decide(local: Local) -> Outcome:
        link = LedgerLink(local, [address])
        mesh = Mesh(local)
        control = Control(mesh, link.handlers(), _nothing_is_asked_here)
        with trio.move_on_after(ACCEPTED_S):
            async with mesh.run(listen=[]), control.run(), trio.open_nursery() as nursery:
                await nursery.start(link.run, control)
                outcome = await _as_member(link, local, kind, body)
                nursery.cancel_scope.cancel()
            return outcome
        raise Unreachable(f"the ledger did not take {kind} within {ACCEPTED_S:g} s: {link.lost or 'it pauses'}")

    return _run(decide, credentials, state)


async def _as_member(link: LedgerLink, local: Local, kind: str, body: dict[str, Any]) -> Outcome:
    joining = {
        "chain": local.credentials.chain,
        "node_key": local.state.node_public,
        "role": local.credentials.identity.role,
        "addresses": [],
        "incarnation": local.state.incarnation,
    }
    joined = await link.propose("NodeJoined", joining, joining=True)
    if (error := joined.error()) is not None:
        raise error
    outcome = await link.propose(kind, body)
    await link.propose("NodeLeft", {})
    if (error := outcome.error()) is not None:
        raise error
    return outcome


def _run(asking: Callable[[Local], Awaitable[T]], credentials: Credentials, state: Path) -> T:
    with StateDirectory(state) as directory:
        answer = run_node(asking, Local(credentials, directory))
    if answer is None:
        raise Interrupted("interrupted")
    return answer


def _nothing_is_asked_here(peer: Peer, verb: str) -> None:
    """Only network nodes are on the other side, and they call what was subscribed to."""
