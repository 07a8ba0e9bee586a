"""Retiring: a person has a network node removed that runs, most often the one that leads.

It votes, and leads, until the others have followed the change; then it ends, and begins anew with an empty directory.
Drawn from a random stream of its own: worlds without are what they were.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.client import Surroundings
    from tests.sim.sn import NetworkNode
    from tests.sim.swci import Commander

SHARE = 0.15
LEADS = 0.7
FROM_S, TO_S = 2.5, 9.0
LOOK_S = 1.0


class Retiring:
    """What the commander is asked to do, and what becomes of whom it removes."""

    def __init__(self, around: Surroundings, commander: Commander) -> None:
        self._around, self._commander = around, commander
        self._random = Random(f"retiring in {around.world.seed}")
        self.drawn = self._random.random() < SHARE

    def start(self) -> None:
        self._around.world.after(self._random.uniform(FROM_S, TO_S), self._choose)

    def _choose(self) -> None:
        """Once all are well; and none loses its directory from then on, as too few could be left of two that do."""
        sns, weather = self._around.sns, self._around.weather
        leading = [sn for sn in sns if sn.alive and sn.orderer.role == "leader"]
        known = [{uid for uid, _ in sn.orderer.ledger.sns()} for sn in leading]
        if not known or known[0] != {sn.uid for sn in sns if sn.alive and not sn.disk.damaged} or len(sns) == 1:
            self._around.world.after(LOOK_S, self._choose)
            return
        weather.spare_sns = 0
        one = self._random.choice(leading if self._random.random() < LEADS else sns)
        self._commander.gone.append(one.uid)
        self._around.weather.leaving.add(one.uid)
        self._see_to(one, one.uid)

    def _see_to(self, one: NetworkNode, uid: str) -> None:
        if one.uid != uid:  # it has lost its directory meanwhile
            return
        ledger = max((sn.orderer.ledger for sn in self._around.sns if sn.life), key=lambda ledger: ledger.head_index)
        if uid not in ledger.nodes or not ledger.nodes[uid].gone or uid in ledger.voters:
            self._around.world.after(LOOK_S, self._see_to, one, uid)
            return
        one.note("retired", uid)
        one.disk.damaged = True
        if one.alive:
            one.crash(power=False)
            self._around.weather.revive(one)
