"""The operator (SWOP): takes the tasks of one taskrunner and runs them on this host, as its profile says.

Started by ``run-swop``. Guarantees: it runs only what its host accepts (`nodes/acceptance`), by entries that it has
verified itself; a slot is started at most once for each fence, whatever becomes of this process: workers outlive its
death and are adopted or ended by the next operator in this state directory; when it is stopped in order, its workers
are ended first, and the ledger is told.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from swarm.core.events import Applied, Event, NodeGone, NodeKnown, SlotAssigned, SlotChanged, TaskrunnerCleared
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.core.task import RUN_SWARM, Task
from swarm.engines.pair import Engine
from swarm.errors import IdentityError, Interrupted, Refused, SwarmError
from swarm.nodes.acceptance import Acceptance, Refusal
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.pairing import Pairing, without_effect
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory
from swarm.nodes.slotwork import SlotWork, failure, printable, reap, report
from swarm.runtime.control import Control
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local, Peer
from swarm.wire.profile import Profile
from swarm.wire.signed import Entry, decode_proposal
from swarm.wire.taskfile import MakeUserContainer, body_of

MAKE_USER_CONTAINER = "MAKE_USER_CONTAINER"
SAVING_S = 60.0
LEAVE_S = 3.0
LOGS_KEPT = 50
log = logging.getLogger("swarm.SWOP")


@dataclass(frozen=True)
class Settings:
    sn: Address
    profile: Profile
    pairing: Pairing
    engine: Engine
    acceptance: Acceptance
    credentials: Credentials
    state: StateDirectory


async def run(settings: Settings) -> None:
    """Be an operator until SIGTERM or Ctrl-C, which end it in order."""
    await Operator(settings).run()


class Operator:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.works: dict[int, SlotWork] = {}
        """What runs here, by its place in the profile."""
        self.state = settings.state
        self.local = Local(settings.credentials, self.state)
        self.link = LedgerLink(self.local, [settings.sn], on_applied=self._on_applied, on_link=self._on_link)
        self.directories = SlotDirectories(self.state.path / "slots")
        self.name = f"{self.local.credentials.identity.name} ({self.local.credentials.identity.organisation})"
        self._chains: dict[str, list[bytes]] = {}
        self._declined: set[int] = set()
        self._places: defaultdict[int, trio.Lock] = defaultdict(trio.Lock)
        self._following = self._leaving = False
        self._goodbye = trio.CancelScope()

    async def run(self) -> None:
        self.directories.path.mkdir(mode=0o700, exist_ok=True)
        mesh = Mesh(self.local)
        control = Control(mesh, self.link.handlers(), authorise)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with mesh.run(listen=[]), control.run(), trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._serve, control)
                number = await anext(signals)
                await self._end_in_order()
                nursery.cancel_scope.cancel()
        if number == signal.SIGINT:
            raise Interrupted("interrupted")

    async def _serve(self, control: Control) -> None:
        await self._nursery.start(self.link.run, control)
        await self._join()
        await self._take_up()
        await self._listen()
        self.state.write_json("ready.json", {"uid": self.state.uid, "pid": os.getpid()})
        if unheeded := without_effect(self.settings.profile):
            log.info("of the profile these have no effect on processes: %s", ", ".join(unheeded))
        log.info("operator %s ready, listening on taskrunner: %s", self.name, self.settings.profile.taskrunner)

    # ---- joining

    async def _join(self) -> None:
        body = {
            "chain": self.local.credentials.chain,
            "node_key": self.state.node_public,
            "role": "swop",
            "addresses": [],
            "incarnation": self.state.incarnation,
        }
        outcome = await self.link.propose("NodeJoined", body, joining=True)
        if not outcome.accepted:
            raise IdentityError(f"the network did not admit this operator: {outcome.reason}")

    async def _listen(self) -> None:
        profile = self.settings.profile
        body = {"taskrunner": profile.taskrunner, "group": profile.groupname, "peers": len(profile.nodes)}
        outcome = await self.link.propose("SwopListening", body)
        if (error := outcome.error()) is not None:
            raise error

    async def _end_in_order(self) -> None:
        """Workers first, then the ledger is told; whatever this takes, it comes to an end."""
        self._following, self._leaving = False, True
        works = list(self.works.values())
        for work in works:
            work.end("its operator was stopped")
        for work in works:
            await work.quiet.wait()
        if self.link.lost:
            return
        with self._goodbye:
            self._goodbye.deadline = trio.current_time() + LEAVE_S
            for work in works:
                await work.over.wait()
            await self.link.propose("NodeLeft", {})

    def _on_link(self, reason: str) -> None:
        if reason and self._leaving:
            self._goodbye.cancel()  # nobody is there to be told

    # ---- slots

    async def _take_up(self) -> None:
        """What the ledger says this operator holds: end what it holds no more, then go on with the rest."""
        reaped: set[Path] = set()
        while over := [one for one in self.directories.kept() if one.path not in reaped and not self._holds(one.lease)]:
            async with trio.open_nursery() as nursery:
                for directory in over:
                    nursery.start_soon(self._reap, directory)
            reaped.update(directory.path for directory in over)
        self._following = True
        held: defaultdict[int, list[SlotAssigned]] = defaultdict(list)
        for slot in self._own_leases():
            held[slot.index].append(slot.assigned())
        for leases in held.values():
            self._nursery.start_soon(self._take_in_turn, leases)

    async def _take_in_turn(self, leases: list[SlotAssigned]) -> None:
        """Of one place: what a reset found running goes before what comes after it."""
        for lease in leases:
            await self._take(lease)

    def _own_leases(self) -> list[Slot]:
        return [slot for slot in self.link.ledger.board.leases() if slot.swop == self.state.uid]

    def _holds(self, lease: SlotAssigned) -> bool:
        return any((slot.id, slot.fence) == (lease.slot, lease.fence) for slot in self._own_leases())

    async def _take(self, lease: SlotAssigned) -> None:
        """Run the slot to its end, after whatever ran at its place of the profile before."""
        before = self.works.get(lease.index)
        if before is not None and before.lease.slot == lease.slot and before.lease.fence < lease.fence:
            before.abandon("its slot was leased anew")
        async with self._places[lease.index]:
            if self._leaving:
                return
            if not self._holds(lease):
                await self._reap(self.directories.of(lease))
                return
            task, run = self.link.ledger.tasks[lease.task], self.link.ledger.board.run(lease.run)
            if (refusal := self._refusal(task, run)) is not None:
                await self._decline(run, lease, refusal)
            elif task.type != RUN_SWARM:
                await self._prepare(task, lease)
            else:
                await self._work(task, lease)

    async def _work(self, task: Task, lease: SlotAssigned) -> None:
        directory = self.directories.of(lease)
        try:
            pair = await trio.to_thread.run_sync(self.settings.pairing.pair, task, lease)  # may look up names
        except SwarmError as error:
            await self._reap(directory)  # by another profile, it was started
            await self._report(failure(lease, error))
            return
        if self._leaving:
            return
        if not self._holds(lease):
            await self._reap(directory)
            return
        work = self.works[lease.index] = SlotWork(directory, self.settings.engine, pair, self._report)
        if self.link.ledger.board.run(lease.run).cleared:
            self._let_go(work, "its taskrunner was reset")
        try:
            await work.run()
        finally:
            del self.works[lease.index]
        if not self._is_current(lease.run):
            await self._forget(directory)

    def _let_go(self, work: SlotWork, why: str) -> None:
        """Have it end: at once, or once it has saved the final model of its contract."""
        contracts = self.link.ledger.contracts.values()
        saving = any(contract.finished and work.sl_uid in contract.members for contract in contracts)
        work.end(why, grace_s=SAVING_S if saving else 0.0)

    def _is_current(self, run: int) -> bool:
        return any(runner.current and runner.current.number == run for runner in self.link.ledger.taskrunners.values())

    async def _forget(self, directory: SlotDirectory) -> None:
        """Nobody asks for it any more: keep the logs, for a while."""
        await trio.to_thread.run_sync(directory.clear)
        self.directories.prune(LOGS_KEPT)

    async def _reap(self, directory: SlotDirectory) -> None:
        """End what an operator before this one started there, if it did."""
        if not directory.path.exists():
            return
        await reap(directory, self.settings.engine)
        if not self._is_current(directory.lease.run):
            await self._forget(directory)

    # ---- tasks

    def _refusal(self, task: Task, run: Run) -> Refusal | None:
        """Why this host does not run the task; None if it does."""
        if task.type not in (RUN_SWARM, MAKE_USER_CONTAINER):
            return Refusal(
                f"{task.type} needs a container engine, and this operator starts workers as processes",
                "leave the task out, or assign it where an operator has a container engine",
            )
        authors = ((task.creator, "created"), (task.finalizer, "finalized"), (run.assigner, "assigned"))
        for uid, what in authors:
            author = self.link.ledger.nodes[uid].identity
            refusal = self.settings.acceptance.refusal(author, what, self._chains[uid], datetime.now(UTC))
            if refusal is not None:
                return refusal
        return None

    async def _decline(self, run: Run, lease: SlotAssigned, refusal: Refusal) -> None:
        """Once for all slots that were leased at once; what was started when it was still accepted is ended."""
        directory = self.directories.of(lease)
        if directory.path.exists():
            await self._reap(directory)
            await self._report(report(lease, "stopped", f"{refusal.reason} ({refusal.hint})"))
        elif lease.fence not in self._declined:
            self._declined.add(lease.fence)
            log.warning("task %s declined: %s; %s", run.task, refusal.reason, refusal.hint)
            body = {"run": run.number, "reason": printable(refusal.reason), "hint": printable(refusal.hint)}
            await self._propose("TaskDeclined", body)

    async def _prepare(self, task: Task, lease: SlotAssigned) -> None:
        """There is no image to make for a process: what a host has is what its workers get."""
        try:
            body = body_of(task.type, task.body, task.name)
        except SwarmError as error:
            await self._report(failure(lease, error))
            return
        steps = body.BuildSteps if isinstance(body, MakeUserContainer) else ()
        python = self.settings.engine.python({})
        said = f"no image made: workers use {python}; skipped {len(steps)} build steps of {task.outcome}"
        log.info("task %s: %s", task.name, said)
        for step in steps:
            log.info("task %s, skipped: %s", task.name, printable(step))
        await self._report(report(lease, "done", "", description=said))

    # ---- the ledger

    async def _report(self, body: dict[str, Any]) -> None:
        await self._propose("SlotReported", body)

    async def _propose(self, kind: str, body: dict[str, Any]) -> None:
        outcome = await self.link.propose(kind, body)
        if not outcome.accepted:
            log.warning("%s %s was not taken: %s", kind, body, outcome.reason)

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        for event in applied.events:
            if isinstance(event, NodeKnown):
                self._keep_chain(event.uid, entry)
            elif self._following:
                self._on_event(event)

    def _keep_chain(self, uid: str, entry: Entry) -> None:
        """By which certificate a node joined: this host judges it itself before it runs a task of that node."""
        proposal = decode_proposal(entry.proposal)
        if proposal.kind == "NodeJoined" and proposal.uid == uid:
            self._chains[uid] = list(proposal.body["chain"])

    def _on_event(self, event: Event) -> None:
        match event:
            case SlotAssigned(swop=self.state.uid):
                log.info("slot %s of task %s: leased, fence %d", event.slot, event.task, event.fence)
                self._nursery.start_soon(self._take, event)
            case SlotChanged(swop=self.state.uid, leased=False):
                for work in self.works.values():
                    if (work.lease.slot, work.lease.fence) == (event.slot, event.fence):
                        work.abandon(f"its lease is over: {event.reason}")
            case TaskrunnerCleared():
                self._clear(event)
            case NodeGone(uid=self.state.uid):
                self._nursery.start_soon(self._listen)  # an accepted proposal brings a node back

    def _clear(self, event: TaskrunnerCleared) -> None:
        at_work = [work.directory.path for work in self.works.values()]
        for work in self.works.values():
            if work.lease.run == event.run:
                self._let_go(work, f"the taskrunner was reset by {event.by}")
        for directory in self.directories.kept():
            if directory.lease.run == event.run and directory.path not in at_work and not self._holds(directory.lease):
                self._nursery.start_soon(self._reap, directory)


def authorise(peer: Peer, verb: str) -> None:
    if peer.identity.role != "sn":
        raise Refused(f"{peer.identity} may not ask '{verb}' of an operator")
