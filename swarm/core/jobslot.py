"""The slot of a job: it waits until an operator has room, and waits again when an attempt came to nothing.

Kept by its run (`core/jobrun`). What `core/slot` guarantees of leases and fences holds here too; besides, a slot whose
end the ledger asks for keeps its lease until its operator says that nothing of it runs any more.

    waiting ─leased─► assigned ─► starting ─► running ─► done | failed | stopped       (as `core/slot` has it)
       ▲                 failed, stopped, lost without lease ─requeued─► waiting
       └─reset─► stopped
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.core.events import Event, SlotState
from swarm.core.slot import ENDED, Slot

WAITING: dict[tuple[SlotState, str], SlotState] = {
    ("waiting", "leased"): "assigned",
    ("waiting", "reset"): "stopped",
    ("failed", "requeued"): "waiting",
    ("stopped", "requeued"): "waiting",
    ("lost", "requeued"): "waiting",
}
"""What moves the slot of a job besides `core/slot.SLOT`."""


@dataclass(frozen=True, slots=True)
class Room:
    """So many CPUs and GPUs: what an operator offers to jobs, or what one of them takes."""

    cpu: int
    gpu: int


@dataclass(frozen=True, slots=True)
class Holder:
    """The operator that a slot is leased to: its uid, its name in sentences, its organisation."""

    swop: str
    operator: str
    anchor: bytes


@dataclass(slots=True)
class JobSlot(Slot):
    """``attempt`` is 0 until it is leased. ``gpus``: the numbers of the host's that it has to itself."""

    role: str = "job"
    ending: str = ""
    """Why its operator is to end it: its lease goes on until that is done."""
    failures: int = 0
    losses: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    gpus: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.role} {self.index}" + (f" at {self.operator}" if self.operator else "")

    def lease_to(self, holder: Holder, gpus: tuple[int, ...], fence: int, now_ms: int) -> list[Event]:
        """The next attempt, by this operator."""
        assert self.state == "waiting", f"{self} is {self.state}"
        assert not self.leased
        self.state = WAITING[self.state, "leased"]
        self.swop, self.operator, self.anchor, self.gpus = holder.swop, holder.operator, holder.anchor, gpus
        self.fence, self.attempt, self.leased = fence, self.attempt + 1, True
        self.reason, self.exit_code, self.description, self.lines, self.ending = "", None, "", (), ""
        self.changed_ms, self.started_ms, self.ended_ms = now_ms, 0, 0
        return [self.assigned()]

    def on(self, happened: str, reason: str, now_ms: int) -> list[Event]:
        events = Slot.on(self, happened, reason, now_ms)
        if self.state in ("starting", "running") and not self.started_ms:
            self.started_ms = now_ms
        if self.state in ENDED and not self.ended_ms:
            self.ended_ms = now_ms
        return events

    def requeue(self, reason: str, now_ms: int) -> list[Event]:
        """It waits for an operator again."""
        assert not self.leased, f"{self} has a lease"
        self.state = WAITING[self.state, "requeued"]
        self.reason, self.changed_ms, self.ending = reason, now_ms, ""
        return [self._changed()]

    def undo(self) -> list[Event]:
        """What it has done counts no more: it is tried again with the others."""
        self.state = "stopped"
        return []

    def end(self, why: str, now_ms: int) -> list[Event]:
        """What waits never starts; what runs is ended by its operator, which reports it."""
        if self.state == "waiting":
            self.state, self.reason, self.changed_ms, self.ended_ms = WAITING["waiting", "reset"], why, now_ms, now_ms
            return [self._changed()]
        if not self.leased or self.ending:
            return []
        self.ending = self.reason = why
        return [self._changed()]

    def to_state(self) -> list[Any]:
        own = [self.role, self.ending, self.failures, self.losses, self.started_ms, self.ended_ms, list(self.gpus)]
        return [Slot.to_state(self), own]

    @classmethod
    def from_state(cls, state: list[Any]) -> JobSlot:
        (*rest, lines, changed_ms), (*own, gpus) = state
        return cls(*[*rest, tuple(lines), changed_ms, *own, tuple(gpus)])

    def check(self) -> None:
        if self.state == "waiting":
            assert not self.leased
            assert not self.ending
            return
        assert not (self.leased and self.state in ENDED), f"{self} is {self.state} and leased"
        assert self.leased or self.state in (*ENDED, "lost"), f"{self} is {self.state} without a lease"
        assert self.fence >= self.run
