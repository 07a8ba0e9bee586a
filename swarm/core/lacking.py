"""Whom a task with roles waits for, or cannot have any more, and what holds them back: sentences for people.

Made for `core/rolesrun`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarm.core.jobslot import JobSlot
from swarm.core.roles import Role

Tally = Mapping[str, Mapping[str, int]]
"""By role: how many of its slots are in which state, are able to be done, are up."""


def lacking(roles: Sequence[Role], goals: Mapping[str, int], tally: Tally) -> str:
    """Which roles have fewer slots up than their goal; empty: none."""
    lows = {role.name: role.low for role in roles}
    parts = []
    for role in roles:
        up, goal = tally[role.name]["up"], goals[role.name]
        if up < goal:
            held = [needed for needed in role.needs if tally[needed]["up"] < lows[needed]]
            why = f", held back until {' and '.join(held)} runs" if held else ""
            who = "participant as " if role.owner == "participant" else ""
            parts.append(f"waits for {goal - up} more {who}{role.name} ({up} of {goal} run{why})")
    return "; ".join(parts)


def why_short(role: Role, able: int, newest: JobSlot) -> str:
    """The role can no longer have its minimum: so many of its slots can still run; ``newest``: which ended last."""
    if role.high == 1:
        return f"{role.name} {newest.state}: {newest.reason}"
    left = f"{able} of the {role.low} {role.name} slots that it needs can still run"
    return f"{left}; {newest.role} {newest.index} {newest.state}: {newest.reason}"
