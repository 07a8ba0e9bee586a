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
    """What of an operator's room is nobody's. ``gpus``: their numbers."""

    cpu: int
    gpus: list[int]

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
        cpu, gpu = needed.cpu, needed.gpu
        able = [
            uid
            for uid, listener in self.listeners(run).items()
            if listener.live and uid in self._rooms and uid not in run.declined and uid not in kept
            if run.uses.anchor in (b"", listener.anchor)
            if self._rooms[uid].cpu >= cpu and self._rooms[uid].gpu >= gpu
        ]
        ready = [uid for uid in able if free[uid].cpu >= cpu and len(free[uid].gpus) >= gpu]
        if ready:
            return min(ready, key=lambda uid: (-free[uid].cpu, uid))
        if able and cpu > 1:
            kept.add(min(able, key=lambda uid: (-free[uid].cpu, uid)))
        return None

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

    def waits_for(self, run: JobRun, ahead: int | None) -> str:
        """Why the run with so many ``ahead`` waits: who is missing or before it, or what no operator has."""
        if run.unstarted and not run.ending:
            return UNSTARTED[run.state]
        unit, lacking = next(run.units(), []), run.lacking()
        if isinstance(run, RolesRun) and run.begins_at_once and not self.all_fit(run, self.whole(), set()):
            return f"no operators have room for the {len(run.slots)} slots at once that it begins with"
        if ahead is None and not lacking:
            return ""
        place = self._no_room(run, unit) if unit else ""
        if ahead is not None:
            place = place or f"{ahead} {'task' if ahead == 1 else 'tasks'} ahead"
        return "; ".join(each for each in (lacking, place) if each)

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
