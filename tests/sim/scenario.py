"""A world from its seed: who is in it, a time of faults, then a time without, in which everything has to end.

Safety is judged by the checkers over the whole history; progress (P4) here: once all is healed, every program has the
final model, every task has ended and all SNs hold the same log, within a bounded time.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace
from random import Random

from swarm.core.fields import FIRST_RULES
from swarm.core.rules import KNOWN
from swarm.core.voters import FOLLOWED
from tests.sim.chain import Chain
from tests.sim.checkers import check
from tests.sim.client import Surroundings
from tests.sim.codec import ORGANISATIONS, Codec
from tests.sim.commitments import drawn as drawn_commitments
from tests.sim.errands import SITE, drawn
from tests.sim.groups import ALONE, Place
from tests.sim.groups import drawn as drawn_groups
from tests.sim.network import Network
from tests.sim.participant import Participant
from tests.sim.program import Terms, schema_of
from tests.sim.recovery import Recovery
from tests.sim.recovery import drawn as drawn_recovery
from tests.sim.retiring import Retiring
from tests.sim.sl import LearningNode
from tests.sim.sn import NetworkNode
from tests.sim.swci import Commander
from tests.sim.swop import OperatorNode
from tests.sim.verdict import Violation
from tests.sim.weather import Weather
from tests.sim.world import World

FAULTS_AT_LEAST_S = 8.0
FAULTS_AT_MOST_S = 90.0
PROGRESS_S = 300.0
ROUNDS = 10
OLDER = 0.22
"""The share of worlds that follow an older version of the ledger's rules, of those in which one can be followed."""
LATER = 3
"""The first version with jobs, with roles, and with options of contracts that are not of the very first."""


@dataclass
class Report:
    """What became of one seed."""

    seed: int
    violations: list[Violation]
    stuck: bool
    faults: dict[str, int]
    rounds: int = 0
    commits: int = 0
    aborts: int = 0
    steps: int = 0
    simulated_s: float = 0.0
    trace: str = ""
    open: list[str] = field(default_factory=list)
    """Who had not come to an end, if it was stuck."""
    differs: bool = False
    """It gave another trace when it was run again."""
    failed: str = ""
    """A machine broke one of its own invariants: where."""

    @property
    def clean(self) -> bool:
        return not (self.violations or self.stuck or self.differs or self.failed)

    def again(self, second: Report) -> None:
        """What another run of the same world has shown, whose machines check themselves after each step."""
        self.differs = second.trace != self.trace and not second.failed  # what broke off there has no such trace
        self.failed = self.failed or second.failed
        self.violations = self.violations or second.violations
        if second.stuck and not self.stuck:
            self.stuck, self.open = True, second.open


@dataclass(frozen=True, slots=True)
class Lean:
    """What a world is drawn towards, to see one thing more often: so many SNs, these faults and no others."""

    sns: int = 0
    faults: tuple[str, ...] = ()
    errands: bool = False
    """Jobs and tasks with roles, which other worlds have by chance."""
    groups: bool = False
    """Learning nodes in groups: likewise."""
    full: bool = False
    """Commitments to every leaf, and owners that lie: as all that follows, only where it is asked for, or in a world
    that is drawn towards nothing."""
    recovery: bool = False
    """Most of the voters are lost, and a person lets another network node decide alone."""
    retiring: bool = False
    """A network node that runs is removed."""


