"""The coordinator of a training: has the untrained and the trained policy judged, and ends the task with itself."""

import os

import swarm

EPISODES, SEED = 100, 4321

if os.environ["PAUSE"]:
    swarm.work.put({"go": "hold"}, within_s=3600)
swarm.work.put({"before": {"weights": [[0.0] * 4], "how": [EPISODES, SEED]}})
(before,) = swarm.work.results(["before"])["before"]
(after,) = swarm.work.results(["policy"])["policy"]  # put by whichever learner is first
swarm.peers("learner", until="done")
print(f"mean return of {EPISODES} greedy episodes: {before} before, {after} after", flush=True)
counts = swarm.work.counts()
swarm.log_metrics({"before": before, "reward": after, "put": counts["put"], "done": counts["done"]})
if os.environ["GOES_ON"]:  # StopOn ends it
    swarm.work.results(["never"], patience_s=3600)
