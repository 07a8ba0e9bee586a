"""A tutorial of another system, replayed as people would: by the `run.sh` of its example, and in time."""

import contextlib
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent.parent
LIMIT_S = 120
"""So long each may take on processors that do nothing else; their tests are marked `alone`."""


def replayed(example: str, directory: Path) -> str:
    """What it prints; it has to end well, and in time."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    begun_s = _free_s()
    done = subprocess.run(
        ["bash", ROOT / "examples" / example / "run.sh", directory / "a b"],
        capture_output=True, text=True, timeout=400, check=False, cwd=directory, env=environment,
    )  # fmt: skip
    taken_s = _free_s() - begun_s
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed", done.stdout.splitlines()[-1])
    assert taken_s <= LIMIT_S, f"{example}/run.sh took {taken_s:.0f} s:\n{done.stdout}"
    return done.stdout


def _free_s() -> float:
    """Seconds of all processors that were idle or ours, divided by their number: what others take does not count."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:  # nodes that lost their parent are ours: they count once they are reaped
            pass
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    free = psutil.cpu_times()
    nobodys_s = free.idle + getattr(free, "iowait", 0.0)
    return (sum(each.ru_utime + each.ru_stime for each in own) + nobodys_s) / psutil.cpu_count()


def rows(said: str) -> set[str]:
    return set(re.findall(r"^ok ([A-D]-\d\d) ", said, re.MULTILINE))
