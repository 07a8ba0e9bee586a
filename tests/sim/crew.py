"""What the programs of a task with roles do at an operator: one puts items of work, the others take and do them.

They speak through their operator, as `nodes/desk` lets them, so what they ask while it is down is not asked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from swarm.core.events import Outcome, SlotAssigned
from tests.sim.errands import ITEM_S, ITEMS, LEAD, WORKER

if TYPE_CHECKING:
    from tests.sim.swop import Directory, OperatorNode

LOOK_S = 0.5
WORK_S = (0.2, 0.9)
KEYS = tuple(f"item-{n}" for n in range(ITEMS))


class Crew:
    """Of one life of an operator."""

    def __init__(self, node: OperatorNode) -> None:
        self._node = node
        self._asked = 0

    def is_of(self, lease: SlotAssigned) -> bool:
        return lease.run in self._node.replica.view.board.jobs.with_roles

    def play(self, directory: Directory) -> None:
        """One step of the slot's program, and the next a little later, until it has ended or its lease has."""
        node, lease, worker = self._node, directory.lease, directory.worker
        run = node.replica.view.board.jobs.with_roles.get(lease.run)
        if run is None or worker is None or worker.over or node.now_s >= worker.ends_s:
            return
        if node.operator.holds(lease):
            role, counts = run.slots[lease.slot].role, run.work.counts()
            if role == LEAD and counts["put"] < ITEMS:
                self._say(directory, "WorkPut", {"items": [[key, "x"] for key in KEYS], "within_s": ITEM_S})
            elif run.ending or (role == LEAD and counts["done"] + counts["failed"] == ITEMS):
                worker.ends_s = node.now_s  # nothing is left to do, also where nobody ends it
            elif role == WORKER and counts["waiting"]:
                self._take(directory)
                return
        node.later(LOOK_S, self.play, directory)

    def _say(self, directory: Directory, kind: str, body: dict[str, Any], done: Any = lambda outcome: None) -> None:
        lease = directory.lease
        self._node.propose(kind, {"slot": lease.slot, "fence": lease.fence, **body}, done)

    def _take(self, directory: Directory) -> None:
        self._asked += 1
        nonce = f"{self._node.life} {self._asked}"
        self._say(directory, "WorkTaken", {"nonce": nonce}, partial(self._taken, directory))

    def _taken(self, directory: Directory, outcome: Outcome) -> None:
        node = self._node
        if not outcome.accepted:
            node.later(LOOK_S, self.play, directory)
            return
        key, number = outcome.result["key"], outcome.result["lease"]
        node.note("item_taken", directory.lease.slot, directory.lease.fence, key, number)
        node.later(node.world.random.uniform(*WORK_S), self._did, directory, key, number)

    def _did(self, directory: Directory, key: str, number: int) -> None:
        if directory.worker is not None and not directory.worker.over:
            self._say(directory, "WorkDone", {"key": key, "lease": number, "result": f"{key} done"})
            self.play(directory)
