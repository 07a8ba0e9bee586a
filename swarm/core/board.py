"""The board: all tasks, taskrunners, datasets and artifacts of the network, and the proposals about them.

Called by the ledger, which has checked the author's role and the body's fields. Guarantees: names are unique and
permanent (a draft's until it is deleted); a draft is finalized, changed and deleted by its author's organisation only;
a prerequisite exists before its task, so there are no cycles; refusals change nothing. Kinds: `core/task_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from swarm.core.artifacts import Artifacts
from swarm.core.bodies import SINCE, Bodies
from swarm.core.claims import EntryHeader, Verified
from swarm.core.datasets import Datasets
from swarm.core.drafts import Drafts
from swarm.core.events import Event, Gone, TaskChanged, TaskFinal, TaskGone, TaskKnown, TaskrunnerKnown
from swarm.core.jobrun import JobRun
from swarm.core.jobs import Jobs
from swarm.core.jobslot import JobSlot
from swarm.core.joining import Joining
from swarm.core.names import Identity
from swarm.core.organisations import Anchors
from swarm.core.rolesboard import RolesBoard
from swarm.core.rolesrun import RolesRun
from swarm.core.rules import Rules
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.core.task import ROOT_NAME, RUN_JOBS, Task, bytes_of, root
from swarm.core.taskrunner import DEFAULT_NAME, Listener, Taskrunner
from swarm.errors import BadInput, Refused

Answer = tuple[dict[str, Any], list[Event]]


class Board:
    """``tasks`` and ``taskrunners`` are for reading, by name. ``anchors`` and ``rules``: the ledger's own."""

    def __init__(self, anchors: Anchors, rules: Rules) -> None:
        self.tasks: dict[str, Task] = {ROOT_NAME: root()}
        self.bodies = Bodies(self.tasks, rules)
        self._rules = rules
        self.taskrunners: dict[str, Taskrunner] = {DEFAULT_NAME: Taskrunner(DEFAULT_NAME)}
        self.datasets = Datasets(lambda name, anchor: self.jobs.user_of(name, anchor))
        self.artifacts = Artifacts()
        self.jobs = Jobs(self.tasks, self.taskrunners, self.datasets, self.artifacts, self.bodies, rules)
        self.joining = Joining(self.jobs, anchors)
        self.roles = RolesBoard(self.jobs, self.joining.let_go, anchors, rules)
        self._kinds: dict[str, Callable[[Verified, EntryHeader, Identity], Answer]] = {
            **self.jobs.kinds,
            **Drafts(self.jobs, self.tasks).kinds,
            **self.roles.kinds,
            **self.datasets.kinds,
            **self.joining.kinds,
            "TaskCreated": self._task_created,
            "TaskBodyAppended": self._task_body_appended,
            "TaskFinalized": self._task_finalized,
            "TaskDeleted": self._task_deleted,
            "TaskrunnerCreated": self._taskrunner_created,
            "SwopListening": self._swop_listening,
            "TaskAssigned": self._task_assigned,
            "TaskDeclined": self._task_declined,
            "SlotReported": self._slot_reported,
            "LeaseEnded": self._lease_ended,
            "TaskrunnerReset": self._taskrunner_reset,
        }

    # ---- reading

    @property
    def slots(self) -> dict[str, Slot]:
        """The slots of all runs of taskrunners that are not forgotten, by id."""
        return {slot.id: slot for run in self.runs() for slot in run.slots.values()}

    def runs(self) -> Iterator[Run]:
        for _, taskrunner in sorted(self.taskrunners.items()):
            yield from taskrunner.runs

    def leases(self) -> list[Slot]:
        """The slots with a lease: what may run by now, and where."""
        return [*(slot for run in self.runs() for slot in run.slots.values() if slot.leased), *self.jobs.leases()]

    def leases_of(self, swop: str) -> list[Slot]:
        """What this operator may run by now."""
        return [*(slot for run in self.runs() for slot in run.of(swop) if slot.leased), *self.jobs.leases_of(swop)]

    def people(self) -> set[str]:
        """The uids of who has created, finalized and assigned what is here, and of who has a lease."""
        tasks = {uid for task in self.tasks.values() for uid in (task.creator, task.finalizer)}
        runs = {run.assigner for run in self.runs()} | {run.assigner for run in self.jobs.runs.values()}
        others = {runner.creator for runner in self.taskrunners.values()} | {slot.swop for slot in self.leases()}
        return (tasks | runs | others) - {""}

    def run(self, number: int) -> Run | JobRun:
        if number in self.jobs.runs:
            return self.jobs.runs[number]
        for run in self.runs():
            if run.number == number:
                return run
        raise Refused(f"there is no run {number}: its taskrunner was reset, and its slots have ended")

    def slot(self, id_: str) -> tuple[Run | JobRun, Slot]:
        run = self.run(int(id_.partition(".")[0]))
        if id_ not in run.slots:
            raise Refused(f"there is no slot {id_} in run {run.number} of task {run.task}")
        return run, run.slots[id_]

    def slot_of(self, body: Mapping[str, Any], identity: Identity) -> Slot | None:
        """The slot for which a learning node enrols, which has to be its own; None for one started by hand."""
        if "slot" not in body:
            return None
        run, slot = self.slot(body["slot"])
        if slot.anchor != identity.anchor:
            raise Refused(f"{slot} is not {identity}'s: its operator is of another organisation")
        if slot.fence != body.get("fence"):
            raise Refused(f"fence {body.get('fence')} of {slot} is old: its lease has fence {slot.fence}")
        if isinstance(run, RolesRun) and run.variant and not run.variant.owns(body["contract"]):
            raise Refused(
                f"{slot} is of {run.task}, one of the swarms of {run.variant.sweep}, each with a contract of its own: "
                f"expected {run.role(slot).contract or 'none'}, and its program names {body['contract']}",
                hint="let the program take the name from SWARM_CONTRACT",
            )
        return slot

    # ---- the ledger calls

    def handles(self, kind: str) -> bool:
        return kind in self._kinds

    def handle(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        result, events = self._kinds[claim.kind](claim, header, identity)
        return result, self._settled(events)

    def gone(self, uid: str, what: Gone, reason: str, index: int, now_ms: int) -> list[Event]:
        """An operator's node is lost or restarted, or it has left."""
        events: list[Event] = []
        for _, taskrunner in sorted(self.taskrunners.items()):
            match what:
                case "lost":
                    events += taskrunner.lost(uid, f"its operator {reason}", now_ms)
                case "restarted":
                    events += taskrunner.restarted(uid, now_ms)
                case "left":
                    events += taskrunner.left(uid, f"its operator: {reason}", now_ms)
        return self._settled([*events, *self.jobs.gone(uid, what, reason, index, now_ms)])

    def back(self, uid: str, index: int, now_ms: int) -> list[Event]:
        """The node is live again."""
        back = [runner.back(uid, index, now_ms) for _, runner in sorted(self.taskrunners.items())]
        jobs = self.jobs.back(uid, "its operator is back", index, now_ms)
        return self._settled([*(event for events in back for event in events), *jobs])

    def _settled(self, events: list[Event]) -> list[Event]:
        """Tasks follow their newest run; runs of which nothing is left are forgotten."""
        if any(isinstance(event, TaskGone) for event in events):
            self.joining.prune()
        for event in events:
            if isinstance(event, TaskChanged) and self.tasks[event.task].run <= event.run:
                task = self.tasks[event.task]
                task.run, task.state, task.reason = event.run, event.state, event.reason
        for taskrunner in self.taskrunners.values():
            taskrunner.prune()
        return events

    # ---- tasks

    def _task_created(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        said = [body[key] for key in ("name", "type", "author", "prereq", "outcome", "body")]
        new = Task(*[*said, claim.uid, identity.anchor, header.time])
        known = self.tasks.get(new.name)
        if known is not None:
            if known.anchor == new.anchor and known.digest == new.digest:
                return {"known": True, "state": known.state}, []
            delete = "swarm task rm" if self._is_of_jobs(known) else "DELETE TASK"
            raise Refused(
                f"there is a task {new.name} already, by {known.author}: names of tasks are permanent",
                hint="choose another name" if known.final else f"choose another name, or {delete} {new.name} first",
            )
        if new.name in self.jobs.sweeps.by_name:
            raise Refused(f"there is a task {new.name} already: a sweep of swarms", hint="choose another name")
        self._must_stay(self._task(new.prereq, f"the prerequisite of {new.name}"), new)
        self.bodies.must_have_room(new.bytes, identity)
        self.tasks[new.name] = new
        self.bodies.added(new)
        return {"known": False, "state": new.state}, [TaskKnown(new.name, str(identity))]

    def _task_body_appended(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        task = self._own_draft(claim, identity, "changed")
        self.bodies.must_have_room(len(claim.body["line"].encode()), identity)
        before = task.bytes
        task.append(claim.body["index"], claim.body["line"])
        self.bodies.changed(task, before)
        return {"lines": len(task.lines)}, []

    def _task_finalized(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        task = self._task(claim.body["task"])
        if task.final and task.anchor == identity.anchor:
            return {"known": True, "digest": task.digest}, []
        task = self._own_draft(claim, identity, "finalized")
        self.bodies.must_have_room(bytes_of(claim.body.get("body") or {}), identity)
        before = task.bytes
        task.finalize(claim.uid, claim.body.get("body"))
        self.bodies.changed(task, before)
        return {"known": False, "digest": task.digest}, [TaskFinal(task.name, task.digest)]

    def _task_deleted(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        task = self._own_draft(claim, identity, "deleted")
        for name, other in sorted(self.tasks.items()):
            if other.prereq == task.name and other is not task:
                raise Refused(f"task {task.name} cannot be deleted: it is the prerequisite of {name}")
        self.bodies.removed(self.tasks.pop(task.name))
        return {}, [TaskGone(task.name)]

    def _must_stay(self, prereq: Task, new: Task) -> None:
        """No organisation keeps another one from deleting its task: who may delete it may name it."""
        goes = not prereq.final or prereq.run in self.jobs.runs
        if self._rules.active >= SINCE and goes and prereq.anchor != new.anchor:
            raise Refused(
                f"{prereq.name} cannot be the prerequisite of {new.name}: another organisation may still delete it",
                hint="name a task of your own organisation, or a final one that is assigned to taskrunners",
            )

    def _is_of_jobs(self, task: Task) -> bool:
        """Or of roles: it was submitted whole, and is not written and assigned line by line."""
        return task.run in self.jobs.runs

    def _task(self, name: str, what: str = "") -> Task:
        if name not in self.tasks:
            raise Refused(f"there is no task {name}{what and f', {what}'}", hint="LIST TASKS shows those there are")
        return self.tasks[name]

    def _own_draft(self, claim: Verified, identity: Identity, what: str) -> Task:
        task = self._task(claim.body["task"])
        if task.anchor != identity.anchor:
            raise Refused(
                f"task {task.name} cannot be {what} by {identity}: only the organisation that created it may",
                hint="ask a swci of its author's organisation",
            )
        task.must_be_draft(what)
        if self._is_of_jobs(task):
            raise Refused(
                f"task {task.name} was submitted whole: it cannot be {what} as a draft of lines",
                hint=f"swarm task finalize {task.name}, or swarm task rm {task.name}",
            )
        return task

    # ---- taskrunners

    def _taskrunner_created(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        name = claim.body["name"]
        if name in self.taskrunners:
            return {"known": True}, []
        self.taskrunners[name] = Taskrunner(name, claim.uid)
        return {"known": False}, [TaskrunnerKnown(name, str(identity))]

    def _swop_listening(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        taskrunner = self._taskrunner(claim.body["taskrunner"])
        events: list[Event] = []
        for name, other in sorted(self.taskrunners.items()):
            if name != taskrunner.name and claim.uid in other.listeners:
                events += other.leave(claim.uid)
        row = (claim.uid, identity.name, identity.organisation, identity.anchor)
        listener = Listener(*row, claim.body["group"], claim.body["peers"])
        events += taskrunner.listen(listener, header.index, header.time)
        return {}, [*events, *self.jobs.has_room(claim.uid, claim.body, header.index, header.time)]

    def _task_assigned(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        if ("peers" in body) == ("target" in body):
            raise BadInput("TaskAssigned names either a number of peers, or ALL PEERS, or the operator that is meant")
        taskrunner, task = self._taskrunner(body["taskrunner"]), self._ready_to_run(body["task"])
        target, peers = body.get("target", ""), body.get("peers", 0)
        if target and taskrunner.current:
            events = taskrunner.retry(task.name, target, identity, header.index, header.time)
        else:
            needed = 0 if peers == "all" else peers
            author = (claim.uid, identity.anchor)
            run = Run(header.index, taskrunner.name, task.name, task.peer_type, *author, needed, header.time)
            events = taskrunner.assign(run, target)
        run = self._current(taskrunner)
        return {"run": run.number, "state": run.state, "peers": run.needed}, events

    def _ready_to_run(self, name: str) -> Task:
        task = self._task(name)
        if task.name == ROOT_NAME:
            raise Refused(f"{ROOT_NAME} is where chains of prerequisites begin: there is nothing to run")
        if self._is_of_jobs(task):
            what = "jobs" if task.type == RUN_JOBS else "roles"
            next_ = {"draft": "finalize", "final": "start"}.get(task.state)
            raise Refused(
                f"task {name} is of {what}: it runs when operators have room, and is assigned to nobody",
                hint=f"swarm task {next_} {name}" if next_ else f"swarm task retry {name} runs it again",
            )
        if not task.final:
            raise Refused(f"task {name} is a draft: it cannot be assigned", hint=f"FINALIZE TASK {name}")
        prereq = self._task(task.prereq, f"the prerequisite of {name}")
        if not prereq.final:
            finalize = "swarm task finalize" if self._is_of_jobs(prereq) else "FINALIZE TASK"
            raise Refused(f"{prereq.name}, the prerequisite of {name}, is a draft", hint=f"{finalize} {prereq.name}")
        if prereq.state == "failed":
            raise Refused(
                f"{prereq.name}, the prerequisite of {name}, has failed: {prereq.reason}",
                hint=f"assign {prereq.name} again first",
            )
        return task

    def _taskrunner_reset(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        taskrunner = self._taskrunner(claim.body["taskrunner"])
        taskrunner.must_let_reset(identity)
        run = taskrunner.current
        return {"run": run.number if run else 0}, taskrunner.reset(str(identity), header.time)

    def _taskrunner(self, name: str) -> Taskrunner:
        if name not in self.taskrunners:
            raise Refused(f"there is no taskrunner {name}", hint=f"CREATE TASKRUNNER {name}, or LIST TASKRUNNERS")
        return self.taskrunners[name]

    def _current(self, taskrunner: Taskrunner) -> Run:
        assert taskrunner.current is not None
        return taskrunner.current

    # ---- slots

    def _task_declined(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        body = claim.body
        reason = f"declined by {identity}: {body['reason']}"
        reason = f"{reason} ({body['hint']})" if body["hint"] else reason
        run = self.run(body["run"])
        if isinstance(run, JobRun):
            return {}, self.jobs.decline(run, claim.uid, reason[:500], header)
        return {}, run.decline(claim.uid, reason[:500], header.time)

    def _slot_reported(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.slot(claim.body["slot"])
        if isinstance(run, JobRun):
            assert isinstance(slot, JobSlot)
            return {"state": slot.state}, self.jobs.report(run, slot, claim, header)
        events = run.report(slot, claim.uid, claim.body, header.time)
        return {"state": slot.state, "cleared": run.cleared}, events

    def _lease_ended(self, claim: Verified, header: EntryHeader, identity: Identity) -> Answer:
        run, slot = self.slot(claim.body["slot"])
        if isinstance(run, JobRun):
            assert isinstance(slot, JobSlot)
            return {}, self.jobs.end_lease(run, slot, claim.body, header)
        return {}, run.end_lease(slot, claim.body["fence"], claim.body["reason"], header.time)

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        return {
            "tasks": [task.to_state() for _, task in sorted(self.tasks.items())],
            "taskrunners": [taskrunner.to_state() for _, taskrunner in sorted(self.taskrunners.items())],
            **self.jobs.to_state(),
            **self.datasets.to_state(),
            **self.joining.to_state(),
            **self.artifacts.to_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.tasks.clear()
        self.tasks.update({task.name: task for task in map(Task.from_state, state["tasks"])})
        self.taskrunners.clear()
        self.taskrunners.update({runner.name: runner for runner in map(Taskrunner.from_state, state["taskrunners"])})
        self.datasets.restore(state)
        self.artifacts.restore(state)
        self.jobs.restore(state)
        self.bodies.restore()
        self.joining.restore(state)

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        for name, task in self.tasks.items():
            assert task.name == name
            assert task.prereq in self.tasks
            assert task.final or not task.run or task.run in self.jobs.runs, f"the draft {name} runs"
        for taskrunner in self.taskrunners.values():
            taskrunner.check()
        self.bodies.check()
        self.jobs.check()
        self.datasets.check()
        self.joining.check()
        self.artifacts.check()
        for run in self.runs():
            task = self.tasks[run.task]
            assert run.number <= task.run
            assert run.number < task.run or (task.state, task.reason) == (run.state, run.reason), f"{task.name} lags"
        numbers = [run.number for run in self.runs()]
        assert len(numbers) == len(set(numbers))
