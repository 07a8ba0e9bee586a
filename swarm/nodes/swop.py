"""The operator (SWOP): takes the tasks of one taskrunner and runs them on this host, as its profile says.

Started by ``run-swop``. Guarantees: it runs only what its host accepts (`nodes/acceptance`), by entries that it has
verified itself; a slot is started at most once for each fence, whatever becomes of this process: workers outlive its
death and are adopted or ended by the next operator in this state directory; when it is stopped in order, its workers
are ended first, and the ledger is told.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from swarm.core import operator_steps as o
from swarm.core.events import (
    Applied,
    NodeGone,
    RulesActivated,
    SlotAssigned,
    SlotChanged,
    TaskChanged,
    TaskGone,
    TaskrunnerCleared,
)
from swarm.core.jobrun import JobRun
from swarm.core.operator import Operator
from swarm.core.operator_steps import Refusal
from swarm.core.rolesrun import RolesRun
from swarm.core.run import Run
from swarm.core.task import RUN_JOBS, RUN_SWARM, Task
from swarm.engines.pair import Engine
from swarm.errors import GivenUp, IdentityError, Interrupted, Refused, SwarmError
from swarm.nodes import preparing
from swarm.nodes.acceptance import Acceptance
from swarm.nodes.announcing import Announcing
from swarm.nodes.casting import Casting
from swarm.nodes.desk import Desk
from swarm.nodes.givenup import begin_anew
from swarm.nodes.holdings import Holdings
from swarm.nodes.jobbing import Jobbing
from swarm.nodes.jobdirectory import JobDirectory
from swarm.nodes.jobwork import JobWork, MergingWork
from swarm.nodes.leases import Leases, end_given_up
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.mergingdirectory import MergingDirectory
from swarm.nodes.outputs import Outputs
from swarm.nodes.pairing import Pairing, without_effect
from swarm.nodes.room import Room
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory
from swarm.nodes.slotwork import SlotWork
from swarm.runtime import heaps
from swarm.runtime.control import Control
from swarm.runtime.introduction import introduction
from swarm.runtime.mesh import Mesh
from swarm.runtime.started import TaskStatus
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local, Peer
from swarm.wire.profile import Profile
from swarm.wire.signed import Entry

TICK_S = 1.0
SURE_EVERY_S = 3.0
LEAVE_S = 3.0
LOGS_KEPT = 50
JOB_LOGS_KEPT = 2000
"""At least; their directories are looked through only now and then."""
MOVING = (SlotAssigned, SlotChanged, TaskChanged, TaskrunnerCleared)
log = logging.getLogger("swarm.SWOP")


@dataclass(frozen=True)
class Settings:
    sn: Address
    profile: Profile
    pairing: Pairing
    room: Room
    engine: Engine
    acceptance: Acceptance
    credentials: Credentials
    state: StateDirectory
    keep: bool = False
    """Whether the directories of ended slots stay as they are; their logs do in any case, for a while."""


async def run(settings: Settings) -> None:
    """Until SIGTERM or Ctrl-C, which end it in order. Who has read what a forced recovery gave up begins anew."""
    heaps.bound()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        while True:
            try:
                return await OperatorNode(settings).run(signals)
            except* GivenUp:
                await begin_anew(settings.state, signals)


class OperatorNode:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = settings.state
        self.local = Local(settings.credentials, self.state)
        self.link = LedgerLink(self.local, [settings.sn], on_applied=self._on_applied, on_link=self._on_link)
        runs = self.runs = self.state.path / "runs"
        self.directories = SlotDirectories(self.state.path / "slots", SlotDirectory)
        self.jobs = SlotDirectories(self.state.path / "jobs", lambda path, lease: JobDirectory(path, lease, runs))
        self.merging = SlotDirectories(
            self.state.path / "roles", lambda path, lease: MergingDirectory(path, lease, runs)
        )
        self.jobbing = Jobbing(self.state.path, settings.pairing.secrets, Holdings(self.state.path / "data"))
        self.desk = Desk(self.state.path, ledger=lambda: self.link.ledger, work=self._job_of, propose=self.link.propose)
        self.casting = Casting(self.jobbing, settings.pairing, self.desk.file)
        self.name = f"{self.local.credentials.identity.name} ({self.local.credentials.identity.organisation})"
        self.preparing = preparing.Preparing(settings.pairing, settings.engine, self.happened)
        self.machine = Operator(self.state.uid, lambda: self.link.ledger)
        self.announcing = Announcing(settings.profile, settings.room, self.link, self.state)
        self.leases = Leases(self.state.uid, lambda: self.link.ledger, self.link.copy)
        self.works: dict[tuple[str, int], SlotWork] = {}
        """By slot and fence."""
        self._happened: deque[o.Event] = deque()
        self._deciding = self._leaving = False
        self._forgotten_jobs = 0
        self._moved = trio.Event()
        self._goodbye = trio.CancelScope()

    async def run(self, signals: AsyncIterator[int]) -> None:
        for directories in (self.directories, self.jobs, self.merging):
            directories.path.mkdir(mode=0o700, exist_ok=True)
        self.jobbing.life.touch()
        mesh = Mesh(self.local)
        control = Control(mesh, self.link.handlers(), authorise, prompt=self.link.prompt())
        async with mesh.run(listen=[]), control.run(), trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._serve, control)
            number = await anext(signals)
            await self._end_in_order()
            nursery.cancel_scope.cancel()
        if number == signal.SIGINT:
            raise Interrupted("interrupted")

    async def _serve(self, control: Control) -> None:
        await self._nursery.start(self._follow, control)
        await self._join()
        kept, head = self._kept(), self.link.ledger.head_index
        given_up = [directory for directory in kept if self.leases.is_given_up(directory, head)]
        for directory in given_up:  # while there may be new leases
            await trio.to_thread.run_sync(end_given_up, directory, self.settings.engine)
        for directory in (each for each in kept if each not in given_up):
            self.happened(o.Kept(directory.lease))
        self.happened(o.CaughtUp())
        self._nursery.start_soon(heaps.give_back)
        self._nursery.start_soon(self.desk.run)
        self._nursery.start_soon(self._keep_sure)
        await self.announcing.say()
        if unheeded := without_effect(self.settings.profile):
            log.info("of the profile these have no effect on processes: %s", ", ".join(unheeded))
        log.info("operator %s ready, listening on taskrunner: %s", self.name, self.settings.profile.taskrunner)
        while True:
            await trio.sleep(TICK_S)
            self.jobbing.life.touch()
            if self.settings.room.look():
                self._nursery.start_soon(self.announcing.say)
            self.happened(o.Ticked())
            self._look_for_goals()

    def _kept(self) -> list[SlotDirectory]:
        return [*self.directories.kept(), *self.jobs.kept(), *self.merging.kept()]

    async def _follow(self, control: Control, *, task_status: TaskStatus) -> None:
        try:
            await self.link.run(control, task_status=task_status)
        except GivenUp as error:
            if not self._leaving:  # else its workers are being ended
                log.warning("this operator begins anew: %s", error.message)
                raise

    async def _keep_sure(self) -> None:
        """The network node at hand may be cut off together with this host: then the link tells nothing."""
        while True:
            asked_s = trio.current_time()
            if (self.machine.runs_alone() or self.link.lost) and await self.link.confirm():
                self.happened(o.LedgerSure(asked_s))
                await trio.sleep(SURE_EVERY_S)
            else:
                await trio.sleep(TICK_S)

    def _look_for_goals(self) -> None:
        for work in self.works.values():
            if isinstance(work, JobWork) and work.goal is not None and (reason := work.goal.reached()):
                work.goal = None
                body = {"slot": work.lease.slot, "fence": work.lease.fence, "reason": reason}
                self._nursery.start_soon(self._propose, "GoalReached", body)

    # ---- joining

    async def _join(self) -> None:
        outcome = await self.link.propose("NodeJoined", introduction(self.local, "swop"), joining=True)
        if not outcome.accepted:
            raise IdentityError(f"the network did not admit this operator: {outcome.reason}")

    async def _end_in_order(self) -> None:
        """Workers first, then the ledger is told; whatever this takes, it comes to an end."""
        self._leaving = True
        self.preparing.end()
        if not self.machine.following:  # what an earlier life has left is not known yet
            for directory in self._kept():
                self.happened(o.Kept(directory.lease))
        self.happened(o.Stopped())
        while self.machine.at_work():
            await self._moved.wait()
        if self.link.lost:
            return
        with self._goodbye:
            self._goodbye.deadline = trio.current_time() + LEAVE_S
            for work in list(self.works.values()):
                await work.told.wait()
            await self.link.propose("NodeLeft", {})

    def _on_link(self, reason: str) -> None:
        if reason and self._leaving:
            self._goodbye.cancel()  # nobody is there to be told
        self.happened(o.LedgerLost(reason) if reason else o.LedgerBack())

    # ---- what happens, and what is done about it

    def happened(self, event: o.Event) -> None:
        """One after the other: what an effect brings about at once is decided upon after it."""
        self._happened.append(event)
        if self._deciding:
            return
        self._deciding = True
        try:
            while self._happened:
                for effect in self.machine.handle(self._happened.popleft(), trio.current_time()):
                    self._perform(effect)
        finally:
            self._deciding = False
        self._moved.set()
        self._moved = trio.Event()

    def _perform(self, effect: o.Effect) -> None:
        match effect:
            case o.Judge(lease):
                ledger = self.link.ledger
                self._nursery.start_soon(self._judge, lease, ledger.tasks[lease.task], ledger.board.run(lease.run))
            case o.Prepare(lease):
                self._nursery.start_soon(self.preparing.prepare, lease, self.link.ledger.tasks[lease.task])
            case o.Decline():
                self._nursery.start_soon(self._decline, effect)
            case o.Forget(lease):
                self._nursery.start_soon(self._forget, lease)
            case o.Tell(text):
                log.warning("%s", text)
            case _:
                self._work(effect.lease).perform(effect)

    def _work(self, lease: SlotAssigned) -> SlotWork:
        key = (lease.slot, lease.fence)
        if key not in self.works:
            make, directory = self._hands(lease)
            directory.entry = self.leases.entry(lease)
            self.works[key] = make(
                directory,
                self.settings.engine,
                self._nursery,
                happened=self.happened,
                holds=self.machine.holds,
                tell=partial(self._propose, "SlotReported"),
                give=self.link.copy.give,
            )
        return self.works[key]

    def _job_of(self, slot: str, fence: int) -> JobWork | None:
        work = self.works.get((slot, fence))
        return work if isinstance(work, JobWork) else None

    def _hands(self, lease: SlotAssigned) -> tuple[type[SlotWork], SlotDirectory]:
        """What kind of work it is: as its directory says, if it was begun, else as the ledger does."""
        run = self.link.ledger.board.jobs.runs.get(lease.run)
        slot = run.slots.get(lease.slot) if run is not None else None
        merges = run is not None and slot is not None and run.merges(slot)
        if (merging := self.merging.of(lease)).intended or merges:
            return MergingWork, merging
        if (job := self.jobs.of(lease)).intended or run is not None:
            return JobWork, job
        return SlotWork, self.directories.of(lease)

    async def _forget(self, lease: SlotAssigned) -> None:
        """Nobody asks for it any more: keep the logs, for a while."""
        work = self._work(lease)
        await work.told.wait()
        if not self.settings.keep or (isinstance(work, JobWork) and work.keep_logs_only):
            await trio.to_thread.run_sync(work.directory.clear)
        if isinstance(work, JobWork):
            self._forgotten_jobs += 1
            if self._forgotten_jobs % JOB_LOGS_KEPT == 0:
                self.jobs.prune(JOB_LOGS_KEPT)
                self.merging.prune(JOB_LOGS_KEPT)
        else:
            self.directories.prune(LOGS_KEPT)
        del self.works[lease.slot, lease.fence]

    async def _discard(self, gone: TaskGone) -> None:
        """A task of jobs was deleted, with what it has put out or without."""
        outputs = Outputs(self.runs, gone.task, gone.run)
        await trio.to_thread.run_sync(partial(outputs.discard, all_of_it=gone.outputs))
        await trio.to_thread.run_sync(self.jobbing.holdings.tidy, self._versions_in_use)

    def _versions_in_use(self) -> set[tuple[str, str]]:
        """In any thread."""
        runs = list(self.link.ledger.board.jobs.runs.values())
        return {each for run in runs for each in run.uses.versions}

    # ---- tasks

    async def _judge(self, lease: SlotAssigned, task: Task, run: Run | JobRun) -> None:
        """Whether this host runs the task, and what of it."""
        refused, unfit = self._refusal(task, run), None
        if refused is None and task.type in (RUN_SWARM, RUN_JOBS):
            work = self._work(lease)
            try:
                if isinstance(run, RolesRun):
                    assert isinstance(work, JobWork)
                    await trio.to_thread.run_sync(self.casting.give, work, task, run)
                elif isinstance(work, JobWork):
                    assert isinstance(run, JobRun)
                    refused = await self._give(work, task, run)
                else:  # in a thread: it may look up names
                    work.pair = await trio.to_thread.run_sync(self.settings.pairing.pair, task, lease)
            except SwarmError as error:
                unfit = Refusal(error.message, error.hint)
            except OSError as error:  # of a full disk, perhaps: the operator has others' slots to look after
                unfit = Refusal(f"this host cannot prepare it: {error.strerror or error}", "")
        self.happened(o.Judged(lease, refused, unfit))

    async def _give(self, work: JobWork, task: Task, run: JobRun) -> Refusal | None:
        """Why another of the organisation's operators is to run it: this host does not have its data."""
        data = self.jobbing.data(task, run, work.lease.slot, self.link.ledger.board.datasets)
        try:
            places = await trio.to_thread.run_sync(self.jobbing.holdings.places, data) if data else {}
        except Refused as error:
            return Refusal(error.message, error.hint)
        self.jobbing.give(work, task, run, places)
        return None

    def _refusal(self, task: Task, run: Run | JobRun) -> Refusal | None:
        """Why this host does not run the task; None if it does."""
        if task.type not in (RUN_SWARM, RUN_JOBS, *preparing.TYPES):
            return Refusal(
                f"{task.type} needs a container engine, and this operator starts workers as processes",
                "leave the task out, or assign it where an operator has a container engine",
            )
        return self.settings.acceptance.refusal_of(task, run, self.link.replica)

    async def _decline(self, effect: o.Decline) -> None:
        lease, refusal = effect.lease, effect.refusal
        log.warning("task %s declined: %s; %s", lease.task, refusal.reason, refusal.hint)
        body = {"run": lease.run, "reason": o.printable(refusal.reason), "hint": o.printable(refusal.hint)}
        await self._propose("TaskDeclined", body)

    # ---- the ledger

    async def _propose(self, kind: str, body: dict[str, Any]) -> None:
        outcome = await self.link.propose(kind, body)
        if not outcome.accepted:
            log.warning("%s %s was not taken: %s", kind, body, outcome.reason)

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        self.desk.ledger_moved()
        self.leases.applied(entry, applied)
        for event in applied.events:
            match event:
                case SlotAssigned(swop=self.state.uid):
                    log.info("slot %s of task %s: leased, fence %d", event.slot, event.task, event.fence)
                case TaskrunnerCleared():
                    self.preparing.end(event.run)
                    self.happened(event)
                case TaskGone(run=run) if run:
                    self._nursery.start_soon(self._discard, event)
                case RulesActivated() if self.machine.following:
                    self._nursery.start_soon(self.announcing.say)  # by them there may be more to say
                case NodeGone(uid=self.state.uid) if self.machine.following:
                    self._nursery.start_soon(self.announcing.say)  # an accepted proposal brings a node back
        if any(isinstance(event, MOVING) for event in applied.events):
            self.happened(o.LedgerMoved())


def authorise(peer: Peer, verb: str) -> None:
    if peer.identity.role != "sn":
        raise Refused(f"{peer.identity} may not ask '{verb}' of an operator")
