"""The trainer: trains on its participant's own digits, and merges after every pass over them.

    main.py DATA     a directory with digits.npz (x, y); training goes on until the file `enough` is there, too
"""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from digits import accuracy, initial, trained

from swarm import Swarm

BATCH, RATE = 32, 0.1
place = Path(sys.argv[1])
digits = np.load(place / "digits.npz")
x, y = digits["x"], digits["y"]
chance = np.random.default_rng(len(x))

with Swarm(2, os.environ["SWARM_CONTRACT"], nodeWeightage=50) as swarm:
    weights = swarm.start(initial())
    while not (swarm.training_over or (place / "enough").exists()):
        for batch in np.array_split(chance.permutation(len(x)), len(x) // BATCH):
            weights = trained(weights, x[batch], y[batch], RATE)
        weights = swarm.sync(weights, metrics={"accuracy": accuracy(weights, x, y)})
    weights = swarm.finish(weights)

np.savez(place / "weights.npz", **weights)
print(f"final model: accuracy {accuracy(weights, x, y):.3f} on the own digits", flush=True)
