"""`swarm bench merge`: whole rounds of a real swarm, timed where a training program sees them.

Called by `swarm.cli.bench`. Real network and learning nodes; the programs are `merge_program`. Guarantees: a round
counts from the last program's call to the last program's return, everything inside; every result, warm-ups too, is
compared bit by bit with one that other code computes from the inputs; the ring of `benchmarks/ring_tls.py` runs
between the swarm's rounds, never beside them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any

import psutil

import swarm
from swarm.core.offer import BROADCAST_BYTES
from swarm.errors import BadInput, CheckFailed, InternalError
from swarm.nodes.bench import merge_program
from swarm.nodes.bench.inputs import Expected
from swarm.nodes.bench.links import Links, hosts
from swarm.nodes.bench.merge_kill import Death
from swarm.nodes.bench.orders import Programs
from swarm.nodes.launch import Launch
from swarm.nodes.local import HERE, READY_S, Host, LocalSwarm, Peer
from swarm.runtime.authority import CertificateTree

WARM_UPS = 5
"""Rates are told when they have been measured a few times, and who is alike tells the same one round later."""
PHASES = ("copy_in", "hash", "offer", "scatter", "merge", "gather", "commit", "load")
PARTS = {"fp32": 1, "bf16": 2, "int8": 4}
"""What part of a model is moved where each float32 travels in this form."""
LOST_S = 3.0
"""So much more than twice an undisturbed one may the round take in which a learning node is killed."""
RING_BYTES = 100 * 10**6
"""Of each of its processes, beside a model."""
RING = Path(swarm.__file__).resolve().parent.parent / "benchmarks" / "ring_tls.py"


@dataclass(frozen=True)
class Settings:
    peers: int
    mb: int
    method: str
    topology: str
    rounds: int
    sns: int
    kill: str = "none"
    """In which phase of the middle round one learning node is SIGKILLed, if in any."""
    commitments: str = "result"
    wire: str = "fp32"
    links: Links | None = None

    @property
    def sharded(self) -> bool:
        return self.topology == "sharded" or (self.topology == "auto" and self.mb * 10**6 > BROADCAST_BYTES)

    @property
    def killed_round(self) -> int | None:
        return None if self.kill == "none" else self.rounds // 2

    @property
    def min_peers(self) -> int:
        return self.peers - (self.kill != "none")


@dataclass
class Measured:
    """What the measured rounds came to; one entry a round in each list, without the one in which a node was killed."""

    swarm_s: list[float] = field(default_factory=list)
    ring_s: list[float | None] = field(default_factory=list)
    """None: it does not fit into memory beside the swarm."""
    phases_s: list[dict[str, float]] = field(default_factory=list)
    cpu_s: list[dict[str, float]] = field(default_factory=list)
    bytes_per_peer: int = 0
    rss_peak_mb: dict[str, float] = field(default_factory=dict)
    verified: bool = True
    hash: str = ""
    """By which the contract names its models."""
    killed_s: float | None = None
    """How long the round took in which a node was killed."""

    def failure(self) -> CheckFailed | None:
        return None if self.verified else CheckFailed("a merge differs from the one computed from its inputs")


def as_json(settings: Settings, measured: Measured) -> dict[str, Any]:
    peers, mb, seconds = settings.peers, settings.mb, measured.swarm_s
    deciles = quantiles(seconds, n=10, method="inclusive") if len(seconds) > 1 else seconds * 9
    moved = mb * 10**6 // PARTS[settings.wire]
    optimum_s = None if settings.links is None else settings.links.optimum_s(moved)
    pairs = [(ours, theirs) for ours, theirs in zip(seconds, measured.ring_s, strict=True) if theirs is not None]
    return {
        "peers": peers,
        "mb": mb,
        "method": settings.method,
        "wire": settings.wire,
        "commitments": settings.commitments,
        "topology": "sharded" if settings.sharded else "broadcast",
        "hash": measured.hash,
        "rounds": settings.rounds,
        "verified": measured.verified,
        "median_s": round(median(seconds), 4),
        "p10_s": round(deciles[0], 4),
        "p90_s": round(deciles[-1], 4),
        "baseline_ring_tls_s": round(median(theirs for _, theirs in pairs), 4) if pairs else None,
        "ratio": round(median(ours / theirs for ours, theirs in pairs), 3) if pairs else None,
        "phases_s": {phase: _median(line[phase] for line in measured.phases_s) for phase in PHASES},
        "bytes_per_peer": measured.bytes_per_peer,
        "bytes_optimal": 2 * (peers - 1) * mb * 10**6 // peers // PARTS[settings.wire],
        "ratio_to_link_optimum": None if optimum_s is None else round(median(seconds) / optimum_s, 3),
        "rss_peak_mb": measured.rss_peak_mb,
        "cpu_s": {role: _median(line[role] for line in measured.cpu_s) for role in ("sl", "ml", "sn")},
        "recovery_s": None if measured.killed_s is None else round(measured.killed_s - median(seconds), 4),
        "allowed_s": None if measured.killed_s is None else round(allowed_s(seconds[: settings.killed_round]), 4),
    }


def allowed_s(undisturbed_s: list[float]) -> float:
    """How long the round may take in which a learning node is killed: by those before it, since the next one may have
    to wait until the dead one is given up."""
    return 2 * median(undisturbed_s) + LOST_S


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return round(median(found), 4) if found else 0.0


Baseline = Callable[[], float | None]
Places = tuple[Host, list[Host]]
"""Of the network nodes, and of each peer; none: all are here."""


def places(settings: Settings) -> contextlib.AbstractContextManager[Places]:
    """To be held for longer than the nodes that run there."""
    return contextlib.nullcontext((HERE, [])) if settings.links is None else hosts(settings.links)


class Bench:
    """One run of the bench in ``directory``; ``watch`` hears of each round."""

    def __init__(
        self, settings: Settings, places: Places, directory: Path, launch: Launch, watch: Callable[[str], None]
    ) -> None:
        self.settings = settings
        organisations, (hub, hosts) = max(settings.peers, settings.sns), places
        self.swarm = LocalSwarm(directory, launch, organisations=organisations, hub=hub, hosts=hosts)
        self.measured = Measured()
        self._launch = launch
        self._watch = watch
        self._programs = Programs(launch, directory / "orders")
        self._numbers = list(range(settings.peers))
        """Of the peers that live, by which their arrays are made."""
        self._expected = Expected(settings.method, settings.mb, settings.wire, sharded=settings.sharded)
        self._pids: dict[str, list[int]] = {}

    def run(self) -> Measured:
        if not RING.exists():
            raise BadInput(f"the baseline {RING} is missing", hint="run the bench from a checkout of the project")
        self._start()
        for round_ in range(WARM_UPS):
            self._merge(round_, "begin" if round_ == 0 else "sync")
        with self.baseline() as baseline:
            baseline()
            for number in range(self.settings.rounds):
                if number == self.settings.killed_round:
                    self._lose_one(WARM_UPS + number)
                else:
                    self._measure(WARM_UPS + number, baseline, ring_first=number % 2 == 1)
        self.measured.rss_peak_mb = {role: self._rss_peak_mb(pids) for role, pids in self._pids.items()}
        self._programs.tell({"end": True})
        self._launch.wait_ended([peer.node for peer in self.swarm.peers], self.swarm.look)
        self.measured.hash = self.swarm.peers[0].rounds[-1]["digest"].partition(":")[0]
        self.measured.bytes_per_peer = max(self._bytes_per_round(peer) for peer in self.swarm.peers)
        return self.measured

    def baseline(self) -> contextlib.AbstractContextManager[Baseline]:
        """The ring, or nothing where memory does not allow it beside a swarm that has had its first rounds."""
        taken, free = self.settings.peers * (self.settings.mb * 10**6 + RING_BYTES), psutil.virtual_memory().available
        if taken <= free:
            return ring(self.settings, self.swarm.trees[0])
        self._watch(f"no ring: it takes {taken // 10**6} MB, and beside the swarm {free // 10**6} are free")
        return contextlib.nullcontext(lambda: None)

    # ---- one round

    def _measure(self, round_: int, baseline: Baseline, *, ring_first: bool) -> None:
        first = baseline() if ring_first else None
        seconds, cpu_s, phases_s = self._merge(round_, "sync")
        ring_s = first if ring_first else baseline()
        self.measured.ring_s.append(ring_s)
        self.measured.swarm_s.append(seconds)
        self.measured.cpu_s.append(cpu_s)
        if phases_s:
            self.measured.phases_s.append(phases_s)
        number, beside = round_ - WARM_UPS + 1, "" if ring_s is None else f"  ring {ring_s:.3f} s"
        self._watch(f"round {number} of {self.settings.rounds}  {seconds:.3f} s" + beside)

    def _lose_one(self, round_: int) -> None:
        """The round in which a learning node is killed. Its contribution counts if it had done its part by then."""
        death = Death(self.swarm.peers, self.settings.kill)
        self._programs.order({"round": round_})
        death.look()
        self._programs.tell({"go": "sync"})
        everybody = self._in_uid_order()
        self._forget(death.strike(self._launch, self.measured.phases_s))
        told = self._programs.answers()
        self.swarm.look()
        members = {peer.rounds[-1]["members"] for peer in self.swarm.peers if peer.rounds[-1]["phases_s"]}
        counted = everybody if members == {self.settings.peers} else self._in_uid_order()
        self._verify(counted, round_)
        seconds = max(one["ended"] for one in told) - max(one["began"] for one in told)
        self.measured.killed_s = seconds
        self._watch(f"round {round_ - WARM_UPS + 1} of {self.settings.rounds}  {seconds:.3f} s  one was killed")

    def _forget(self, place: int) -> None:
        self._programs.forget(place)
        for each in (self._numbers, self._pids["sl"], self.swarm.peers):
            each.pop(place)

    def _merge(self, round_: int, how: str) -> tuple[float, dict[str, float], dict[str, float]]:
        self._programs.order({"round": round_})
        before = self._cpu_s()
        told = self._programs.order({"go": how})
        cpu_s = {role: used - before[role] for role, used in self._cpu_s().items()}
        self._verify(self._in_uid_order(), round_)
        seconds = max(one["ended"] for one in told) - max(one["began"] for one in told)
        return seconds, cpu_s, self._phases_s(told)

    def _verify(self, in_uid_order: list[int], round_: int) -> None:
        results = {answer["digest"] for answer in self._programs.order({"digest": True})}
        self.measured.verified &= results == {self._expected.digest(in_uid_order, round_)}

    def _phases_s(self, told: list[dict[str, Any]]) -> dict[str, float]:
        """The mean over the peers: the node's own phases, and the program's copies before and after them."""
        self.swarm.look()
        lines = []
        for one, peer in zip(told, self.swarm.peers, strict=True):
            report = peer.rounds[-1]
            if not report["phases_s"]:
                continue  # it was late, and adopted what the others had committed
            copied_in = report["asked_at_s"] - one["began"]
            inside = sum(report["phases_s"].values())
            loaded = report["phases_s"]["load"] + one["ended"] - report["asked_at_s"] - inside
            lines.append({**report["phases_s"], "copy_in": copied_in, "load": loaded})
        return {phase: fmean(line[phase] for line in lines) for phase in PHASES} if lines else {}

    # ---- processes

    def _start(self) -> None:
        settings, local = self.settings, self.swarm
        local.make_organisations()
        self._launch.wait_ready([local.start_network_node(1)], READY_S)
        for number in range(2, settings.sns + 1):
            self._launch.wait_ready([local.start_network_node(number, sentinel_port=local.api_port(0))], READY_S)
        with self._programs.coming(settings.peers):
            for number in range(settings.peers):
                local.start_peer([sys.executable, "-m", merge_program.__name__], environment=self._environment(number))
            self._launch.wait_ready([peer.node for peer in local.peers], READY_S)
        self._pids = {
            "sl": [peer.node.pid for peer in local.peers],
            "ml": self._programs.pids,
            "sn": [node.pid for node in local.network],
        }

    def _environment(self, peer: int) -> dict[str, str]:
        return {
            **self._programs.environment(peer),
            merge_program.MIN_PEERS: str(self.settings.min_peers),
            merge_program.MB: str(self.settings.mb),
            merge_program.TOPOLOGY: self.settings.topology,
            merge_program.COMMITMENTS: self.settings.commitments,
            merge_program.METHOD: self.settings.method,
            merge_program.WIRE: self.settings.wire,
        }

    def _in_uid_order(self) -> list[int]:
        uids = [(peer.node.ready() or {})["uid"] for peer in self.swarm.peers]
        return [number for _, number in sorted(zip(uids, self._numbers, strict=True))]

    def _bytes_per_round(self, peer: Peer) -> int:
        """Over all rounds after the warm-ups, which move a model each: a single one's last bytes leave after it.

        Before them, when this round was asked for, everybody had what the earlier ones moved.
        """
        first = next(line for line in peer.rounds if line["round"] >= WARM_UPS)
        return int((peer.bytes_sent - first["bytes_before"]) // (peer.rounds[-1]["round"] + 1 - first["round"]))

    def _cpu_s(self) -> dict[str, float]:
        return {
            role: sum(times.user + times.system for times in (psutil.Process(pid).cpu_times() for pid in pids))
            for role, pids in self._pids.items()
        }

    def _rss_peak_mb(self, pids: list[int]) -> float:
        peaks = [
            line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line
        ]
        return round(max(int(line.split()[1]) for line in peaks) * 1024 / 1e6, 1)


@contextlib.contextmanager
def ring(settings: Settings, tree: CertificateTree) -> Iterator[Callable[[], float]]:
    """The baseline's processes; a call runs one round of them and returns its seconds."""
    command = [
        *(sys.executable, str(RING), "--peers", str(settings.peers), "--mb", str(settings.mb)),
        *("--cert", str(tree.certificate("sl")), "--key", str(tree.key("sl")), "--ca", str(tree.authority)),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def run() -> float:
            orders.write("\n")
            orders.flush()
            answer = answers.readline()
            if not answer:
                raise InternalError("the ring ended before its time")
            return float(json.loads(answer)["seconds"])

        try:
            yield run
        finally:
            orders.close()  # its processes end by that, and so they do when this one is killed
