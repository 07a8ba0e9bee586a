"""A participant of a measured system: what it gives in a round, when it had what came back, and whether that is right.

Used by the adapters, in the environments of the measured systems: the standard library and numpy only. Guarantees: all
systems merge the same arrays; what is done here (making them, checking results) is outside of the clock; a result is
held against means that `prepare` computed in float64 before anything was started. A participant is any process with
its number in the environment; what it says goes to a file, a line at a time, so it may be another process every round.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Timer
from time import monotonic, sleep
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
PLACE, PEER = "SWARM_PEERS_PLACE", "SWARM_PEERS_PEER"
START_S = 120.0
QUICK_S = 0.2
"""Half a round that is shorter than this is too short for another process to start in."""
LAYERS = (1, 7, 24, 64, 100, 76, 20, 8)
"""Relative sizes of the model's eight tensors."""


@dataclass(frozen=True)
class Plan:
    """What is measured. Rounds count from 0, those that warm up first; the last peer is the one that is killed."""

    peers: int
    mb: int
    warm_ups: int
    rounds: int
    killed_round: int | None = None

    @property
    def all_rounds(self) -> int:
        return self.warm_ups + self.rounds

    @property
    def victim(self) -> int | None:
        return None if self.killed_round is None else self.peers - 1


def prepare(place: Path, plan: Plan) -> None:
    """Write the plan, each peer's own arrays and the means: of all peers and of all but the last."""
    (place / "plan.json").write_text(json.dumps(asdict(plan)))
    total = np.zeros(plan.mb * 250_000)
    for peer in range(plan.peers):
        own = np.random.default_rng([7, peer]).random(plan.mb * 250_000, np.float32) - np.float32(0.5)
        np.save(place / f"own-{peer}.npy", own)
        total += own
        if peer + 1 >= plan.peers - 1:
            np.save(place / f"mean-{peer + 1}.npy", total / (peer + 1))


def said(place: Path, peer: int) -> list[dict[str, Any]]:
    """What this participant has said so far; a line that a kill cut short does not count."""
    try:
        text = (place / f"peer-{peer}.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class Participant:
    """One of the peers, by its number or that in the environment."""

    def __init__(self, peer: int | None = None) -> None:
        self.place = Path(os.environ[PLACE])
        self.plan = Plan(**json.loads((self.place / "plan.json").read_text()))
        self.peer = int(os.environ[PEER]) if peer is None else peer

    def arrays(self, round_: int) -> list[Array]:
        """What it contributes: eight float32 arrays, other ones for each peer and round."""
        own: Array = np.load(self.place / f"own-{self.peer}.npy")
        own += np.float32(round_)
        ends = np.cumsum(LAYERS)[:-1] * len(own) // sum(LAYERS)
        return np.split(own, ends)

    def gives(self, round_: int) -> None:
        """To be said with its arrays at hand, before the system gets them: here the clock starts."""
        if round_ == self.plan.killed_round and self.peer == self.plan.victim:
            self._die_in_the_middle(round_)
        else:
            self._say(round=round_, gave=monotonic())

    def had(self, round_: int, merged: Sequence[Array]) -> None:
        """To be said with the merged arrays in hand: here the clock stops. Checks them afterwards."""
        when = monotonic()
        deviations = {count: self._deviation(count, round_, merged) for count in (self.plan.peers, self.plan.peers - 1)}
        count = min(deviations, key=deviations.__getitem__)
        self._say(round=round_, had=when, mean_of=count, deviation=deviations[count])

    def failed(self, round_: int, error: BaseException) -> None:
        """To be said if the system ends the round with an error instead."""
        self._say(round=round_, failed=monotonic(), error=f"{type(error).__name__}: {error}".splitlines()[0][:200])

    def _deviation(self, count: int, round_: int, merged: Sequence[Array]) -> float:
        """The largest from the mean of so many peers; infinite if it is not even of that size and type."""
        expected = np.load(self.place / f"mean-{count}.npy", mmap_mode="r")
        if any(each.dtype != np.float32 for each in merged) or sum(each.size for each in merged) != len(expected):
            return float("inf")
        largest, at = 0.0, 0
        for each in merged:
            if each.size:
                away = float(np.abs(each.ravel() - (expected[at : at + each.size] + round_)).max())
                if not np.isfinite(away):
                    return float("inf")
                largest, at = max(largest, away), at + each.size
        return largest

    def _die_in_the_middle(self, round_: int) -> None:
        """SIGKILL all of this participant's processes, half a usual round from now; they say when."""
        lines = said(self.place, self.peer)
        gave = {line["round"]: line["gave"] for line in lines if "gave" in line}
        usual = [line["had"] - gave[line["round"]] for line in lines if "had" in line and line["round"] in gave]
        half = median(usual) / 2 if usual else 0.0
        pids = processes({PLACE: str(self.place), PEER: str(self.peer)})
        self._say(round=round_, gave=monotonic())
        if half < QUICK_S:
            Timer(half, self._die, (round_, pids)).start()
            return
        # This process may have ended by then, and another may stand for the participant.
        line = f'{{\\"round\\": {round_}, \\"killed\\": $up}}'
        death = f'sleep {half:.4f}; read up idle < /proc/uptime; echo "{line}" >> "$0"; kill -9 "$@"'
        environment = {name: value for name, value in os.environ.items() if name not in (PLACE, PEER)}
        arguments = [str(self.place / f"peer-{self.peer}.jsonl"), *map(str, pids)]
        subprocess.Popen(["/bin/sh", "-c", death, *arguments], env=environment, start_new_session=True)

    def _die(self, round_: int, pids: list[int]) -> None:
        self._say(round=round_, killed=monotonic())
        for pid in sorted(pids, key=os.getpid().__eq__):  # this one last
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _say(self, **fields: Any) -> None:
        with (self.place / f"peer-{self.peer}.jsonl").open("a") as file:
            file.write(json.dumps(fields) + "\n")


def processes(marks: dict[str, str]) -> list[int]:
    """Those that carry these variables in their environment, as do all that a marked process has started."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                carried = set((entry / "environ").read_bytes().split(b"\0"))
            except OSError:
                continue  # it has ended meanwhile, or is not ours
            if wanted <= carried:
                found.append(int(entry.name))
    if wanted <= {f"{name}={value}".encode() for name, value in os.environ.items()}:
        found.append(os.getpid())
    return found


def start(module: str, peer: int, *arguments: str) -> subprocess.Popen[bytes]:
    """A process of this module that is the participant ``peer``."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], env={**os.environ, PEER: str(peer)})


def free_ports(count: int) -> list[int]:
    """Of 127.0.0.1, free a moment ago."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_listening(port: int) -> None:
    """Until something listens there; TimeoutError after START_S."""
    until = monotonic() + START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if monotonic() > until:
            raise TimeoutError(f"nothing listens on port {port} after {START_S:g} s")
        sleep(0.05)


def run_peers(module: str, plan: Plan) -> int:
    """All participants as processes of this module, to their end; 1 if one ends badly that was not to be killed."""
    children = [start(module, peer) for peer in range(plan.peers)]
    codes = [child.wait() for child in children]
    return int(any(code for peer, code in enumerate(codes) if peer != plan.victim))
