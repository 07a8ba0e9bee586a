"""What the jobs on this host have logged of their training, found by their slots.

Used by `swarm runs`. The metrics are with the operators that ran the jobs and nowhere else: this reads their state
directories. Guarantee: an attempt whose result did not count is told apart from the one that did.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from swarm.core.names import METRIC_MAX
from swarm.errors import BadInput
from swarm.nodes.logs import state_directories

LINES_MAX = 100_000
BYTES_MAX = 32 << 20


def of_slots(base: Path, slots: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each slot (as `nodes/jobstatus` says it) the lines of its newest attempt, and where its files are."""
    wanted = {(slot["id"], slot["attempt"]): slot for slot in slots}
    found = {}
    for state, directory, lease in _attempts(base):
        if (slot := wanted.get((lease["slot"], lease["attempt"]))) is not None:
            outputs = state / "runs" / lease["task"]
            part = outputs / str(slot["name"]).removeprefix(f"swarm-{lease['task']}-")  # of a role
            output = part if part.is_dir() else outputs / str(lease["index"])
            found[slot["id"]] = {
                **{name: slot[name] for name in ("id", "name", "index", "input", "state", "attempt")},
                "output": str(output) if output.is_dir() else None,
                "metrics": _lines(directory / "metrics.jsonl"),
            }
    return [found[slot["id"]] for slot in slots if slot["id"] in found]


def best(
    rows: Sequence[Mapping[str, Any]], metric: str, *, lowest: bool, swarms: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The jobs that are done and have logged the metric, by its last value, the best first.

    ``swarms``: of a sweep of them; each is one row then, with the mean of what its slots have logged.
    """
    scored = [
        {**{name: row[name] for name in ("id", "name", "index", "input", "output")}, "value": value}
        for row in rows
        if row["state"] == "done" and (value := _last(row["metrics"], metric)) is not None
    ]
    if not scored:
        known = sorted({name for row in rows for line in row["metrics"] for name in line["metrics"]})
        raise BadInput(
            f"no job that is done has logged {metric!r} on this host",
            hint=f"what is logged: {', '.join(known)}" if known else "jobs log with swarm.log_metrics({...})",
        )
    if swarms:
        scored = [together for swarm in swarms if (together := _together(swarm, scored))]
    return sorted(scored, key=lambda row: (row["value"] if lowest else -row["value"], row["index"]))


def _together(swarm: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the slots of one swarm have reached; nothing if none has logged it."""
    own = [row for row in rows if row["name"].startswith(f"swarm-{swarm['name']}-")]
    if not own:
        return {}
    output = next((row["output"] for row in own if row["output"]), None)
    value = math.fsum(row["value"] for row in own) / len(own)
    told = {name: swarm[name] for name in ("id", "name", "index", "input")}
    return {**told, "output": output, "value": value, "slots": len(own)}


def _last(lines: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    values = [line["metrics"][metric] for line in lines if line["metrics"].get(metric) is not None]
    return float(values[-1]) if values else None


def _attempts(base: Path) -> Iterator[tuple[Path, Path, dict[str, Any]]]:
    for state in state_directories(base):
        for path in (*(state / "jobs").glob("*/slot.json"), *(state / "roles").glob("*/slot.json")):
            try:
                yield state, path.parent, json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # being written or being forgotten


def _lines(path: Path) -> list[dict[str, Any]]:
    """What `swarm.log_metrics` has written; lines that a program has put there by itself count as nothing."""
    lines = []
    for text in _text(path).splitlines()[:LINES_MAX]:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if _is_logged(line):
            lines.append(line)
    return lines


def _text(path: Path) -> str:
    """Of a plain file, and no more than `BYTES_MAX`: the program that wrote it could have put anything in its place."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read(BYTES_MAX).decode(errors="replace")
    except OSError:
        pass
    return ""


def _is_logged(line: object) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("metrics"), dict):
        return False
    numbers = all(_is_named(name) and (value is None or _is_number(value)) for name, value in line["metrics"].items())
    return numbers and type(line.get("rank")) is int and type(line.get("epoch")) in (int, type(None))


def _is_named(name: str) -> bool:
    return 0 < len(name) <= METRIC_MAX and name.isprintable()


def _is_number(value: object) -> bool:
    return type(value) is float and math.isfinite(value)
