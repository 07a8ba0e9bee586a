"""The slot: one instance of a task, leased to one operator, with a fencing number.

Kept by its run (`core/run`). Guarantees: only the holder of the current lease is heard, and only with the current
fence; a lease that ended never begins again, only a new one with a higher fence; a slot that is done stays done.

    assigned ─► starting ─► running ─► done | failed | stopped        (reports of the operator; steps may be left out)
        any of the three ─operator lost─► lost ─operator back─► as before, under the same fence, until its lease ends
        failed, stopped, lost without lease ─leased─► assigned, the next attempt under a new fence
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.core.events import Event, SlotAssigned, SlotChanged, SlotState
from swarm.errors import Refused

ENDED: tuple[SlotState, ...] = ("done", "failed", "stopped")

SLOT: dict[tuple[SlotState, str], SlotState] = {
    ("assigned", "starting"): "starting",
    ("assigned", "running"): "running",
    ("assigned", "done"): "done",
    ("assigned", "failed"): "failed",
    ("assigned", "stopped"): "stopped",
    ("assigned", "declined"): "failed",
    ("assigned", "reset"): "stopped",
    ("starting", "starting"): "starting",
    ("starting", "running"): "running",
    ("starting", "done"): "done",
    ("starting", "failed"): "failed",
    ("starting", "stopped"): "stopped",
    ("running", "running"): "running",
    ("running", "done"): "done",
    ("running", "failed"): "failed",
    ("running", "stopped"): "stopped",
    ("lost", "starting"): "starting",
    ("lost", "running"): "running",
    ("lost", "done"): "done",
    ("lost", "failed"): "failed",
    ("lost", "stopped"): "stopped",
    ("lost", "declined"): "failed",
    ("assigned", "operator lost"): "lost",
    ("starting", "operator lost"): "lost",
    ("running", "operator lost"): "lost",
    ("assigned", "lease ended"): "lost",
    ("starting", "lease ended"): "lost",
    ("running", "lease ended"): "lost",
    ("lost", "lease ended"): "lost",
    ("failed", "leased"): "assigned",
    ("stopped", "leased"): "assigned",
    ("lost", "leased"): "assigned",
}
"""A slot's states and what moves them: the state it is in, a report or happening, the state from then on.

