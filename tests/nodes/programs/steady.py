"""A training program for tests: merges all the time, until the file UNTIL is there; prints the digest it ends with.

Environment: UNTIL, SWARM_ADD, MIN_PEERS, KEPT (checkpoint_dir).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from time import sleep

import numpy as np

from swarm import Swarm

add = np.float32(os.environ["SWARM_ADD"])
until = Path(os.environ["UNTIL"])
swarm = Swarm(int(os.environ["MIN_PEERS"]), "steady", tooFewPeersSeconds=120, checkpoint_dir=os.environ["KEPT"])
weights = swarm.start({"w": np.full(1000, add, np.float32)})
while not until.exists() and not swarm.training_over:
    sleep(0.3)
    weights = swarm.sync({"w": weights["w"] + add}, batches=swarm.batches_done + 1)
weights = swarm.finish(weights)
print("final", hashlib.sha256(weights["w"].tobytes()).hexdigest(), flush=True)
