"""A program of a slot that ends in one of the ways in which programs do not train: the argument says which."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from time import sleep

import numpy as np

from swarm import Swarm


def in_fit() -> None:
    swarm = Swarm(1, "count")
    swarm.start({"w": np.zeros(10, np.float32)})
    raise ValueError("shapes do not match")


def killed() -> None:
    print("about to be killed", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def for_ever() -> None:
    """Deaf to SIGTERM, with a child of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.fork()
    Path("app-data/here").touch()
    sleep(600)


def takes_memory() -> None:
    """More than the memory control group allows that it enters."""
    (Path(sys.argv[2]) / "cgroup.procs").write_text(str(os.getpid()))
    print("taking memory", flush=True)
    kept = []
    while True:
        kept.append(np.ones(10_000_000))


WAYS = {
    "no-callback": lambda: print("trained alone", flush=True),
    "raises": in_fit,
    "exits-3": lambda: sys.exit(3),
    "killed": killed,
    "for-ever": for_ever,
    "takes-memory": takes_memory,
}
WAYS[sys.argv[1]]()
