"""A role's program for tests: each adds 1 to its own number of three and merges, until PLACE/enough is there.

The one with index 2 is slow: it trains until PLACE/gate is there, and merges that once; it prints what has become of
its number.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np

from swarm import Swarm


def wait_for(path: Path) -> None:
    until = monotonic() + 120
    while not path.exists():
        if monotonic() > until:
            sys.exit(f"{path} did not come")
        sleep(0.02)


index, place = int(os.environ["SWARM_INDEX"]), Path(os.environ["PLACE"])
own = np.eye(3, dtype=np.float32)[index]
with Swarm(2, os.environ["SWARM_CONTRACT"]) as swarm:
    weights = swarm.start({"w": np.zeros(3, np.float32)})["w"]
    while not (place / "enough").exists():
        if index == 2:
            (place / "trains").touch()
            wait_for(place / "gate")
        weights = swarm.sync({"w": weights + own})["w"]
        if index == 2:
            print("counted", repr(float(weights[2])), flush=True)
            (place / "enough").touch()
    swarm.finish({"w": weights})
