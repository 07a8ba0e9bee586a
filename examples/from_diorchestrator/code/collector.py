"""A collector: takes one item of work after the other, and hands in what came of it, until the task ends.

Of a rollout or a judgement that is the episodes' mean return; an item to hold is held until somebody opens its gate.
"""

import os

from cartpole import returns

import swarm


def hold(item):
    """Say who holds it, and wait: a named pipe of this item and attempt opens it."""
    gate = f"{os.environ['PLACE']}/{item.key}-{item.attempt}"
    os.mkfifo(gate)
    with open(f"{os.environ['PLACE']}/arrived", "w") as arrived:
        arrived.write(f"{item.key} {item.attempt} {os.environ['SWARM_INDEX']} {os.getpid()}\n")
    with open(gate) as opened:
        opened.read()


print("rank", os.environ["SWARM_RANK"], "coordinator at", os.environ["SWARM_COORDINATOR_NODES"], flush=True)
print("world", os.environ["WORLD_SIZE"], "all at", os.environ["SWARM_NODES"], flush=True)
while True:
    item = swarm.work.take()
    if item is None:
        continue
    if item.value == "hold":
        hold(item)
        counted = item.done(int(os.environ["SWARM_INDEX"]))
    else:
        counted = item.done([returns(weights, *item.value["how"]).mean() for weights in item.value["weights"]])
    print(item.key, "attempt", item.attempt, "done" if counted else "too late", flush=True)
