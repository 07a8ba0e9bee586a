"""How many slots of each role are in which state: kept as they change, so that no entry counts all of them anew.

Kept by `core/rolesrun`, for the slots that there are (none that scaling removed). Guarantee: no organisation but the
task's own can by itself make a role of participants fail: what only its slots have failed, others may still do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from swarm.core.jobslot import JobSlot
from swarm.core.roles import Role

GIVEN_UP = ("failed", "stopped")


class Tally:
    """``author``: the organisation that the task is of."""

    def __init__(self, roles: Iterable[Role], author: bytes) -> None:
        self._author = author
        self._people = {role.name for role in roles if role.owner == "participant"}
        self._counts: dict[str, Counter[str]] = {role.name: Counter() for role in roles}
        self._gave_up: dict[str, Counter[bytes]] = {name: Counter() for name in self._people}
        """Of participants' roles, by organisation."""

    def add(self, slot: JobSlot, by: int = 1) -> None:
        """It is there, as it is now; with ``by`` -1 no more: it is changed, or was removed."""
        counts = self._counts[slot.role]
        counts[slot.state] += by
        counts["leased"] += by * slot.leased
        counts["able"] += by * (slot.leased or slot.state in ("waiting", "done"))
        if slot.role in self._people and not slot.leased:
            counts["away"] += by * (slot.state == "lost")
            if slot.state in GIVEN_UP:
                self._gave_up[slot.role][slot.anchor] += by

    def count(self, role: str, state: str) -> int:
        return self._counts[role][state]

    def up(self, role: str) -> int:
        """They run, or have run to the end."""
        return self._counts[role]["running"] + self._counts[role]["done"]

    def able(self, role: str) -> int:
        """They are done or still can be; who has left a participant's slot may come back, or somebody else."""
        counts = self._counts[role]
        able = counts["able"] + counts["away"]
        return able + self._gave_up[role].total() if self.is_open(role) else able

    def is_open(self, role: str) -> bool:
        """Whether what has failed of it is no more than one other organisation's, so that anybody may take it."""
        if role not in self._people:
            return False
        who = [anchor for anchor, count in self._gave_up[role].items() if count]
        return who != [self._author] and len(who) <= 1

    def is_up(self, role: Role) -> bool:
        return self.up(role.name) >= role.low

    def is_short(self, role: Role) -> bool:
        """Whether it has less than its minimum, with those that are on their way."""
        return self._counts[role.name]["leased"] + self._counts[role.name]["done"] < role.low

    def startable(self, roles: Collection[Role]) -> list[str]:
        """Those of which every role that they need has its minimum."""
        up = {role.name for role in roles if self.is_up(role)}
        return [role.name for role in roles if up.issuperset(role.needs)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        same = all(+self._counts[name] == +other._counts[name] for name in self._counts)
        return same and all(+self._gave_up[name] == +other._gave_up[name] for name in self._gave_up)
