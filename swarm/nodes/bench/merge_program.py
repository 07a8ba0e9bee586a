"""The training program of `swarm bench merge`: numpy arrays through the `Swarm` object, a round at each order.

Started by `run-sl` as any training program is; the bench orders its rounds over a Unix socket, in lines of JSON:
``{"round": r}`` prepares the arrays, ``{"go": …}`` merges them and answers when it did, ``{"end": true}`` finishes.
"""

from __future__ import annotations

import json
import os
import socket
from time import monotonic
from typing import Any

import numpy as np

from swarm import Swarm
from swarm.nodes.bench.central import Array
from swarm.nodes.bench.inputs import arrays, digest

SOCKET, PEER, MIN_PEERS, MB, TOPOLOGY, COMMITMENTS, METHOD, WIRE = (
    f"SWARM_BENCH_{name}" for name in ("SOCKET", "PEER", "MIN_PEERS", "MB", "TOPOLOGY", "COMMITMENTS", "METHOD", "WIRE")
)  # fmt: skip


class Program:
    def __init__(self) -> None:
        self.peer, self.mb = int(os.environ[PEER]), int(os.environ[MB])
        self.given: dict[str, Array] = {}
        self.out: dict[str, Array] = {}
        line = socket.socket(socket.AF_UNIX)
        line.connect(os.environ[SOCKET])
        self.orders = line.makefile("rw", encoding="utf-8")
        self.say(peer=self.peer, pid=os.getpid())

    def run(self) -> None:
        variables = {"topology": TOPOLOGY, "commitments": COMMITMENTS, "mergeMethod": METHOD, "wire": WIRE}
        options = {name: os.environ[variable] for name, variable in variables.items()}
        with Swarm(minPeers=int(os.environ[MIN_PEERS]), trainingContract="bench", **options) as swarm:
            for line in self.orders:
                match json.loads(line):
                    case {"round": int(round_)}:
                        self.prepare(round_)
                    case {"go": "begin"}:
                        self.timed(swarm.start)
                    case {"go": "sync"}:
                        self.timed(swarm.sync)
                    case {"digest": _}:
                        self.say(digest=digest(self.out.values()))
                    case {"end": _}:
                        swarm.finish(self.given, out=self.out)
                        return

    def prepare(self, round_: int) -> None:
        self.given = arrays(self.mb, self.peer, round_)
        if not self.out:
            self.out = {name: np.empty_like(array) for name, array in self.given.items()}
        self.say(prepared=round_)

    def timed(self, merge: Any) -> None:
        began = monotonic()
        merge(self.given, out=self.out)
        self.say(began=began, ended=monotonic())

    def say(self, **fields: Any) -> None:
        self.orders.write(json.dumps(fields) + "\n")
        self.orders.flush()


if __name__ == "__main__":
    Program().run()
