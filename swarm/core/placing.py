"""Where what waits for an operator may go: who has room for it, and why nobody has.

Used by `core/jobs`, which deals. Guarantees: nobody is given more than it has offered; who may not have the data of a
task, or has declined it, gets nothing of it; nothing is changed here but the room that a caller has counted for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from swarm.core.events import TaskState
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot, Room
from swarm.core.rolesrun import RolesRun
from swarm.core.taskrunner import Listener, Taskrunner

UNSTARTED: dict[TaskState, str] = {"draft": "waits to be finalized", "final": "ready: waits to be started"}
"""Why nothing of a task begins by itself."""


@dataclass(slots=True)
class Free:
    """What of an operator's room is nobody's: below 0 where it has taken some back. ``gpus``: their numbers."""

    cpu: int
    gpus: list[int]

    def has(self, room: Room) -> bool:
        return self.cpu >= room.cpu and len(self.gpus) >= room.gpu

    def share(self, room: Room) -> int:
        """How much of this there is."""
        return max(0, min(self.cpu, room.cpu)) + min(len(self.gpus), room.gpu)

    def take(self, room: Room) -> tuple[int, ...]:
        self.cpu -= room.cpu
        taken, self.gpus = self.gpus[: room.gpu], self.gpus[room.gpu :]
        return tuple(taken)


class Placing:
    """``rooms``: what each operator offers; ``held``: the slots that it has, each with what it takes."""

    def __init__(
        self,
        rooms: Mapping[str, Room],
        taskrunners: Mapping[str, Taskrunner],
        held: Callable[[str], Iterable[tuple[JobSlot, Room]]],
    ) -> None:
        self._rooms, self._taskrunners, self._held = rooms, taskrunners, held

    def free(self) -> dict[str, Free]:
        """By operator, what nobody has."""
        return {uid: self._free(uid) for uid in sorted(self._rooms)}

    def _free(self, swop: str) -> Free:
        offered, cpu, taken = self._rooms[swop], 0, set[int]()
        for slot, room in self._held(swop):
            cpu += room.cpu
            taken.update(slot.gpus)
        return Free(offered.cpu - cpu, [gpu for gpu in range(offered.gpu) if gpu not in taken])

    def whole(self) -> dict[str, Free]:
        """What there would be if nobody had anything."""
        return {uid: Free(room.cpu, list(range(room.gpu))) for uid, room in sorted(self._rooms.items())}

    def listeners(self, run: JobRun) -> dict[str, Listener]:
        return self._taskrunners[run.taskrunner].listeners

    def place(self, run: JobRun, needed: Room, free: Mapping[str, Free], kept: set[str]) -> str | None:
        """The operator with most room that has enough of it. What a wide unit waits for is kept for it."""
        able = [uid for uid in self._able(run, needed) if uid not in kept]
        ready = [uid for uid in able if free[uid].has(needed)]
        if ready:
            return min(ready, key=lambda uid: (-free[uid].cpu, uid))
        if able and needed.cpu > 1:
            kept.add(min(able, key=lambda uid: (-free[uid].cpu, uid)))
        return None

    def _able(self, run: JobRun, needed: Room) -> list[str]:
        """The operators that would run this if they had nothing else."""
        cpu, gpu = needed.cpu, needed.gpu
        return [
            uid
            for uid, listener in self.listeners(run).items()
            if listener.live and uid in self._rooms and uid not in run.declined
            if run.uses.anchor in (b"", listener.anchor)
            if self._rooms[uid].cpu >= cpu and self._rooms[uid].gpu >= gpu
        ]

    def all_fit(self, run: RolesRun, free: Mapping[str, Free], kept: set[str]) -> bool:
        """Whether there is room for every slot that operators run, if they are given one after the other."""
        left = {uid: Free(each.cpu, list(each.gpus)) for uid, each in free.items()}
        for slot in (slot for slot in run.slots.values() if run.role(slot).owner == "swop"):
            uid = self.place(run, run.room(slot), left, set(kept))
            if uid is None:
                return False
            left[uid].take(run.room(slot))
        return True

    # ---- for people

    def waits_for(self, run: JobRun, ahead: int | None, free: Mapping[str, Free] | None = None) -> str:
        """Why the run with so many ``ahead`` waits: who is missing or before it, or what no operator has.

        ``free``: what `free` says, for who asks of many runs at once.
        """
        if run.unstarted and not run.ending:
            return UNSTARTED[run.state]
        unit, lacking = next(run.units(), []), run.lacking()
        if isinstance(run, RolesRun) and run.begins_at_once and not self.all_fit(run, self.whole(), set()):
            return f"no operators have room for the {len(run.slots)} slots at once that it begins with"
        if ahead is None and not lacking:
            return ""
        place = self._no_room(run, unit) if unit else ""
        taken = self._taken(run, unit, self.free() if free is None else free) if unit and not place else ""
        if ahead is not None:
            place = place or f"{ahead} {'task' if ahead == 1 else 'tasks'} ahead"
        return "; ".join(each for each in (lacking, place, taken) if each)

    def _taken(self, run: JobRun, unit: list[JobSlot], free: Mapping[str, Free]) -> str:
        """What the unit needs, where whoever could have it has not all of it free, and who has most; empty: it is."""
        if isinstance(run, RolesRun) and run.begins_at_once:
            return self._taken_at_once(run, free)
        needed = room_of(run, unit)
        able = self._able(run, needed)
        if not able or any(free[uid].has(needed) for uid in able):
            return ""
        most = min(able, key=lambda uid: (-free[uid].share(needed), -free[uid].cpu, uid))
        needs = f"needs {_said(needed)}{' at once' if len(unit) > 1 else ''}"
        there = f"{self.listeners(run)[most]} has {self._left([most], free, needed)} free"
        return f"{needs}: {there}" + (f", the most of {len(able)} operators" if len(able) > 1 else "")

    def _taken_at_once(self, run: RolesRun, free: Mapping[str, Free]) -> str:
        if self.all_fit(run, free, set()):
            return ""
        slots = [slot for slot in run.slots.values() if run.role(slot).owner == "swop"]
        needed, able = room_of(run, slots), self._able(run, Room(0, 0))
        return f"needs {_said(needed)} at once: operators have {self._left(able, free, needed)} free"

    def _left(self, uids: Iterable[str], free: Mapping[str, Free], needed: Room) -> str:
        """Of what is needed, how much these have free of how much."""
        each = [(free[uid], self._rooms[uid]) for uid in uids]
        cpu = f"{sum(max(0, left.cpu) for left, _ in each)} of {sum(room.cpu for _, room in each)} cpu"
        gpu = f"{sum(len(left.gpus) for left, _ in each)} of {sum(room.gpu for _, room in each)} gpu"
        return " and ".join(text for text, asked in ((cpu, needed.cpu), (gpu, needed.gpu)) if asked)

    def _no_room(self, run: JobRun, unit: list[JobSlot]) -> str:
        """Why the unit would have no room if nothing else ran; empty: it would."""
        needed = room_of(run, unit)
        cpu, gpu = needed.cpu, needed.gpu
        live = [uid for uid, listener in self.listeners(run).items() if listener.live and uid in self._rooms]
        if not live:
            return "no operator that listens takes jobs"
        if not any(run.uses.anchor in (b"", self.listeners(run)[uid].anchor) for uid in live):
            name, _ = run.uses.versions[0]
            return f"no operator that listens holds {name}: its files are with {run.uses.organisation}"
        if all(uid in run.declined for uid in live):
            return run.reason or "declined by every operator"
        if not any(self._rooms[uid].cpu >= cpu and self._rooms[uid].gpu >= gpu for uid in live):
            most = max((self._rooms[uid] for uid in live), key=lambda room: (room.cpu, room.gpu))
            return (
                f"no operator has room for {cpu} cpu and {gpu} gpu at once: the largest has {most.cpu} and {most.gpu}"
            )
        return ""


def room_of(run: JobRun, slots: Iterable[JobSlot]) -> Room:
    """What these slots take together."""
    rooms = [run.room(slot) for slot in slots]
    return Room(sum(room.cpu for room in rooms), sum(room.gpu for room in rooms))


def _said(room: Room) -> str:
    return " and ".join(text for text, count in ((f"{room.cpu} cpu", room.cpu), (f"{room.gpu} gpu", room.gpu)) if count)
