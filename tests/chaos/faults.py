"""What goes wrong in a run of chaos, and how it is put right: every kind of fault, at random moments, for a while.

A fault begins every 5 to 10 s, of every kind in turn. Limits, so that something is promised: at most one network node
is broken at a time, and so many workers stay untouched that a round can be made once the faults are over. What was
killed is started again by hand (network nodes and operators, in their directories); workers are their operator's. A run
of hours kills one process of each kind never, whatever else it does to it: what grows slowly has to show somewhere.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

import trio

from swarm.errors import Unreachable
from swarm.nodes.bench.hosts import Network, Pair
from tests.chaos.cluster import Cluster, Node, Worker
from tests.chaos.history import Fault, History

KINDS = ("kill_sn", "kill_sl", "kill_ml", "kill_swop", "stop", "cut", "asymmetric_cut", "delay", "loss", "disk_full")
PAUSE_S = (5.0, 10.0)
RESTART_S = (1.0, 3.0)
LASTS_S = (3.0, 12.0)
STOP_S = (3.0, 20.0)
READY_S = 180.0
"""A bound for the machine's sake, which may have other work: what a start costs the swarm is in ``recovery_s``."""
LOOK_S = 0.1
FILLER = "filler"
SPARED = ("sn-1", "swop-1")
SPARED_SLOT = ".0"
"""The end of the slot of which no worker is killed."""


class NothingToBreak(Exception):
    """Nothing that this fault could hit is whole at present."""


