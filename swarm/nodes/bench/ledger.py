"""`swarm bench ledger`: what the ledger's order costs, what signatures add, how long a dead leader is missed.

Real network nodes of organisations of their own, real links. Three parts: opaque entries, ordered, stored and sent on
by `benchmarks/order_sn.py`, which is `run-sn` but for looking into them, in turn with etcd of as many members; signed
proposals, which every network node verifies and applies; and the leader SIGKILLed, again and again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Any

import trio

from swarm.errors import BadInput, Unreachable
from swarm.nodes.bench.etcd import Etcd, is_installed
from swarm.nodes.bench.writer import AT_ONCE, Writer, writing
from swarm.nodes.launch import Launch, Process
from swarm.nodes.ledgerlink import Address
from swarm.nodes.local import HOST, READY_S, LocalSwarm
from swarm.runtime.credentials import Credentials

ORDER_SN = Path(__file__).parents[3] / "benchmarks/order_sn.py"
OPAQUE, OPAQUE_BYTES = b"opaque\0", 300
TURNS, TURN_S = 5, 1.0
BATCH = 5000
"""Proposals made for the first turn of many at once; for the others as many as may be needed."""
FAIL_OVER_S = 60.0


@dataclass(frozen=True)
class Settings:
    sns: int
    failover: int


@dataclass
class Measured:
    """One entry a turn in each list; ``etcd_per_s`` is empty where there is no etcd."""

    sequential_per_s: list[float] = field(default_factory=list)
    sequential_s: list[float] = field(default_factory=list)
    batched_per_s: list[float] = field(default_factory=list)
    signed_sequential_per_s: list[float] = field(default_factory=list)
    signed_batched_per_s: list[float] = field(default_factory=list)
    etcd_per_s: list[float] = field(default_factory=list)
    failover_s: list[float] = field(default_factory=list)


def as_json(settings: Settings, measured: Measured) -> dict[str, Any]:
    ratios = [ours / theirs for ours, theirs in zip(measured.sequential_per_s, measured.etcd_per_s, strict=False)]
    missed_s = measured.failover_s
    cuts = quantiles(missed_s, n=100, method="inclusive") if len(missed_s) > 1 else missed_s * 99
    return {
        "sns": settings.sns,
        "sequential_per_s": _rate(measured.sequential_per_s),
        "sequential_p50_ms": round(1000 * median(measured.sequential_s), 3),
        "batched_per_s": _rate(measured.batched_per_s),
        "signed_sequential_per_s": _rate(measured.signed_sequential_per_s),
        "signed_batched_per_s": _rate(measured.signed_batched_per_s),
        "etcd_sequential_per_s": _rate(measured.etcd_per_s) if ratios else None,
        "ratio_etcd": round(median(ratios), 3) if ratios else None,
        "failover_p50_s": round(cuts[49], 2) if missed_s else None,
        "failover_p99_s": round(cuts[98], 2) if missed_s else None,
    }


def _rate(turns: Sequence[float]) -> float:
    return round(median(turns), 1)


class Bench:
    """One run of the bench in ``directory``; ``watch`` hears how it goes on."""

    def __init__(self, settings: Settings, directory: Path, launch: Launch, watch: Callable[[str], None]) -> None:
        self.settings = settings
        self.measured = Measured()
        self._directory = directory
        self._launch = launch
        self._watch = watch

    def run(self) -> Measured:
        if not ORDER_SN.exists():
            raise BadInput(f"{ORDER_SN} is missing", hint="run the bench from a checkout of the project")
        trio.run(self._order)
        trio.run(self._signed)
        return self.measured

    # ---- order only

    async def _order(self) -> None:
        swarm = self._start("order", [str(ORDER_SN)])
        etcd = self._etcd()
        async with self._writing(swarm, 0) as writer:
            for turn in range(TURNS):
                took = await writer.one_by_one(opaque, TURN_S)
                self.measured.sequential_per_s.append(len(took) / sum(took))
                self.measured.sequential_s += took
                text = f"turn {turn + 1} of {TURNS}  order {self.measured.sequential_per_s[-1]:6.0f} a second"
                if etcd is not None:
                    self.measured.etcd_per_s.append(_puts(etcd, TURN_S))
                    text += f"  etcd {self.measured.etcd_per_s[-1]:6.0f}"
                rate = await _many(writer, opaque, self.measured.batched_per_s)
                self._watch(f"{text}  {AT_ONCE} at once {rate:6.0f}")
        self._launch.stop()
        self._launch.processes.clear()

    def _etcd(self) -> Etcd | None:
        if not is_installed():
            self._watch("etcd is not installed here (Debian: apt-get install etcd-server): no comparison")
            return None
        return Etcd(self._directory / "etcd", self._launch, self.settings.sns)

    # ---- signed

    async def _signed(self) -> None:
        swarm = self._start("signed", ["-m", "swarm.cli.run_sn"])
        async with self._writing(swarm, 0) as writer:
            await writer.write(writer.joining())
            for turn in range(TURNS):
                took = await writer.one_by_one(writer.proposal, TURN_S)
                self.measured.signed_sequential_per_s.append(len(took) / sum(took))
                rate = await _many(writer, writer.proposal, self.measured.signed_batched_per_s)
                one_by_one = self.measured.signed_sequential_per_s[-1]
                self._watch(f"turn {turn + 1} of {TURNS}  signed {one_by_one:6.0f} a second  at once {rate:6.0f}")
        for number in range(self.settings.failover):
            seconds = await self._fail_over(swarm)
            self.measured.failover_s.append(seconds)
            self._watch(f"leader killed {number + 1} of {self.settings.failover}  next write after {seconds:.2f} s")

    async def _fail_over(self, swarm: LocalSwarm) -> float:
        """Kill the leader; seconds until a write is acknowledged. Everybody is there again afterwards."""
        leader = await self._leader(swarm)
        at = swarm.network.index(leader)
        survivor = (at + 1) % len(swarm.network)
        async with self._writing(swarm, survivor) as writer:
            await writer.write(writer.joining())
            ports = leader.ready() or {}
            begun = monotonic()
            self._launch.kill(leader)
            await writer.write_until_acknowledged(writer.proposal(), FAIL_OVER_S)
            seconds = monotonic() - begun
        entrance = swarm.api_port(survivor) if at else None
        swarm.start_network_node(at + 1, sentinel_port=entrance, p2p_port=ports["p2p_port"], api_port=ports["api_port"])
        swarm.network[at] = swarm.network.pop()
        self._launch.wait_ready([swarm.network[at]], READY_S)
        return seconds

    async def _leader(self, swarm: LocalSwarm) -> Process:
        async with self._writing(swarm, 0) as writer:
            uid = (await writer.status())["leader"]
        for node in swarm.network:
            if (node.ready() or {}).get("uid") == uid:
                return node
        raise Unreachable("no network node leads")

    # ---- both

    def _start(self, name: str, program: Sequence[str]) -> LocalSwarm:
        swarm = LocalSwarm(self._directory / name, self._launch, organisations=self.settings.sns)
        swarm.make_organisations()
        for number in range(1, self.settings.sns + 1):
            sentinel_port = swarm.api_port(0) if number > 1 else None
            node = swarm.start_network_node(number, sentinel_port=sentinel_port, program=program)
            self._launch.wait_ready([node], READY_S)
        return swarm

    def _writing(self, swarm: LocalSwarm, at: int) -> AbstractAsyncContextManager[Writer]:
        """Through network node ``at``, from 0."""
        tree = swarm.trees[0]
        credentials = Credentials.load(tree.certificate("swop"), tree.key("swop"), tree.capath)
        address: Address = (HOST, swarm.api_port(at))
        return writing(credentials, swarm.directory / "writer", address)


def opaque() -> bytes:
    return OPAQUE + os.urandom(OPAQUE_BYTES - len(OPAQUE))


async def _many(writer: Writer, make: Callable[[], bytes], rates: list[float]) -> float:
    """A turn of many at once; what is written is made before the clock starts."""
    count = int(2 * max(rates) * TURN_S) if rates else BATCH
    rates.append(await writer.all_at_once([make() for _ in range(count)], TURN_S))
    return rates[-1]


def _puts(etcd: Etcd, seconds: float) -> float:
    count, begun = 0, monotonic()
    while monotonic() - begun < seconds:
        etcd.put(opaque())
        count += 1
    return count / (monotonic() - begun)
