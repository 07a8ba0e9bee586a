"""What `swarm demo --chaos` does to its own swarm while it trains: three deaths and a seizure, each in mid-round.

The ledger's leader, a learning node and an operator are SIGKILLed, and one process that is left is frozen for 10 s;
order, victims and moments are drawn from the seed. Network nodes and operators are started again after 2 s, as a
person or an init system would; a learning node is its operator's to start again. Driven by the demo's look, 20 times a
second; the next blow falls when everybody is back and rounds are committed again.
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

from swarm.nodes.demo.watch import Watch
from swarm.nodes.launch import Launch, Process
from swarm.nodes.taskrun import TaskRun

RESTART_S = 2.0
FROZEN_S = 10.0
CALM_ROUNDS = (1, 2)
"""Committed between two blows."""
MOMENT_S = 0.06
"""How far into a round a blow falls, at most."""
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
        self._run, self._launch, self._watch = run, launch, watch
        self._random = Random(seed)
        self._now_s = now_s
        self._frozen = 0
        self._course = self._play()

    @property
    def over(self) -> bool:
        return len(self.blows) == len(TARGETS) and self.blows[-1].back_s is not None

    def look(self) -> None:
        next(self._course, None)

    def thaw(self) -> None:
        """Whatever ends the demo, nobody stays frozen."""
        if self._frozen:
            with suppress(ProcessLookupError):
                os.kill(self._frozen, signal.SIGCONT)
            self._frozen = 0

    def _play(self) -> Iterator[None]:
        for target in self._random.sample(TARGETS, len(TARGETS)):
            calm = self._watch.commits + self._random.randint(*CALM_ROUNDS)
            while self._watch.commits < calm or not self._everybody_is_ready():
                yield
            victim = self._victim(target)
            while victim is None or not self._strikes(victim, freezes=target == "anybody"):
                yield
                victim = self._victim(target)
            yield from self._recover(victim)

    def _everybody_is_ready(self) -> bool:
        swarm = self._run.swarm
        nodes = [*swarm.network, *swarm.operators, *(peer.node for peer in swarm.peers)]
        return all(node.running and node.ready() for node in nodes)

    def _victim(self, target: str) -> Process | None:
        swarm = self._run.swarm
        match target:
            case "leader":
                leads = [node for node in swarm.network if (node.ready() or {}).get("uid") == self._watch.leader]
                return leads[0] if leads else None
            case "learning node":
                return self._random.choice(swarm.peers).node
            case "operator":
                return self._random.choice(swarm.operators)
            case _:
                return self._random.choice([*swarm.network, *swarm.operators, *(peer.node for peer in swarm.peers)])

    def _strikes(self, victim: Process, *, freezes: bool) -> bool:
        """Hit it while a round is in flight; False if there was none."""
        if not self._watch.in_flight(0.05):
            return False
        time.sleep(self._random.uniform(0, MOMENT_S))
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
            while not self._is_back(blow):
                yield
        blow.back_s = self._now_s()

    def _is_back(self, blow: Blow) -> bool:
        swarm = self._run.swarm
        nodes = [*swarm.network, *swarm.operators, *(peer.node for peer in swarm.peers)]
        return any(node.name == blow.process and node.pid != blow.pid and node.ready() for node in nodes)

    def _pause(self, seconds: float) -> Iterator[None]:
        until = self._now_s() + seconds
        while self._now_s() < until:
            yield
