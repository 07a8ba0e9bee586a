"""The run: one task assigned to one taskrunner, once; its slots, and how many peers have to complete.

Kept by its taskrunner (`core/taskrunner`). Guarantees: slots are derived from the entry that began the run, exactly
once; the run is done when as many peers are done as were asked for, and failed, with the reason, as soon as so many can
no longer complete. A lost slot can, while its lease goes on; more slots than peers asked for may run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from swarm.core.events import Event, TaskChanged, TaskState
from swarm.core.slot import Slot
from swarm.core.task import TASK, WORDS
from swarm.errors import Refused


@dataclass(frozen=True, slots=True)
class Place:
    """Where slots go: an operator, its name in sentences, its organisation, and how many of this task it runs."""

    swop: str
    operator: str
    anchor: bytes
    peers: int


@dataclass(slots=True)
class Run:
    """``number``: the index of the entry that assigned the task. ``assigner``: the uid that did; ``anchor``: its CA."""

    number: int
    taskrunner: str
    task: str
    peer_type: str
    assigner: str
    anchor: bytes
    needed: int
    assigned_ms: int
    started_ms: int = 0
    ended_ms: int = 0
    state: TaskState = "final"
    reason: str = ""
    cleared: bool = False
    """The taskrunner was reset: what still runs may finish saving and is to end."""
    slots: dict[str, Slot] = field(default_factory=dict)

    # ---- reading

    @property
    def word(self) -> str:
        return WORDS[self.state]

    @property
    def active(self) -> int:
        """Peers that may still complete."""
        return sum(slot.leased for slot in self.slots.values())

    @property
    def completed(self) -> int:
        return sum(slot.state == "done" for slot in self.slots.values())

    @property
    def failed(self) -> int:
        return len(self.slots) - self.active - self.completed

    def of(self, swop: str) -> list[Slot]:
        return [slot for slot in self.slots.values() if slot.swop == swop]

    # ---- beginning

    def queue(self, reason: str) -> list[Event]:
        if (self.state, self.reason) == ("queued", reason):
            return []
        self.state, self.reason = TASK.get((self.state, "queued"), self.state), reason
        return [self._changed()]

    def begin(self, places: Iterable[Place], fence: int, now_ms: int) -> list[Event]:
        self.started_ms = now_ms
        self._on("begun", "", now_ms)
        slots = [event for place in places for event in self._place(place, fence, now_ms)]
        return [self._changed(), *slots]

    def retry(self, place: Place, fence: int, now_ms: int) -> list[Event]:
        """Add an operator, or lease again what it did not complete. What it runs or has done stays as it is."""
        slots = self._place(place, fence, now_ms)
        if not slots:
            raise Refused(f"{place.operator} runs or has completed all its peers of task {self.task} already")
        before = self.state
        self._on("retried", "", now_ms)
        retried: list[Event] = [self._changed()] if self.state != before else []
        return [*retried, *slots, *self._settle(now_ms)]

    def _place(self, place: Place, fence: int, now_ms: int) -> list[Event]:
        events: list[Event] = []
        known = {slot.index: slot for slot in self.of(place.swop)}
        for index in range(place.peers):
            slot = known.get(index)
            if slot is None:
                id_ = f"{self.number}.{len(self.slots)}"
                where = (place.swop, place.operator, place.anchor, index)
                slot = Slot(id_, self.number, self.taskrunner, self.task, *where, fence, changed_ms=now_ms)
                self.slots[id_] = slot
                events.append(slot.assigned())
            elif not slot.leased and slot.state != "done":
                events += slot.lease(fence, now_ms)
        return events

    # ---- going on

    def report(self, slot: Slot, uid: str, body: dict[str, Any], now_ms: int) -> list[Event]:
        return [*slot.report(uid, body, now_ms), *self._settle(now_ms)]

    def decline(self, uid: str, reason: str, now_ms: int) -> list[Event]:
        """The operator's policy says no to the whole task."""
        events = [event for slot in self.of(uid) for event in slot.decline(reason, now_ms)]
        if not events:
            raise Refused(f"{uid} has no slot of run {self.number} of task {self.task} that it could decline")
        return [*events, *self._settle(now_ms)]

    def end_lease(self, slot: Slot, fence: int, reason: str, now_ms: int) -> list[Event]:
        return [*slot.end_lease(fence, reason, now_ms), *self._settle(now_ms)]

    def operator_lost(self, swop: str, reason: str, now_ms: int) -> list[Event]:
        return [event for slot in self.of(swop) for event in slot.on("operator lost", reason, now_ms)]

    def operator_left(self, swop: str, reason: str, now_ms: int) -> list[Event]:
        """It ended in order: it has stopped its workers, and its leases end with it."""
        held = [slot for slot in self.of(swop) if slot.leased]
        events = [event for slot in held for event in slot.give_back(reason, now_ms)]
        return [*events, *self._settle(now_ms)]

    def operator_back(self, swop: str, reason: str, now_ms: int) -> list[Event]:
        events = [event for slot in self.of(swop) for event in slot.back(reason, now_ms)]
        return [*events, *(self._stop_unstarted(now_ms) if self.cleared else [])]

    def reset(self, by: str, now_ms: int) -> list[Event]:
        """What has not started never will; what runs may finish saving; what is decided stays decided."""
        self.cleared = True
        before = self.state
        self._on("reset", f"the taskrunner was reset by {by}", now_ms)
        changed: list[Event] = [self._changed()] if self.state != before else []
        return [*changed, *self._stop_unstarted(now_ms)]

    def _stop_unstarted(self, now_ms: int) -> list[Event]:
        reason = "the taskrunner was reset before it started"
        return [event for slot in self.slots.values() for event in slot.on("reset", reason, now_ms)]

    def _settle(self, now_ms: int) -> list[Event]:
        """Whether it is decided by now that enough peers complete, or that they cannot."""
        before = self.state
        if self.completed >= self.needed:
            self._on("completed", f"{self.completed} of {self.needed} peers completed", now_ms)
        elif self.completed + self.active < self.needed:
            self._on("impossible", self._why_impossible(), now_ms)
        return [self._changed()] if self.state != before else []

    def _why_impossible(self) -> str:
        ended = [slot for slot in self.slots.values() if not slot.leased and slot.state != "done"]
        newest = max(ended, key=lambda slot: (slot.changed_ms, slot.id), default=None)
        why = f": {newest} {newest.state}: {newest.reason}" if newest else ""
        return f"{self.completed + self.active} of the {self.needed} peers asked for can still complete{why}"[:500]

    def _on(self, happened: str, reason: str, now_ms: int) -> None:
        state = TASK.get((self.state, happened))
        if state is None:
            return
        self.state, self.reason = state, reason
        self.ended_ms = 0 if state == "running" else now_ms

    def _changed(self) -> TaskChanged:
        return TaskChanged(self.taskrunner, self.number, self.task, self.state, self.reason)

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        return {
            "fixed": [self.number, self.taskrunner, self.task, self.peer_type, self.assigner, self.anchor, self.needed],
            "times": [self.assigned_ms, self.started_ms, self.ended_ms],
            "stands": [self.state, self.reason, self.cleared],
            "slots": [slot.to_state() for slot in self.slots.values()],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Run:
        slots = map(Slot.from_state, state["slots"])
        by_id = {slot.id: slot for slot in slots}
        return cls(*[*state["fixed"], *state["times"], *state["stands"], by_id])

    def check(self) -> None:
        for id_, slot in self.slots.items():
            slot.check()
            assert (slot.id, slot.run, slot.task) == (id_, self.number, self.task)
        places = [(slot.swop, slot.index) for slot in self.slots.values()]
        assert len(places) == len(set(places)), "two slots for one place of a profile"
        assert (self.state == "queued") <= (not self.slots), "a queued run has no slots"
        assert self.cleared or self.state in ("queued", "running", "done", "failed"), self.state
        if self.state == "running":
            assert self.completed < self.needed <= self.completed + self.active, "a decided run goes on"
        if self.state == "done":
            assert self.completed >= self.needed
