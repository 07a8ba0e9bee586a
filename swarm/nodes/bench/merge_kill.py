"""The death that `swarm bench merge --kill` measures: one learning node, SIGKILLed in a phase of a round.

Used by `nodes/bench/merge`. The phase is read from what the nodes report of themselves, and the first to reach it dies:
a round may be over before its last one is ready. Within the phase the kill comes when half of the time has passed that
the phase took in the rounds before.
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


class Death:
    def __init__(self, peers: Sequence[Peer], phase: str) -> None:
        self._peers = list(peers)
        self._phase = phase
        self._reports = [Lines(peer.node.state / "report.jsonl") for peer in peers]

    def look(self) -> None:
        """Pass over what they have reported so far."""
        for report in self._reports:
            report.new()

    def strike(self, launch: Launch, phases_s: Sequence[dict[str, float]]) -> int:
        """To be called when the round has been asked for; when the node is dead, its place among the peers."""
        victim = self._first_to_reach(launch)
        usual_s = [line[self._phase] for line in phases_s if self._phase in line]
        time.sleep(median(usual_s) / 2 if usual_s else 0.0)
        launch.kill(self._peers[victim].node)
        return victim

    def _first_to_reach(self, launch: Launch) -> int:
        until = time.monotonic() + REACHED_S
        while True:
            for place, report in enumerate(self._reports):
                if any(line.get("phase") == self._phase for line in report.new()):
                    return place
            launch.check()
            if time.monotonic() > until:
                raise InternalError(f"no learning node reached the phase {self._phase} in {REACHED_S:.0f} s")
            time.sleep(LOOK_EVERY_S)
