"""A training program for tests: adds SWARM_ADD to its weights between rounds, and prints the digest it ends with.

Environment: SYNCS (rounds between start and finish), SWARM_ADD, MIN_PEERS, START (a file to wait for before sync 1),
GATE (before sync 2), LAST_GATE (before the last sync),
TOO_FEW (onTooFewPeers), PATIENCE_S (tooFewPeersSeconds), CHECKIN (checkinModelOnTrainEnd),
SIZE (numbers in the tensor), NAN (the sync at which the weights become NaN), OUTER (outer), WIRE (wire),
MAX_NORM (maxDeltaNorm), ADAPT (useAdaptiveSync), EVERY (syncFrequency),
LOSS (told at each sync, with an accuracy, an epoch a sync),
WEIGHT (nodeWeightage), CONTRACTS (trained one after the other, separated by blanks), KEPT (checkpoint_dir).
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
    until = monotonic() + 300
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
        tooFewPeersSeconds=int(os.environ.get("PATIENCE_S", "60")),
        checkinModelOnTrainEnd=os.environ.get("CHECKIN", "snapshot"),
        nodeWeightage=int(os.environ.get("WEIGHT", "1")),
        syncFrequency=int(os.environ.get("EVERY", "1")),
        useAdaptiveSync=os.environ.get("ADAPT", "fixed"),
        outer=os.environ.get("OUTER", "plain"),
        wire=os.environ.get("WIRE", "fp32"),
        maxDeltaNorm=float(os.environ.get("MAX_NORM", "0")),
        checkpoint_dir=os.environ.get("KEPT"),
    )
    weights = {"w": np.full(int(os.environ.get("SIZE", "1000")), add, np.float32), "n": np.zeros((), np.int64)}
    weights = swarm.start(weights)
    syncs = int(os.environ.get("SYNCS", "3"))
    for step in range(swarm.batches_done + 1, syncs + 1):
        for gate, before in (("START", 1), ("GATE", 2), ("LAST_GATE", syncs)):
            if gate in os.environ and step == before:
                print(f"at the {gate.lower().replace('_', ' ')}", flush=True)
                wait_for(Path(os.environ[gate]))
        weights = {name: value + np.asarray(add, value.dtype) for name, value in weights.items()}
        if os.environ.get("NAN") == str(step):
            weights["w"][0] = np.nan
        told = {"loss": float(os.environ["LOSS"]), "accuracy": 0.75} if "LOSS" in os.environ else {}
        weights = swarm.sync(weights, batches=step, epochs=step if told else 0, metrics=told)
        if swarm.training_over:
            break
    weights = swarm.finish(weights)
    return hashlib.sha256(weights["w"].tobytes() + weights["n"].tobytes()).hexdigest()


print("final", *map(train, os.environ.get("CONTRACTS", "count").split()), flush=True)
