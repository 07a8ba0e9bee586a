"""One run of a measured system: its adapter in its environment, watched, and everything it started ended.

Called by `benchmarks.peers.__main__`. Guarantees: a run that says nothing new for PATIENCE_S is ended, and who is
waited for is named; no process of a run outlives it, not even a daemon: all carry the run's directory in their
environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import certificates
from benchmarks.peers.participant import PLACE, Plan, prepare, processes, said
from benchmarks.peers.systems import HERE, System

PATIENCE_S = 420.0
"""Without a new result. The slowest default that is known to end is p2pfl's, 300 s for a round with a dead node."""
LOOK_EVERY_S = 0.1
LAST_LINES = 20
INTERRUPTING = {signal.SIGINT, signal.SIGTERM}


def run(system: System, python: Path, plan: Plan, place: Path) -> str | None:
    """Have ``plan`` done in the empty directory ``place``; None, or one sentence on why it did not end as planned."""
    prepare(place, plan)
    certificates.make(place)
    environment = {**os.environ, PLACE: str(place), "PYTHONPATH": str(HERE.parent.parent), "PYTHONUNBUFFERED": "1"}
    log = place / "output.log"
    with log.open("wb") as output:
        adapter = subprocess.Popen(
            [python, "-m", system.adapter],
            env=environment,
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            in_time = _ended(adapter, place, plan)
            code = adapter.poll() or 0
        finally:
            end(place)
            adapter.wait()
    if not in_time:
        return f"no result of round {_waited_for(place, plan)} within {PATIENCE_S:g} s"
    if code:
        print(
            "".join(f"  {line}\n" for line in log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]),
            file=sys.stderr,
        )
        return f"its program ended with exit code {code}"
    return None


def _ended(adapter: subprocess.Popen[bytes], place: Path, plan: Plan) -> bool:
    """Whether it ended, or all has been said, before its time was up. How it then ends is not waited for."""
    told, since = -1, time.monotonic()
    while adapter.poll() is None:
        lines = [said(place, peer) for peer in range(plan.peers)]
        if all(_last(plan, lines[peer]) for peer in range(plan.peers) if peer != plan.victim):
            return True
        now = sum(map(len, lines))
        if now != told:
            told, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE_S:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _last(plan: Plan, lines: list[dict[str, Any]]) -> bool:
    return any("failed" in line or ("had" in line and line["round"] == plan.all_rounds - 1) for line in lines)


def _waited_for(place: Path, plan: Plan) -> str:
    """The round that did not end, and at whom."""
    living = [peer for peer in range(plan.peers) if peer != plan.victim]
    done = {peer: max((line["round"] for line in said(place, peer) if "had" in line), default=-1) for peer in living}
    last = min(done.values())
    return f"{last + 1} at peer {', '.join(str(peer) for peer in living if done[peer] == last)}"


def end(place: Path) -> None:
    """SIGKILL whatever carries this run's mark, until nothing does. Who interrupts waits for that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTING)
    try:
        _end(place)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(place: Path) -> None:
    while pids := [pid for pid in processes({PLACE: str(place)}) if pid != os.getpid()]:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(LOOK_EVERY_S / 5)
