"""A participant in small, for tests: numbers instead of a network. Usage: merge_numbers.py ROUNDS PAUSE_S OUT."""

import os
import sys
import threading
from pathlib import Path

import numpy as np

from swarm import Swarm

rounds, pause_s, out = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
me, peers = int(os.environ["SWARM_PEER"]), int(os.environ["SWARM_PEERS"])

weights = {"a": np.full(2000, me, np.float32), "counter": np.array(7)}
with Swarm(syncFrequency=1, minPeers=peers, trainingContract="numbers") as swarm:
    weights = swarm.start(weights)
    for _ in range(rounds):
        threading.Event().wait(pause_s)
        weights = swarm.sync({**weights, "a": weights["a"] + me}, batches=1)
    weights = swarm.finish(weights)
part = out / f"peer-{me}.part.npz"
np.savez(part, **weights)
os.replace(part, out / f"peer-{me}.npz")
