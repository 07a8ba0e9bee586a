"""What the jobs on this host have logged of their training, found by their slots.

Used by `swarm runs`. The metrics are with the operators that ran the jobs and nowhere else: this reads their state
directories. Guarantee: an attempt whose result did not count is told apart from the one that did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from swarm.errors import BadInput
from swarm.nodes.logs import state_directories

LINES_MAX = 100_000


def of_slots(base: Path, slots: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each slot (as `nodes/jobstatus` says it) the lines of its newest attempt, and where its files are."""
    wanted = {(slot["id"], slot["attempt"]): slot for slot in slots}
    found = {}
    for state, directory, lease in _attempts(base):
        if (slot := wanted.get((lease["slot"], lease["attempt"]))) is not None:
            output = state / "runs" / lease["task"] / str(lease["index"])
            found[slot["id"]] = {
                **{name: slot[name] for name in ("id", "name", "index", "state", "attempt")},
                "output": str(output) if output.is_dir() else None,
                "metrics": _lines(directory / "metrics.jsonl"),
            }
    return [found[slot["id"]] for slot in slots if slot["id"] in found]


def best(rows: Sequence[Mapping[str, Any]], metric: str, *, lowest: bool) -> list[dict[str, Any]]:
    """The jobs that are done and have logged the metric, by its last value, the best first."""
    scored = [
        {**{name: row[name] for name in ("id", "name", "index", "output")}, "value": value}
        for row in rows
        if row["state"] == "done" and (value := _last(row["metrics"], metric)) is not None
    ]
    if not scored:
        known = sorted({name for row in rows for line in row["metrics"] for name in line["metrics"]})
        raise BadInput(
            f"no job that is done has logged {metric!r} on this host",
            hint=f"what is logged: {', '.join(known)}" if known else "jobs log with swarm.log_metrics({...})",
        )
    return sorted(scored, key=lambda row: (row["value"] if lowest else -row["value"], row["index"]))


def _last(lines: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    values = [line["metrics"][metric] for line in lines if line["metrics"].get(metric) is not None]
    return float(values[-1]) if values else None


def _attempts(base: Path) -> Iterator[tuple[Path, Path, dict[str, Any]]]:
    for state in state_directories(base):
        for path in (state / "jobs").glob("*/slot.json"):
            try:
                yield state, path.parent, json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # being written or being forgotten


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines; what a program wrote there by itself is not taken for metrics."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = []
    for line in text.splitlines()[:LINES_MAX]:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("metrics"), dict):
            lines.append(said)
    return lines
