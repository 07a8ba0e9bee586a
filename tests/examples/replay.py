"""A tutorial of another system, replayed as people would: by the `run.sh` of its example."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 120
"""So long each may take on two cores that do nothing else: their tests are marked `alone`."""


def replayed(example: str, directory: Path) -> str:
    """What it prints; it has to end well, and in time."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    begun_s = time.monotonic()
    done = subprocess.run(
        ["bash", ROOT / "examples" / example / "run.sh", directory / "a b"],
        capture_output=True, text=True, timeout=400, check=False, cwd=directory, env=environment,
    )  # fmt: skip
    taken_s = time.monotonic() - begun_s
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed", done.stdout.splitlines()[-1])
    assert taken_s <= LIMIT_S, f"{example}/run.sh took {taken_s:.0f} s:\n{done.stdout}"
    return done.stdout


def rows(said: str) -> set[str]:
    return set(re.findall(r"^ok ([A-D]-\d\d) ", said, re.MULTILINE))
