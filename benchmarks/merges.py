"""What docs/BENCHMARKS.md says of merge rounds: sizes and forms, methods, links, numbers of peers.

Called by `benchmarks.page`; needs root for links, and matplotlib (extra `bench`). Each row is a run of `swarm bench
merge`, every result of which is checked bit by bit, and begins with what that command is told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.plots import bars
from swarm.errors import CheckFailed

RUNS: Mapping[str, Sequence[str]] = {
    "merge": (
        "--peers 4 --mb 1",
        "--peers 4 --mb 25",
        "--peers 4 --mb 25 --wire bf16",
        "--peers 4 --mb 25 --wire int8",
        "--peers 4 --mb 25 --method coordmedian",
        "--peers 4 --mb 25 --method geomedian",
        "--peers 4 --mb 100 --rounds 5",
        "--peers 4 --mb 100 --rounds 5 --commitments full",
        "--peers 3 --mb 500 --rounds 3",
        "--peers 3 --mb 2000 --rounds 3",
    ),
    "methods": tuple(
        f"--peers 10 --mb 25 --rounds 5 --method {method}"
        for method in (
            "mean",
            "coordmedian",
            "geomedian",
            "trimmedmean",
            "krum",
            "multikrum",
            "centeredclip",
            "nnm+trimmedmean",
        )
    ),
    "links": (
        "--peers 4 --mb 25 --rounds 5 --link 50mbit,25ms",
        "--peers 4 --mb 25 --rounds 5 --link 100mbit,25ms",
        "--peers 4 --mb 25 --rounds 5 --link 50mbit/50mbit/50mbit/20mbit,25ms",
        "--peers 4 --mb 25 --rounds 5 --link 100mbit/100mbit/100mbit/40mbit,25ms",
        "--peers 4 --mb 100 --rounds 5 --link 1gbit",
        "--peers 4 --mb 100 --rounds 5 --link 1gbit/1gbit/1gbit/500mbit",
    ),
    "sizes": (
        "--peers 4 --mb 25 --topology sharded --rounds 5",
        "--peers 8 --mb 25 --topology sharded --rounds 5",
        "--peers 16 --mb 25 --topology sharded --rounds 3",
        "--peers 32 --mb 25 --topology sharded --rounds 3",
    ),
}
PHASES = ("copy_in", "hash", "offer", "scatter", "merge", "gather", "commit", "load")
Run = dict[str, Any]
COLUMNS: Mapping[str, Callable[[Run], str]] = {
    "s a round": lambda run: f"{run['median_s']:.3f}",
    "p10 – p90": lambda run: f"{run['p10_s']:.3f} – {run['p90_s']:.3f}",
    "× ring": lambda run: _or_none(run["ratio"] if run["ratio_to_link_optimum"] is None else None),
    "× least by links": lambda run: _or_none(run["ratio_to_link_optimum"]),
    "MB sent": lambda run: f"{run['bytes_per_peer'] / 1e6:.1f}",
    "× optimum": lambda run: f"{run['bytes_per_peer'] / run['bytes_optimal']:.3f}",
    "SL peak, MB": lambda run: f"{run['rss_peak_mb']['sl']:.0f}",
    "SL CPU, s": lambda run: f"{run['cpu_s']['sl']:.2f}",
}


def section(name: str, measured_with: str, page: Path) -> str:
    """The text of a section: what was measured, where the time of each run goes, and the plot, which is drawn."""
    runs = {arguments: _run(arguments.split()) for arguments in RUNS[name]}
    picture = page.parent / "benchmarks" / f"{name}.svg"
    bars({"swarm bench merge": {key: run["median_s"] for key, run in runs.items()}}, "s a round, log", picture)
    figures = [[f"`{key}`", *(cell(run) for cell in COLUMNS.values())] for key, run in runs.items()]
    phases = [[f"`{key}`", *(f"{run['phases_s'][phase]:.3f}" for phase in PHASES)] for key, run in runs.items()]
    return "\n\n".join((
        f"`swarm bench merge` with what each row begins with, {measured_with}:",
        table(["", *COLUMNS], figures),
        "Where a round's seconds go, as means over the peers. Phases overlap: each counts from the end of the last.",
        table(["", *PHASES], phases),
        f"![Seconds a round](benchmarks/{name}.svg)",
    ))  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruler, *rows))


def _run(arguments: Sequence[str]) -> Run:
    command = [str(Path(sys.executable).with_name("swarm")), "bench", "merge", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    found: Run = json.loads(done.stdout)
    if not found["ok"]:
        raise CheckFailed(f"{' '.join(command[1:])} failed: {found['error']['message']}", hint=found["error"]["hint"])
    return found


def _or_none(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
