"""A world of its own for a run of chaos: processes, mounts and network that end with it, however it ends.

`enter` starts the same command again inside of it. What runs in there sees only its own processes, so whatever is left
at the end is an orphan; the first process is a shell, which buries what loses its parent.
"""

from __future__ import annotations

import os
import sys

MARK = "SWARM_CHAOS_WORLD"


def inside() -> bool:
    return MARK in os.environ


def enter(module: str, arguments: list[str]) -> None:
    """Never returns."""
    own = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "--"]
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    sys.stdout.flush()
    sys.stderr.flush()
    command = [*own, *shell, sys.executable, "-m", module, *arguments]
    os.execvpe(command[0], command, {**os.environ, MARK: "1"})
