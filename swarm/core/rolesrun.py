"""The run of a task with roles: which slots there are of each, when they may start, and when the task has ended.

Kept by `core/jobs`, which deals its slots to operators as it deals those of jobs; a participant's are never dealt, they
wait until somebody claims one (`Jobs.lease`). Guarantees: no slot starts before every role that its own needs has its
minimum running; a slot keeps its index whoever runs it; a slot that was removed never starts again by itself; the task
fails as soon as a role can no longer have its minimum.

    queued ─dealt─► running ─scaled─► scaling
                       ▲                 │
                       └────complete─────┘      from each of the three:
    done      the lead has ended well, or the goal is reached, or nothing is left to run and each minimum is done
    failed    a role can no longer have its minimum, or did not have it in time
    stopped   a person ended it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from swarm.core.events import Event, TaskState
from swarm.core.jobrun import LOSSES_MAX, REASON_MAX, JobRun, kept_fields
from swarm.core.jobslot import Holder, JobSlot, Room
from swarm.core.lacking import lacking
from swarm.core.roles import Role
from swarm.core.rules import Rules
from swarm.core.slot import Slot
from swarm.core.startable import Startable, serial_of
from swarm.core.tally import Tally
from swarm.core.terms import Terms
from swarm.core.variant import Variant
from swarm.core.verdict import verdict
from swarm.core.worklist import WorkList
from swarm.errors import Refused

ROLES: dict[tuple[TaskState, str], TaskState] = {
    ("queued", "dealt"): "running",
    ("running", "scaled"): "scaling",
    ("scaling", "complete"): "running",
}
"""What moves the task while it goes on; how it ends is `RolesRun.outcome`."""
SINCE = 4
"""The version of the rules since which no operator's word has a slot dealt again that was removed."""


