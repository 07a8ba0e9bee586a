"""Who writes in `swarm bench ledger`: a member of the network that proposes, over one link to one network node.

Guarantees: a write counts when the network node has acknowledged it; one that is refused ends the bench.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import trio

from swarm.core.events import Outcome
from swarm.errors import Refused, Unreachable, from_wire
from swarm.nodes.ledgerlink import Address
from swarm.nodes.taskrun import TASKRUNNER
from swarm.runtime.control import Control, Link
from swarm.runtime.credentials import Credentials
from swarm.runtime.introduction import introduction
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local, Peer
from swarm.wire.signed import sign_proposal

ANSWER_S = 20.0
AGAIN_S = 0.05
AT_ONCE = 1000
"""Proposals of one question. One is under way at a time: the ledger takes an author's in their order, nearly."""


class Writer:
    def __init__(self, local: Local, link: Link) -> None:
        self._local = local
        self._link = link
        self._seq = 0

    def joining(self) -> bytes:
        """The proposal that makes it a member."""
        return self._signed("NodeJoined", introduction(self._local, self._local.credentials.identity.role))

    def proposal(self) -> bytes:
        """One that is accepted however often it comes, and that leaves nothing behind: an operator listens (again)."""
        return self._signed("SwopListening", {"taskrunner": TASKRUNNER, "group": "bench", "peers": 1})

    async def write(self, raw: bytes) -> None:
        outcome = Outcome.from_wire(await self._link.call("propose", {"proposal": raw}, deadline_s=ANSWER_S))
        if (error := outcome.error()) is not None:
            raise error

    async def write_until_acknowledged(self, raw: bytes, patience_s: float) -> None:
        """The same bytes again and again, as every member does while the ledger pauses."""
        with trio.move_on_after(patience_s):
            while True:
                try:
                    await self.write(raw)
                    return
                except Unreachable:
                    await trio.sleep(AGAIN_S)
        raise Unreachable(f"no write was acknowledged within {patience_s:g} s")

    async def status(self) -> dict[str, Any]:
        said: dict[str, Any] = await self._link.call("status", {}, deadline_s=ANSWER_S)
        return said

    async def one_by_one(self, make: Callable[[], bytes], seconds: float) -> list[float]:
        """Write for so long; how long each took."""
        took: list[float] = []
        begun = now = monotonic()
        while now - begun < seconds:
            await self.write(make())
            took.append(monotonic() - now)
            now += took[-1]
        return took

    async def write_all(self, raws: list[bytes]) -> None:
        """In one question."""
        said = await self._link.call("propose", {"proposals": raws}, deadline_s=ANSWER_S)
        for wire in said["outcomes"]:
            error = from_wire(wire["error"]) if "error" in wire else Outcome.from_wire(wire).error()
            if error is not None:
                raise error

    async def all_at_once(self, proposals: Sequence[bytes], seconds: float) -> float:
        """Write for so long, or until these are written, ``AT_ONCE`` under way at any time; writes a second."""
        waiting, written = iter(proposals), 0
        begun = monotonic()
        while monotonic() - begun < seconds and (raws := list(islice(waiting, AT_ONCE))):
            await self.write_all(raws)
            written += len(raws)
        return written / (monotonic() - begun)

    def _signed(self, kind: str, body: dict[str, object]) -> bytes:
        self._seq += 1
        state = self._local.state
        return sign_proposal(
            state.node_key,
            network_id=state.network_id,
            uid=state.uid,
            incarnation=state.incarnation,
            seq=self._seq,
            kind=kind,
            body=body,
            certificate_key=self._local.credentials.private_key if kind == "NodeJoined" else None,
        )


@asynccontextmanager
async def writing(credentials: Credentials, directory: Path, address: Address) -> AsyncIterator[Writer]:
    """Linked to the network node at this address."""
    with StateDirectory(directory) as state:
        local = Local(credentials, state)
        mesh = Mesh(local)
        control = Control(mesh, {}, _nothing_is_asked_here)
        async with mesh.run(listen=[]), control.run():
            link = await control.connect(*address, deadline_s=ANSWER_S)
            yield Writer(local, link)


def _nothing_is_asked_here(peer: Peer, verb: str) -> None:
    raise Refused(f"{peer.identity} may not ask '{verb}' of a bench")
