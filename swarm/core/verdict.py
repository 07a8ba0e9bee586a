"""The verdict on a task with roles: it has ended well, it can no longer, or (there is none) it goes on.

Asked by `core/rolesrun` after each change of a slot. Guarantee: it follows from the slots and their counts alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from swarm.core.jobslot import JobSlot
from swarm.core.roles import Role
from swarm.core.tally import Tally

Verdict = tuple[Literal["done", "failed"], str]
"""What it is then, and why."""


def verdict(
    roles: Sequence[Role], tally: Tally, slots: Collection[JobSlot], removed: Collection[str], *, idle: bool
) -> Verdict | None:
    """``slots``: all that there ever were. ``removed``: which of them scaling took away. ``idle``: nothing runs, and
    nothing waits for an operator."""
    for role in roles:
        if tally.able(role.name) < role.low:
            there = [slot for slot in slots if slot.role == role.name and slot.id not in removed]
            return "failed", _why_short(role, tally.able(role.name), there)
    done = {role.name: tally.count(role.name, "done") for role in roles}
    for role in roles:
        if role.lead and done[role.name] and tally.able(role.name) == done[role.name]:
            return "done", f"{role.name} is done"
    if idle and any(done.values()):
        return ("done", "every role is done") if all(done[role.name] >= role.low for role in roles) else None
    if slots and not any(tally.able(role.name) for role in roles):
        newest = max(slots, key=lambda slot: (slot.changed_ms, slot.id))
        return "failed", f"nothing is left to run; {newest.role} {newest.index}: {newest.reason}"
    return None


def _why_short(role: Role, able: int, there: Collection[JobSlot]) -> str:
    """The role can no longer have its minimum: so many of its slots can still run."""
    ended = [slot for slot in there if not slot.leased and slot.state not in ("waiting", "done")]
    newest = max(ended, key=lambda slot: (slot.changed_ms, slot.index))
    if role.high == 1:
        return f"{role.name} {newest.state}: {newest.reason}"
    left = f"{able} of the {role.low} {role.name} slots that it needs can still run"
    return f"{left}; {newest.role} {newest.index} {newest.state}: {newest.reason}"
