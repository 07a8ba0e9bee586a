"""Whether a slot has logged what its task is to reach (``StopOn``), as far as its file of metrics has been read.

Used by `nodes/swop` for the slots that it runs. Guarantee: a line is looked at once, and a file that the program has
spoilt ends nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

LOOK_BYTES = 1 << 20
"""At most so much of the file at a time."""


class Goal:
    def __init__(self, metric: str, ge: float, metrics: Path) -> None:
        self.metric, self.ge = metric, ge
        self._metrics, self._at = metrics, 0

    def reached(self) -> str:
        """What was logged that reaches it, in words; empty: nothing yet."""
        for line in self._new():
            try:
                value = float(json.loads(line)["metrics"][self.metric])
            except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
                continue
            if value >= self.ge:
                return f"{self.metric} is {value:g}, StopOn asks for {self.ge:g}"
        return ""

    def _new(self) -> list[bytes]:
        try:
            with open(self._metrics, "rb", opener=_at_once) as file:
                file.seek(self._at)
                complete, newline, rest = file.read(LOOK_BYTES).rpartition(b"\n")
        except OSError:
            return []
        self._at += len(complete) + len(newline) if newline else len(rest) * (len(rest) == LOOK_BYTES)
        return complete.splitlines()


def _at_once(path: str, flags: int) -> int:
    """Not waiting for who would write into a pipe that the program has put in its place."""
    return os.open(path, flags | os.O_NONBLOCK)
