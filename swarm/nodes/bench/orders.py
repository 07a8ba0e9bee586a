"""Orders: how a bench has its programs do the same thing at the same moment, and hears what came of it.

Lines of JSON over a Unix socket: an order to all programs, an answer from each. The programs' end is ``bench/ordered``.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from swarm.errors import InternalError
from swarm.nodes.bench.ordered import PEER, SOCKET
from swarm.nodes.launch import Launch
from swarm.nodes.local import READY_S


class Programs:
    """The programs of one bench that take the same orders, by number. ``place``: where their socket is made."""

    def __init__(self, launch: Launch, place: Path) -> None:
        self.pids: list[int] = []
        self._launch = launch
        self._place = place
        self._lines: list[IO[str]] = []

    def environment(self, number: int) -> dict[str, str]:
        return {SOCKET: str(self._place), PEER: str(number)}

    @contextlib.contextmanager
    def coming(self, count: int) -> Iterator[None]:
        """Within so many are started; when it ends they are there."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._place))
            listener.listen(count)
            listener.settimeout(READY_S)
            yield
            lines = [listener.accept()[0].makefile("rw", encoding="utf-8") for _ in range(count)]
        introduced = sorted(((json.loads(line.readline()), line) for line in lines), key=lambda pair: pair[0]["peer"])
        self._lines = [line for _, line in introduced]
        self.pids = [said["pid"] for said, _ in introduced]

    def order(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        """Give all programs an order at once; their answers, by number."""
        self.tell(order)
        return self.answers()

    def tell(self, order: dict[str, Any]) -> None:
        for line in self._lines:
            line.write(json.dumps(order) + "\n")
            line.flush()

    def answers(self) -> list[dict[str, Any]]:
        answers = [line.readline() for line in self._lines]
        if not all(answers):
            self._launch.check()
            raise InternalError("a program of the bench ended before its time")
        return [json.loads(answer) for answer in answers]

    def forget(self, place: int) -> None:
        """The one at this place has died."""
        self._lines.pop(place)
        self.pids.pop(place)
