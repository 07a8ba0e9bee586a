"""A child process that cannot outlive its parent: every process that a node or a local swarm starts is made here.

Used by `nodes/launch` for the nodes, by `nodes/worker` for the training program, and by `engines/process`. Guarantees:
the child leads a session and process group of its own, so a terminal's Ctrl-C reaches only the parent, which ends it in
order; when the parent dies, even by SIGKILL, the kernel kills the child (on Linux), and with it what is tethered to the
child in turn; `guard` does the same for what a child has started itself. A Ctrl-C that comes while a child is started
is heard once it is: Python drops what is raised in the hooks that run around a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before any fork


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    tethered: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a child with no standard input; not `tethered` for one that is to stay (`swarm up`, an operator's).

    From the main thread only: the kernel's tether holds to the thread that forks, and ends with it.
    """
    assert threading.current_thread() is threading.main_thread(), "a child would die with this thread"
    parent = os.getpid()

    def tie() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died before the tether was on
                os._exit(137)

    with heard_afterwards():
        return subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=tie if tethered else None,
        )


@contextlib.contextmanager
def heard_afterwards() -> Iterator[None]:
    """Within: a signal that ends this process waits, whichever thread it reaches; its handler is called at the end.

    From the main thread only. What is ignored, or has no handler of Python's, stays as it is: children inherit that.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: handler for number in ENDINGS if callable(handler := signal.getsignal(number))}
    try:
        for number in before:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for heard in came:
            signal.raise_signal(heard)


def guard(group: int) -> subprocess.Popen[bytes] | None:
    """A shell that SIGKILLs this process group once its parent, however it ended, is gone; None where there is no sh.

    It waits at the end of a pipe that nobody writes into. Who ends the group itself kills the guard.
    """
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", 'read -r line; kill -9 "-$0" 2>/dev/null', str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
