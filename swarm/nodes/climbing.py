"""What the leader of a group does for it: take part in the upper contract with what the group has merged.

Used by ``nodes/learning`` of the program's own contract, when its member machine asks to climb. The upper contract is a
contract like any other, with a learning of its own here; in place of a program it has the group. Guarantee: what is
brought back is the model that the upper contract has committed, or the group's own where that merged nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import trio

from swarm.core import member_steps as m
from swarm.core.contract import Contract
from swarm.errors import SwarmError
from swarm.nodes.models import Models
from swarm.wire.messages import Level, Merged, Sync

if TYPE_CHECKING:
    from swarm.nodes.learning import Learning

log = logging.getLogger("swarm.SL")


class GroupSession:
    """In place of a program's session: buffers of this process. What is noted for the group its program hears."""

    def __init__(self, nbytes: int, note: Callable[[Level, str], None]) -> None:
        self.out = memoryview(bytearray(nbytes))
        self.incoming = memoryview(bytearray(nbytes))
        self.note = note


class Climbing:
    """``enrol``: begin to take part in the upper contract, which is done once, and late: when there is a merge."""

    def __init__(
        self,
        group: Contract,
        enrol: Callable[[GroupSession], Awaitable[Learning]],
        note: Callable[[Level, str], None],
    ) -> None:
        self.learning: Learning | None = None
        self._group = group
        self._enrol = enrol
        self._session = GroupSession(group.schema.nbytes, self._note)
        self._say = note
        self._one = trio.Lock()

    async def climb(self, effect: m.Climb, group: Learning) -> None:
        """Merge the group's model above; the group's learning hears what came of it, and holds it."""
        try:
            async with self._one:
                lifted = await self._lifted(effect, group)
        except SwarmError as error:
            group.give_up(error)
        else:
            group.happened(lifted)

    async def _lifted(self, effect: m.Climb, group: Learning) -> m.Lifted:
        if self.learning is None:
            self.learning = await self._enrol(self._session)
            group.nursery.start_soon(self.learning.run)
        upper = self.learning
        await trio.to_thread.run_sync(_copy, group.models.bytes_of(effect.base), self._session.out)
        log.info("group %s goes to contract %s", self._group.name, upper.contract.name)
        kind: Literal["begin", "sync", "end"] = "begin" if effect.again else "end" if effect.ending else "sync"
        answer = await upper.ask(Sync(kind, upper.contract.commits, 0, {}))
        if answer.how not in ("merged", "adopted"):
            return m.Lifted(effect.base, effect.base, answer.training_over)
        await trio.to_thread.run_sync(self._keep, group.models, answer)
        return m.Lifted(effect.base, answer.digest, answer.training_over)

    def _keep(self, models: Models, answer: Merged) -> None:
        if models.get(answer.digest) is None:
            file = models.incoming()
            _copy(self._session.incoming, file.bytes)
            models.hold(file, answer.digest)

    def _note(self, level: Level, text: str) -> None:
        self._say(level, f"contract {self._group.options.upper}: {text}")


def _copy(model: memoryview, into: memoryview) -> None:
    np.copyto(np.frombuffer(into, np.uint8), np.frombuffer(model, np.uint8))
