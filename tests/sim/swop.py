"""An operator and the workers of its host: the product's `Operator`, with simulated directories and processes.

It stands in for ``nodes/swop`` and ``nodes/slotwork``. Workers outlive the operator's process, not a cut of the power.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.core import operator_steps as o
from swarm.core.events import Applied, NodeGone, Outcome, SlotAssigned, TaskrunnerCleared
from swarm.core.operator import Operator
from swarm.core.taskrunner import DEFAULT_NAME
from tests.sim.client import Client, Surroundings
from tests.sim.crew import Crew

LOOK_S = (0.005, 0.02)
TICK_S = 2.0
LOOK_AGAIN_S = 0.4
JOB_S = (0.2, 1.5)
ROLE_S = (4.0, 30.0)
"""How long a program of a role goes on before it fails, if it does."""
SAVES_S = 1.5
"""How long it takes to end when it is asked to."""
FOREVER_S = 1e6

Key = tuple[str, int]


@dataclass(eq=False)
class Worker:
    """A process of the host. ``life`` counts how often the host had power."""

    lease: SlotAssigned
    ends_s: float
    verdict: o.Verdict
    asked: bool = False
    over: bool = False


@dataclass
class Directory:
    lease: SlotAssigned
    starts: int = 0
    """How often a worker was started in it."""
    worker: Worker | None = None


class OperatorNode(Client):
    role = "swop"

    def __init__(
        self, around: Surroundings, name: str, organisation: str, places: int, work_s: tuple[float, float]
    ) -> None:
        super().__init__(around, name, organisation)
        self.places = places
        self.room = 0
        """How many CPUs it has for jobs."""
        self.failing = around.world.random.choice((0.05, 0.1, 0.4))
        """The share of programs that fail."""
        self.work_s = work_s
        self.directories: dict[Key, Directory] = {}
        """On disk."""

    # ---- life

    def on_start(self) -> None:
        self.operator = Operator(self.uid, lambda: self.replica.view)  # type: ignore[arg-type, return-value]
        self._telling: dict[Key, list[o.Report]] = {}
        self._crew = Crew(self)
        self._up = False
        super().on_start()

    def on_crash(self, power: bool) -> None:
        if power:
            for directory in self.directories.values():
                if directory.worker is not None:
                    self._finish(directory.worker)

    def on_joined(self, outcome: Outcome) -> None:
        for directory in list(self.directories.values()):
            self._happened(o.Kept(directory.lease))
        self._up = True
        self._happened(o.CaughtUp())
        self._listen()
        self._tick()

    def _listen(self) -> None:
        room = {"cpu": self.room, "gpu": 0} if self.room else {}
        self.propose("SwopListening", {"taskrunner": DEFAULT_NAME, "group": "demo", "peers": self.places, **room})

    def _tick(self) -> None:
        self._happened(o.Ticked())
        self.later(TICK_S, self._tick)

    def on_entries(self, applied: list[Applied]) -> None:
        if not self._up:
            return
        for each in applied:
            for event in each.events:
                if isinstance(event, TaskrunnerCleared):
                    self._happened(event)
                elif isinstance(event, NodeGone) and event.uid == self.uid:
                    self._listen()
                elif isinstance(event, SlotAssigned) and event.swop == self.uid:
                    self._assigned(event)
        self._happened(o.LedgerMoved())

    def _assigned(self, lease: SlotAssigned) -> None:
        """Of a slot that is leased anew, an attempt before it may still speak: now and then it does."""
        before = [fence for slot, fence in self.directories if slot == lease.slot and fence < lease.fence]
        if before and not self.around.weather.over and self.world.random.random() < 0.5:
            self.around.weather.count("lie")
            body = {"slot": lease.slot, "fence": max(before), "state": "done", "reason": "", "exit_code": 0}
            self.propose("SlotReported", body)

    def on_link(self) -> None:
        self._happened(o.LedgerLost("no SN answers") if self.lost else o.LedgerBack())

    # ---- the machine

    def _happened(self, event: o.Event) -> None:
        for effect in self.operator.handle(event, self.now_s):
            self._perform(effect)

    def _soon(self, event: o.Event) -> None:
        low, spread = LOOK_S
        self.later(low + spread * self.world.random.random(), self._happened, event)

    def _perform(self, effect: o.Effect) -> None:
        match effect:
            case o.Judge(lease):
                self._soon(o.Judged(lease))
            case o.Prepare(lease):
                self._soon(o.Prepared(lease, o.Verdict("done", "", 0)))
            case o.Look(lease):
                directory = self.directories.get(_key(lease))
                self._soon(o.Looked(lease, directory is not None and directory.starts > 0))
            case o.Intend(lease):
                self.later(LOOK_S[0], self._intend, lease)
            case o.Start(lease):
                self._start(self.directories[_key(lease)])
            case o.Adopt(lease):
                self._watch(self.directories[_key(lease)])
            case o.End() | o.Kill():
                killed, grace_s = (False, effect.grace_s) if isinstance(effect, o.End) else (True, 0.0)
                grace_s += SAVES_S if not killed and self._crew.is_of(effect.lease) else 0.0
                worker = self.directories[_key(effect.lease)].worker
                if worker is not None:
                    self._not_on(worker)
                    worker.asked = True
                    worker.ends_s = min(worker.ends_s, self.now_s + grace_s + 0.2)
            case o.Reap(lease):
                self.later(LOOK_S[1], self._reap, lease)
            case o.Forget(lease):
                self.directories.pop(_key(lease), None)
            case o.Report():
                reports = self._telling.setdefault(_key(effect.lease), [])
                reports.append(effect)
                if len(reports) == 1:
                    self._tell(reports)
            case o.Decline():
                body = {"run": effect.lease.run, "reason": effect.refusal.reason, "hint": effect.refusal.hint}
                self.propose("TaskDeclined", body)

    def _tell(self, reports: list[o.Report]) -> None:
        """One after the other, unless the lease is over by then."""
        while reports and not self.operator.holds(reports[0].lease):
            reports.pop(0)
        if reports:
            self.propose("SlotReported", reports[0].body(), lambda outcome: self._told(reports))

    def _told(self, reports: list[o.Report]) -> None:
        reports.pop(0)
        self._tell(reports)

    # ---- the host

    def _intend(self, lease: SlotAssigned) -> None:
        self.directories[_key(lease)] = Directory(lease)
        self._happened(o.Intended(lease))

    def _start(self, directory: Directory) -> None:
        random = self.world.random
        jobs = self.replica.view.board.jobs
        of_role = self._crew.is_of(directory.lease)
        low, high = ROLE_S if of_role else JOB_S if directory.lease.run in jobs.runs else self.work_s
        fails = random.random() < self.failing
        if of_role and not fails:
            low = high = FOREVER_S
        verdict = o.Verdict("failed", "its program failed", 1) if fails else o.Verdict("done", "", 0)
        directory.starts += 1
        directory.worker = Worker(directory.lease, self.now_s + low + (high - low) * random.random(), verdict)
        self.note("worker_started", directory.lease.slot, directory.lease.fence)
        low, spread = LOOK_S
        self.later(low + spread * random.random(), self._started, directory)

    def _started(self, directory: Directory) -> None:
        """Only now it is watched: it has started before it has ended, however late this operator's process is."""
        self._happened(o.Started(directory.lease))
        self._watch(directory)

    def _watch(self, directory: Directory) -> None:
        self.later(0.1, self._happened, o.ProgramStarted(directory.lease, ""))
        self.later(LOOK_S[0], self._look, directory)
        if self._crew.is_of(directory.lease):
            self.later(LOOK_AGAIN_S, self._crew.play, directory)

    def _look(self, directory: Directory) -> None:
        worker = directory.worker
        if worker is None:
            return
        if not worker.over and self.now_s < worker.ends_s:
            self.later(LOOK_AGAIN_S, self._look, directory)
            return
        verdict = worker.verdict
        if worker.asked:
            verdict = o.Verdict("failed", "it was ended", 143)
        if worker.over and not worker.asked and verdict.state == "lost":
            verdict = o.Verdict("failed", "its host lost power", None, died=True)
        self._finish(worker, ended=True)
        self._happened(o.Ended(directory.lease, verdict, worker.asked, directory.starts))

    def _not_on(self, worker: Worker) -> None:
        """The operator lets it go on no longer."""
        if not worker.over and worker.ends_s > self.now_s:
            self.note("worker_cut_short", worker.lease.slot, worker.lease.fence)

    def _finish(self, worker: Worker, *, ended: bool = False) -> None:
        """Nothing of the worker runs any more."""
        if worker.over:
            return
        worker.over = True
        died = not ended and worker.ends_s > self.now_s
        if died:
            worker.verdict = o.Verdict("lost", "", None)
        self.note("worker_ended", worker.lease.slot, worker.lease.fence, died)

    def _reap(self, lease: SlotAssigned) -> None:
        directory = self.directories.get(_key(lease))
        if directory is not None and directory.worker is not None:
            self._not_on(directory.worker)
            self._finish(directory.worker, ended=True)
        self._happened(o.Reaped(lease))


def _key(lease: SlotAssigned) -> Key:
    return (lease.slot, lease.fence)
