"""The run of a RUN_JOBS task: its slots, in the order in which they are dealt, and what has become of them.

Kept by `core/jobs`, which deals slots to operators. Guarantees: a slot that is done stays done; a slot that failed is
tried again as often as the task says, and as often as its operator was lost, within bounds; the slots of a gang are
leased, ended and tried again together; while testers run nothing else is dealt, and if they cannot all succeed nothing
else ever is. Every count is kept, none is counted anew.

    draft ─finalized─► final ─started─► queued      what was submitted as a draft: there is no slot before it is final
    queued ─► testing ─► running ─► done      every slot is
       └───────────────►    │  ├──► partial   some are, the others failed for good
       ▲                    │  ├──► failed    none is, or a tester or a member of a gang failed
       └─────retried────────┘  └──► stopped   a person ended it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

from swarm.core.datasets import Uses
from swarm.core.events import Event, TaskChanged, TaskState
from swarm.core.jobslot import Holder, JobSlot, Room
from swarm.core.slot import ENDED, SLOT, Slot
from swarm.core.task import TASK, WORDS
from swarm.core.terms import Terms
from swarm.errors import Refused

LOSSES_MAX = 10
"""Operators that a slot may lose: what ends its host each time is for a person to look at."""
REASON_MAX = 500


@dataclass(slots=True)
class JobRun:
    """``number``: the index of the entry that submitted it; ``id``: how people call it. ``user``: who submitted it."""

    number: int
    id: int
    taskrunner: str
    task: str
    assigner: str
    anchor: bytes
    user: str
    terms: Terms
    submitted_ms: int
    started_ms: int = 0
    ended_ms: int = 0
    state: TaskState = "queued"
    reason: str = ""
    ending: str = ""
    """Why all of it is to end; what it is then: `outcome`."""
    outcome: TaskState = "stopped"
    tries: int = 0
    """How often the gang has failed."""
    declined: list[str] = field(default_factory=list)
    """The operators whose policy says no."""
    slots: dict[str, JobSlot] = field(default_factory=dict)
    killed: bool = False
    """What is to end gets no time to do it in."""
    cleared: bool = False
    """For `core/operator`: of no run of jobs."""
    uses: Uses = field(default_factory=Uses)
    """The datasets that it is about: only who has them runs it."""
    output: str = ""
    """The artifact that it makes, if any, of the code with the hash ``code``."""
    code: str = ""
    _counts: Counter[str] = field(default_factory=Counter)
    _waiting: list[int] = field(default_factory=list)

    # ---- reading

    @property
    def word(self) -> str:
        return WORDS[self.state]

    @property
    def leased(self) -> int:
        return self._counts["leased"]

    @property
    def counts(self) -> dict[str, int]:
        """How many slots are in each state that any is in."""
        return {state: count for state, count in sorted(self._counts.items()) if count and state != "leased"}

    @property
    def over(self) -> bool:
        return self.state in ("done", "partial", "failed", "stopped")

    @property
    def unstarted(self) -> bool:
        """Whether nothing of it begins before a person has started it."""
        return self.state in ("draft", "final")

    @property
    def waits(self) -> bool:
        """Whether any slot waits for an operator."""
        return bool(self._waiting) and not self.unstarted

    def unit(self) -> list[JobSlot]:
        """What is to be leased next, all of it to one operator; nothing while nothing may be."""
        return next(self.units(), [])

    def units(self) -> Iterator[list[JobSlot]]:
        """What may be leased next: alternatives, each of them to one operator, the most urgent first."""
        if self.ending or not self.waits:
            return
        if self.terms.gang:
            if len(self._waiting) == self.terms.slots:
                yield list(self.slots.values())
        elif not self._is_testing() or self._waiting[0] < self.terms.probe:
            yield [self.slots[f"{self.number}.{self._waiting[0]}"]]

    @property
    def stalls(self) -> bool:
        """Whether what it holds may be idle until it is given a slot again: jobs wait for nobody."""
        return False

    def room(self, slot: JobSlot) -> Room:
        """What the slot takes of its operator."""
        return Room(self.terms.cpu, self.terms.gpu)

    def merges(self, slot: Slot) -> bool:
        """Whether a learning node runs beside the slot's program: no job has one."""
        return False

    def lacking(self) -> str:
        """Who is missing, for people: of jobs, nobody in particular."""
        return ""

    def _is_testing(self) -> bool:
        return bool(self.terms.probe) and self._counts["done"] < self.terms.probe

    # ---- beginning

    def make_slots(self) -> None:
        """Those that the terms ask for: all of them wait."""
        for index in range(self.terms.slots):
            id_ = f"{self.number}.{index}"
            role = "job" if not self.terms.gang else "master" if index == 0 else "worker"
            slot = JobSlot(id_, self.number, self.taskrunner, self.task, "", "", b"", index, self.number, 0, "waiting")
            slot.leased, slot.role = False, role
            self.slots[id_] = slot
        self._count_anew()

    def finalize(self, now_ms: int) -> list[Event]:
        """A draft's slots are there from now on."""
        self.make_slots()
        return self._become(TASK[self.state, "finalized"], "", now_ms)

    def start(self, now_ms: int) -> list[Event]:
        """From now on it is as if it had been submitted by this entry; of its participants some may be there."""
        self.started_ms = now_ms if self.leased else 0
        return self._become(TASK[self.state, "begun" if self.leased else "queued"], "", now_ms)

    def lease(
        self, unit: list[JobSlot], holder: Holder, gpus: list[tuple[int, ...]], fence: int, now_ms: int
    ) -> list[Event]:
        """One of the ``units``, to this operator, with these GPUs for each of its slots."""
        events: list[Event] = []
        for slot, own in zip(unit, gpus, strict=True):
            heappop(self._waiting)
            self._counts["waiting"] -= 1
            events += slot.lease_to(holder, own, fence, now_ms)
            self._counts.update(("assigned", "leased"))
        self.started_ms = self.started_ms or now_ms
        return [*events, *self._become("testing" if self._is_testing() else "running", "", now_ms)]

    # ---- going on

    def report(self, slot: JobSlot, uid: str, body: dict[str, Any], now_ms: int) -> list[Event]:
        return self._changing(slot, partial(slot.report, uid, body, now_ms), now_ms)

    def decline(self, uid: str, reason: str, now_ms: int) -> list[Event]:
        """The operator's policy says no: its slots wait for another."""
        own = (slot for slot in self.slots.values() if slot.leased and slot.swop == uid)
        held = [slot for slot in own if (slot.state, "declined") in SLOT]
        if not held:
            raise Refused(f"{uid} has no slot of run {self.number} of task {self.task} that it could decline")
        if uid not in self.declined:
            self.declined.append(uid)
        events = [event for slot in held for event in self._moving(slot, partial(slot.decline, reason, now_ms))]
        if self.terms.gang:
            events += self._end_rest(reason, now_ms)
        elif not self.ending:
            events += [event for slot in held for event in self._requeue(slot, reason, now_ms)]
        return [*events, *self._settle(now_ms)]

    def end_lease(self, slot: JobSlot, fence: int, reason: str, now_ms: int) -> list[Event]:
        return self._changing(slot, partial(slot.end_lease, fence, reason, now_ms), now_ms)

    def operator_lost(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        return self._moving(slot, partial(slot.on, "operator lost", reason, now_ms))

    def operator_back(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        return self._moving(slot, partial(slot.back, reason, now_ms))

    def operator_left(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        return self._changing(slot, partial(slot.give_back, reason, now_ms), now_ms)

    def vacate(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        """Its lease ends, and the next one is made by the same entry: so nothing follows from that for the run."""
        return self._moving(slot, partial(slot.give_back, reason, now_ms))

    # ---- people

    def stop(self, by: str, kill: bool, now_ms: int) -> list[Event]:
        """What waits never starts, what runs is ended; refused when there is nothing left to end."""
        if self.over or self.state == "draft":
            raise Refused(f"task {self.task} is {self.state}: there is nothing to {'kill' if kill else 'stop'}")
        self.killed = self.killed or kill
        return self._end(f"{'killed' if kill else 'stopped'} by {by}", "stopped", now_ms)

    def retry(self, now_ms: int) -> list[Event]:
        """Every slot that is not done waits again."""
        if self.state not in ("partial", "failed", "stopped"):
            raise Refused(
                f"task {self.task} is {self.state}: only one that is partial, failed or stopped can be retried"
            )
        self.ending, self.killed, self.tries, self.ended_ms, self.declined = "", False, 0, 0, []
        events: list[Event] = []
        for slot in self.slots.values():
            if slot.state != "done" or self.terms.gang:
                slot.failures = slot.losses = 0
                events += self._requeue(slot, "retried", now_ms)
        return [*events, *self._become("queued", "retried", now_ms)]

    # ---- deciding

    def fail(self, why: str, now_ms: int) -> list[Event]:
        """No operator will ever run what waits."""
        return self._end(why, "failed", now_ms)

    def _changing(self, slot: JobSlot, change: Callable[[], list[Event]], now_ms: int) -> list[Event]:
        """A change of a slot, and what follows from it for the run."""
        events = self._moving(slot, change)
        if slot.leased or slot.state == "waiting":
            return events
        return [*events, *self._after(slot, now_ms), *self._settle(now_ms)]

    def _moving(self, slot: JobSlot, change: Callable[[], list[Event]]) -> list[Event]:
        self._counts.subtract((slot.state, "leased") if slot.leased else (slot.state,))
        try:
            events: list[Event] = change()
        finally:
            self._counts.update((slot.state, "leased") if slot.leased else (slot.state,))
        return events

    def _after(self, slot: JobSlot, now_ms: int) -> list[Event]:
        """The slot's attempt is over."""
        if slot.state == "done" or self.ending or slot.ending:
            return []
        if self.terms.gang:
            return self._gang_failed(slot, now_ms)
        if slot.state == "failed":
            if slot.failures >= self.terms.restart:
                return self._tester_failed(slot, now_ms)
            slot.failures += 1
        elif slot.losses >= LOSSES_MAX:
            return self._tester_failed(slot, now_ms)
        else:
            slot.losses += 1
        return self._requeue(slot, f"attempt {slot.attempt} {slot.state}: {slot.reason}"[:REASON_MAX], now_ms)

    def _tester_failed(self, slot: JobSlot, now_ms: int) -> list[Event]:
        if not self._is_testing() or slot.index >= self.terms.probe:
            return []
        return self._end(f"tester {slot.index} {slot.state}: {slot.reason}", "failed", now_ms)

    def _gang_failed(self, slot: JobSlot, now_ms: int) -> list[Event]:
        """The others are ended; once they all are, the gang waits again if it may."""
        why = f"rank {slot.index} {slot.state}: {slot.reason}"[:REASON_MAX]
        self.reason = why
        return self._end_rest(f"{why}; the others were stopped", now_ms)

    def _end_rest(self, why: str, now_ms: int) -> list[Event]:
        """End whatever is leased."""
        rest = [slot for slot in self.slots.values() if slot.leased]
        return [event for slot in rest for event in self._moving(slot, partial(slot.end, why[:REASON_MAX], now_ms))]

    def _settle(self, now_ms: int) -> list[Event]:
        if self.leased:
            return []
        done, all_ = self._counts["done"], self.terms.slots
        if done == all_:
            return self._become("done", f"{done} of {all_} jobs completed" if all_ > 1 else "", now_ms)
        if self.ending:
            return self._become(self.outcome, self.ending, now_ms)
        if self._waiting:
            newest = self.slots[f"{self.number}.{self._waiting[0]}"].reason
            return self._become("queued", newest, now_ms) if not done else []
        if self.terms.gang:
            return self._try_gang_again(now_ms)
        return self._become("partial" if done else "failed", self._why_not(), now_ms)

    def _try_gang_again(self, now_ms: int) -> list[Event]:
        lost = all(slot.state != "failed" or slot.swop in self.declined for slot in self.slots.values())
        if self.tries >= (LOSSES_MAX if lost else self.terms.restart):
            return self._become("failed", self.reason, now_ms)
        self.tries += 1
        events = [event for slot in self.slots.values() for event in self._requeue(slot, self.reason, now_ms)]
        return [*events, *self._become("queued", self.reason, now_ms)]

    def _requeue(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        if slot.state == "waiting":
            return []
        if slot.state == "done":  # of a gang that is tried again
            slot.state = "stopped"
            self._counts.subtract(("done",))
            self._counts.update(("stopped",))
        heappush(self._waiting, slot.index)
        return self._moving(slot, partial(slot.requeue, reason, now_ms))

    def _end(self, why: str, outcome: TaskState, now_ms: int) -> list[Event]:
        if not self.ending:
            self.ending, self.outcome, self.reason = why[:REASON_MAX], outcome, why[:REASON_MAX]
        self._waiting.clear()
        events: list[Event] = []
        for slot in self.slots.values():
            events += self._moving(slot, partial(slot.end, self.ending, now_ms))
        return [*events, *(self._settle(now_ms) or [self.changed()])]

    def _why_not(self) -> str:
        failed = [slot for slot in self.slots.values() if slot.state != "done"]
        first = failed[0]
        if self.terms.slots == 1:
            return first.reason
        return f"{len(failed)} of {self.terms.slots} jobs failed; {first.role} {first.index}: {first.reason}"[
            :REASON_MAX
        ]

    def _become(self, state: TaskState, reason: str, now_ms: int) -> list[Event]:
        if (self.state, self.reason) == (state, reason):
            return []
        self.state, self.reason = state, reason
        self.ended_ms = now_ms if self.over else 0
        return [self.changed()]

    def changed(self) -> TaskChanged:
        return TaskChanged(self.taskrunner, self.number, self.task, self.state, self.reason)

    # ---- keeping

    def _count_anew(self) -> None:
        self._counts = Counter(slot.state for slot in self.slots.values())
        self._counts["leased"] = sum(slot.leased for slot in self.slots.values())
        self._waiting = [slot.index for slot in self.slots.values() if slot.state == "waiting"]
        heapify(self._waiting)

    def to_state(self) -> dict[str, Any]:
        return {
            "fixed": [self.number, self.id, self.taskrunner, self.task, self.assigner, self.anchor, self.user],
            "terms": list(astuple(self.terms)),
            "stands": [
                *(self.submitted_ms, self.started_ms, self.ended_ms, self.state, self.reason),
                *(self.ending, self.outcome, self.tries, list(self.declined)),
            ],
            "slots": [slot.to_state() for slot in self.slots.values()],
            **({"killed": True} if self.killed else {}),
            **({"uses": self.uses.to_state()} if self.uses.versions else {}),
            **({"makes": [self.output, self.code]} if self.output else {}),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> JobRun:
        run = cls(*kept_fields(state))
        run.uses = Uses.from_state(state["uses"]) if "uses" in state else Uses()
        run.output, run.code = state.get("makes", ["", ""])
        run._count_anew()
        return run

    def check(self) -> None:
        for id_, slot in self.slots.items():
            slot.check()
            assert (slot.id, slot.run, slot.task) == (id_, self.number, self.task)
        counted, waiting = dict(self._counts), sorted(self._waiting)
        self._count_anew()
        assert {key: value for key, value in counted.items() if value} == {k: v for k, v in self._counts.items() if v}
        assert waiting == sorted(self._waiting), "what waits is not what may be dealt"
        assert not (self.over and self.leased), f"{self.task} is {self.state} and has leases"
        if self.terms.gang:
            holders = {slot.swop for slot in self.slots.values() if slot.leased}
            assert len(holders) <= 1, "a gang at two operators"
            waits = sum(slot.state == "waiting" for slot in self.slots.values())
            assert waits in (0, self.terms.slots), "a part of a gang waits"
        assert all(slot.state in (*ENDED, "lost") or not self.over for slot in self.slots.values())


def kept_fields(state: dict[str, Any]) -> list[Any]:
    """What the state of a run holds, in the order of a run's fields."""
    *stands, declined = state["stands"]
    slots = {slot.id: slot for slot in map(JobSlot.from_state, state["slots"])}
    return [*state["fixed"], Terms(*state["terms"]), *stands, list(declined), slots, state.get("killed", False)]
