"""A learner: evolution strategies on a linear policy, merged with the other learners after each generation.

Augmented random search (Mania, Guy and Recht 2018, algorithm 1, V1): each direction is tried both ways by a collector,
and the policy moves along them by the difference of the returns over their standard deviation.
"""

import json
import os

import numpy as np

import swarm

GENERATIONS, DIRECTIONS, EPISODES, NOISE, STEP = 6, 4, 4, 0.5, 0.5
seed, learner = int(os.environ["SEED"]), int(os.environ["SWARM_INDEX"])


def improved(policy, generation):
    """Of what the collectors say of directions that only this learner tries."""
    directions = {
        f"{learner}.{generation}.{number}": np.random.default_rng([seed, learner, generation, number]).normal(size=4)
        for number in range(DIRECTIONS)
    }
    both = {key: [policy + NOISE * to, policy - NOISE * to] for key, to in directions.items()}
    items = {
        key: {"weights": [weights.tolist() for weights in two], "how": [EPISODES, [seed, learner, generation]]}
        for key, two in both.items()
    }
    swarm.work.put(items)
    found = swarm.work.results(items)
    swarm.work.forget(items)
    ahead, back = np.array([found[key] for key in directions]).T
    spread = np.std([ahead, back]) or 1.0
    moved = STEP / DIRECTIONS * ((ahead - back) / spread) @ np.array(list(directions.values()))
    return (policy + moved).astype(np.float32)


training = swarm.Swarm(syncFrequency=1, minPeers=2, trainingContract=os.environ["SWARM_CONTRACT"])
weights = training.start({"policy": np.zeros(4, np.float32)})
for generation in range(GENERATIONS):
    if generation == GENERATIONS // 2 and os.environ["PAUSE"]:
        swarm.work.results(["go"])  # meanwhile collectors come and go
    weights = training.sync({"policy": improved(weights["policy"], generation)})
policy = training.finish(weights)["policy"]
with open(f"{os.environ['SWARM_OUT']}/policy.json", "w") as file:
    json.dump(policy.tolist(), file)
swarm.work.put({"policy": {"weights": [policy.tolist()], "how": [100, 4321]}})  # as the coordinator judges it
