"""Directory trees that programs have made, removed however deep they are.

Used by `nodes/slotdirectory`, `nodes/workplace` and `nodes/outputs`. Guarantee: nothing that a program leaves ends its
operator, which has others' slots to look after; what cannot be removed stays.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def removed(path: Path) -> None:
    """For a thread: it takes its time."""
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:  # it goes down no deeper than Python's stack
        subprocess.run(["rm", "-rf", "--", str(path)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
