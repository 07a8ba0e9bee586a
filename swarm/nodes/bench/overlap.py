"""`swarm bench overlap`: what training costs that goes on while its weights are merged, beside the same loop alone.

Called by `swarm.cli.bench`. The programs are `overlap_program`; a real network node, and a learning node for each in
the swarm. Alone and swarm alternate, block by block; the one that is not measured stands still. Blocks of the swarm
have their sync points in the middle, so that whatever a round costs falls into the block it was begun in. Guarantees:
both run the same lines; every program of the swarm ends with the weights that other code computes, and all rounds
merged the weights of all, or the result is not verified.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from swarm.errors import BadInput, CheckFailed
from swarm.nodes.bench import overlap_program
from swarm.nodes.bench.orders import Programs
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import READY_S, LocalSwarm

PAIRS = 4
ROUNDS = 2
"""Sync points in a block."""


@dataclass(frozen=True)
class Settings:
    peers: int
    mb: int
    step_ms: float
    every: int

    @property
    def block(self) -> int:
        return ROUNDS * self.every

    @property
    def warm_up(self) -> int:
        return self.every // 2

    @property
    def steps(self) -> int:
        return self.warm_up + PAIRS * self.block


@dataclass
class Measured:
    """Steps a second of one program, block by block."""

    alone: list[float] = field(default_factory=list)
    swarm: list[float] = field(default_factory=list)
    verified: bool = False

    def failure(self) -> CheckFailed | None:
        return None if self.verified else CheckFailed("the swarm ended with other weights than those of its programs")

    def as_json(self) -> dict[str, Any]:
        return {
            "steps_per_s": round(median(self.swarm), 3),
            "alone_steps_per_s": round(median(self.alone), 3),
            "ratio": round(median(ours / alone for ours, alone in zip(self.swarm, self.alone, strict=True)), 3),
            "verified": self.verified,
        }


class Bench:
    """One run of the bench in ``directory``; ``watch`` hears of each pair of blocks."""

    def __init__(self, settings: Settings, directory: Path, launch: Launch, watch: Callable[[str], None]) -> None:
        if overlap_program.largest(settings.peers, settings.steps) > overlap_program.EXACT:
            raise BadInput(
                f"{settings.steps} steps of {settings.peers} peers are too many for weights that are never rounded",
                hint="a smaller --every, or fewer --peers",
            )
        self.settings = settings
        self._directory = directory
        self._launch = launch
        self._watch = watch
        self._local = LocalSwarm(directory, launch, organisations=settings.peers)
        self._alone: list[Process] = []
        self._work = overlap_program.work_of(settings.mb, settings.step_ms)

    def run(self) -> Measured:
        measured, alone, swarm = Measured(), self._start_alone(), self._start_swarm()
        for programs in (alone, swarm):
            programs.answers()
        for programs in (alone, swarm):
            programs.order({"steps": self.settings.warm_up})
        for pair in range(PAIRS):
            measured.alone.append(self._steps_per_s(alone))
            measured.swarm.append(self._steps_per_s(swarm))
            rates = f"alone {measured.alone[-1]:7.2f}  in the swarm {measured.swarm[-1]:7.2f} steps a second"
            self._watch(f"pair {pair + 1} of {PAIRS}  {rates}")
        alone.order({"end": True})
        digests = {answer["digest"] for answer in swarm.order({"end": True})}
        self._launch.wait_ended([*self._alone, *(peer.node for peer in self._local.peers)], self._local.look)
        how = self.settings
        same = digests == {overlap_program.expected(how.mb, how.peers, how.steps)}
        measured.verified = same and all(self._merged(peer.rounds) for peer in self._local.peers)
        return measured

    def _steps_per_s(self, programs: Programs) -> float:
        block = self.settings.block
        return fmean(block / answer["seconds"] for answer in programs.order({"steps": block}))

    def _merged(self, rounds: list[dict[str, Any]]) -> bool:
        """Begin, all sync points and the end were merges of everybody."""
        wanted = 2 + self.settings.steps // self.settings.every
        return len(rounds) == wanted and {line["members"] for line in rounds} == {self.settings.peers}

    # ---- processes

    def _start_alone(self) -> Programs:
        programs = Programs(self._launch, self._directory / "alone")
        with programs.coming(self.settings.peers):
            for number in range(self.settings.peers):
                name = f"alone-{number + 1}"
                environment = {**self._environment(programs, number), "SWARM_LOOPBACK": "true"}
                command = [sys.executable, "-m", overlap_program.__name__]
                state = self._directory / name
                self._alone.append(self._launch.start(name, "ML", command, state=state, environment=environment))
        return programs

    def _start_swarm(self) -> Programs:
        local, programs = self._local, Programs(self._launch, self._directory / "swarm")
        local.make_organisations()
        self._launch.wait_ready([local.start_network_node(1)], READY_S)
        with programs.coming(self.settings.peers):
            for number in range(self.settings.peers):
                command = [sys.executable, "-m", overlap_program.__name__]
                local.start_peer(command, environment=self._environment(programs, number))
            self._launch.wait_ready([peer.node for peer in local.peers], READY_S)
        return programs

    def _environment(self, programs: Programs, number: int) -> dict[str, str]:
        how = self.settings
        return {
            **programs.environment(number),
            overlap_program.PEERS: str(how.peers),
            overlap_program.MB: str(how.mb),
            overlap_program.EVERY: str(how.every),
            overlap_program.WORK: str(self._work),
        }
