"""The training program of the benchmarks: a tiny model, ROUNDS rounds, and a line that says when it was how far.

Times are those of the machine's boot clock, so that they compare with those of other processes.
"""

from time import CLOCK_BOOTTIME, clock_gettime

began = clock_gettime(CLOCK_BOOTTIME)

import json  # noqa: E402
import os  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from swarm import Swarm  # noqa: E402

imported = clock_gettime(CLOCK_BOOTTIME)
rounds = []  # when each was asked for, and when its model was here
with Swarm(minPeers=int(os.environ["MIN_PEERS"]), trainingContract=os.environ["CONTRACT"]) as swarm:
    weights = swarm.start({"w": np.zeros(1000, np.float32)})
    merged = clock_gettime(CLOCK_BOOTTIME)
    for step in range(2, int(os.environ["ROUNDS"])):
        asked = clock_gettime(CLOCK_BOOTTIME)
        weights = swarm.sync({"w": weights["w"] + step}, batches=step)
        rounds.append((asked, clock_gettime(CLOCK_BOOTTIME)))
    weights = swarm.finish({"w": weights["w"] + 1})
    ended = clock_gettime(CLOCK_BOOTTIME)
# The 22nd field of its line in /proc, behind the name in brackets: when the kernel made this process.
ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
started = ticks / os.sysconf("SC_CLK_TCK")
times = {"started": started, "began": began, "imported": imported, "merged": merged, "ended": ended, "rounds": rounds}
print(json.dumps(times))
