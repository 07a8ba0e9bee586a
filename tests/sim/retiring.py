"""Retiring: a person has a network node removed that runs, most often the one that leads.

It votes, and leads, until the others have followed the change, and ends when its own ledger says so; then another one
begins in its place, with an empty directory. Who leads goes on sending to it until it knows, as long as it answers. Who
was away meanwhile has it from the others, who tell it every few seconds: that stands in for ``nodes/sn_removal``.
Drawn from a random stream of its own: worlds without are what they were.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.sim.heads import EVERY_S

if TYPE_CHECKING:
    from tests.sim.client import Surroundings
    from tests.sim.sn import NetworkNode
    from tests.sim.swci import Commander

SHARE = 0.15
LEADS = 0.7
FROM_S, TO_S = 2.5, 9.0
LOOK_S = 1.0
WATCH_S = 0.1
PATIENCE_S = 1.0
"""Who has answered within this time, by its own clock, is given up by nobody."""


class Retiring:
    """What the commander is asked to do, and what becomes of whom it removes."""

    def __init__(self, around: Surroundings, commander: Commander, *, always: bool) -> None:
        self._around, self._commander = around, commander
        self._random = Random(f"retiring in {around.world.seed}")
        self.drawn = self._random.random() < SHARE or always
        self._said_by: set[str] = set()
        self._telling: set[tuple[str, int, int, int]] = set()
        """Who sent to it when it was looked at last, and had answers: in which life and term, to which of its lives."""

    def start(self) -> None:
        self._around.world.after(self._random.uniform(FROM_S, TO_S), self._choose)

    def _choose(self) -> None:
        """Once all are well; from then on it counts as gone where another one loses its directory."""
        sns, weather = self._around.sns, self._around.weather
        leading = [sn for sn in sns if sn.alive and sn.orderer.role == "leader"]
        known = [{uid for uid, _ in sn.orderer.ledger.sns()} for sn in leading]
        if not known or known[0] != {sn.uid for sn in sns if sn.alive and not sn.disk.damaged} or len(sns) == 1:
            self._around.world.after(LOOK_S, self._choose)
            return
        one = self._random.choice(leading if self._random.random() < LEADS else sns)
        self._commander.gone.append(one.uid)
        weather.leaving.add(one.uid)
        self._watch(one, one.uid)
        self._ask(one, one.uid)

    # ---- who leads, and the one

    def _watch(self, one: NetworkNode, uid: str) -> None:
        if one.uid != uid:
            return
        telling: set[tuple[str, int, int, int]] = set()
        for sn in self._around.sns:
            if sn is one or sn.paused or not (sn.alive and one.alive) or sn.orderer.role != "leader":
                continue
            now = (sn.name, sn.life, sn.orderer.consensus.term, one.life)
            if _tells(sn, uid):
                if sn.now_s - sn.answered_s.get(uid, 0.0) < PATIENCE_S:
                    telling.add(now)
            elif now in self._telling and not _is_over(one, uid):
                sn.note("gave_up_telling", uid)
        self._telling = telling
        self._around.world.after(WATCH_S, self._watch, one, uid)

    # ---- the others, and the one

    def _ask(self, one: NetworkNode, uid: str) -> None:
        if one.uid != uid:
            return
        for other in self._around.sns:
            if other is not one:
                self._around.network.send(one, other, self._asked, other, one, uid)
        self._around.world.after(EVERY_S, self._ask, one, uid)

    def _asked(self, other: NetworkNode, one: NetworkNode, uid: str) -> None:
        if _is_over(other, uid):
            self._around.network.send(other, one, self._told, one, uid, other.uid)

    def _told(self, one: NetworkNode, uid: str, by: str) -> None:
        if one.uid == uid:
            self._said_by.add(by)
            ledger, node = one.orderer.ledger, one.orderer.ledger.nodes.get(uid)
            joins = node is None or node.incarnation != one.incarnation  # then whoever it asks for that turns it away
            if joins or ledger.voting.believes(uid, self._said_by, one.orderer.consensus.voters):
                one.retire()


def _is_over(node: NetworkNode, uid: str) -> bool:
    """By this node's ledger."""
    return node.orderer.ledger.voting.is_over(uid, node.orderer.consensus.voters)


def _tells(leader: NetworkNode, uid: str) -> bool:
    consensus = leader.orderer.consensus
    return uid in {*consensus.voters, *consensus.learners, *consensus.leaving}
