"""The jobs: every RUN_JOBS task that was submitted, the operators with room for them, and who gets what next.

Kept by the board (`core/board`), which hands on the proposals. Guarantees: slots are dealt by the very entry that makes
room for them, so a lease costs no entry of its own; nobody holds more than it has offered. In which order they are
dealt, and what that costs, is said in `core/dealing`.

    proposal        by                       what follows
    JobsSubmitted   swci                     the task is known, final and queued (or a draft, see `core/drafts`)
    JobsStopped     swci, its organisation   what waits never starts, what runs is ended, with kill at once
    JobsRetried     swci, its organisation   whatever is not done waits again
    JobsDeleted     swci, its organisation   an ended task is forgotten and its name free: TaskGone
    SwopListening   swop, with cpu and gpu   the operator has so much room from now on
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple
from functools import partial
from typing import Any

from swarm.core.artifacts import Artifacts
from swarm.core.bodies import Bodies, beside_bytes
from swarm.core.claims import EntryHeader, Verified
from swarm.core.datasets import Datasets
from swarm.core.dealing import Dealing, Turns, has_room
from swarm.core.events import Event, Gone, SlotChanged, TaskGone, TaskKnown
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import Holder, JobSlot, Room
from swarm.core.names import Identity
from swarm.core.placing import Placing
from swarm.core.rolesrun import RolesRun
from swarm.core.rules import Rules
from swarm.core.sweeps import Sweep, Sweeps
from swarm.core.task import ROOT_NAME, RUN_JOBS, Task
from swarm.core.taskrunner import Taskrunner
from swarm.core.terms import Terms
from swarm.errors import Refused

KEPT_MAX = 100_000
"""Jobs of one organisation in the state: one entry makes thousands of them, and every network node keeps them all."""

Answer = tuple[dict[str, Any], list[Event]]


class Jobs:
    """What it is given is the board's own, and the ledger's rules."""

    def __init__(
        self,
        tasks: dict[str, Task],
        taskrunners: dict[str, Taskrunner],
        datasets: Datasets,
        artifacts: Artifacts,
        bodies: Bodies,
        rules: Rules,
    ) -> None:
        self.runs: dict[int, JobRun] = {}
        """By number, in the order in which they came."""
        self.rooms: dict[str, Room] = {}
        self._tasks = tasks
        self._taskrunners = taskrunners
        self._datasets, self._artifacts, self._bodies, self._rules = datasets, artifacts, bodies, rules
        self._last_id = 0
        self._held: dict[str, dict[str, JobSlot]] = {}
        """By operator, then by slot: what is leased."""
        self._kept: Counter[bytes] = Counter()
        """By the anchor of an organisation: how many jobs it has, so that nobody adds them up for each new task."""
        self.sweeps = Sweeps()
        self.with_roles: dict[int, RolesRun] = {}
        """Those of ``runs`` that have roles."""
        self.placing = Placing(self.rooms, taskrunners, self._rooms_of)
        self._waiting: dict[int, JobRun] = {}
        """The runs that may have something to deal."""
        self._began: dict[int, int] = {}
        """By run of what was a draft: the entry that started it."""
        self.kinds: dict[str, Callable[[Verified, EntryHeader, Identity], Answer]] = {
            "JobsSubmitted": self._submitted,
            "JobsStopped": self._stopped,
            "JobsRetried": self._retried,
            "JobsDeleted": self._deleted,
        }

    # ---- reading

    def of(self, name: str) -> JobRun | None:
        """The run of the task with this name, or with this id."""
        task = self._tasks.get(name)
        if task is not None and task.run in self.runs:
            return self.runs[task.run]
        found = (run for run in self.runs.values() if str(run.id) == name)
        return next(found, None)

    def named(self, name: str) -> JobRun | Sweep | None:
        """What people mean by this name or id: a sweep with all of its swarms, or a task."""
        return self.sweeps.of(name) or self.of(name)

    def position(self, run: JobRun) -> int | None:
        """How many tasks wait before this one; None when it does not wait."""
        if run.state != "queued":
            return None
        turn = self.turn(run)
        return sum(other.state == "queued" and self.turn(other) < turn for other in self.runs.values())

    def turn(self, run: JobRun) -> tuple[int, int]:
        """In which order they are dealt: as they were submitted; a draft comes when it is started, not sooner."""
        return self._began.get(run.number, run.number), run.number

    def user_of(self, dataset: str, anchor: bytes) -> str:
        """The first task of this organisation that uses it, "" if none does: others cannot keep it from its owner."""
        own = (run for run in self.runs.values() if run.anchor == anchor)
        return next((run.task for run in own if any(name == dataset for name, _ in run.uses.versions)), "")

    def positions(self) -> dict[int, int]:
        """The same for all that wait, by number: one walk through them, where each `position` is one of its own."""
        waiting = sorted((run for run in self.runs.values() if run.state == "queued"), key=self.turn)
        return {run.number: ahead for ahead, run in enumerate(waiting)}

    def leases(self) -> Iterator[JobSlot]:
        for held in self._held.values():
            yield from held.values()

    def leases_of(self, swop: str) -> list[JobSlot]:
        return list(self._held.get(swop, {}).values())

    def _rooms_of(self, swop: str) -> Iterator[tuple[JobSlot, Room]]:
        return ((slot, self.runs[slot.run].room(slot)) for slot in self.leases_of(swop))

    # ---- people

    def _submitted(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        terms = Terms(**body["terms"])
        author = (claim.uid, identity.anchor, str(identity))
        where = (header.index, self.next_id, body["taskrunner"], body["name"])
        return self.admit(RUN_JOBS, JobRun(*where, *author, terms, header.time), claim, header, identity)

    @property
    def next_id(self) -> int:
        return self._last_id + 1

    def admit(self, type_: str, run: JobRun, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        """Have the task and its run from now on, and deal its slots; raises what stands against that."""
        body, name = claim.body, run.task
        if run.taskrunner not in self._taskrunners:
            there = f"CREATE TASKRUNNER {run.taskrunner}, or LIST TASKRUNNERS"
            raise Refused(f"there is no taskrunner {run.taskrunner}", hint=there)
        if taken := self.sweeps.taken(run, self._tasks):
            raise Refused(
                f"there is a task {taken} already", hint=f"choose another name, or swarm task rm {taken} first"
            )
        kept = self._kept[identity.anchor]
        if kept + run.terms.slots > KEPT_MAX:
            raise Refused(
                f"{identity.organisation} has {kept} jobs in the ledger, "
                f"and {run.terms.slots} more are over {KEPT_MAX}",
                hint="swarm task rm forgets those of a task that has ended",
            )
        said = (name, type_, body["author"], ROOT_NAME, body.get("outcome", name), body["body"])
        task = Task(*said, claim.uid, identity.anchor, header.time, state="queued", finalizer=claim.uid)
        if body.get("draft"):
            task.state, task.finalizer = "draft", ""
        run.output, run.code = body.get("output", ""), body.get("code", "")
        task.beside_bytes = beside_bytes(run, [each["name"] for each in body.get("data", [])])
        self._bodies.must_have_room(task.bytes, identity, task.beside_bytes)
        if run.output:
            self._artifacts.must_be_free(run.output, identity)
        run.uses = self._datasets.used(body.get("data", []))
        if run.output:
            self._artifacts.expect(run.output, identity)
        task.run, run.state = header.index, task.state
        self._last_id = run.id
        if task.final:
            run.make_slots()
        self._tasks[name], self.runs[run.number] = task, run
        self._kept[run.anchor] += run.terms.slots
        self._bodies.added(task)
        if isinstance(run, RolesRun):
            self.with_roles[run.number], run.rules = run, self._rules
            self.sweeps.add(run)
        events = self._noted(run, [TaskKnown(name, str(identity)), run.changed()])
        events += self.deal(header.index, header.time)
        return {"id": run.id, "run": run.number, "state": run.state}, events

    def start(self, run: JobRun, header: EntryHeader) -> list[Event]:
        """What was a draft is queued, behind whatever waits already."""
        self._began[run.number] = header.index
        return run.start(header.time)

    def _stopped(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        kill = claim.body.get("kill", False)
        meant = self.meant(claim, identity, "stopped")
        self.sweeps.must_wait_together(meant, "stopped", "stop")
        live = [run for run in meant if not run.over] or meant[:1]
        return self.each_done(claim.body["task"], live, lambda run: run.stop(str(identity), kill, header.time), header)

    def _retried(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        meant = self.meant(claim, identity, "retried")
        self.sweeps.must_wait_together(meant, "retried", "start")
        if going := [run for run in meant if not run.over]:
            meant = going[:1]  # it refuses: what is tried again has ended
        ended = [run for run in meant if run.state != "done"] or meant[:1]
        return self.each_done(claim.body["task"], ended, lambda run: run.retry(header.time), header)

    def each_done(
        self, name: str, runs: list[JobRun], happen: Callable[[JobRun], list[Event]], header: EntryHeader
    ) -> Answer:
        events = [event for run in runs for event in self._noted(run, happen(run))]
        named = self.sweeps.of(name) or runs[0]
        return {"state": named.state}, [*events, *self.deal(header.index, header.time)]

    def _deleted(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        meant = self.meant(claim, identity, "deleted")
        self.sweeps.must_go_together(meant, "deleted", "rm")
        needed = self._needed(meant)
        for run in meant:
            if not run.over and run.state != "draft":
                raise Refused(
                    f"task {run.task} is {run.state}: it cannot be deleted", hint=f"swarm task stop {run.task} first"
                )
            if run.task in needed:
                raise Refused(f"task {run.task} is the prerequisite of {needed[run.task]}: it cannot be deleted")
        for run in meant:
            self._bodies.removed(self._tasks.pop(run.task))
            del self.runs[run.number]
            self._began.pop(run.number, None)
            self._kept[run.anchor] -= run.terms.slots
            self.with_roles.pop(run.number, None)
            self._datasets.release(run.uses, (other.uses for other in self.runs.values()))
            self._artifacts.forget(run, self.runs.values())
        self.sweeps.forget(meant)
        return {}, [TaskGone(run.task, run.number, claim.body.get("outputs", False)) for run in meant]

    def _needed(self, runs: list[JobRun]) -> dict[str, str]:
        """Those of the runs' tasks that are prerequisites, each with the first task of which it is one."""
        names = {run.task for run in runs}
        needing = [task for task in self._tasks.values() if task.prereq in names]
        newest_first = sorted(needing, key=lambda task: (task.created_ms, task.name), reverse=True)
        return {task.prereq: task.name for task in newest_first}

    def meant(self, claim: Verified, identity: Identity, what: str) -> list[JobRun]:
        """All swarms of the sweep that is named, or the task."""
        sweep = self.sweeps.of(claim.body["task"])
        if sweep is None:
            return [self.own(claim, identity, what)]
        return [self._owned(run, identity, what) for run in sweep.runs.values()]

    def own(self, claim: Verified, identity: Identity, what: str) -> JobRun:
        name = claim.body["task"]
        run = self.of(name)
        if run is None:
            raise Refused(f"there is no task of jobs {name}: it cannot be {what}", hint="swarm task ls shows them")
        return self._owned(run, identity, what)

    def _owned(self, run: JobRun, identity: Identity, what: str) -> JobRun:
        if run.anchor != identity.anchor:
            raise Refused(
                f"task {run.task} cannot be {what} by {identity}: only the organisation that submitted it may",
                hint="ask a swci of its author's organisation",
            )
        return run

    # ---- operators

    def has_room(self, uid: str, body: dict[str, Any], index: int, now_ms: int) -> list[Event]:
        """It listens, and says what it offers; one that says nothing takes no jobs."""
        if "cpu" in body or "gpu" in body:
            self.rooms[uid] = Room(body.get("cpu", 0), body.get("gpu", 0))
        else:
            self.rooms.pop(uid, None)
        return self.deal(index, now_ms)

    def gone(self, uid: str, what: Gone, reason: str, index: int, now_ms: int) -> list[Event]:
        """It is lost, it began anew (an operator's workers go on, a participant's ended with it), or it has left."""
        who = "participant" if self._is_participant(uid) else "operator"
        if what == "restarted" and who == "operator":
            return self.back(uid, "its operator began anew", index, now_ms)
        why = f"its {who}: {reason}" if what != "lost" else f"its {who} {reason}"
        if what == "lost":
            return self._each(uid, lambda run, slot: run.operator_lost(slot, why, now_ms))
        self.rooms.pop(uid, None)
        events = self._each(uid, lambda run, slot: run.operator_left(slot, why, now_ms))
        return [*events, *self.deal(index, now_ms)]

    def _is_participant(self, uid: str) -> bool:
        """Whether it is a person's learning node, with slots that no operator is given."""
        held = ((self.with_roles.get(slot.run), slot) for slot in self.leases_of(uid))
        return any(run is not None and run.role(slot).owner == "participant" for run, slot in held)

    def back(self, uid: str, reason: str, index: int, now_ms: int) -> list[Event]:
        events = self._each(uid, lambda run, slot: run.operator_back(slot, reason, now_ms))
        return [*events, *self.deal(index, now_ms)]

    def _each(self, uid: str, happen: Callable[[JobRun, JobSlot], list[Event]]) -> list[Event]:
        events: list[Event] = []
        for slot in self.leases_of(uid):
            run = self.runs[slot.run]
            events += self._noted(run, happen(run, slot))
        return events

    # ---- slots

    def report(self, run: JobRun, slot: JobSlot, claim: Verified, header: EntryHeader) -> list[Event]:
        before = slot.state
        events = run.report(slot, claim.uid, claim.body, header.time)
        if slot.state != before:
            self._artifacts.reported(run, slot, claim.body, header.time)
        return self.then_deal(run, events, header)

    def decline(self, run: JobRun, uid: str, reason: str, header: EntryHeader) -> list[Event]:
        return self.then_deal(run, run.decline(uid, reason, header.time), header)

    def end_lease(self, run: JobRun, slot: JobSlot, body: dict[str, Any], header: EntryHeader) -> list[Event]:
        return self.then_deal(run, run.end_lease(slot, body["fence"], body["reason"], header.time), header)

    def then_deal(self, run: JobRun, events: list[Event], header: EntryHeader) -> list[Event]:
        return [*self._noted(run, events), *self.deal(header.index, header.time)]

    def _noted(self, run: JobRun, events: list[Event]) -> list[Event]:
        """Keep in mind who holds what, and which runs wait."""
        for event in events:
            if isinstance(event, SlotChanged) and not event.leased:
                self._held.get(event.swop, {}).pop(event.slot, None)
        if run.waits:
            self._waiting[run.number] = run
        else:
            self._waiting.pop(run.number, None)
        return events

    # ---- dealing

    def deal(self, index: int, now_ms: int) -> list[Event]:
        """Lease whatever there is room for."""
        if not self._waiting or not has_room(free := self.placing.free()):
            return []
        shares = Counter(self.runs[slot.run].user for slot in self.leases())
        turns = Turns(self._waiting.values(), shares, self.turn)
        lease = partial(self.lease, index=index, now_ms=now_ms)
        return Dealing(self.placing, self.sweeps, free, turns, lease).deal()

    def lease(
        self, run: JobRun, unit: list[JobSlot], holder: Holder, gpus: list[tuple[int, ...]], index: int, now_ms: int
    ) -> list[Event]:
        """The holder has these slots from now on."""
        leased = run.lease(unit, holder, gpus, index, now_ms)
        self._held.setdefault(holder.swop, {}).update((slot.id, slot) for slot in unit)
        return self._noted(run, leased)

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing while there has been nothing: as networks were before there were jobs."""
        if not self._last_id and not self.rooms:
            return {}
        rooms = [[uid, *astuple(room)] for uid, room in sorted(self.rooms.items())]
        began = {"began": sorted(self._began.items())} if self._began else {}
        return {"jobs": [self._last_id, rooms, [run.to_state() for run in self.runs.values()]], **began}

    def restore(self, state: dict[str, Any]) -> None:
        """From the board's state."""
        self._last_id, rooms, runs = state.get("jobs", [0, [], []])
        self.rooms.clear()
        self.rooms.update({uid: Room(cpu, gpu) for uid, cpu, gpu in rooms})
        self.runs = {run.number: run for run in map(_run_of, runs)}
        self._began = dict(state.get("began", ()))
        self.with_roles = {number: run for number, run in self.runs.items() if isinstance(run, RolesRun)}
        for each in self.with_roles.values():
            each.rules = self._rules
        self.sweeps.restore(self.with_roles.values())
        self._waiting = {number: run for number, run in self.runs.items() if run.waits}
        self._held, self._kept = {}, Counter()
        for run in self.runs.values():
            self._kept[run.anchor] += run.terms.slots
            self._tasks[run.task].beside_bytes = beside_bytes(run, run.uses.names)
            for slot in run.slots.values():
                if slot.leased:
                    self._held.setdefault(slot.swop, {})[slot.id] = slot

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        for number, run in self.runs.items():
            run.check()
            assert number == run.number
            assert (self._tasks[run.task].state, self._tasks[run.task].run) == (run.state, number), f"{run.task} lags"
            assert run.waits == (number in self._waiting)
            assert self._tasks[run.task].beside_bytes == beside_bytes(run, run.uses.names), f"{run.task} is miscounted"
        self.sweeps.check(self._tasks)
        assert self._began.keys() <= self.runs.keys(), "what is gone was started"
        assert self._kept.total() == sum(run.terms.slots for run in self.runs.values()), "jobs are counted wrong"
        leased = {slot.id for run in self.runs.values() for slot in run.slots.values() if slot.leased}
        assert leased == {slot.id for slot in self.leases()}, "who holds what is not what is leased"
        assert all(slot.swop == uid for uid, held in self._held.items() for slot in held.values())


def _run_of(state: dict[str, Any]) -> JobRun:
    return RolesRun.from_state(state) if "roles" in state else JobRun.from_state(state)
