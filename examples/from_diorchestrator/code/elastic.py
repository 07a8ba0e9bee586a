"""A coordinator that does as it is told: `put KEY SECONDS`, `results KEY`, `scale ROLE NUMBER`, `end`, a line each."""

import json
import os

import swarm

PLACE = os.environ["PLACE"]


def obey(what, *said):
    if what == "put":
        return swarm.work.put({said[0]: "hold"}, within_s=int(said[1]))
    if what == "results":
        return {**swarm.work.results(said), "counts": swarm.work.counts()}
    if what == "scale":
        return swarm.scale(said[0], by=int(said[1]))
    return what


def tell(answer):
    with open(f"{PLACE}/answers", "w") as answers:
        answers.write(json.dumps(answer) + "\n")


print("rank", os.environ["SWARM_RANK"], "at", os.environ["SWARM_ADDRESS"], flush=True)
with open(f"{PLACE}/orders") as orders:
    while (line := orders.readline().split()) and line[0] != "end":
        tell(obey(*line))
