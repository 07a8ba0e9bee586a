"""Tasks that prepare hosts, as an operator without a container engine does them.

Used by `nodes/swop`. MAKE_USER_CONTAINER makes nothing, for a process gets what its host has, and says what it skipped;
MAKE_SWARM_USER_CONTENT fetches and unpacks (`nodes/contents`); PULL_IMAGE is declined before it comes here. Guarantee:
whatever happens, what was asked for is answered once, and a reset or the operator's end is not waited for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from swarm.core import operator_steps as o
from swarm.core.events import SlotAssigned
from swarm.core.operator_steps import Refusal, Verdict
from swarm.core.task import Task
from swarm.engines.pair import Engine
from swarm.errors import SwarmError
from swarm.nodes.contents import Cancelled, Contents
from swarm.nodes.pairing import Pairing
from swarm.wire.contents import MakeSwarmUserContent
from swarm.wire.taskfile import MakeUserContainer, body_of

MAKE_USER_CONTAINER = "MAKE_USER_CONTAINER"
MAKE_SWARM_USER_CONTENT = "MAKE_SWARM_USER_CONTENT"
TYPES = (MAKE_USER_CONTAINER, MAKE_SWARM_USER_CONTENT)
log = logging.getLogger("swarm.SWOP")


@dataclass
class Preparing:
    pairing: Pairing
    engine: Engine
    happened: Callable[[o.Event], None]
    _under_way: dict[int, threading.Event] = field(default_factory=dict)
    """By the number of their run; set: nobody asks for it any more."""

    async def prepare(self, lease: SlotAssigned, task: Task) -> None:
        over = self._under_way.setdefault(lease.run, threading.Event())
        try:
            said = await self._done(task, over)
        except SwarmError as error:
            self.happened(o.NotStarted(lease, Refusal(error.message, error.hint)))
        except Cancelled:
            self.happened(o.NotStarted(lease, Refusal("it was ended before its end", "")))
        else:
            log.info("task %s: %s", task.name, said)
            self.happened(o.Prepared(lease, Verdict("done", "", None), said))
        finally:
            self._under_way.pop(lease.run, None)

    def end(self, run: int | None = None) -> None:
        """What is under way of this run, or of all."""
        for number, over in list(self._under_way.items()):
            if run in (None, number):
                over.set()

    async def _done(self, task: Task, over: threading.Event) -> str:
        body = body_of(task.type, task.body, task.name)
        if isinstance(body, MakeSwarmUserContent):
            nodes = tuple(node.idx for node in self.pairing.profile.nodes)
            tell = partial(log.info, "task %s: %s", task.name)
            contents = Contents(self.pairing.volumes, nodes, tell, over.is_set)
            return await trio.to_thread.run_sync(contents.make, body, task.outcome)
        steps = body.BuildSteps if isinstance(body, MakeUserContainer) else ()
        for step in steps:
            log.info("task %s, skipped: %s", task.name, o.printable(step))
        python = self.engine.python({})
        return f"no image made: workers use {python}; skipped {len(steps)} build steps of {task.outcome}"
