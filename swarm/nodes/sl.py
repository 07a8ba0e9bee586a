"""The learning node (SL): one per participant; stands between its program, its peers and the ledger.

Started by ``run-sl``, with the training program as its child or to serve one that is started by hand. Guarantees: it
outlives the program long enough to serve the last model; when the program ends early the contract is told at once;
nothing of it is left running.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import dataclass
from itertools import count
from typing import Any

import trio

from swarm.core.events import Applied, Outcome
from swarm.core.pace import Pace
from swarm.errors import BY_CODE, GivenUp, IdentityError, Refused, SwarmError, WorkerFailed
from swarm.nodes import serving, trainings
from swarm.nodes.enrolling import Enrolling
from swarm.nodes.joining import is_known, join
from swarm.nodes.learning import Learning
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.listening import listen_host
from swarm.nodes.progress import Progress
from swarm.nodes.starting import with_last_words
from swarm.nodes.worker import Worker
from swarm.runtime import heaps, report
from swarm.runtime.channel_server import ChannelServer, Session
from swarm.runtime.control import Control
from swarm.runtime.data import DataClient, DataServer, Region, Want
from swarm.runtime.data_rates import Rates
from swarm.runtime.mesh import Mesh
from swarm.runtime.started import TaskStatus
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local, Peer
from swarm.wire.certnames import printable
from swarm.wire.lastwords import last_words
from swarm.wire.messages import Merged, Open, Opened, Sync
from swarm.wire.signed import Entry

SERVE_LAST_S = 600.0
LEAVE_S = 3.0
LOOK_EVERY_S = 10.0
TELL_EVERY_S = 2.0
TELL_AGAIN = 5
log = logging.getLogger("swarm.SL")


@dataclass(frozen=True)
class Settings:
    sn: Address
    host_ip: str
    fs_port: int
    credentials: Credentials
    state: StateDirectory
    channel: ChannelServer
    worker: Worker | None
    """The training program, started already; None: serve one that is started by hand."""
    slot: tuple[str, int] | None = None
    """The slot that it runs for, and the fence of its operator's lease."""
    fs_service: Address | None = None
    """A proxy in front of the data port, announced in its place."""


