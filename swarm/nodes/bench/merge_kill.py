"""The death that `swarm bench merge --kill` measures: one learning node, SIGKILLed in a phase of a round.

Used by `nodes/bench/merge`. The phase is read from what the node reports of itself; within it the kill comes when half
of the time has passed that the phase took in the rounds before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from swarm.errors import InternalError
from swarm.nodes.launch import Launch
from swarm.nodes.local import Lines, Peer

PHASES = ("scatter", "gather", "ready")
REACHED_S = 60.0
LOOK_EVERY_S = 0.001


class Victim:
    def __init__(self, peer: Peer, phase: str) -> None:
        self._peer = peer
        self._phase = phase
        self._report = Lines(peer.node.state / "report.jsonl")

    def kill(self, launch: Launch, phases_s: Sequence[dict[str, float]]) -> None:
        """To be called when the round has been asked for; returns when the node is dead."""
        self._await_phase(launch)
        usual_s = [line[self._phase] for line in phases_s if self._phase in line]
        time.sleep(median(usual_s) / 2 if usual_s else 0.0)
        launch.kill(self._peer.node)

    def look(self) -> None:
        """Pass over what it has reported so far."""
        self._report.new()

    def _await_phase(self, launch: Launch) -> None:
        until = time.monotonic() + REACHED_S
        while all(line.get("phase") != self._phase for line in self._report.new()):
            launch.check()
            if time.monotonic() > until:
                raise InternalError(f"{self._peer.name} did not reach the phase {self._phase} in {REACHED_S:.0f} s")
            time.sleep(LOOK_EVERY_S)
