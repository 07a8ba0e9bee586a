"""The aggregator: takes part in every round with next to no weight, and keeps the model that the trainers agree on.

It ends when the training does, and leaves that model in SWARM_OUT.
"""

import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from digits import initial

from swarm import Swarm

with Swarm(2, os.environ["SWARM_CONTRACT"], nodeWeightage=1) as swarm:
    weights = swarm.start(initial())
    while not swarm.training_over:
        weights = swarm.sync(weights)
    weights = swarm.finish(weights)

np.savez(Path(os.environ["SWARM_OUT"], "weights.npz"), **weights)
print("the training is over", flush=True)
