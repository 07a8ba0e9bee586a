"""A training program for tests: adds SWARM_ADD to its weights between rounds, and prints the digest it ends with.

Environment: SYNCS (rounds between start and finish), SWARM_ADD, MIN_PEERS, GATE (a file to wait for before sync 2),
TOO_FEW (onTooFewPeers), CHECKIN (checkinModelOnTrainEnd), SIZE (numbers in the tensor), NAN (the sync at which the
weights become NaN), CONTRACTS (trained one after the other, separated by blanks).
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np

from swarm import Swarm


def wait_for(path: Path) -> None:
    until = monotonic() + 60
    while not path.exists():
        if monotonic() > until:
            sys.exit(f"{path} did not come")
        sleep(0.02)


add = float(os.environ.get("SWARM_ADD", "1"))


def train(contract: str) -> str:
    swarm = Swarm(
        int(os.environ.get("MIN_PEERS", "2")),
        contract,
        onTooFewPeers=os.environ.get("TOO_FEW", "wait"),
        tooFewPeersSeconds=60,
        checkinModelOnTrainEnd=os.environ.get("CHECKIN", "snapshot"),
    )
    weights = {"w": np.full(int(os.environ.get("SIZE", "1000")), add, np.float32), "n": np.zeros((), np.int64)}
    weights = swarm.start(weights)
    for step in range(1, int(os.environ.get("SYNCS", "3")) + 1):
        if "GATE" in os.environ and step == 2:
            print("at the gate", flush=True)
            wait_for(Path(os.environ["GATE"]))
        weights = {name: value + np.asarray(add, value.dtype) for name, value in weights.items()}
        if os.environ.get("NAN") == str(step):
            weights["w"][0] = np.nan
        weights = swarm.sync(weights)
        if swarm.training_over:
            break
    weights = swarm.finish(weights)
    return hashlib.sha256(weights["w"].tobytes() + weights["n"].tobytes()).hexdigest()


print("final", *map(train, os.environ.get("CONTRACTS", "count").split()), flush=True)
