"""What of a task with roles may be dealt next: of each role that may start, the slot with the lowest serial number.

Kept by `core/rolesrun` while it deals, so that a lease costs no look at all slots. Guarantee: what it says is what a
new one would say, as long as nothing has changed but for the leases that it was told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from swarm.core.jobslot import JobSlot
from swarm.core.slot import Slot


class Startable:
    """``roles``: the names of those that may start, in their order; ``waiting``: slots, of whatever roles."""

    def __init__(self, roles: Iterable[str], waiting: Iterable[JobSlot]) -> None:
        self._waiting: dict[str, list[JobSlot]] = {role: [] for role in roles}
        """By role, the next one last."""
        for slot in sorted(waiting, key=serial_of, reverse=True):
            self._waiting.get(slot.role, []).append(slot)

    def firsts(self) -> Iterator[JobSlot]:
        return (slots[-1] for slots in self._waiting.values() if slots)

    def without(self, slot: JobSlot) -> Startable | None:
        """The same once this slot was leased; None if it was no first one, and a new one is to be made."""
        slots = self._waiting.get(slot.role, [])
        return self if slots and slots.pop() is slot else None


def serial_of(slot: Slot) -> int:
    """Its number within its run."""
    return int(slot.id.partition(".")[2])
