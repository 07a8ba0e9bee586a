"""What `swarm demo --chaos` does to its own swarm while it trains: three deaths and a seizure, each in mid-round.

The ledger's leader, a learning node and an operator are SIGKILLed, and one process that is left is frozen for 10 s;
order, victims and moments are drawn from the seed. Network nodes and operators are started again after 2 s, as a
person or an init system would; a learning node is its operator's to start again. Driven by the demo's look, 20 times a
second; the next blow falls when everybody is back and rounds are committed again. Guarantee: each wait has a deadline,
and says for what it waits.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from swarm.errors import Unreachable
from swarm.nodes.demo.watch import Watch
from swarm.nodes.launch import Launch, Process
from swarm.nodes.taskrun import TaskRun

RESTART_S = 2.0
FROZEN_S = 10.0
CALM_ROUNDS = (1, 2)
"""Committed between two blows."""
LAST_ROUNDS = 2
"""Committed after the last one, before the training may end."""
PATIENCE_S = 90.0
"""For each thing that is waited for; at first the peers load TensorFlow in the meantime."""
MOMENT = 0.7
"""How far into a round a blow falls, at most: a share of how long the last one was."""
LOOK_S = 0.05
TARGETS = ("leader", "learning node", "operator", "anybody")


@dataclass
class Blow:
    process: str
    signal: str
    at_s: float
    round: int
    phase: str
    pid: int
    back_s: float | None = None
    """When it was ready again."""

    def as_json(self) -> dict[str, Any]:
        return {
            "process": self.process,
            "signal": self.signal,
            "at_s": round(self.at_s, 2),
            "round": self.round,
            "phase": self.phase,
        }


class Chaos:
    def __init__(self, run: TaskRun, launch: Launch, watch: Watch, seed: int, now_s: Callable[[], float]) -> None:
        self.blows: list[Blow] = []
        self.over = False
        """All blows have fallen, everybody is back, and rounds were committed since."""
        self.waits_for = "the training to begin"
        self._run, self._launch, self._watch = run, launch, watch
        self._random = Random(seed)
        self._now_s = now_s
        self._frozen = 0
        self._course = self._play()

    def look(self) -> None:
        """Raises Unreachable when what has to come next did not come in time."""
        next(self._course, None)

    def missed(self) -> str:
        """What of the chaos did not come to pass, and why; empty when all did."""
        if self.over:
            return ""
        return f"{len(self.blows)} of {len(TARGETS)} blows had fallen, and chaos waited for {self.waits_for}"

    def thaw(self) -> None:
        """Whatever ends the demo, nobody stays frozen."""
        if self._frozen:
            with suppress(ProcessLookupError):
                os.kill(self._frozen, signal.SIGCONT)
            self._frozen = 0

    def _play(self) -> Iterator[None]:
        for target in self._random.sample(TARGETS, len(TARGETS)):
            yield from self._calm(self._random.randint(*CALM_ROUNDS))
            victim = None
            for _ in self._until():
                victim = self._victim(target)
                if victim is not None and self._strikes(victim, freezes=target == "anybody"):
                    break
                yield
            assert victim is not None
            yield from self._recover(victim)
        yield from self._calm(LAST_ROUNDS)
        self.over = True

    def _until(self) -> Iterator[None]:
        """A look each time, until the patience with what is waited for is at its end."""
        begun_s = self._now_s()
        while self._now_s() - begun_s < PATIENCE_S:
            yield
        raise Unreachable(f"chaos has waited {PATIENCE_S:g} s for {self.waits_for}")

    def _calm(self, rounds: int) -> Iterator[None]:
        """Until everybody is ready and so many more rounds are committed."""
        until = self._watch.commits + rounds
        for _ in self._until():
            away = [node.name for node in self._nodes() if not (node.running and node.ready())]
            if not away and self._watch.commits >= until:
                return
            commits = self._watch.describe("a round to be committed")
            self.waits_for = f"{', '.join(away)} to be ready" if away else commits
            yield

    def _nodes(self) -> list[Process]:
        swarm = self._run.swarm
        return [*swarm.network, *swarm.operators, *(peer.node for peer in swarm.peers)]

    def _victim(self, target: str) -> Process | None:
        swarm = self._run.swarm
        match target:
            case "leader":
                leads = [node for node in swarm.network if (node.ready() or {}).get("uid") == self._watch.leader]
                self.waits_for = self._watch.describe("a network node to lead the ledger")
                return leads[0] if leads else None
            case "learning node":
                return self._random.choice(swarm.peers).node
            case "operator":
                return self._random.choice(swarm.operators)
            case _:
                return self._random.choice(self._nodes())

    def _strikes(self, victim: Process, *, freezes: bool) -> bool:
        """Hit it while a round is in flight; False if there was none."""
        self.waits_for = self._watch.describe("a round to be in flight")
        if not self._watch.in_flight(LOOK_S):
            return False
        time.sleep(self._random.uniform(0, MOMENT * self._watch.flight_s))
        round_, phase = self._watch.round, self._watch.phase
        if not phase:
            return False
        if freezes:
            os.kill(victim.pid, signal.SIGSTOP)
            self._frozen = victim.pid
        elif victim in self._launch.processes:
            self._launch.kill(victim)
        else:
            os.kill(victim.pid, signal.SIGKILL)
        number = "SIGSTOP" if freezes else "SIGKILL"
        self.blows.append(Blow(victim.name, number, self._now_s(), round_, phase, victim.pid))
        return True

    def _recover(self, victim: Process) -> Iterator[None]:
        """Start it again, or wake it; until it is ready."""
        blow = self.blows[-1]
        yield from self._pause(FROZEN_S if blow.signal == "SIGSTOP" else RESTART_S)
        self.thaw()
        if blow.signal == "SIGKILL":
            self._run.start_again(victim)
            self.waits_for = f"{victim.name} to be ready again"
            for _ in self._until():
                if self._is_back(blow):
                    break
                yield
        blow.back_s = self._now_s()

    def _is_back(self, blow: Blow) -> bool:
        return any(node.name == blow.process and node.pid != blow.pid and node.ready() for node in self._nodes())

    def _pause(self, seconds: float) -> Iterator[None]:
        until = self._now_s() + seconds
        while self._now_s() < until:
            yield
