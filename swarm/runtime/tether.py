"""A child process that cannot outlive its parent: every process that a node or a local swarm starts is made here.

Used by `nodes/launch` for the nodes, by `nodes/worker` for the training program, and by `engines/process`. Guarantees:
the child leads a session and process group of its own, so a terminal's Ctrl-C reaches only the parent, which ends it in
order; when the parent dies, even by SIGKILL, the kernel kills the child (on Linux), and with it what is tethered to the
child in turn; `guard` does the same for what a child has started itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

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