@dataclass(slots=True)
class RolesRun(JobRun):
    """``within_s``: how long the minimums may take to run once the first slot was dealt; ``clean``: whether what runs
    is ended with the task. ``terms`` says how many slots there may be."""

    roles: tuple[Role, ...] = ()
    within_s: int = 120
    longest_s: int = 0
    """How long the task may run once the first slot was dealt; 0: as long as it takes."""
    clean: bool = True
    wanted: dict[str, int] = field(default_factory=dict)
    """By role: how many slots there are to be."""
    removed: set[str] = field(default_factory=set)
    """The slots that scaling took away."""
    addresses: dict[str, str] = field(default_factory=dict)
    """By slot: where its program may be reached, as its operator says."""
    work: WorkList = field(default_factory=WorkList)
    """What its slots give each other to do."""
    met: bool = False
    """Every minimum has run at once."""
    variant: Variant | None = None
    """Which of the swarms of a sweep it is, if it is one (`core/sweeps`)."""
    rules: Rules | None = field(default=None, compare=False, repr=False)
    """The ledger's own; None: the newest."""
    _next: Startable | None = field(default=None, compare=False)
    """What may be dealt; None: to be found anew."""
    _by_role: dict[str, list[JobSlot]] = field(default_factory=dict, compare=False)
    """By role: all that there ever were, by their index."""
    _tally: Tally = field(default_factory=lambda: Tally((), b""))

    @classmethod
    def of(cls, roles: tuple[Role, ...], within_s: int, clean: bool, *fixed: Any) -> RolesRun:
        *who, submitted_ms = fixed
        run = cls(*[*who, Terms(slots=sum(role.high for role in roles)), submitted_ms])
        run.roles, run.within_s, run.clean = roles, within_s, clean
        return run

    # ---- reading

    def role(self, slot: Slot) -> Role:
        assert isinstance(slot, JobSlot)
        return self.role_named(slot.role)

    def role_named(self, name: str) -> Role:
        for role in self.roles:
            if role.name == name:
                return role
        raise Refused(
            f"task {self.task} has no role {name}", hint=f"its roles are {', '.join(each.name for each in self.roles)}"
        )

    def room(self, slot: JobSlot) -> Room:
        role = self.role(slot)
        return Room(role.cpu, role.gpu)

    def merges(self, slot: Slot) -> bool:
        return bool(self.role(slot).contract)

    def slots_of(self, role: str) -> list[JobSlot]:
        """Those that there are, by their index."""
        return [slot for slot in self._by_role.get(role, ()) if slot.id not in self.removed]

    @property
    def begins_at_once(self) -> bool:
        """Whether nothing of it is dealt yet, and all that it begins with is to be dealt together."""
        return self.variant is not None and not self.started_ms and not self.ending

    @property
    def starting(self) -> bool:
        """Whether it is waited for minimums that operators can bring about."""
        begun = bool(self.started_ms) and not (self.met or self.ending or self.over)
        return begun and all(self._tally.is_up(role) for role in self.roles if role.owner == "participant")

    @property
    def limited(self) -> bool:
        """Whether its time runs."""
        return bool(self.longest_s and self.started_ms) and not (self.ending or self.over)

    def lacking(self) -> str:
        """Who is missing, and what holds them back; empty: nobody."""
        if self.ending or self.over or self.unstarted or self.begins_at_once:
            return ""
        goals = self.wanted if self.met else {role.name: role.low for role in self.roles}
        return lacking(self.roles, goals, self._tally)

    def units(self) -> Iterator[list[JobSlot]]:
        if self.ending or not self.waits:
            return
        if self._next is None:
            self._next = Startable(self._tally.startable(self.roles), map(self._slot, self._waiting))
        yield from ([slot] for slot in sorted(self._next.firsts(), key=lambda slot: not self._is_missed(slot)))

    @property
    def stalls(self) -> bool:
        return any(self._is_missed(slot) for slot in self.unit())

    def _is_missed(self, slot: JobSlot) -> bool:
        """Whether its role has lost the minimum that it had, so that others of the task may be waiting for it."""
        return self.met and self._tally.is_short(self.role(slot))

    def _slot(self, serial: int) -> JobSlot:
        return self.slots[f"{self.number}.{serial}"]

    # ---- beginning

    def make_slots(self) -> None:
        self._tally = Tally(self.roles, self.anchor)
        self.wanted = {role.name: role.start for role in self.roles}
        for role in self.roles:
            for index in range(role.start):
                self._make_slot(role, index)
        self._count_anew()

    def _make_slot(self, role: Role, index: int) -> JobSlot:
        id_ = f"{self.number}.{len(self.slots)}"
        slot = JobSlot(id_, self.number, self.taskrunner, self.task, "", "", b"", index, self.number, 0, "waiting")
        slot.leased, slot.role = False, role.name
        self.slots[id_], self._next = slot, None
        self._by_role.setdefault(role.name, []).append(slot)
        self._tally.add(slot)
        return slot

    def lease(
        self, unit: list[JobSlot], holder: Holder, gpus: list[tuple[int, ...]], fence: int, now_ms: int
    ) -> list[Event]:
        (slot,), (own,) = unit, gpus
        if slot.state != "waiting":
            self._requeue(slot, "", now_ms)
        before, slot.sl_uid = slot.sl_uid, ""
        self.addresses.pop(slot.id, None)
        others = self._next
        self._moving(slot, partial(slot.lease_to, holder, own, fence, now_ms))
        if serial_of(slot) in self._waiting:
            self._waiting.remove(serial_of(slot))
            self._next = others.without(slot) if others else None  # nobody is up or down by that
        self.started_ms = self.started_ms or (0 if self.unstarted else now_ms)  # participants may join before that
        return [slot.assigned(before), *self._on("dealt", now_ms)]

    # ---- going on

    def report(self, slot: JobSlot, uid: str, body: dict[str, Any], now_ms: int) -> list[Event]:
        events = JobRun.report(self, slot, uid, body, now_ms)
        if "address" in body and slot.leased:
            self.addresses[slot.id] = body["address"]
        return events

    def scale(self, name: str, count: int, why: str, now_ms: int) -> tuple[list[JobSlot], list[JobSlot], list[Event]]:
        """Have so many slots of the role: those that were added, those that were removed, and what follows."""
        role = self.role_named(name)
        if self.over or self.ending:
            raise Refused(f"task {self.task} is {self.state}, it {self.reason or 'has ended'}: it cannot be scaled")
        if not role.low <= count <= role.high:
            raise Refused(
                f"role {name} of task {self.task} has {role.low} to {role.high} slots, asked for {count}; "
                f"it has {self.wanted[name]}"
            )
        there = self.slots_of(name)
        removed = there[count:][::-1]
        events: list[Event] = []
        for slot in removed:
            self._tally.add(slot, -1)
            self.removed.add(slot.id)
            if serial_of(slot) in self._waiting:
                self._waiting.remove(serial_of(slot))
            events += self._moving(slot, partial(slot.end, why, now_ms))
        added = [self._add(role, now_ms, events) for _ in range(count - len(there))]
        self.wanted[name] = count
        if added:
            events += self._on("scaled", now_ms)
        return added, removed, [*events, *self._settle(now_ms)]

    def _add(self, role: Role, now_ms: int, events: list[Event]) -> JobSlot:
        """A slot more: of those that were removed, one that has ended, or one that still ends; else the next index.

        So there are never more of a role, with whatever still ends, than it may have.
        """
        known = self._by_role[role.name]
        if gone := [slot for slot in known if slot.id in self.removed]:
            slot = min(gone, key=lambda slot: (slot.leased, slot.index))
            self.removed.remove(slot.id)
            self._tally.add(slot)
            slot.failures = slot.losses = 0
            if not slot.leased:
                events += self._requeue(slot, "added", now_ms)
            return slot
        slot = self._make_slot(role, len(known))
        self._counts.update(("waiting",))
        if role.owner == "swop":
            self._waiting.append(serial_of(slot))
        return slot

    def reach(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        """What the task was to reach is reached, as the slot's operator says."""
        if self.ending or self.over:
            raise Refused(f"task {self.task} is {self.state}: it ends already")
        return self._end(f"{slot.role} {slot.index}: {reason}", "done", now_ms)

    def lapse(self, now_ms: int) -> list[Event]:
        """The minimums have not run in time."""
        if not self.starting:
            raise Refused(f"task {self.task} is {self.state}: it does not wait for its minimums")
        return self._end(f"gave up after {self.within_s} s: it {self.lacking()}", "failed", now_ms)

    def expire(self, now_ms: int) -> list[Event]:
        """It has run as long as it may."""
        if not self.limited:
            raise Refused(f"task {self.task} is {self.state}: its time does not run")
        return self._end(f"its MaxRunTime of {self.longest_s} s is over", "stopped", now_ms)

    def retry(self, now_ms: int) -> list[Event]:
        if self.state not in ("failed", "stopped"):
            raise Refused(f"task {self.task} is {self.state}: only one that is failed or stopped can be retried")
        self.ending, self.killed, self.declined, self.met = "", False, [], False
        self.ended_ms = self.started_ms = 0
        events: list[Event] = []
        for role in self.roles:
            for slot in self.slots_of(role.name):
                slot.failures = slot.losses = 0
                events += self._requeue(slot, "retried", now_ms)
        return [*events, *self._become("queued", "retried", now_ms)]

    # ---- deciding

    @property
    def _removes_for_good(self) -> bool:
        return self.rules is None or self.rules.active >= SINCE

    def _changing(self, slot: JobSlot, change: Callable[[], list[Event]], now_ms: int) -> list[Event]:
        again, events = not slot.leased, self._moving(slot, change)
        if again and self._removes_for_good:  # its last word, once more
            return events
        if not slot.leased and slot.state != "waiting":
            events += self._after(slot, now_ms)
        return [*events, *self._settle(now_ms)]

    def _moving(self, slot: JobSlot, change: Callable[[], list[Event]]) -> list[Event]:
        """What the slot held of the items is given out again once its attempt is over."""
        before, self._next, there = slot.leased, None, slot.id not in self.removed
        self._tally.add(slot, -there)
        try:
            events = JobRun._moving(self, slot, change)
        finally:
            self._tally.add(slot, there)
        if before and not slot.leased:
            self.work.release(slot.id)
        return events

    def _after(self, slot: JobSlot, now_ms: int) -> list[Event]:
        role = self.role(slot)
        if slot.ending and not self.ending and slot.id not in self.removed:
            return self._requeue(slot, "added while it ended", now_ms)
        if self.unstarted and not self.ending and slot.state != "lost":  # who waits no longer may do it again
            return self._requeue(slot, slot.reason, now_ms)
        if slot.state == "done" or self.ending or slot.ending or role.owner == "participant":
            return []
        if slot.state == "failed":
            if slot.failures >= role.restart:
                return []
            slot.failures += 1
        elif slot.losses >= LOSSES_MAX:
            return []
        else:
            slot.losses += 1
        return self._requeue(slot, f"attempt {slot.attempt} {slot.state}: {slot.reason}"[:REASON_MAX], now_ms)

    def _settle(self, now_ms: int) -> list[Event]:
        if self.over or (self.unstarted and not self.ending):  # nothing is decided of what nobody has started
            return []
        if self.ending:
            return [] if self.leased else self._become(self.outcome, self.ending, now_ms)
        idle = not self.leased and not self._waiting
        found = verdict(self.roles, self._tally, self.slots.values(), self.removed, idle=idle)
        if found is None:
            return self._count_who_runs(now_ms)
        state, why = found
        return self._finish(why, now_ms) if state == "done" else self._end(why, state, now_ms)

    def _count_who_runs(self, now_ms: int) -> list[Event]:
        self.met = self.met or all(map(self._tally.is_up, self.roles))
        complete = all(self._tally.up(role.name) >= self.wanted[role.name] for role in self.roles)
        return self._on("complete", now_ms) if complete else []

    def _finish(self, why: str, now_ms: int) -> list[Event]:
        """It has ended well; what still runs is ended too, or goes on until it ends by itself."""
        if self.clean:
            return self._end(why, "done", now_ms)
        self.ending, self.outcome, self.reason = why, "done", why
        waiting = [slot for slot in self.slots.values() if slot.state == "waiting"]
        self._waiting.clear()
        events = [event for slot in waiting for event in self._moving(slot, partial(slot.end, why, now_ms))]
        return [*events, *(self._settle(now_ms) or [self.changed()])]

    def _requeue(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        if slot.state == "waiting" or (self._removes_for_good and slot.id in self.removed):
            return []
        if slot.state == "done":
            self._moving(slot, slot.undo)
        if self.role(slot).owner == "swop":
            self._waiting.append(serial_of(slot))
        return self._moving(slot, partial(slot.requeue, reason, now_ms))

    def _on(self, happened: str, now_ms: int) -> list[Event]:
        state = ROLES.get((self.state, happened))
        return self._become(state, "", now_ms) if state else []

    # ---- keeping

    def _count_anew(self) -> None:
        self._counts = Counter(slot.state for slot in self.slots.values())
        self._counts["leased"] = sum(slot.leased for slot in self.slots.values())
        dealt = (slot for slot in self.slots.values() if slot.state == "waiting" and self.role(slot).owner == "swop")
        self._waiting, self._next = [serial_of(slot) for slot in dealt], None
        self._by_role, self._tally = {role.name: [] for role in self.roles}, Tally(self.roles, self.anchor)
        for slot in sorted(self.slots.values(), key=lambda slot: slot.index):
            self._by_role[slot.role].append(slot)
            self._tally.add(slot, slot.id not in self.removed)

    def to_state(self) -> dict[str, Any]:
        stands: list[Any] = [[role.said() for role in self.roles], self.within_s, self.longest_s, self.clean]
        stands += [sorted(self.wanted.items()), sorted(self.removed), sorted(self.addresses.items())]
        stands += [self.work.to_state(), self.met, *([self.variant.to_state()] if self.variant else [])]
        return JobRun.to_state(self) | {"roles": stands}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RolesRun:
        run = cls(*kept_fields(state))
        roles, run.within_s, run.longest_s, run.clean, wanted, removed, addresses, work, run.met, *of = state["roles"]
        run.variant = Variant(*of[0]) if of else None
        run.roles, run.wanted = tuple(map(Role.of, roles)), dict(wanted)
        run.removed, run.addresses = set(removed), dict(addresses)
        run.work = WorkList.from_state(work)
        run._count_anew()
        return run

    def check(self) -> None:
        counted = self._tally
        JobRun.check(self)
        assert counted == self._tally, "the counts of its roles are off"
        for role in self.roles if self.slots else ():  # a draft has none
            assert role.low <= self.wanted[role.name] <= role.high
            assert len(self.slots_of(role.name)) == self.wanted[role.name], f"{role.name} lacks slots"
            indices = [slot.index for slot in self._by_role[role.name]]
            assert indices == list(range(len(indices))), "two slots with one index, or one left out"
            assert len(indices) <= role.high, f"more {role.name} than there may be"
        for slot in map(self.slots.__getitem__, self.removed):
            assert slot.ending if slot.leased else slot.state != "waiting", f"{slot} was removed, and starts again"
        self.work.check()
        assert all(self.slots[item.slot].leased for item in self.work.leased.values()), "an item is held by nobody"
