"""A forced recovery: most of the network nodes that vote are lost, and a person lets another one decide alone.

What the person does about it, and what becomes of those that were lost: most come back, with their directories or with
empty ones, and a few never. Drawn from a random stream of its own: worlds without are what they were before there were
any.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from swarm.core.election import majority
from swarm.core.events import Outcome
from swarm.core.names import uid_of
from swarm.core.ordering import epoch_of
from tests.sim.codec import identity
from tests.sim.heads import before
from tests.sim.world import Process

if TYPE_CHECKING:
    from tests.sim.client import Client, Surroundings
    from tests.sim.sn import NetworkNode

SHARE = 0.03
AGAIN_S = 3.0
LOOK_S = 2.0
SEEN_S = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """``behind_s``: how long the one that is to decide was away when the others were lost; 0: it was there."""

    lost_s: float
    behind_s: float
    waits_s: float
    newest: bool
    back_s: tuple[float, float]
    empty: float
    never: float


def drawn(seed: int, *, always: bool) -> Plan | None:
    """Of a world; most have none."""
    random = Random(f"recovery of {seed}")
    if not always and random.random() >= SHARE:
        return None
    behind_s = random.choice((0.0, random.uniform(0.1, 1.0), random.uniform(1.0, 4.0)))
    back_s = random.choice(((0.0, 0.5), (1.0, 10.0)))
    return Plan(
        random.uniform(3.5, 8.0), behind_s, random.uniform(2.0, 12.0), random.random() < 0.6, back_s,
        random.choice((0.0, 0.3)), random.choice((0.0, 0.3)),
    )  # fmt: skip


class Recovery(Process):
    """The person who sees to it. ``over``: the ledger is recovered, and whoever comes back is there."""

    role = "swci"

    def __init__(self, around: Surroundings, plan: Plan, organisation: str) -> None:
        super().__init__(around.world, "person")
        self._around, self._plan = around, plan
        self._random = Random(f"recovery in {around.world.seed}")
        self.identity = identity("swci", self.name, organisation)
        self._key = hashlib.sha256(f"person {around.world.seed}".encode()).digest()
        self._uid = uid_of(self._key)
        self._number = 0
        self._promoted: NetworkNode | None = None
        self._doomed: list[NetworkNode] = []
        self._raw = b""
        self._waits: dict[str, float] = {}
        """Since when a network node that was removed is seen to go on."""
        self.clients: list[Client] = []
        self.over = False

    def on_start(self) -> None:
        self.later(self._plan.lost_s, self._choose)

    # ---- what happens to the network nodes

    def _choose(self) -> None:
        """Who is to decide alone later on; it may be away before the others are lost."""
        able = [sn for sn in self._around.sns if sn.alive and sn.uid in sn.orderer.ledger.nodes]
        doomed = self._to_lose(able)
        left = [sn for sn in able if sn not in doomed]
        if not left:
            self.later(1.0, self._choose)
            return
        newest = max(left, key=lambda sn: (sn.disk.term_at(sn.disk.last_index), sn.disk.last_index))
        self._promoted = newest if self._plan.newest else self._random.choice(left)
        self._doomed = doomed
        if self._plan.behind_s:
            self._lose(self._promoted)
        self.later(self._plan.behind_s, self._strike)

    def _to_lose(self, able: list[NetworkNode]) -> list[NetworkNode]:
        """A majority of those that vote."""
        if not able:
            return []
        voters = max(able, key=lambda sn: (sn.orderer.consensus.term, sn.disk.last_index)).orderer.consensus.voters
        voting = [sn for sn in self._around.sns if sn.uid in voters]
        return self._random.sample(voting, min(len(voting), majority(voters)))

    def _strike(self) -> None:
        assert self._promoted is not None
        for sn in self._doomed:
            self._lose(sn)
        self._return(self._promoted)
        self.later(self._plan.waits_s, self._act)

    def _lose(self, sn: NetworkNode) -> None:
        self._around.weather.away.add(sn)
        sn.crash(power=self._random.random() < 0.5)

    def _return(self, sn: NetworkNode) -> None:
        if sn in self._around.weather.away:
            self._around.weather.away.remove(sn)
            self._around.weather.revive(sn)

    # ---- what the person does

    def _act(self) -> None:
        """``swarm sn promote --force``, until it is done."""
        sn = self._promoted
        assert sn is not None
        if sn.alive and sn.orderer.ledger.epoch:
            self._recovered(sn)
            return
        if sn.alive and sn.orderer.role != "leader":
            self._promote(sn)
        self.later(AGAIN_S, self._act)

    def _promote(self, sn: NetworkNode) -> None:
        orderer = sn.orderer
        self._number += 1
        incarnation = self._number.to_bytes(8, "big") + bytes(8)
        body = {
            "chain": [b"certificate"], "node_key": self._key, "incarnation": incarnation, "uid": sn.uid,
            "epoch": max(orderer.ledger.epoch, epoch_of(orderer.consensus.term)) + 1,
            "reason": "the voters before will not come back", "lost_after": orderer.last_index,
        }  # fmt: skip
        raw = self._around.codec.propose(
            self.identity, self._key, network_id=sn.network_id, uid=self._uid, incarnation=incarnation, seq=1,
            kind="ForcedRecovery", body=body,
        )  # fmt: skip
        self._around.network.send(self, sn, sn.recovery_asked, self, self.life, self._number, raw)

    def answered(self, life: int, number: int, outcome: Outcome) -> None:
        """It looks at the node's status anyway."""

    def declined(self, life: int, number: int) -> None:
        """It tries again."""

    def _recovered(self, sn: NetworkNode) -> None:
        assert sn.kept_recovery
        self._raw = sn.kept_recovery
        self.note("recovered", self._raw)
        for lost in self._doomed:
            if self._random.random() >= self._plan.never:
                self.later(self._random.uniform(*self._plan.back_s), self._come_back, lost)
        self.later(self._plan.back_s[1] + 1.0, self._all_back)
        self._look()

    def _come_back(self, sn: NetworkNode) -> None:
        sn.disk.damaged = self._random.random() < self._plan.empty
        self._return(sn)

    def _all_back(self) -> None:
        self.over = True

    def _look(self) -> None:
        """Who follows what was given up is started again, and its training, if that had ended by then."""
        kept = before(self._around.codec, self._around.codec.entries[self._raw][0])
        for client in self.clients:
            if client.life and not self._goes_on(client.replica.view.head, kept):
                self.note("stranded", client.name)
                client.begin_anew()
        for sn in self._around.sns:
            self._see_to(sn)
        self.later(LOOK_S, self._look)

    def _see_to(self, sn: NetworkNode) -> None:
        """Who was named as a voter, and never heard of it, is removed and hears of nothing: its status says that it has
        no leader, and a person gives it a new directory. Who was about to join, and knows the lost ones only, has said
        so since, and is started again at another one."""
        assert self._promoted is not None
        known = self._promoted.orderer.ledger.nodes.get(sn.uid) if self._promoted.alive else None
        removed, unknown = known is not None and known.gone, known is None and not sn.orderer.head
        if not sn.alive or not (removed or unknown):
            self._waits.pop(sn.uid, None)
        elif self.now_s - self._waits.setdefault(sn.uid, self.now_s) >= SEEN_S:
            del self._waits[sn.uid]
            sn.note("set_aside" if removed else "started_again", sn.uid)
            sn.disk.damaged = removed
            sn.crash(power=False)
            self._around.weather.revive(sn)

    def _goes_on(self, head: bytes, kept: set[bytes]) -> bool:
        codec, index = self._around.codec, self._around.codec.entries[self._raw][0].index
        while any(head) and codec.entries[head][0].index > index:
            head = codec.entries[head][0].prev_hash
        return not any(head) or head == self._raw or head in kept

    def on_crash(self, power: bool) -> None:
        raise AssertionError("persons do not")