class Scenario:
    def __init__(self, seed: int, *, shared: bool = True, lean: Lean = Lean()) -> None:
        self.world = World(seed)
        self.random: Random = self.world.random
        codec = Codec(self.world.history)
        self.weather = Weather(self.world, lean.faults)
        self._lean = lean
        self.full = drawn_commitments(seed, always=lean.full) if lean.full or lean == Lean() else None
        network = Network(self.world)
        self.around = Surroundings(self.world, network, codec, Chain(codec, shared=shared), self.weather)
        self.around.checks = not shared  # of every so many seeds, which are run again
        self.around.removed = self._removed
        self._cast()
        self.participants: list[Participant] = []
        self._cast_errands(seed)
        self.recovery = self._recovers(seed)
        self._date(seed)
        self.retiring = Retiring(self.around, self.swci, always=lean.retiring)

    # ---- who is in it

    def _cast(self) -> None:
        random, around = self.random, self.around
        count = self._lean.sns or random.choices((1, 2, 3, 4, 5), (23, 20, 44, 5, 8))[0]
        count = max(count, 2) if self._lean.recovery else count
        organisations = ORGANISATIONS[: random.randint(1, 3)]
        every = random.choice((10_000, 10_000, 40, 25))
        self.sns = [
            NetworkNode(
                around, f"sn-{n + 1}", organisations[n % len(organisations)], founder=n == 0, snapshot_every=every
            )
            for n in range(count)
        ]
        around.sns.extend(self.sns)
        learners = random.choices((3, 4, 5, 6, 8), (42, 28, 17, 8, 5))[0]
        terms = self._terms(learners)
        seats = self._seats(terms, learners)
        self.sls = [
            LearningNode(around, f"sl-{n + 1}", organisations[n % len(organisations)], own, random.randint(1, 3), place)
            for n, (own, place) in enumerate(seats)
        ]
        if "lie" not in self.weather.mix and random.random() < 0.15 and learners > 3:
            liar = random.choice(self.sls)
            liar.lies = {random.choice(("contribution", "shard")): 0.1}
        random.choice(self.sls).lies["base"] = random.choice((0.0, 0.1, 0.4))
        if "lie" not in self.weather.mix and Random(f"ready {self.world.seed}").random() < 0.1 and learners > 2:
            self.sls[0].lies["ready"] = 0.5
        self.swops = [
            OperatorNode(
                around, f"swop-{n + 1}", organisations[n % len(organisations)], random.randint(1, 2), (1.0, 8.0)
            )
            for n in range(random.choices((1, 2, 3), (50, 35, 15))[0])
        ]
        places = sum(swop.places for swop in self.swops)
        tasks = [(f"task-{n + 1}", random.randint(1, places)) for n in range(random.randint(1, 2))]
        self.swci = Commander(around, "swci-1", organisations[0], tasks)
        if self.full:
            self.full.corrupt(self.sls)

    def _cast_errands(self, seed: int) -> None:
        errands = drawn(seed, always=self._lean.errands)
        if not errands or self._lean.recovery:
            return
        self.swci.errands = errands.tasks
        self.participants = [
            Participant(self.around, f"site-{n + 1}", ORGANISATIONS[n % len(ORGANISATIONS)], "crew", SITE)
            for n in range(errands.sites)
        ]
        for swop in self.swops:
            swop.room = errands.room

    def _recovers(self, seed: int) -> Recovery | None:
        """Where there is somebody left to decide alone; not in worlds with groups, jobs or roles."""
        asked, lean = self._lean.recovery, self._lean
        plan = drawn_recovery(seed, always=asked) if asked or lean == Lean() else None
        if plan is None or len(self.sns) == 1 or self.participants or self.sls[0].place != ALONE:
            return None
        recovery = Recovery(self.around, plan, ORGANISATIONS[0])
        recovery.clients = [*self.sls, *self.swops, self.swci]
        self.around.recovers = True
        return recovery

    def _date(self, seed: int) -> None:
        """Which rules they follow: the newest, or in a few worlds older ones, which ledgers that exist are judged by.
        What is mended in the newest only is played under these: groups, commitments to every leaf, forced recovery."""
        random = Random(f"rules of {seed}")
        if self.full or self.recovery or self.sls[0].place != ALONE or random.random() >= OLDER:
            return
        first = LATER if self.participants or self.sls[0].terms.newer else FIRST_RULES
        version = random.randrange(first, KNOWN)
        for process in (*self.sns, *self.sls, *self.swops, *self.participants, self.swci):
            process.rules = version

    def _terms(self, learners: int) -> Terms:
        random = self.random
        leaves = random.choice((2, 3, 8))
        topology = random.choice(("sharded", "broadcast"))
        options = {
            "minPeers": random.randint(max(1, learners // 2), max(1, learners - random.randint(0, 1))),
            "topology": topology, "tooFewPeersSeconds": 60, "onTooFewPeers": random.choice(("wait", "wait", "local")),
        }  # fmt: skip
        options |= self._participation(learners, options["minPeers"])
        train_s = random.uniform(0.15, 0.45)
        spread_s = random.choice((0.02, 0.02, 0.02, 0.5))  # all offer at once, or one after the other
        return Terms(leaves, schema_of(leaves).to_wire(), options, ROUNDS, (train_s, train_s + spread_s))

    def _participation(self, learners: int, least: int) -> dict[str, int]:
        """Who takes part in a round, or is waited for, where not all. Drawn apart: other worlds are what they were."""
        apart = Random(f"participation {self.world.seed}")
        drawn, option = apart.randint(least, learners), apart.choices(("", "pickPeers", "asyncGoal"), (60, 20, 20))[0]
        return {option: drawn} if option else {}

    def _seats(self, terms: Terms, learners: int) -> list[tuple[Terms, Place]]:
        """What each learning node's program agrees on, and with whom: all of them together, or each group for itself.
        Drawn apart, too."""
        lean = self._lean
        none = lean.full or lean.recovery
        groups = [] if none else drawn_groups(self.world.seed, learners, always=lean.groups)
        if groups:
            self.full = None
        elif self.full:
            terms = replace(terms, options=self.full.options(terms.options, learners))
        if not groups:
            return [(terms, ALONE)] * learners
        own = [(replace(terms, options=each.options(terms.options, len(groups))), each.places()) for each in groups]
        return [(of_group, place) for of_group, places in own for place in places]

    def _removed(self, uid: str) -> None:
        self.world.after(self.random.uniform(1.0, 5.0), self.swci.gone.append, uid)

    def throw_away(self) -> None:
        """Nobody asks about this world any more. It is one great ring of references: what of it is most is let go of
        here, so that there is little to search for."""
        self.world.heap.clear()
        self.world.history.forget()
        self.around.codec.forget()
        self.around.chain.forget()

    # ---- what happens

    def run(self) -> Report:
        """All of it. What a machine raises ends the world: see `failed`."""
        try:
            return self._report(self._happen())
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            report = self._report(stuck=True)
            report.stuck, report.failed = False, f"{place.filename}:{place.lineno}: {error!r}"
            return report

    def _happen(self) -> bool:
        """Whether it got stuck."""
        world, weather = self.world, self.weather
        self.sns[0].start()
        others = [*self.sns[1:], *self.sls, *self.swops, *self.participants, self.swci]
        for process in others:
            world.after(self.random.uniform(0.0, 1.5), process.start)
        if self.recovery:
            self.recovery.start()
        elif self.retiring.drawn and self.sns[0].rules >= FOLLOWED:
            self.retiring.start()
        world.run(lambda: world.now_s >= 2.0, 2.0)
        spare = (len(self.sns) - 1) // 2 if not self.recovery else 0
        weather.begin(self.around.network, self.sns, self.sls, [*self.swops, *self.participants, self.swci], spare)
        least_s = world.now_s + FAULTS_AT_LEAST_S
        world.run(lambda: world.now_s >= least_s and weather.enough, FAULTS_AT_MOST_S)
        weather.heal()
        healed_s = world.now_s
        return not world.run(self._ended, healed_s + PROGRESS_S)

    def _ended(self) -> bool:
        return not self._open()

    def _open(self) -> list[str]:
        """Who has not come to an end."""
        open_ = [node.name for node in self.sls if not node.done]
        if not self.swci.alive or not self.swci.finished:
            open_.append(self.swci.name)
        expected = [sn for sn in self.sns if sn not in self.weather.away]
        heads = {sn.orderer.ledger.head_hash for sn in expected if sn.alive}
        if len(heads) > 1 or not all(sn.alive for sn in expected):
            open_.append("sns")
        if self.recovery and not self.recovery.over:
            open_.append(self.recovery.name)
        return open_

    def _report(self, stuck: bool) -> Report:
        world, facts = self.world, self.world.history.facts
        commits = sum(fact[0] == "Committed" for fact in facts)
        aborts = sum(fact[0] == "Aborted" for fact in facts)
        violations = check(world.history, ended=not stuck)
        return Report(
            world.seed, violations, stuck, dict(self.weather.counts), commits + aborts, commits, aborts,
            world.steps, world.now_s, open=self._open() if stuck else [],
        )  # fmt: skip


def run(seed: int, *, shared: bool = True, trace: bool = False, lean: Lean = Lean()) -> Report:
    scenario = Scenario(seed, shared=shared, lean=lean)
    report = scenario.run()
    if trace:
        report.trace = scenario.world.history.trace_hash()
    scenario.throw_away()
    return report
