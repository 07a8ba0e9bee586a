"""swarm's own rounds between those of the others: `swarm bench merge` in a process, read from its --json.

Called by `benchmarks.peers.__main__`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.participant import Plan
from swarm.errors import CheckFailed, Unreachable

PATIENCE_S = 600


@dataclass(frozen=True)
class Own:
    median_s: float
    rounds_s: list[float]
    """p10 and p90."""
    killed_s: float | None
    """The round in which a learning node was killed."""


def swarm(plan: Plan) -> Own:
    """Raises CheckFailed with its last line if it fails: then there is nothing to compare with."""
    kill = [] if plan.killed_round is None else ["--kill", "scatter"]
    sizes = ["--peers", str(plan.peers), "--mb", str(plan.mb), "--rounds", str(plan.rounds)]
    command = [str(Path(sys.executable).with_name("swarm")), "bench", "merge", *sizes, *kill, "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"swarm bench merge has not ended after {PATIENCE_S} s") from error
    if done.returncode:
        raise CheckFailed(f"swarm bench merge failed: {(done.stderr.splitlines() or ['it says nothing'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    recovery = found["recovery_s"]
    killed = None if recovery is None else round(found["median_s"] + recovery, 4)
    return Own(found["median_s"], [found["p10_s"], found["p90_s"]], killed)
