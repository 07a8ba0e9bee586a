"""The bodies of tasks: how many bytes of them an organisation may have in the ledger.

Kept by `core/board`. Every network node keeps what a task says, and holds it in each snapshot, for as long as the task
is there: so there is a bound, as there is for items of work and for published code. Guarantee: what is refused has
changed nothing. Tasks that are too many already, of before there was a bound, stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from swarm.core.jobrun import JobRun
from swarm.core.names import Identity
from swarm.core.rolesrun import RolesRun
from swarm.core.rules import Rules
from swarm.core.task import Task, bytes_of
from swarm.errors import Refused

BODIES_MAX = 64 << 20
"""Bytes of one organisation's: a sweep of 1000 swarms with a body of 64 KiB each. Tasks count that say nothing, too."""
USE_BYTES = 512
"""Of each dataset that a task uses, besides its name: its version, at the task and at the dataset."""
SINCE = 3
"""The version of the rules that this came with."""
BESIDE_SINCE = 4
"""The one from which on roles, data and the like count, too."""


class Bodies:
    """``tasks`` and ``rules`` are the ledger's own."""

    def __init__(self, tasks: Mapping[str, Task], rules: Rules) -> None:
        self._tasks, self._rules = tasks, rules
        self._kept: Counter[bytes] = Counter()
        """By the anchor of an organisation, the bytes of its tasks: so that nobody adds them up for each new one."""
        self._beside: Counter[bytes] = Counter()
        """The same of what their runs say besides."""
        self.restore()

    def added(self, task: Task) -> None:
        self._kept[task.anchor] += task.bytes
        self._beside[task.anchor] += task.beside_bytes

    def changed(self, task: Task, before: int) -> None:
        """``before``: its bytes until now."""
        self._kept[task.anchor] += task.bytes - before

    def removed(self, task: Task) -> None:
        self._kept[task.anchor] -= task.bytes
        self._beside[task.anchor] -= task.beside_bytes

    def must_have_room(self, more: int, identity: Identity, beside: int = 0) -> None:
        """Raises Refused where so many bytes are too many. ``beside``: those of what a run says besides its task."""
        if self._rules.active < SINCE:
            return
        kept = self._kept[identity.anchor]
        if self._rules.active >= BESIDE_SINCE:
            kept, more = kept + self._beside[identity.anchor], more + beside
        if kept + more > BODIES_MAX:
            raise Refused(
                f"the tasks of {identity.organisation} take {kept} bytes in the ledger, "
                f"and {more} more are over {BODIES_MAX}",
                hint="swarm task rm forgets one that has ended, or a draft; DELETE TASK a draft of CREATE TASK",
            )

    # ---- keeping

    def restore(self) -> None:
        """What is kept follows from the tasks."""
        self._kept.clear()
        self._beside.clear()
        for task in self._tasks.values():
            self.added(task)

    def check(self) -> None:
        anew = Bodies(self._tasks, self._rules)
        assert +self._kept == +anew._kept, "the bytes of each organisation are those of its tasks"
        assert +self._beside == +anew._beside, "and those of what their runs say besides"


def beside_bytes(run: JobRun, data: Iterable[str]) -> int:
    """Of what a run says besides its task, in the state. ``data``: the datasets that it uses, by name."""
    said: dict[str, object] = {"output": run.output, "code": run.code}
    if isinstance(run, RolesRun):
        said["roles"] = [role.said() for role in run.roles]
        said["variant"] = run.variant.to_state() if run.variant else None
    return bytes_of(said) + sum(len(name.encode()) + USE_BYTES for name in data)
