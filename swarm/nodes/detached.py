"""Nodes that a launcher left running (``-d``), and how `stop-swarm` finds and ends them.

One record a node, in a directory of this user. Guarantees: a node is recorded before anybody waits for it; ended is
only what was started so, known by pid and start time; a state directory goes only where ``--rm`` asked for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from swarm.engines.process import ProcessEngine
from swarm.nodes.launch import Launch, Process
from swarm.nodes.standing import Node, end
from swarm.runtime.statedir import default_state_dir

READY_S = 300.0
"""Longer than any node tries to reach its network."""
STOP_S = 20.0
"""An operator ends its workers first."""


@dataclass(frozen=True)
class Detached:
    """One node, running or not."""

    node: Node
    role: str
    state: Path
    thrown_away: bool
    """Whether its state directory goes at stop."""
    record: Path

    @property
    def running(self) -> bool:
        return self.node.process() is not None


def start(state: Path, role: str, command: Sequence[str], *, thrown_away: bool) -> Process:
    """Start a node and wait until it is ready; raises the error of one that ends, and Unreachable at the deadline."""
    forget([one for one in detached() if one.state == state and not one.running], keep=True)  # it goes on where it was
    with contextlib.ExitStack() as undo:
        if thrown_away and not state.exists():
            undo.callback(shutil.rmtree, state, ignore_errors=True)
        launch = undo.enter_context(Launch(tethered=False))
        process = launch.start(state.name, role.upper(), command, state=state)
        record = _write(process, role, thrown_away)
        undo.callback(record.unlink, missing_ok=True)
        launch.wait_ready([process], READY_S)
        undo.pop_all()  # from here on it stays
    return process


def detached() -> list[Detached]:
    """All that were left running and not forgotten."""
    found = []
    for record in sorted(_directory().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            fields = json.loads(record.read_text(encoding="utf-8"))
            node = Node(**fields["node"])
            found.append(Detached(node, fields["role"], Path(fields["state"]), fields["thrown_away"], record))
    return found


def network_nodes() -> dict[str, tuple[str, int]]:
    """The API addresses of the network nodes among them that run, by name."""
    found = {}
    for one in detached():
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            if one.role == "sn" and one.running:
                ready = json.loads((one.state / "ready.json").read_text(encoding="utf-8"))
                found[one.node.name] = (str(ready["host"]), int(ready["api_port"]))
    return found


def stop(nodes: Sequence[Detached]) -> None:
    """End what runs of them, whatever they do; when this returns, an operator's workers have ended too."""
    end([one.node for one in nodes], STOP_S)
    for one in nodes:
        if one.role == "swop":  # which ends them itself, unless it was killed
            _end_workers(one.state)


def _end_workers(state: Path) -> None:
    for slot in [*(state / "slots").glob("*"), *(state / "jobs").glob("*")]:
        ProcessEngine().sweep(slot)


def forget(nodes: Iterable[Detached], *, keep: bool = False) -> None:
    """Those that have ended: without a record, and without the state that was to go."""
    for one in nodes:
        if one.thrown_away and not keep:
            shutil.rmtree(one.state, ignore_errors=True)
        one.record.unlink(missing_ok=True)


def _directory() -> Path:
    return default_state_dir("detached")


def _write(process: Process, role: str, thrown_away: bool) -> Path:
    directory = _directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = directory / f"{process.pid}.json"
    node = Node(process.name, process.pid, psutil.Process(process.pid).create_time())
    fields = {"version": 1, "node": asdict(node), "role": role, "state": str(process.state), "thrown_away": thrown_away}
    part = record.with_suffix(".part")
    part.write_text(json.dumps(fields), encoding="utf-8")
    os.replace(part, record)
    return record