A report whose pair is not here is refused; a happening whose pair is not here changes nothing. ("lost", "leased") is
for a lease that has ended. A reset leaves what runs alone: the worker may finish saving, then its operator reports.
"""


@dataclass(slots=True)
class Slot:
    """``operator`` is the SWOP ``swop`` in a sentence, ``anchor`` its organisation's CA.

    ``leased``: the lease with ``fence`` goes on. ``sl_uid``: the learning node that enrolled for it.
    """

    id: str
    run: int
    taskrunner: str
    task: str
    swop: str
    operator: str
    anchor: bytes
    index: int
    fence: int
    attempt: int = 1
    state: SlotState = "assigned"
    before: SlotState = "assigned"
    reason: str = ""
    leased: bool = True
    exit_code: int | None = None
    sl_uid: str = ""
    description: str = ""
    lines: tuple[str, ...] = ()
    changed_ms: int = 0

    def __str__(self) -> str:
        return f"slot {self.id} of {self.operator}"

    def assigned(self, replaces: str = "") -> SlotAssigned:
        where = (self.id, self.taskrunner, self.run, self.task, self.swop, self.index)
        return SlotAssigned(*where, self.fence, self.attempt, replaces)

    # ---- the operator speaks

    def report(self, uid: str, body: dict[str, Any], now_ms: int) -> list[Event]:
        """What the holder says of it. The last word again is taken, and changes nothing."""
        self._must_hold(uid, body["fence"])
        state = body["state"]
        if not self.leased:
            if state == self.state:
                return []
            raise Refused(f"{self} is {self.state}: its lease with fence {self.fence} has ended")
        if (self.state, state) not in SLOT:
            raise Refused(f"{self} is {self.state}: it cannot be {state}")
        before = (self.state, self.reason, self.sl_uid, self.description)
        self.exit_code = body.get("exit_code", self.exit_code)
        self.sl_uid = body.get("sl_uid", self.sl_uid)
        self.description = body.get("description", self.description)
        self.lines = tuple(body.get("lines", self.lines))
        events = self.on(state, body["reason"], now_ms)
        return events if (self.state, self.reason, self.sl_uid, self.description) != before else []

    def decline(self, reason: str, now_ms: int) -> list[Event]:
        """The operator's policy does not allow it to run this."""
        return self.on("declined", reason, now_ms)

    def _must_hold(self, uid: str, fence: int) -> None:
        if uid != self.swop:
            raise Refused(f"{self} is not leased to {uid}")
        if fence != self.fence:
            raise Refused(f"fence {fence} of {self} is old: its lease has fence {self.fence}")

    def enrol(self, sl_uid: str) -> list[Event]:
        """Its learning node has enrolled in a contract."""
        known, self.sl_uid = self.sl_uid, sl_uid
        return [self._changed()] if known != sl_uid else []

    # ---- things happen

    def on(self, happened: str, reason: str, now_ms: int) -> list[Event]:
        state = SLOT.get((self.state, happened))
        if state is None:
            return []
        if state == "lost" and self.state != "lost":
            self.before = self.state
        self.state, self.reason, self.changed_ms = state, reason, now_ms
        self.leased = self.leased and state not in ENDED
        return [self._changed()]

    def end_lease(self, fence: int, reason: str, now_ms: int) -> list[Event]:
        """The leader's clock says so; an operator that was heard meanwhile keeps its lease."""
        if not self.leased or fence != self.fence or self.state != "lost":
            lease = f"its lease has fence {self.fence}" if self.leased else "it has no lease"
            raise Refused(f"the lease of {self} with fence {fence} cannot end: it is {self.state}, {lease}")
        return self.give_back(reason, now_ms)

    def give_back(self, reason: str, now_ms: int) -> list[Event]:
        self.leased = False
        return self.on("lease ended", reason, now_ms)

    def back(self, reason: str, now_ms: int) -> list[Event]:
        """The operator is heard again before its lease ended: the slot stands as before until it reports."""
        if self.state != "lost" or not self.leased:
            return []
        self.state, self.reason, self.changed_ms = self.before, reason, now_ms
        return [self._changed()]

    def lease(self, fence: int, now_ms: int) -> list[Event]:
        """A new lease to the same operator: the next attempt."""
        assert not self.leased, f"{self} has a lease"
        assert fence > self.fence, (fence, self.fence)
        replaces = self.sl_uid
        self.state = SLOT[self.state, "leased"]
        self.fence, self.attempt, self.leased = fence, self.attempt + 1, True
        self.reason, self.exit_code, self.sl_uid, self.description, self.lines = "", None, "", "", ()
        self.changed_ms = now_ms
        return [self.assigned(replaces)]

    def _changed(self) -> SlotChanged:
        return SlotChanged(self.id, self.swop, self.fence, self.state, self.reason, self.leased)

    def to_state(self) -> list[Any]:
        return [
            *(self.id, self.run, self.taskrunner, self.task, self.swop, self.operator, self.anchor, self.index),
            *(self.fence, self.attempt, self.state, self.before, self.reason, self.leased, self.exit_code),
            *(self.sl_uid, self.description, list(self.lines), self.changed_ms),
        ]

    @classmethod
    def from_state(cls, state: list[Any]) -> Slot:
        *rest, lines, changed_ms = state
        return cls(*[*rest, tuple(lines), changed_ms])

    def check(self) -> None:
        assert not (self.leased and self.state in ENDED), f"{self} is {self.state} and leased"
        assert self.leased or self.state in (*ENDED, "lost"), f"{self} is {self.state} without a lease"
        assert self.attempt >= 1
        assert self.fence >= self.run
