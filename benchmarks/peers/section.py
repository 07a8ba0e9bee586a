"""What docs/BENCHMARKS.md says of other systems: the tables of three runs and one plot of seconds a round.

Called by `benchmarks.page`; needs matplotlib (extra `bench`), and as long as the slowest system takes. The runs are the
command's own, so each table names what prints it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.measuring import measured, planned
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.table import markdown
from benchmarks.quality.plots import bars
from swarm.nodes.launch import ended_by_signals

PEERS = 4
RUNS: Mapping[str, Sequence[str]] = {
    "one MB": ["--mb", "1", "--rounds", "5"],
    "100 MB": ["--mb", "100", "--rounds", "3"],
    "one of four is killed": ["--mb", "1", "--rounds", "5", "--kill"],
}
"""By its title, what the command is told."""


def section(page: Path) -> str:
    runs = {title: _measured(arguments) for title, arguments in RUNS.items()}
    seconds = {title: _seconds(run) for title, run in runs.items() if not run["kill"]}
    bars(seconds, "s a round, log", page.parent / "benchmarks" / "peers.svg")
    texts = [f"#### {title[0].upper()}{title[1:]}\n\n{markdown(run).rstrip()}" for title, run in runs.items()]
    return "\n\n".join([*texts, "![Seconds a round beside other systems](benchmarks/peers.svg)"])


def _measured(arguments: Sequence[str]) -> dict[str, Any]:
    mb, rounds = (int(arguments[arguments.index(flag) + 1]) for flag in ("--mb", "--rounds"))
    with ended_by_signals():
        return measured(planned(PEERS, mb, rounds, "--kill" in arguments), list(SYSTEMS.values()), arguments)


def _seconds(run: dict[str, Any]) -> dict[str, float]:
    """Median seconds by system, quickest first; a void row has none."""
    stand = {row["title"]: row["median_s"] for row in run["rows"] if row["median_s"] is not None}
    return dict(sorted(stand.items(), key=lambda item: item[1]))
