"""A measured program's end of the line over which its bench (``bench/orders``) tells it what to do.

It finds the socket and its number in its environment, and introduces itself. Imports next to nothing: what a training
program of a bench takes of memory is measured.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

SOCKET, PEER = "SWARM_BENCH_SOCKET", "SWARM_BENCH_PEER"


class Orders:
    """What this program is told to do, one after the other."""

    def __init__(self) -> None:
        self.peer = int(os.environ[PEER])
        line = socket.socket(socket.AF_UNIX)
        line.connect(os.environ[SOCKET])
        self._line = line.makefile("rw", encoding="utf-8")
        self.say(peer=self.peer, pid=os.getpid())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._line:
            yield json.loads(line)

    def say(self, **fields: Any) -> None:
        self._line.write(json.dumps(fields) + "\n")
        self._line.flush()
