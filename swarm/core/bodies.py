"""The bodies of tasks: how many bytes of them an organisation may have in the ledger.

Kept by `core/board`. Every network node keeps what a task says, and holds it in each snapshot, for as long as the task
is there: so there is a bound, as there is for items of work and for published code. Guarantee: what is refused has
changed nothing. Tasks that are too many already, of before there was a bound, stay.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarm.core.names import Identity
from swarm.core.rules import Rules
from swarm.core.task import Task
from swarm.errors import Refused

BODIES_MAX = 64 << 20
"""Bytes of one organisation's: a sweep of 1000 swarms with a body of 64 KiB each. Tasks count that say nothing, too."""
SINCE = 3
"""The version of the rules that this came with."""


class Bodies:
    """``tasks`` and ``rules`` are the ledger's own."""

    def __init__(self, tasks: Mapping[str, Task], rules: Rules) -> None:
        self._tasks, self._rules = tasks, rules
        self._kept: dict[bytes, int] = {}
        """By the anchor of an organisation, the bytes of its tasks: so that nobody adds them up for each new one."""
        self.restore()

    def added(self, task: Task) -> None:
        self._kept[task.anchor] = self._kept.get(task.anchor, 0) + task.bytes

    def changed(self, task: Task, before: int) -> None:
        """``before``: its bytes until now."""
        self._kept[task.anchor] += task.bytes - before

    def removed(self, task: Task) -> None:
        self._kept[task.anchor] -= task.bytes

    def must_have_room(self, more: int, identity: Identity) -> None:
        """Raises Refused where so many bytes are too many."""
        if self._rules.active < SINCE:
            return
        kept = self._kept.get(identity.anchor, 0)
        if kept + more > BODIES_MAX:
            raise Refused(
                f"the tasks of {identity.organisation} take {kept} bytes in the ledger, "
                f"and {more} more are over {BODIES_MAX}",
                hint="swarm task rm forgets one that has ended, DELETE TASK a draft",
            )

    # ---- keeping

    def restore(self) -> None:
        """What is kept follows from the tasks."""
        self._kept = {}
        for task in self._tasks.values():
            self.added(task)

    def check(self) -> None:
        known, anew = {anchor: kept for anchor, kept in self._kept.items() if kept}, Bodies(self._tasks, self._rules)
        assert known == anew._kept, "the bytes of each organisation are those of its tasks"