async def run(settings: Settings) -> int:
    """Be a learning node until the program has ended (or until cancelled, without one). Its exit code."""
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
        self.worker, self.slot = settings.worker, settings.slot
        self.progress = Progress(self.state.path / "report.jsonl")
        self.progress.line("node_started")
        self.client = DataClient(self.local)
        self.server = DataServer(self.local, self._find, listen_host(settings.host_ip), settings.fs_port)
        self.rates = Rates(lambda: self.server.traffic + self.client.traffic)
        self.link = LedgerLink(
            self.local, [settings.sn], on_applied=self._on_applied, on_link=self._on_link, report=log.debug
        )
        means = (self.link, self.propose, self.client, self.progress, self.bytes_sent, self.rates)
        models = self.state.path / "models"
        self._contracts = Enrolling(self.state.uid, models, *means, lambda: self.data_address)
        self.name = f"{settings.credentials.identity.name} ({settings.credentials.identity.organisation})"
        self.learning: Learning | None = None
        """Of the program's newest session."""
        self._session: Session | None = None
        self._mesh: Mesh | None = None
        self._enrolling: tuple[Session, str] | None = None
        self._pace = Pace()
        self.failed: SwarmError | None = None
        self._joined = trio.Event()
        self._asking: set[trio.CancelScope] = set()
        self._changed = trio.Event()

    async def run(self) -> int:
        heaps.bound()
        return await with_last_words(self._live, self._say_going)

    async def _live(self) -> int:
        self.server.start()
        mesh = self._mesh = Mesh(self.local)
        control = Control(mesh, self.link.handlers(), authorise, prompt=self.link.prompt())
        async with mesh.run(listen=[]), control.run(), trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.settings.channel.serve, self)
            await self._enter(control)
            self._say_ready()
            nursery.start_soon(self._watch_pace)
            nursery.start_soon(self._tell_training)
            nursery.start_soon(heaps.give_back)
            code = await self._program()
            await self._say_goodbye()
            nursery.cancel_scope.cancel()
        return code

    def close(self) -> None:
        self.server.close()
        self.client.close()
        self.progress.close()

    @property
    def data_address(self) -> str:
        host, port = self.settings.fs_service or (self.settings.host_ip, self.server.port)
        return f"{host}:{port}"

    # ---- joining

    async def _enter(self, control: Control) -> None:
        """Reach the ledger and join. The program may be at the channel already: it does not repeat what fails here."""
        try:
            await self._nursery.start(self._follow, control)
            await self._join()
        except BaseException:
            if self.worker is not None:
                await self.worker.stop()
            raise
        self._joined.set()

    async def _follow(self, control: Control, *, task_status: TaskStatus) -> None:
        try:
            await self.link.run(control, task_status=task_status)
        except GivenUp as error:
            self.progress.line("given_up", reason=error.message)
            raise

    async def _join(self) -> None:
        outcome = await join(self.link, [self.data_address])
        if not outcome.accepted:
            raise IdentityError(f"the network did not admit this learning node: {outcome.reason}")

    async def propose(self, kind: str, body: dict[str, Any]) -> Outcome:
        """As who has joined. The ledger lets go of who was lost for very long, which this node may read only while it
        asks: then it joins again."""
        while True:
            if not is_known(self.link):
                await self._join()
            with trio.CancelScope() as scope:
                self._asking.add(scope)
                try:
                    return await self.link.propose(kind, body)
                finally:
                    self._asking.discard(scope)

    def _say_ready(self) -> None:
        ready = {
            "fs_port": self.server.port,
            "uid": self.state.uid,
            "pid": os.getpid(),
            "channel": self.settings.channel.path,
        }
        self.state.write_atomic("ready.json", json.dumps(ready).encode())
        log.info("learning node %s ready on port: %d", self.name, self.server.port)

    # ---- the program

    async def _program(self) -> int:
        worker = self.worker
        if worker is None:
            for name, value in self.settings.channel.environment.items():
                print(f"export {name}={value}", flush=True)
            await trio.sleep_forever()
        self.progress.line("program_started", pid=worker.pid)
        try:
            code = await worker.wait()
        finally:
            await worker.stop()
        self.progress.line("program_ended", exit_code=code, note=worker.note(code))
        await self._program_ended(worker, code)
        if self._session is not None:
            with trio.move_on_after(LEAVE_S):
                await self._session.over.wait()  # what the program was told last is known from then on
        if code == 0:
            await self._serve_last()
            return 0
        await self._leave(f"its program ended with code {code}")
        return self._ended(worker.failure(code), code)

    async def _program_ended(self, worker: Worker, code: int) -> None:
        """For who has to be told, besides peers and contract."""

    def _ended(self, error: WorkerFailed, code: int) -> int:
        """What this node ends with when its program has not ended well; raises what is still to be said."""
        if self.failed is not None and code != self.failed.code:
            raise self.failed  # the program was told, or said, why it could not go on, and hid it
        if code < 0:
            raise error
        log.error("the training program ended with exit code %d", code)
        report.to_file(error.message)  # its last lines: a person has just seen them
        return code

    async def _serve_last(self) -> None:
        """Others may still fetch the last model: wait until they have left or are lost."""
        learning = self.learning
        if learning is None:
            return
        self.progress.line(
            "finished", digest=learning.member.holds, bytes_sent=self.bytes_sent(), rounds=learning.contract.commits
        )
        with trio.move_on_after(SERVE_LAST_S):
            while self._somebody_may_fetch():
                await self._changed.wait()
        self.progress.line("left", bytes_sent=self.bytes_sent())

    def _somebody_may_fetch(self) -> bool:
        contracts = self.link.ledger.contracts  # without those that a person has reset meanwhile
        mine = ((contracts.get(name), one.contract) for name, one in self._contracts.learnings.items())
        return any(now is contract and contract.to_serve() for now, contract in mine)

    def _active(self) -> list[Learning]:
        """Of the program's session: in its contract, and in the upper one of a group that it leads."""
        above = self.learning.climbing.learning if self.learning and self.learning.climbing else None
        return [each for each in (self.learning, above) if each is not None]

    async def _leave(self, reason: str) -> None:
        for contract in [each.contract for each in self._active()]:
            if self.state.uid in contract.to_serve():  # those wait for who is dropped too
                await self._propose_leave(contract.name, reason)

    async def _propose_leave(self, contract: str, reason: str) -> None:
        """Tell the contract, unless the ledger pauses: then the leader notices by this node's silence."""
        with trio.move_on_after(LEAVE_S):
            await self.link.propose("Leave", {"contract": contract, "reason": printable(reason, 500)})

    async def _say_goodbye(self) -> None:
        if (training := self._training()) is not None:
            self.link.tell("training", training)
        with trio.move_on_after(LEAVE_S):
            await self.link.propose("NodeLeft", {})

    async def _say_going(self) -> None:
        """Stopped in the middle of a round: the others' attempt ends now, and not when this node's silence has lasted.

        Nothing is given up by that: it counts as lost, as if it had died, and is welcome again."""
        if self._joined.is_set() and not self.link.lost:
            state = self.local.state
            words = last_words(state.node_key, state.network_id, state.incarnation)
            with contextlib.suppress(SwarmError):
                await self.link.call("going", {"words": words}, deadline_s=LEAVE_S)

    # ---- sessions: the channel's handler

    async def open(self, session: Session, request: Open) -> Opened:
        assert session.schema is not None
        await self._joined.wait()  # the program may be ready first
        self._enrolling = (session, request.contract)
        try:
            learning = await self._contracts.enrol(session, session.schema, request, self.slot)
        except SwarmError:
            self._enrolling = None
            raise
        self._enrolling = None
        self.learning, self._session, self.failed = learning, session, None
        self._learning_scope = trio.CancelScope()
        self._nursery.start_soon(self._learn, learning, self._learning_scope)
        contract = learning.contract
        return Opened(
            contract=contract.name,
            round=contract.round,
            base=contract.base,
            hash=contract.hash,
            uid=self.state.uid,
            finished=contract.finished,
        )

    async def sync(self, session: Session, request: Sync) -> Merged:
        assert self.learning is not None
        self._pace.asks(trio.current_time())
        try:
            answer = await self.learning.ask(request)
            self._pace.trains(trio.current_time())
            return answer
        except SwarmError as error:
            if not self.link.lost:  # the others need not wait for a program that may live on without them
                await self._leave(error.message)
            raise

    async def _watch_pace(self) -> None:
        while True:
            await trio.sleep(LOOK_EVERY_S)
            if self._session is not None and (said := self._pace.quiet(trio.current_time())):
                text = f"the program (process {self._session.pid}) {said}"
                log.warning("%s", text)
                self.progress.line("waiting", text=text)

    async def _tell_training(self) -> None:
        """Once in a while also what is known already: another SN may be at hand, or one that has been away."""
        told: dict[str, Any] | None = None
        for beat in count():
            await trio.sleep(TELL_EVERY_S)
            if beat % TELL_AGAIN == 0:
                told = None
            now = self._training()
            if now is not None and now != told:
                told = now
                self.link.tell("training", now)

    def _training(self) -> dict[str, Any] | None:
        learning, session = self.learning, self._session
        if learning is None or session is None or session.report is None:
            return None
        return trainings.told(learning.contract.name, session.report)

    async def gone(self, session: Session) -> None:
        self._pace.ended()
        enrolling, self._enrolling = self._enrolling, None
        if enrolling is not None and enrolling[0] is session:  # the enrolment may be on its way still
            await self._propose_leave(enrolling[1], session.gone_reason)
        learning = self.learning
        if learning is None or learning.session is not session:
            return
        self._learning_scope.cancel()
        for each in self._active():
            each.close()
        self.failed = learning.error
        if session.withdrew is not None:
            self.failed = BY_CODE.get(session.withdrew.code, WorkerFailed)(session.withdrew.reason)
        await self._leave("finished" if learning.contract.finished else session.gone_reason)

    async def _learn(self, learning: Learning, scope: trio.CancelScope) -> None:
        with scope:
            await learning.run()

    def bytes_sent(self) -> int:
        """On all sockets to other hosts, below TLS."""
        spoken = self._mesh.bytes_sent if self._mesh is not None else 0
        return self.server.bytes_sent + self.client.bytes_sent + spoken

    # ---- what comes from outside

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        for learning in self._active():
            learning.applied(applied.events)
        if not is_known(self.link):
            for scope in self._asking:
                scope.cancel()
        self._changed.set()
        self._changed = trio.Event()

    def _on_link(self, reason: str) -> None:
        for learning in self._active():
            learning.ledger_changed(reason)

    def _find(self, peer: Peer, want: Want) -> Region:
        learning = self._contracts.learnings.get(want.contract)
        if learning is None:
            raise serving.not_yet(self.link.ledger.contracts.get(want.contract), peer, want)
        return learning.find(peer, want)


def authorise(peer: Peer, verb: str) -> None:
    if peer.identity.role != "sn":
        raise Refused(f"{peer.identity} may not ask '{verb}' of a learning node")
