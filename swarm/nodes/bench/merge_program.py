"""The training program of `swarm bench merge`: numpy arrays through the `Swarm` object, a round at each order.

Started by `run-sl` as any training program is; the bench orders its rounds over a Unix socket, in lines of JSON:
``{"round": r}`` prepares the arrays, ``{"go": …}`` merges them and answers when it did, ``{"end": true}`` finishes.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Any

from swarm import Swarm
from swarm.nodes.bench.central import Array
from swarm.nodes.bench.inputs import arrays, digest
from swarm.nodes.bench.ordered import Orders

MIN_PEERS, MB, TOPOLOGY, COMMITMENTS, METHOD, WIRE = (
    f"SWARM_BENCH_{name}" for name in ("MIN_PEERS", "MB", "TOPOLOGY", "COMMITMENTS", "METHOD", "WIRE")
)  # fmt: skip


class Program:
    def __init__(self) -> None:
        self.mb = int(os.environ[MB])
        self.weights: dict[str, Array] = {}
        self.orders = Orders()

    def run(self) -> None:
        variables = {"topology": TOPOLOGY, "commitments": COMMITMENTS, "mergeMethod": METHOD, "wire": WIRE}
        options = {name: os.environ[variable] for name, variable in variables.items()}
        with Swarm(minPeers=int(os.environ[MIN_PEERS]), trainingContract="bench", **options) as swarm:
            for order in self.orders:
                match order:
                    case {"round": int(round_)}:
                        self.prepare(round_)
                    case {"go": "begin"}:
                        self.timed(swarm.start)
                    case {"go": "sync"}:
                        self.timed(swarm.sync)
                    case {"digest": _}:
                        self.orders.say(digest=digest(self.weights.values()))
                    case {"end": _}:
                        swarm.finish(self.weights, out=self.weights)
                        return

    def prepare(self, round_: int) -> None:
        self.weights = arrays(self.mb, self.orders.peer, round_, out=self.weights)
        self.orders.say(prepared=round_)

    def timed(self, merge: Any) -> None:
        began = monotonic()
        merge(self.weights, out=self.weights)
        self.orders.say(began=began, ended=monotonic())


if __name__ == "__main__":
    Program().run()
