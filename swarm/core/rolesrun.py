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
from swarm.core.jobrun import LOSSES_MAX, REASON_MAX, JobRun, Terms, kept_fields
from swarm.core.jobslot import Holder, JobSlot, Room
from swarm.core.lacking import lacking, why_short
from swarm.core.roles import Role
from swarm.core.slot import Slot
from swarm.core.startable import Startable, serial_of
from swarm.core.variant import Variant
from swarm.core.worklist import WorkList
from swarm.errors import Refused

ROLES: dict[tuple[TaskState, str], TaskState] = {
    ("queued", "dealt"): "running",
    ("running", "scaled"): "scaling",
    ("scaling", "complete"): "running",
}
"""What moves the task while it goes on; how it ends is `RolesRun.outcome`."""


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
    _next: Startable | None = field(default=None, compare=False)
    """What may be dealt; None: to be found anew."""

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
        there = (slot for slot in self.slots.values() if slot.role == role and slot.id not in self.removed)
        return sorted(there, key=lambda slot: slot.index)

    def claimable(self, role: str) -> list[JobSlot]:
        """The slots of a participant's role that nobody has, or that whoever had them has lost."""
        if self.role_named(role).owner != "participant" or self.ending:
            return []
        return [slot for slot in self.slots_of(role) if not slot.leased and slot.state != "done"]

    @property
    def begins_at_once(self) -> bool:
        """Whether nothing of it is dealt yet, and all that it begins with is to be dealt together."""
        return self.variant is not None and not self.started_ms and not self.ending

    @property
    def starting(self) -> bool:
        """Whether it is waited for minimums that operators can bring about."""
        if not self.started_ms or self.met or self.ending or self.over:
            return False
        tally = self._tally()
        people = [role for role in self.roles if role.owner == "participant"]
        return all(tally[role.name]["up"] >= role.low for role in people)

    @property
    def limited(self) -> bool:
        """Whether its time runs."""
        return bool(self.longest_s and self.started_ms) and not (self.ending or self.over)

    def lacking(self) -> str:
        """Who is missing, and what holds them back; empty: nobody."""
        if self.ending or self.over or self.begins_at_once:
            return ""
        goals = self.wanted if self.met else {role.name: role.low for role in self.roles}
        return lacking(self.roles, goals, self._tally())

    def units(self) -> Iterator[list[JobSlot]]:
        if self.ending or not self._waiting:
            return
        if self._next is None:
            tally = self._tally()
            up = {role.name for role in self.roles if self._is_up(role, tally)}
            able = [role.name for role in self.roles if up.issuperset(role.needs)]
            self._next = Startable(able, map(self._slot, self._waiting))
        yield from ([slot] for slot in self._next.firsts())

    def unit(self) -> list[JobSlot]:
        return next(self.units(), [])

    def _slot(self, serial: int) -> JobSlot:
        return self.slots[f"{self.number}.{serial}"]

    def _tally(self) -> dict[str, Counter[str]]:
        """By role: how many slots are in which state, are able to be done, are up: run, or have run to the end."""
        tally: dict[str, Counter[str]] = {role.name: Counter() for role in self.roles}
        for slot in self.slots.values():
            if slot.id not in self.removed:
                up = slot.state in ("running", "done")
                tally[slot.role].update((slot.state, *["able"] * self._is_able(slot), *["up"] * up))
        return tally

    def _is_able(self, slot: JobSlot) -> bool:
        """Whether it is done or still can be; who has left a participant's slot may come back."""
        back = slot.state == "lost" and self.role(slot).owner == "participant"
        return slot.leased or slot.state in ("waiting", "done") or back

    def _is_up(self, role: Role, tally: dict[str, Counter[str]]) -> bool:
        return tally[role.name]["up"] >= role.low

    # ---- beginning

    def make_slots(self) -> None:
        for role in self.roles:
            self.wanted[role.name] = role.start
            for index in range(role.start):
                self._make_slot(role, index)
        self._count_anew()

    def _make_slot(self, role: Role, index: int) -> JobSlot:
        id_ = f"{self.number}.{len(self.slots)}"
        slot = JobSlot(id_, self.number, self.taskrunner, self.task, "", "", b"", index, self.number, 0, "waiting")
        slot.leased, slot.role = False, role.name
        self.slots[id_], self._next = slot, None
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
        self.started_ms = self.started_ms or now_ms
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
        """A slot more: the lowest index of those that were removed and have ended, else the next."""
        gone = [slot for slot in self.slots.values() if slot.role == role.name and slot.id in self.removed]
        ended = sorted((slot for slot in gone if not slot.leased), key=lambda slot: slot.index)
        if ended:
            slot = ended[0]
            self.removed.remove(slot.id)
            slot.failures = slot.losses = 0
            events += self._requeue(slot, "added", now_ms)
            return slot
        highest = max((slot.index for slot in self.slots.values() if slot.role == role.name), default=-1)
        slot = self._make_slot(role, highest + 1)
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

    def _changing(self, slot: JobSlot, change: Callable[[], list[Event]], now_ms: int) -> list[Event]:
        events = self._moving(slot, change)
        if not slot.leased and slot.state != "waiting":
            events += self._after(slot, now_ms)
        return [*events, *self._settle(now_ms)]

    def _moving(self, slot: JobSlot, change: Callable[[], list[Event]]) -> list[Event]:
        """What the slot held of the items is given out again once its attempt is over."""
        before, self._next = slot.leased, None
        events = JobRun._moving(self, slot, change)
        if before and not slot.leased:
            self.work.release(slot.id)
        return events

    def _after(self, slot: JobSlot, now_ms: int) -> list[Event]:
        role = self.role(slot)
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
        if self.over:
            return []
        if self.ending:
            return [] if self.leased else self._become(self.outcome, self.ending, now_ms)
        tally = self._tally()
        for role in self.roles:
            if tally[role.name]["able"] < role.low:
                return self._end(self._why_short(role, tally[role.name]), "failed", now_ms)
        for role in self.roles:
            counts = tally[role.name]
            if role.lead and counts["done"] and counts["able"] == counts["done"]:
                return self._finish(f"{role.name} is done", now_ms)
        done = [tally[role.name]["done"] for role in self.roles]
        if not self.leased and not self._waiting and any(done):
            if all(count >= role.low for count, role in zip(done, self.roles, strict=True)):
                return self._finish("every role is done", now_ms)
        elif any(tally.values()) and not any(counts["able"] for counts in tally.values()):
            newest = max(self.slots.values(), key=lambda slot: (slot.changed_ms, slot.id))
            return self._end(f"nothing is left to run; {newest.role} {newest.index}: {newest.reason}", "failed", now_ms)
        return self._count_who_runs(tally, now_ms)

    def _count_who_runs(self, tally: dict[str, Counter[str]], now_ms: int) -> list[Event]:
        self.met = self.met or all(self._is_up(role, tally) for role in self.roles)
        complete = all(tally[role.name]["up"] >= self.wanted[role.name] for role in self.roles)
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

    def _why_short(self, role: Role, counts: Counter[str]) -> str:
        ended = (slot for slot in self.slots_of(role.name) if not self._is_able(slot))
        newest = max(ended, key=lambda slot: (slot.changed_ms, slot.index))
        return why_short(role, counts["able"], newest)

    def _requeue(self, slot: JobSlot, reason: str, now_ms: int) -> list[Event]:
        if slot.state == "waiting":
            return []
        if slot.state == "done":
            self._counts.subtract(("done",))
            self._counts.update(("stopped",))
            slot.state = "stopped"
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

    def to_state(self) -> dict[str, Any]:
        roles = [role.said() for role in self.roles]
        stands = [self.within_s, self.longest_s, self.clean, sorted(self.wanted.items()), sorted(self.removed)]
        stands += [sorted(self.addresses.items()), self.work.to_state(), self.met]
        stands += [self.variant.to_state()] if self.variant else []
        return JobRun.to_state(self) | {"roles": [roles, *stands]}

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
        JobRun.check(self)
        for role in self.roles:
            assert role.low <= self.wanted[role.name] <= role.high
            assert len(self.slots_of(role.name)) == self.wanted[role.name], f"{role.name} lacks slots"
            indices = [slot.index for slot in self.slots.values() if slot.role == role.name]
            assert len(indices) == len(set(indices)), "two slots with one index"
        assert not any(slot.state == "waiting" and slot.id in self.removed for slot in self.slots.values())
        self.work.check()
        assert all(self.slots[item.slot].leased for item in self.work.leased.values()), "an item is held by nobody"
