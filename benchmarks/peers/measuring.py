"""Rows of figures: each system between two runs of swarm's own, in the same plan.

Used by the command (`benchmarks.peers.__main__`) and by the page (`section`). Prints a line a system to stderr.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from statistics import median
from typing import Any

import swarm as product
from benchmarks.peers import beside, running
from benchmarks.peers.environment import python_of, version
from benchmarks.peers.participant import Plan, said
from benchmarks.peers.rows import row
from benchmarks.peers.systems import HERE, System
from swarm.errors import BadInput
from swarm.nodes.scratch import scratch_directory

WARM_UPS = 2
OWN = {
    "name": "swarm",
    "title": "swarm",
    "settings": "mean, fp32, defaults; `swarm bench merge`",
    "tls": "TLS 1.3, certificates on both sides",
    "clock": "the programs' copies to and from their nodes, hashes, signatures, the ledger",
    "on_death": "minPeers is one less than all; a learning node is killed while it scatters",
}


def measure(plan: Plan, systems: Sequence[System]) -> list[dict[str, Any]]:
    """A row for each system, the last for swarm."""
    own = [beside.swarm(plan)]
    rows = []
    for system in systems:
        head, installed = _head(system), None
        try:
            installed = python_of(system)
            with scratch_directory("swarm-peers-") as place:
                trouble = running.run(system, installed, plan, place)
                found = row(plan, [said(place, peer) for peer in range(plan.peers)], trouble)
        except BadInput as error:
            found = row(plan, [[] for _ in range(plan.peers)], error.message)
        own.append(beside.swarm(plan))
        around = median([own[-2].median_s, own[-1].median_s])
        ratio = None if found["median_s"] is None else round(found["median_s"] / around, 2)
        named = version(installed, system.package) if installed else None
        rows.append({**head, "version": named, **found, "swarm_s": round(around, 4), "ratio": ratio})
        _watch(rows[-1])
    return [*rows, _own_row(plan, own)]


def _head(system: System) -> dict[str, Any]:
    told = ("name", "title", "settings", "tls", "clock")
    return {**{name: getattr(system, name) for name in told}, "on_death": system.killed}


def _own_row(plan: Plan, own: list[beside.Own]) -> dict[str, Any]:
    hits = [each.killed_s for each in own if each.killed_s is not None]
    killed = {"others_s": round(median(hits), 4), "mean_of": [], "later_s": None, "never": None} if hits else None
    medians = [each.median_s for each in own]
    checked = {"verified": True, "void": None, "deviation": 0.0, "median_s": round(median(medians), 4)}
    return {
        **OWN,
        "version": product.__version__,
        **checked,
        "rounds_s": medians,
        "killed": killed,
        "swarm_s": None,
        "ratio": None,
    }


def _watch(found: dict[str, Any]) -> None:
    said = found["void"] or f"{found['median_s']:.3f} s a round, {found['ratio']} times swarm's"
    print(f"{found['name']}: {said}", file=sys.stderr)


def about(arguments: Sequence[str]) -> dict[str, Any]:
    """When, what, where: without it figures mean nothing."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": date.today().isoformat(),
        "commit": asked.stdout.strip() or "unknown",
        "command": " ".join(["python -m benchmarks.peers", *arguments]),
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.0f} before",
    }


def measured(plan: Plan, systems: Sequence[System], arguments: Sequence[str]) -> dict[str, Any]:
    """The command's JSON without its verdict: what was asked for, where and when, and the rows."""
    sizes = {"peers": plan.peers, "mb": plan.mb, "rounds": plan.rounds, "warm_ups": plan.warm_ups}
    head = about(arguments)
    return {**head, **sizes, "kill": plan.killed_round is not None, "rows": measure(plan, systems)}


def planned(peers: int, mb: int, rounds: int, kill: bool) -> Plan:
    return Plan(peers, mb, WARM_UPS, rounds, WARM_UPS + rounds // 2 if kill else None)
