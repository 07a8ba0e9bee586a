"""The learning node (SL): one per participant; stands between its program, its peers and the ledger.

Started by ``run-sl``, with the training program as its child or to serve one that is started by hand. Guarantees: it
outlives the program long enough to serve the last model; when the program ends early the contract is told at once;
nothing of it is left running.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio

from swarm.core.events import Applied
from swarm.core.member import Member
from swarm.errors import IdentityError, Refused, SwarmError, WorkerFailed
from swarm.nodes.learning import Learning
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.listening import listen_host
from swarm.nodes.models import Models
from swarm.nodes.progress import Progress
from swarm.nodes.worker import Worker
from swarm.runtime.channel_server import ChannelServer, Session
from swarm.runtime.control import Control
from swarm.runtime.data import DataClient, DataServer, Region, Want
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local, Peer
from swarm.wire import tensorbytes
from swarm.wire.messages import Open
from swarm.wire.signed import Entry

SERVE_LAST_S = 600.0
log = logging.getLogger("swarm.SL")


@dataclass(frozen=True)
class Settings:
    sn: Address
    host_ip: str
    fs_port: int
    credentials: Credentials
    state: StateDirectory
    command: Sequence[str]
    """The training program; empty: serve one that is started by hand."""


async def run(settings: Settings) -> int:
    """Be a learning node until the program has ended (or until cancelled, without a command). Its exit code."""
    node = LearningNode(settings)
    try:
        return await node.run()
    finally:
        node.close()


class LearningNode:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = settings.state
        self.local = Local(settings.credentials, settings.state)
        self.progress = Progress(self.state.path / "report.jsonl")
        self.client = DataClient(self.local)
        self.server = DataServer(self.local, self._find, listen_host(settings.host_ip), settings.fs_port)
        self.link = LedgerLink(
            self.local, [settings.sn], on_applied=self._on_applied, on_link=self._on_link, report=log.debug
        )
        self.learning: Learning | None = None
        self.failed: SwarmError | None = None
        self._changed = trio.Event()

    async def run(self) -> int:
        self.server.start()
        mesh = Mesh(self.local)
        control = Control(mesh, self.link.handlers(), authorise)
        channel = ChannelServer()
        async with mesh.run(listen=[]), control.run(), trio.open_nursery() as nursery:
            await nursery.start(self.link.run, control)
            await self._join()
            await nursery.start(channel.serve, self._session)
            self._say_ready(channel)
            code = await self._program(channel)
            nursery.cancel_scope.cancel()
        return code

    def close(self) -> None:
        self.server.close()
        self.client.close()
        self.progress.close()

    @property
    def data_address(self) -> str:
        return f"{self.settings.host_ip}:{self.server.port}"

    # ---- joining

    async def _join(self) -> None:
        body = {
            "chain": self.local.credentials.chain,
            "node_key": self.state.node_public,
            "role": "sl",
            "addresses": [self.data_address],
            "incarnation": self.state.incarnation,
        }
        outcome = await self.link.propose("NodeJoined", body, joining=True)
        if not outcome.accepted:
            raise IdentityError(f"the network did not admit this learning node: {outcome.reason}")

    def _say_ready(self, channel: ChannelServer) -> None:
        ready = {
            "fs_port": self.server.port,
            "uid": self.state.uid,
            "pid": os.getpid(),
            "channel": channel.path,
        }
        self.state.write_json("ready.json", ready)
        log.info("learning node %s ready on port: %d", self.settings.credentials.identity.name, self.server.port)

    # ---- the program

    async def _program(self, channel: ChannelServer) -> int:
        if not self.settings.command:
            for name, value in channel.environment().items():
                print(f"export {name}={value}", flush=True)
            await trio.sleep_forever()
        worker = await Worker.start(self.settings.command, channel.environment())
        try:
            code = await worker.wait()
        finally:
            await worker.stop()
        if code == 0:
            await self._serve_last()
            return 0
        await self._leave(f"its program ended with code {code}")
        if self.failed is not None:
            raise self.failed
        lines = "\n".join(f"  {line}" for line in worker.last_lines)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        error = WorkerFailed(f"the training program {how}; its last lines:\n{lines or '  (none)'}")
        if code < 0:
            raise error
        log.error("%s", error.message)
        return code

    async def _serve_last(self) -> None:
        """Others may still fetch the last model: wait until they have left or are lost."""
        learning = self.learning
        if learning is None:
            return
        self.progress.line("finished", digest=learning.member.holds, bytes_sent=self.bytes_sent(), rounds=len(learning.contract.commits))
        await self._leave("finished")
        with trio.move_on_after(SERVE_LAST_S):
            while learning.contract.live():
                await self._changed.wait()

    async def _leave(self, reason: str) -> None:
        learning = self.learning
        if learning is not None and self.state.uid in learning.contract.live():
            with trio.move_on_after(5):
                await self.link.propose("Leave", {"contract": learning.contract.name, "reason": reason})

    # ---- sessions

    async def _session(self, session: Session, request: Open) -> None:
        """One program's session, from its ``open`` to its end."""
        if self.learning is not None and not self.learning.session.gone.is_set():
            raise Refused("this learning node already serves a program", hint="one participant runs one program at a time")
        self.learning = await self._enrol(session, request)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.learning.run)
                async for ask in session.asks():
                    await self.learning.asked(ask)
                nursery.cancel_scope.cancel()
        finally:
            self.failed = self.learning.error or session.left
            if session.left is not None:
                await self._leave(session.left.message)

    async def _enrol(self, session: Session, request: Open) -> Learning:
        hash_name = "blake3"
        base = tensorbytes.initial_base(request.schema, hash_name)
        body = {
            "contract": request.contract,
            "schema": request.schema.to_wire(),
            "hash": hash_name,
            "initial_base": base,
            "options": request.options,
            "weight": request.weight,
            "syncFrequency": request.syncFrequency,
            "data_address": self.data_address,
        }
        outcome = await self.link.propose("Enrolled", body)
        if (error := outcome.error()) is not None:
            raise error
        contract = self.link.ledger.contracts[request.contract]
        await session.opened(contract, request.schema)
        models = Models(self.state.path / "models", request.schema.nbytes)
        return Learning(
            session=session,
            link=self.link,
            client=self.client,
            models=models,
            progress=self.progress,
            contract=contract,
            schema=request.schema,
            hash_name=contract.hash_name,
            member=Member(self.state.uid, contract, holds=base, checkin=request.checkin),
            bytes_sent=self.bytes_sent,
        )

    def bytes_sent(self) -> int:
        return self.server.bytes_sent + self.client.bytes_sent

    # ---- what comes from outside

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        if self.learning is not None:
            self.learning.applied(applied.events)
        self._changed.set()
        self._changed = trio.Event()

    def _on_link(self, reason: str) -> None:
        if self.learning is not None:
            self.learning.ledger_changed(reason)

    def _find(self, peer: Peer, want: Want) -> Region:
        if self.learning is None:
            raise Refused("this learning node serves no contract yet")
        return self.learning.find(peer, want)


def authorise(peer: Peer, verb: str) -> None:
    if peer.identity.role != "sn":
        raise Refused(f"{peer.identity} may not ask '{verb}' of a learning node")
