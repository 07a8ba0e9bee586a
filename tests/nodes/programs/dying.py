"""A training program for tests: of the two that run it, one kills its learning node, and with it itself, after the
COMMIT of round 1 and before it has loaded that round's model. It does so once.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from time import sleep

import numpy as np

from swarm import Swarm

ADD = float(os.environ["SWARM_ADD"])
DIED = Path("app-data/died")


class Deadly(dict):
    def __getitem__(self, name: str) -> np.ndarray:
        DIED.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        sleep(60)
        raise AssertionError("outlived its learning node")


with Swarm(2, "count", tooFewPeersSeconds=60) as swarm:
    weights = swarm.start({"w": np.full(1000, ADD, np.float32)})
    out = Deadly(weights) if ADD == 1 and not DIED.exists() else None
    weights = swarm.sync({"w": weights["w"] + np.float32(ADD)}, out=out)
    weights = swarm.finish(weights)
print("final", float(weights["w"][0]), flush=True)
