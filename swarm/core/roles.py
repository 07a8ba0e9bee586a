"""The roles of a task: named parts of it, how many slots each may have, and in which order they come up.

Read from a task's file by `wire/rolesfile`, kept by `core/rolesrun`. Guarantees: what `fault` finds nothing wrong with
has at least one role, needs that lead in no circle, and bounds that can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

Owner = Literal["swop", "participant"]

ROLES_MAX = 32
SLOTS_MAX = 1000
"""Of one role at a time."""
TASK_SLOTS_MAX = 10_000
"""Of all roles of a task, and of all swarms of a sweep: one entry ends them, and every network node looks at each."""
ORGANISATIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Role:
    """``low``, ``high``, ``start``: how many slots have to run, may run, and are there at first.

    ``needs``: roles that have their minimum running before any slot of this one starts. ``lead``: the task ends with
    it. ``restart``: how often a slot that failed is tried again. ``contract``: where its slots merge; empty: nowhere.
    ``organisations``: whose participants may join it; empty: everybody's.
    """

    name: str
    owner: Owner = "swop"
    low: int = 1
    high: int = 1
    start: int = 1
    needs: tuple[str, ...] = ()
    lead: bool = False
    restart: int = 0
    cpu: int = 1
    gpu: int = 0
    contract: str = ""
    organisations: tuple[str, ...] = ()

    def said(self) -> dict[str, Any]:
        """As a proposal and the state hold it."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "needs": list(self.needs),
            "organisations": list(self.organisations),
        }

    @classmethod
    def of(cls, said: dict[str, Any]) -> Role:
        return cls(**{**said, **{name: tuple(said[name]) for name in ("needs", "organisations")}})


def fault(roles: Sequence[Role]) -> str:
    """What is wrong with them taken together, in one sentence; empty: nothing."""
    names = [role.name for role in roles]
    for role in roles:
        if names.count(role.name) > 1:
            return f"two roles have the name {role.name}"
        if not role.low <= role.start <= role.high:
            return f"role {role.name} starts with {role.start} slots, expected {role.low} to {role.high}"
        if role.organisations and role.owner != "participant":
            return f"role {role.name} names organisations, and is run by operators: only participants' roles do"
        for needed in role.needs:
            if needed not in names:
                return f"role {role.name} needs {needed}, which is no role of this task: there are {', '.join(names)}"
    if circle := _circle(roles):
        return f"the needs of these roles lead in a circle, so none of them could start: {' -> '.join(circle)}"
    if len(leads := [role.name for role in roles if role.lead]) > 1:
        return f"{' and '.join(leads)} are both to lead: the task ends with one role"
    return ""


def surplus(roles: Sequence[Role]) -> str:
    """What is too much of them, in one sentence; empty: nothing. Asked since the fourth version of the rules."""
    for role in roles:
        if twice := next((needed for needed in role.needs if role.needs.count(needed) > 1), ""):
            return f"role {role.name} needs {twice} more than once"
    slots = sum(role.high for role in roles)
    return (
        f"the roles may have {slots} slots, expected at most {TASK_SLOTS_MAX} together"
        if slots > TASK_SLOTS_MAX
        else ""
    )


def _circle(roles: Sequence[Role]) -> list[str]:
    needs = {role.name: role.needs for role in roles}
    clear: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in clear:
            return []
        found = next((found for needed in needs[name] if (found := walk(needed, [*path, name]))), [])
        clear.add(name)
        return found

    return next((found for name in needs if (found := walk(name, []))), [])
