"""A participant that merges with a method of its own. Started by: swarm run --peers 3 -- python train.py"""

import os
from pathlib import Path

import numpy as np

from swarm import Swarm

HERE = Path(__file__).parent
me, peers = int(os.environ["SWARM_PEER"]), int(os.environ["SWARM_PEERS"])

weights = {"w": np.arange(5, dtype=np.float32) * me**2}
with Swarm(minPeers=peers, trainingContract="midrange", mergeMethod=HERE / "midrange.py") as swarm:
    weights = swarm.start(weights)
    print("merged:", weights["w"].tolist(), flush=True)
    swarm.finish(weights)
