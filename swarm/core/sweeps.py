"""Sweeps of swarms: tasks with roles that differ by one value each, and are one thing to people.

Kept by `core/jobs`. Each swarm is a task of its own, with its own slots, contract and state, and comes by an entry of
its own, which says which of how many it is. Guarantees: a sweep has a name and an id that no task has; its swarms are
of one organisation; none of them begins before all of them are there, so a sweep that was submitted in part never
runs in part.

    draft, final, queued    all of its swarms are: none has begun
    running    some have, and not all have ended
    done       every one is; partial: some are, the others failed or were stopped
    failed     all have ended, none is done; stopped: all have ended, none is done, and a person ended one
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarm.core.events import TaskState
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.names import Identity
from swarm.core.rolesrun import RolesRun
from swarm.core.task import UNBEGUN
from swarm.core.variant import Variant
from swarm.errors import Refused


@dataclass(slots=True)
class Sweep:
    """``anchor``: whose it is. ``runs``: those of its swarms that are there, in their order, by index."""

    name: str
    id: int
    of: int
    anchor: bytes
    runs: dict[int, RolesRun] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.runs) == self.of

    @property
    def over(self) -> bool:
        """Also of one that will never be complete: what is there has ended."""
        return all(run.over for run in self.runs.values())

    @property
    def swarms(self) -> Counter[TaskState]:
        """How many of its swarms are in each state."""
        return Counter(run.state for run in self.runs.values())

    @property
    def state(self) -> TaskState:
        swarms = self.swarms
        if not self.over:
            alike = next(iter(self.runs.values())).state
            return alike if swarms[alike] == len(self.runs) and alike in UNBEGUN else "running"
        if swarms["done"]:
            return "done" if swarms["done"] == self.of else "partial"
        return "stopped" if swarms["stopped"] else "failed"

    @property
    def reason(self) -> str:
        """Why it stands as it does, for people."""
        if not self.complete:
            return f"{len(self.runs)} of its {self.of} swarms were submitted"
        done = f"{self.swarms['done']} of {self.of} swarms are done"
        short = next((run for run in self.runs.values() if run.state in ("failed", "stopped")), None)
        return f"{done}; {short.task} {short.state}: {short.reason}" if short else done

    @property
    def slots(self) -> dict[str, JobSlot]:
        """Of all of its swarms, by id."""
        return {id_: slot for run in self.runs.values() for id_, slot in run.slots.items()}

    @property
    def counts(self) -> dict[str, int]:
        """How many slots of all of its swarms are in each state that any is in."""
        total: Counter[str] = Counter()
        for run in self.runs.values():
            total.update(run.counts)
        return dict(sorted(total.items()))


class Sweeps:
    """``by_name``: for reading."""

    def __init__(self) -> None:
        self.by_name: dict[str, Sweep] = {}

    def of(self, name: str) -> Sweep | None:
        """The sweep with this name, or with this id."""
        if name in self.by_name:
            return self.by_name[name]
        return next((sweep for sweep in self.by_name.values() if str(sweep.id) == name), None)

    def whole(self, run: JobRun) -> Sweep | None:
        """The sweep that it is of, if it is of one."""
        return self.by_name[run.variant.sweep] if isinstance(run, RolesRun) and run.variant else None

    def variant(self, said: dict[str, Any], name: str, next_id: int, identity: Identity, *, draft: bool) -> Variant:
        """Which of a sweep's swarms the task `name` is to be; raises Refused for one that does not fit to the others.

        ``next_id``: what the sweep is called by if this is its first.
        """
        there, index, of = self.by_name.get(said["of"]), said["index"], said["count"]
        if index >= of:
            raise Refused(f"a sweep of {of} swarms has no number {index}: they are counted from 0")
        if name != f"{said['of']}.{index}":
            raise Refused(f"swarm {index} of sweep {said['of']} has the name {said['of']}.{index}, not {name}")
        if there is None:
            return Variant(said["of"], next_id, index, of, said["value"])
        if there.anchor != identity.anchor:
            raise Refused(f"sweep {there.name} is another organisation's: {identity} adds no swarm to it")
        if there.of != of:
            raise Refused(f"sweep {there.name} has {there.of} swarms, not {of}")
        if draft != (there.state == "draft"):
            raise Refused(f"sweep {there.name} is {there.state}: its swarms are drafts together, or none of them is")
        return Variant(there.name, there.id, index, of, said["value"])

    def taken(self, run: JobRun, tasks: Collection[str]) -> str:
        """Which of the names that the run needs a task or a sweep has; empty: none."""
        if run.task in self.by_name:
            return run.task
        sweep = [run.variant.sweep] if isinstance(run, RolesRun) and run.variant else []
        return next((name for name in (run.task, *sweep) if name in tasks), "")

    def add(self, run: RolesRun) -> None:
        if (of := run.variant) is None:
            return
        sweep = self.by_name.setdefault(of.sweep, Sweep(of.sweep, of.id, of.of, run.anchor))
        sweep.runs[of.index] = run
        sweep.runs = dict(sorted(sweep.runs.items()))

    def must_go_together(self, runs: Sequence[JobRun], what: str, verb: str) -> None:
        """Raises Refused where these are not all that there are of a sweep. ``verb``: the command that does it."""
        for run in runs:
            whole = self.whole(run)
            if whole and len(runs) < len(whole.runs):
                raise Refused(
                    f"task {run.task} is one of the swarms of {whole.name}: it is {what} with them",
                    hint=f"swarm task {verb} {whole.name}",
                )

    def must_wait_together(self, runs: Sequence[JobRun], what: str, verb: str) -> None:
        """The same of one that waits for its start: who has gone ahead could not be started with the others."""
        whole = self.whole(runs[0])
        if whole and whole.swarms["final"]:
            self.must_go_together(runs, what, verb)

    def forget(self, runs: Iterable[JobRun]) -> None:
        for run in runs:
            if isinstance(run, RolesRun) and run.variant:
                self.by_name.pop(run.variant.sweep, None)

    def restore(self, runs: Iterable[RolesRun]) -> None:
        self.by_name.clear()
        for run in runs:
            self.add(run)

    def check(self, tasks: Iterable[str]) -> None:
        assert not self.by_name.keys() & set(tasks), "a sweep and a task with one name"
        for sweep in self.by_name.values():
            assert sweep.runs, f"sweep {sweep.name} has no swarms"
            assert len(sweep.runs) <= sweep.of
            assert all(run.anchor == sweep.anchor for run in sweep.runs.values())
