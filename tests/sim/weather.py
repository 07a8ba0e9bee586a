"""The weather: which faults a seed has, how hard they are, and when they come.

Each seed draws its own mix, so that some worlds have nothing but crashes and others a little of everything. A fault is
an episode with an end: what was cut is joined again, what was killed is started again. After `heal` there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from swarm.core.election import majority
from tests.sim.network import Fault, Link
from tests.sim.world import Process

if TYPE_CHECKING:
    from tests.sim.network import Network
    from tests.sim.sl import LearningNode
    from tests.sim.sn import NetworkNode
    from tests.sim.world import World

KINDS = (
    "crash", "restart", "correlated_crash", "pause", "partition", "asymmetric_cut", "clog", "loss", "duplicate",
    "reorder", "delay", "unsynced_write_lost", "torn_write", "bit_flip", "disk_full", "clock_skew", "lie",
)  # fmt: skip
STRIKES = {
    "crash": 6, "correlated_crash": 2, "pause": 4, "partition": 3, "asymmetric_cut": 3, "clog": 2, "loss": 3,
    "duplicate": 2, "reorder": 2, "delay": 2, "unsynced_write_lost": 3, "torn_write": 2, "bit_flip": 1,
    "disk_full": 2, "clock_skew": 2,
}  # fmt: skip
"""How often each kind is drawn, of those that a seed has. Restarts follow crashes; lies have liars."""
FAULTS = 20
BLACKOUT_S = (17.0, 20.0)
"""How long most stay away: so long that they count as lost, and whoever is back has asked for them in vain."""


class Weather:
    def __init__(self, world: World, faults: tuple[str, ...] = ()) -> None:
        self.world = world
        self.counts = dict.fromkeys(KINDS, 0)
        self.over = False
        self.away: set[Process] = set()
        """Who is lost for good, as far as anybody knows: nothing starts it again."""
        self.leaving: set[str] = set()
        """Who is being removed from the network, by uid: soon the others decide without it."""
        random = world.random
        self.mix = [kind for kind in faults if kind in STRIKES]
        self.mix = self.mix or random.sample(list(STRIKES), random.randint(4, 9))
        if not faults and not {"crash", "partition", "pause"} & set(self.mix):
            self.mix.append("crash")
        self._until_s = 0.0
        """A fault that takes its time goes on."""
        blackout = "blackout" in faults or random.random() < 0.07
        self._blackout_s = random.uniform(3.0, 8.0) if blackout else None
        self.every_s = random.uniform(0.2, 0.6)
        self.length = random.uniform(0.4, 1.6)
        """Of each episode, as a factor."""

    def count(self, kind: str, happened: bool = True) -> None:
        if happened:
            self.counts[kind] += 1

    @property
    def enough(self) -> bool:
        if self.world.now_s < self._until_s:
            return False
        return sum(self.counts.values()) >= FAULTS and sum(map(bool, self.counts.values())) >= 3

    # ---- the course of it

    def begin(
        self, network: Network, sns: list[NetworkNode], sls: list[LearningNode], others: list[Process], spare_sns: int
    ) -> None:
        """``spare_sns``: how many SNs may lose their disk for good."""
        self.network, self.sns, self.sls = network, sns, sls
        self.everybody: list[Process] = [*sns, *sls, *others]
        self.spare_sns = spare_sns
        if self._blackout_s is not None:
            self.world.after(self._blackout_s, self._blackout)
        self._strike()

    def _strike(self) -> None:
        if self.over:
            return
        random = self.world.random
        kind = random.choices(self.mix, [STRIKES[each] for each in self.mix])[0]
        getattr(self, f"_{kind}")()
        self.world.after(self.every_s * random.uniform(0.2, 1.8), self._strike)

    def _later(self, low_s: float, high_s: float, end: Callable[..., None], *args: Any) -> None:
        self.world.after(self.length * self.world.random.uniform(low_s, high_s), end, *args)

    def heal(self) -> None:
        """The end of all faults: links and disks work, everybody runs and tells the truth."""
        self.over = True
        self.network.heal()
        for process in self.everybody:
            process.skew_s, process.trap = 0.0, ""
            if process in self.sns or process in self.sls:
                process.disk.full = False  # type: ignore[attr-defined]
            process.resume()
            self.revive(process)
        for node in self.sls:
            node.lies.clear()
            node.spoils.clear()

    # ---- processes

    def _crash(self) -> None:
        self.kill(self.world.random.choice(self.everybody), power=self.world.random.random() < 0.3)

    def kill(self, process: Process, *, power: bool) -> None:
        if not process.alive or self.over:
            return
        self.count("crash")
        process.crash(power=power)
        self._later(0.1, 12.0 if self.world.random.random() < 0.25 else 3.0, self.revive, process)

    def revive(self, process: Process) -> None:
        if not process.alive and process not in self.away and not getattr(process, "done", False):
            self.count("restart", not self.over)
            process.start()

    def _correlated_crash(self) -> None:
        random = self.world.random
        groups: list[list[Process]] = [list(self.sns), list(self.sls), self.everybody]
        group = random.choice(groups)
        some = group if random.random() < 0.4 else random.sample(group, random.randint(1, len(group)))
        self.count("correlated_crash")
        for process in some:
            if process.alive:
                process.crash(power=True)
                self._later(0.2, 4.0, self.revive, process)

    def _blackout(self) -> None:
        """The power goes at all learning nodes. The first to be back finds its models damaged, and nobody to ask."""
        first = self.world.random.choice(self.sls)
        self._until_s = self.world.now_s + BLACKOUT_S[1]
        self.count("correlated_crash")
        for node in self.sls:
            if node.alive:
                node.crash(power=True)
                soon = node is first
                self.world.after(self.world.random.uniform(*((0.2, 0.5) if soon else BLACKOUT_S)), self.revive, node)
        for disk in first.disks.values():
            for digest in list(disk.files):
                self.count("bit_flip", disk.flip_bit(digest))

    def _pause(self) -> None:
        process = self.world.random.choice(self.everybody)
        if process.alive and not process.paused:
            self.count("pause")
            process.pause()
            self._later(0.5, 15.0 if self.world.random.random() < 0.2 else 4.0, process.resume)

    # ---- links

    def _fault(self, fault: Fault, low_s: float, high_s: float) -> None:
        self.network.faults.append(fault)
        self._later(low_s, high_s, self._end_fault, fault)

    def _end_fault(self, fault: Fault) -> None:
        if fault in self.network.faults:
            self.network.faults.remove(fault)

    def _sides(self) -> tuple[list[str], list[str]]:
        """Two sides of everybody, or of the SNs (who leads, and the others): the rest stay in touch with both."""
        random = self.world.random
        leading = [sn.name for sn in self.sns if sn.alive and sn.orderer.role == "leader"]
        if leading and len(self.sns) > 2 and random.random() < 0.5:
            return leading[:1], [sn.name for sn in self.sns if sn.name != leading[0]]
        whom = [each.name for each in (self.sns if len(self.sns) > 1 and random.random() < 0.4 else self.everybody)]
        random.shuffle(whom)
        at = random.randint(1, len(whom) - 1)
        return whom[:at], whom[at:]

    def _partition(self) -> None:
        one, other = self._sides()
        links = {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other}
        self.count("partition")
        self._fault(Fault(frozenset(links), cut=True), 1.0, 8.0)

    def _asymmetric_cut(self) -> None:
        one, other = self._sides()
        self.count("asymmetric_cut")
        self._fault(Fault(frozenset((a, b) for a in one for b in other), cut=True), 1.0, 6.0)

    def _clog(self) -> None:
        """Some processes' links are clogged one by one, and freed in another order."""
        random = self.world.random
        names = [each.name for each in self.everybody]
        some = random.sample(names, random.randint(1, max(1, len(names) // 3)))
        self.count("clog")
        for name in some:
            links = [(a, b) for a in names for b in names if a != b and name in (a, b)]
            self._later(0.0, 1.0, self._clog_links, links)
            self._later(1.2, 5.0, self._free_links, links)

    def _clog_links(self, links: list[Link]) -> None:
        if not self.over:
            for link in links:
                self.network.clog(link)

    def _free_links(self, links: list[Link]) -> None:
        for link in links:
            self.network.free(link)

    def _some_links(self) -> frozenset[Link] | None:
        random = self.world.random
        names = [each.name for each in self.everybody]
        if random.random() < 0.4:
            return None
        some = set(random.sample(names, max(1, len(names) // 3)))
        return frozenset((a, b) for a in names for b in names if a != b and (a in some or b in some))

    def _loss(self) -> None:
        self.count("loss")
        self._fault(Fault(self._some_links(), loss=self.world.random.uniform(0.02, 0.3)), 1.0, 6.0)

    def _duplicate(self) -> None:
        self.count("duplicate")
        self._fault(Fault(self._some_links(), double=self.world.random.uniform(0.05, 0.5)), 1.0, 6.0)

    def _reorder(self) -> None:
        self.count("reorder")
        self._fault(Fault(self._some_links(), overtake=self.world.random.uniform(0.05, 0.5)), 1.0, 6.0)

    def _delay(self) -> None:
        self.count("delay")
        self._fault(Fault(self._some_links(), delay_s=self.world.random.choice((0.05, 0.3, 1.5, 5.0))), 1.0, 6.0)

    # ---- disks and clocks

    def _unsynced_write_lost(self) -> None:
        """The power goes in the middle of somebody's next write."""
        process = self.world.random.choice([*self.sns, *self.sls])
        process.trap = "unsynced"

    def _torn_write(self) -> None:
        process = self.world.random.choice([*self.sns, *self.sls])
        process.trap = "torn"

    def sprung(self, process: Process, write_s: float) -> None:
        """A process with a trap has begun a write, which would take so long."""
        if process.trap and not self.over:
            self.world.after(write_s / 2, self._cut_power, process)

    def _cut_power(self, process: Process) -> None:
        self.kill(process, power=True)

    def _bit_flip(self) -> None:
        """At rest, and noticed when it is read: of a model, or (as long as others have it) of the ledger."""
        random = self.world.random
        if self.spare_sns and random.random() < 0.3:
            if victims := [sn for sn in self.sns if self.is_spare(sn)]:
                sn = random.choice(victims)
                self.spare_sns -= 1
                self.count("bit_flip")
                sn.disk.damaged = True
                self.kill(sn, power=False)
            return
        node = random.choice(self.sls)
        if node.alive:
            self.kill(node, power=False)
        if files := [(disk, digest) for disk in node.disks.values() for digest in sorted(disk.files)]:
            disk, digest = random.choice(files)
            self.count("bit_flip", disk.flip_bit(digest))

    def is_spare(self, sn: NetworkNode) -> bool:
        """Whether the ledger goes on without what it has stored: of the voters, as each node knows them, a majority
        keeps what it has. Everybody who is gone counts: who does not vote may by an entry that is under way."""
        if not sn.disk.last_index:
            return False
        known = [other.orderer.consensus for other in self.sns if other.life]
        there = {other.uid for other in self.sns if other is not sn and not other.disk.damaged} - self.leaving
        gone = {sn.uid}.union(*(each.voters + each.learners for each in known)) - there
        return all(len(each.voters) - len(gone) >= majority(each.voters) for each in known)

    def _disk_full(self) -> None:
        process: Any = self.world.random.choice([*self.sns, *self.sls])
        self.count("disk_full")
        process.disk.full = True
        self._later(0.5, 5.0, self._free_disk, process)

    def _free_disk(self, process: Any) -> None:
        process.disk.full = False

    def _clock_skew(self) -> None:
        sn = self.world.random.choice(self.sns)
        self.count("clock_skew")
        sn.skew_s = self.world.random.choice((-86400.0, -3600.0, -200.0, -5.0, 5.0, 200.0, 3600.0))
        self._later(2.0, 8.0, self._set_clock, sn)

    def _set_clock(self, sn: NetworkNode) -> None:
        sn.skew_s = 0.0
