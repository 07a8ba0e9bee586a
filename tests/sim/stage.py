"""A stage: a world of a fixed cast without weather, to which a test does one thing and looks at what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sim.checkers import check
from tests.sim.codec import ORGANISATIONS
from tests.sim.network import Fault
from tests.sim.program import Terms, schema_of
from tests.sim.scenario import PROGRESS_S, Scenario
from tests.sim.sl import LearningNode
from tests.sim.sn import NetworkNode
from tests.sim.swci import Commander
from tests.sim.swop import OperatorNode
from tests.sim.world import Process

LEAVES = 4


class Stage(Scenario):
    def __init__(self, *, sns: int = 1, peers: int = 4, min_peers: int = 3, rounds: int = 12) -> None:
        self._size = (sns, peers, min_peers, rounds)
        super().__init__(seed=1)

    def _cast(self) -> None:
        sns, peers, min_peers, rounds = self._size
        around = self.around
        owners = (ORGANISATIONS * max(sns, peers))[: max(sns, peers)]
        self.sns = [
            NetworkNode(around, f"sn-{n + 1}", owners[n], founder=n == 0, snapshot_every=10_000) for n in range(sns)
        ]
        around.sns.extend(self.sns)
        options = {
            "minPeers": min_peers, "topology": "sharded", "tooFewPeersSeconds": 60, "onTooFewPeers": "wait",
        }  # fmt: skip
        terms = Terms(LEAVES, schema_of(LEAVES).to_wire(), options, rounds, (0.5, 1.5))
        self.sls = [LearningNode(around, f"sl-{n + 1}", owners[n], terms, n + 1) for n in range(peers)]
        self.swops = [OperatorNode(around, "swop-1", owners[0], 2, (1.0, 8.0))]
        self.swops[0].failing = 0.0
        self.swci = Commander(around, "swci-1", owners[0], [("task-1", 2)])
        self.weather.network, self.weather.sns, self.weather.sls = around.network, self.sns, self.sls
        self.weather.everybody = [*self.sns, *self.sls, *self.swops, self.swci]

    def _date(self, seed: int) -> None:
        """All follow the newest rules, unless a test says otherwise before it begins."""

    # ---- what a test does

    def begin(self, rounds: int = 2) -> None:
        """Everybody starts, one a little after the other, and so many rounds are merged."""
        for process in self.weather.everybody:
            process.start()
            self.wait(0.07)
        self.until(lambda: len(self.commits) >= rounds, 60.0)
        if len(self.sns) > 2:
            self.until(lambda: all(len(sn.orderer.consensus.voters) == 3 for sn in self.sns), 60.0)
            self.wait(1.0)

    def wait(self, seconds: float) -> None:
        until_s = self.world.now_s + seconds
        self.world.run(lambda: False, until_s)
        self.world.now_s = until_s

    def until(self, holds: Callable[[], bool], within_s: float) -> float:
        """How long it took; failing is a failure of the test."""
        began_s = self.world.now_s
        assert self.world.run(holds, began_s + within_s), f"not within {within_s} s"
        return self.world.now_s - began_s

    def cut(self, one: list[Process], other: list[Process], *, both: bool = True) -> Fault:
        links = {(a.name, b.name) for a in one for b in other}
        if both:
            links |= {(b, a) for a, b in links}
        fault = Fault(frozenset(links), cut=True)
        self.around.network.faults.append(fault)
        return fault

    def heal(self, fault: Fault) -> None:
        self.around.network.faults.remove(fault)

    def end(self) -> None:
        """Nothing is wrong any more: all come to their end, and every promise was kept all the time."""
        self.weather.heal()
        assert self.world.run(self._ended, self.world.now_s + PROGRESS_S), self._open()
        assert [str(violation) for violation in check(self.world.history)] == []

    # ---- what a test looks at

    def facts(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [fact for fact in self.world.history.facts if fact[0] in kinds]

    @property
    def commits(self) -> list[tuple[Any, ...]]:
        return self.facts("Committed")

    def proposed(self, kind: str) -> bool:
        """Whether anybody has, though it may not have arrived."""
        return any(claim.kind == kind for claim in self.around.codec.proposals.values())

    @property
    def leader(self) -> NetworkNode:
        leading = [sn for sn in self.sns if sn.alive and not sn.paused and sn.orderer.role == "leader"]
        return max(leading, key=lambda sn: sn.orderer.consensus.term)

    def leads(self, *, but: NetworkNode | None = None) -> bool:
        """Whether somebody (else) does."""
        return any(sn.alive and sn is not but and sn.orderer.role == "leader" for sn in self.sns)

    def commits_since(self, when_s: float) -> list[set[str]]:
        """The members of each round that was committed since then."""
        return [set(members) for _, at_s, _, _, _, _, _, members, *_ in self.commits if at_s >= when_s]
