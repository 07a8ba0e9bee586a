"""A role's program for tests: `counting.py` beside it, adding what ADDS says for its index, in the slot's contract."""

from __future__ import annotations

import os
import runpy

os.environ["SWARM_ADD"] = os.environ["ADDS"].split()[int(os.environ["SWARM_INDEX"])]
os.environ["CONTRACTS"] = os.environ["SWARM_CONTRACT"]
runpy.run_path("counting.py", run_name="__main__")
