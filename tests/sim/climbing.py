"""What the leader of a group does for it: take part in the upper contract with what the group has merged.

It stands in for ``nodes/climbing``: in place of a program the upper contract's `Learning` has the group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm.core import member_steps as m
from swarm.core.events import Outcome
from tests.sim.learning import Learning

if TYPE_CHECKING:
    from tests.sim.sl import LearningNode


class Climbing:
    """Of one life of a node that leads a group. ``upper``: its part above, from the group's first merge on."""

    def __init__(self, node: LearningNode) -> None:
        self.upper: Learning | None = None
        self._node = node
        self._climb: m.Climb | None = None

    def climb(self, effect: m.Climb) -> None:
        self._climb = effect
        if self.upper is None:
            self._node.enrol_above(self._enrolled)
        else:
            self._ask(self.upper)

    def _enrolled(self, outcome: Outcome) -> None:
        node, group = self._node, self._node.group
        if not outcome.accepted:
            node.give_up(outcome.reason)
            return
        disk, origin = node.disks[group.contract.options.upper], group.contract.level.handed
        self.upper = Learning(node, group.contract.options.upper, disk, self._told, origin=origin)
        self._ask(self.upper)

    def _ask(self, upper: Learning) -> None:
        effect = self._climb
        assert effect is not None
        kind = "begin" if effect.again else "end" if effect.ending else "sync"
        upper.ask(kind, self._node.group.disk.files[effect.base].values, upper.contract.commits)

    def _told(self, kind: str, answer: m.Answer) -> None:
        """The group gets what the upper contract has made of its merge, or keeps that where nothing came of it."""
        group, effect = self._node.group, self._climb
        assert effect is not None
        assert self.upper is not None
        if answer.how not in ("merged", "adopted"):
            group.happened(m.Lifted(effect.base, effect.base, answer.training_over))
        elif group.hold(answer.digest, self.upper.values):
            group.happened(m.Lifted(effect.base, answer.digest, answer.training_over))
        else:
            self._node.give_up("no room for the model from above")
