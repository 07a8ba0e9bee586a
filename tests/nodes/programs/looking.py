"""A program of a slot that says what it sees, on one line, and ends with 4."""

import os
import sys
from pathlib import Path

print(
    Path("app-data/x").read_text(),
    Path("/tmp/swarm-task/app-data/x").read_text(),
    (Path(os.environ["DATA_DIR"]) / "x").read_text(),
    *(os.environ.get(name) for name in ("SWARM_ADD", "SCRATCH_DIR", "HOSTNAME", "WHERE", "SL_LOG_LEVEL")),
    sys.executable,
    sep="|",
    flush=True,
)
Path("app-data/left").write_text("behind")
sys.exit(4)