class Faults:
    """``spares``: one process of each kind is never killed."""

    def __init__(
        self, cluster: Cluster, net: Network, random: Random, history: History, *, spares: bool = False
    ) -> None:
        self.cluster, self.net, self.random, self.history = cluster, net, random, history
        self._spares = spares
        self._broken: set[str] = set()
        """Nodes and hosts (by the name of their node), and workers by process, that a fault holds."""
        self._begin: dict[str, Callable[[str], Awaitable[None]]] = {
            "kill_sn": self._kill_node,
            "kill_swop": self._kill_node,
            "kill_sl": self._kill_worker,
            "kill_ml": self._kill_worker,
            "stop": self._stop,
            "cut": self._cut,
            "asymmetric_cut": self._cut,
            "delay": self._worsen,
            "loss": self._worsen,
            "disk_full": self._fill_disk,
        }

    async def rampage(self, seconds: float) -> None:
        """Break things for so long; returns when all of it is put right."""
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(seconds):
                for kind in self._kinds():
                    nursery.start_soon(self._one, kind)
                    await trio.sleep(self.random.uniform(*PAUSE_S))

    def _kinds(self) -> Iterator[str]:
        while True:
            yield from self.random.sample(KINDS, len(KINDS))

    async def _one(self, kind: str) -> None:
        """As soon as there is something for it to break."""
        while True:
            with suppress(NothingToBreak):
                await self._begin[kind](kind)
                return
            await trio.sleep(LOOK_S)

    # ---- what may be broken

    @contextmanager
    def _hold(self, kind: str, target: str, names: list[str]) -> Iterator[Fault]:
        """These are broken within; the block puts them right."""
        if self._broken & set(names):
            raise NothingToBreak
        self._broken |= set(names)
        fault = self.history.begin(kind, target)
        try:
            yield fault
        finally:
            self._broken -= set(names)
            self.history.end(fault)

    def _whole(self, nodes: list[Node]) -> list[Node]:
        """Nodes that may be broken now: whole ones, and of the network nodes one at a time."""
        one_sn_is = any(node.name in self._broken for node in self.cluster.of("sn"))
        return [
            node
            for node in nodes
            if node.is_ready and node.name not in self._broken and not (node.role == "sn" and one_sn_is)
        ]

    def _pick(self, nodes: list[Node]) -> Node:
        if not (whole := self._whole(nodes)):
            raise NothingToBreak
        return self.random.choice(whole)

    # ---- kinds

    async def _kill_node(self, kind: str) -> None:
        nodes = self.cluster.of(kind.removeprefix("kill_"))
        node = self._pick([node for node in nodes if not (self._spares and node.name in SPARED)])
        with self._hold(kind, node.name, [node.name]):
            self.cluster.kill(node)
            await trio.sleep(self.random.uniform(*RESTART_S))
            await self._start_again(node)

    async def _start_again(self, node: Node) -> None:
        assert node.process is not None
        while node.process.running:
            await trio.sleep(LOOK_S)
        self.cluster.start(node)
        await ready(node)

    async def attend(self) -> None:
        """For ever: start again what ended by itself, as an init system would, and write down that it did."""
        while True:
            await trio.sleep(LOOK_S)
            for node in self.cluster.nodes:
                if node.name not in self._broken and node.process is not None and not node.process.running:
                    self.history.deaths.append(node.process.failure().message)
                    self.history.say("death", node=node.name)
                    await self._start_again(node)

    async def _kill_worker(self, kind: str) -> None:
        worker = self._pick_worker(kind.removeprefix("kill_"), spares=self._spares)
        with self._hold(kind, str(worker), [str(worker.pid)]), suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)

    def _pick_worker(self, role: str, *, spares: bool = False) -> Worker:
        workers = [
            one
            for one in self.cluster.workers()
            if one.role == role
            and str(one.pid) not in self._broken
            and not (spares and one.place.partition("-")[0].endswith(SPARED_SLOT))
        ]
        if not workers:
            raise NothingToBreak
        return self.random.choice(workers)

    async def _stop(self, kind: str) -> None:
        """A frozen process: it neither ends nor answers."""
        role = self.random.choice(("sn", "swop", "sl", "ml"))
        if role in ("sl", "ml"):
            worker = self._pick_worker(role)
            pid, names, target = worker.pid, [str(worker.pid)], str(worker)
        else:
            node = self._pick(self.cluster.of(role))
            assert node.process is not None
            pid, names, target = node.process.pid, [node.name], node.name
        with self._hold(kind, target, names), suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                await trio.sleep(self.random.uniform(*STOP_S))
            finally:
                os.kill(pid, signal.SIGCONT)

    async def _cut(self, kind: str) -> None:
        """A host from all others, or two hosts from each other; one way or both."""
        node = self._pick(self.cluster.nodes)
        away, towards = self.net.of_host(node.host.number)
        if self.random.random() < 0.5:
            other = self.random.choice([one for one in self.cluster.nodes if one is not node]).host.number
            away, towards = [(node.host.number, other)], [(other, node.host.number)]
        links = self.random.choice((away, towards)) if kind == "asymmetric_cut" else [*away, *towards]
        await self._change(kind, node, links, {"cut": True}, {"cut": False})

    async def _worsen(self, kind: str) -> None:
        node = self._pick(self.cluster.nodes)
        away, towards = self.net.of_host(node.host.number)
        if kind == "loss":
            worse = {"loss": self.random.uniform(0.02, 0.2)}
        else:
            worse = {"delay_s": self.random.uniform(0.05, 0.3), "jitter_s": self.random.uniform(0.0, 0.1)}
        await self._change(kind, node, [*away, *towards], worse, dict.fromkeys(worse, 0.0))

    async def _change(
        self, kind: str, node: Node, links: list[Pair], worse: dict[str, float], as_before: dict[str, float]
    ) -> None:
        values = ", ".join(f"{name} {value:.3g}" for name, value in worse.items())
        with self._hold(kind, f"{node.name}: {values} on {links}", [node.name]):
            self.net.set(links, **worse)
            try:
                await trio.sleep(self.random.uniform(*LASTS_S))
            finally:
                self.net.set(links, **as_before)

    async def _fill_disk(self, kind: str) -> None:
        node = self._pick(self.cluster.of("sn"))
        with self._hold(kind, node.name, [node.name]):
            filler = node.state / FILLER
            try:
                fill(filler)
                await trio.sleep(self.random.uniform(*LASTS_S))
            finally:
                filler.unlink(missing_ok=True)


def fill(filler: os.PathLike[str]) -> None:
    """Take all the space that is left on its disk."""
    with open(filler, "wb", buffering=0) as file:  # what is left in a buffer would meet the full disk again at the end
        disk = os.fstatvfs(file.fileno())
        with suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize)
        with suppress(OSError):
            while True:
                file.write(bytes(1 << 20))


async def ready(node: Node) -> None:
    with trio.move_on_after(READY_S):
        while not node.is_ready:
            assert node.process is not None
            if not node.process.running:
                raise node.process.failure()
            await trio.sleep(LOOK_S)
        return
    raise Unreachable(f"{node.name} was not ready {READY_S:g} s after it was started")
