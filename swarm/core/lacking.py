"""Whom a task with roles waits for, and what holds them back: sentences for people.

Made for `core/rolesrun`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarm.core.roles import Role
from swarm.core.tally import Tally


def lacking(roles: Sequence[Role], goals: Mapping[str, int], tally: Tally) -> str:
    """Which roles have fewer slots up than their goal; empty: none."""
    lows = {role.name: role.low for role in roles}
    parts = []
    for role in roles:
        up, goal = tally.up(role.name), goals[role.name]
        if up < goal:
            held = [needed for needed in role.needs if tally.up(needed) < lows[needed]]
            why = f", held back until {' and '.join(held)} runs" if held else ""
            who = "participant as " if role.owner == "participant" else ""
            parts.append(f"waits for {goal - up} more {who}{role.name} ({up} of {goal} run{why})")
    return "; ".join(parts)
