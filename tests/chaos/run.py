"""A run of chaos from the first certificate to the last check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from swarm.errors import CheckFailed
from swarm.nodes.bench.hosts import Network, network
from swarm.nodes.launch import Launch
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from tests.chaos import checks
from tests.chaos.census import Census
from tests.chaos.checks import Findings
from tests.chaos.cluster import API_PORT, RUNNER, SNS, SWOPS, Cluster, left, task, twice
from tests.chaos.desk import Desk
from tests.chaos.faults import KINDS, Faults, ready
from tests.chaos.history import History

MIN_PEERS = 3
MERGES_PAUSE_S = 0.1
FIRST_COMMIT_S = 120.0
CALM_S = 90.0
WORKERS_END_S = 60.0
LOOK_S = 0.2
WARM_S, WARM_SOAK_S = 60.0, 1800.0
"""Until all is loaded; until what is kept of the past has come to its limit."""
TASK = "train-without-end"
OF_THE_RUN = ("tests.chaos", "swarm.nodes.bench.switch")
"""Modules whose processes break the swarm, or carry its packets, and are no part of it."""


@dataclass(frozen=True)
class Settings:
    minutes: float
    peers: int
    seed: int

    @property
    def soaks(self) -> bool:
        """It lasts long enough to say what grows."""
        return self.minutes >= checks.SOAK_MINUTES


class Chaos:
    """``say`` hears from time to time how it goes."""

    def __init__(self, settings: Settings, directory: Path, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.history = History(directory / "history.jsonl")
        self._directory = directory
        self._say = say
        self._orphans: list[str] = []
        self._tasks_lost: list[str] = []

    def run(self) -> Findings:
        with network(SNS + SWOPS, self.settings.seed, desk=True) as net, self._launch() as launch:
            self.cluster = Cluster(self._directory, launch, net, self.settings.peers)
            self.cluster.prepare()
            self._census = Census(self.cluster, WARM_SOAK_S if self.settings.soaks else WARM_S)
            trio.run(self._run, net)
            launch.stop()
            own = {host.pid for host in net.hosts}
            self._orphans += [
                f"process {pid}: {text}"
                for pid, text in left(own).items()
                if not any(module in text for module in OF_THE_RUN)
            ]
        return self._findings()

    def _launch(self) -> Launch:
        """What killed nodes leave in temporary directories goes with the run's."""
        return Launch(environment={"TMPDIR": str(self._directory)})

    async def _run(self, net: Network) -> None:
        await self._start_nodes()
        tree = self.cluster.trees[0]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
        with StateDirectory(self._directory / "swci-1") as state:
            desk = Desk(Local(credentials, state), (net.hosts[0].address, API_PORT), self.history)
            async with trio.open_nursery() as nursery:
                await nursery.start(desk.run)
                await self._live(desk, net)
                desk.close()

    async def _start_nodes(self) -> None:
        for node in self.cluster.nodes:
            self.cluster.start(node)
            await ready(node)
            self._say(f"{node.name} is ready on {node.host.address}")

    async def _live(self, desk: Desk, net: Network) -> None:
        await desk.assign(task(TASK, MIN_PEERS, self.cluster, MERGES_PAUSE_S), self.settings.peers)
        await self._commits(1, FIRST_COMMIT_S, "the first round")
        faults = Faults(self.cluster, net, Random(self.settings.seed), self.history, spares=self.settings.soaks)
        async with trio.open_nursery() as nursery:
            works = (desk.mend, desk.take_notes, faults.attend, self._census.take, self._tell, self._watch_doubles)
            for work in works:
                nursery.start_soon(work)
            await faults.rampage(self.settings.minutes * 60)
            self._faults_over_s = self.history.now_s
            await self._commits(len(self.history.commits) + 2, CALM_S, "a round after the last fault")
            nursery.cancel_scope.cancel()
        await desk.propose("TaskrunnerReset", {"taskrunner": RUNNER})
        await self._workers_end()
        kept = (await desk.ledger()).tasks
        self._tasks_lost = [name for name in self.history.acknowledged if name not in kept]

    async def _commits(self, count: int, patience_s: float, what: str) -> None:
        with trio.move_on_after(patience_s):
            while len(self.history.commits) < count:
                await trio.sleep(LOOK_S)
            return
        raise CheckFailed(f"{what} was not committed within {patience_s:g} s")

    async def _workers_end(self) -> None:
        with trio.move_on_after(WORKERS_END_S):
            while self.cluster.workers():
                await trio.sleep(LOOK_S)
        self._orphans += [f"{worker} runs after its taskrunner was reset" for worker in self.cluster.workers()]

    # ---- meanwhile

    async def _tell(self) -> None:
        while True:
            await trio.sleep(10)
            commits, faults = self.history.commits, self.history.faults
            broken = ", ".join(f"{fault.kind} {fault.target.split(':')[0]}" for fault in faults if not fault.ended_s)
            self._say(
                f"{self.history.now_s:5.0f} s  {len(commits)} rounds committed, {self.history.aborts} aborted, "
                f"{len(faults)} faults; broken now: {broken or 'nothing'}"
            )

    async def _watch_doubles(self) -> None:
        """Two workers alive with one slot and fence, seen twice in a row: one that is dying does not count."""
        before: set[str] = set()
        while True:
            doubles = twice(self.cluster.workers())
            self.history.doubles |= doubles & before
            before = doubles
            await trio.sleep(1)

    # ---- after

    def _findings(self) -> Findings:
        history = self.history
        records = checks.read_records(self.cluster.records)
        stores = [node.state / "ledger.db" for node in self.cluster.of("sn")]
        twice = [f"slot {slot} was done {n} times" for slot, n in history.accepted_results.items() if n > 1]
        return Findings(
            minutes=self.settings.minutes,
            seed=self.settings.seed,
            commits=len(history.commits),
            aborts=history.aborts,
            faults={kind: sum(fault.kind == kind for fault in history.faults) for kind in KINDS},
            digest_mismatches=checks.digest_mismatches(records, history.commits) + checks.ledger_differences(stores),
            lost_updates=checks.lost_updates(history, records),
            tasks_lost=[f"task {name} was acknowledged and is gone" for name in self._tasks_lost],
            tasks_run_twice=twice + [f"two workers ran for {place}" for place in sorted(history.doubles)],
            orphans=self._orphans,
            deaths=history.deaths,
            recovery_s=checks.recoveries(history),
            longest_without_commit_s=checks.longest_without_commit(history, self._faults_over_s),
            computed=checks.rounds_computed(history, records),
            growth=self._census.growth(),
        )
