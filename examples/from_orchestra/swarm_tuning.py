"""One learner of a swarm of the sweep: gradient descent on its own half of the data, merged after each step.

    python swarm_tuning.py DATA RATE

The swarms of a sweep differ by RATE; each merges in a contract of its own, whose name SWARM_CONTRACT says.
"""

import json
import os
import sys

import numpy as np

import swarm

STEPS = 5
data, rate = np.load(sys.argv[1]), float(sys.argv[2])
own = np.arange(data["x"].size) % 2 == int(os.environ["SWARM_INDEX"])
inputs = np.stack([np.ones_like(data["x"]), data["x"], data["x"] ** 2], axis=1)
inputs /= np.abs(inputs).max(axis=0)

training = swarm.Swarm(syncFrequency=1, minPeers=2, trainingContract=os.environ["SWARM_CONTRACT"])
weights = training.start({"weights": np.zeros(3, np.float32)})["weights"]
for _ in range(STEPS):
    left = inputs[own] @ weights - data["y"][own]
    weights = (weights - rate * inputs[own].T @ left / left.size).astype(np.float32)
    weights = training.sync({"weights": weights})["weights"]
weights = training.finish({"weights": weights})["weights"]
error = float(np.mean((inputs @ weights - data["y"]) ** 2))
swarm.log_metrics({"error": error})
with open(f"{os.environ['SWARM_OUT']}/result.json", "w") as file:
    made = {"contract": os.environ["SWARM_CONTRACT"], "weights": weights.tolist(), "error": error}
    file.write(json.dumps(made) + "\n")
