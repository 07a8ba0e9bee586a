"""The pace of a training program: how long it trains between sync points, and when it has been quiet for too long.

Kept by ``nodes/sl``. A program that hangs is not ended: a slow hospital looks just the same, and the others go on
without it when their window closes. What is wrong is that nobody sees it, so it is said, by name, and seldom.
"""

from __future__ import annotations

from collections import deque
from statistics import median

QUIET_S = 600.0
TIMES = 10.0
REMEMBERED = 20


class Pace:
    """Of one program."""

    def __init__(self) -> None:
        self._periods: deque[float] = deque(maxlen=REMEMBERED)
        self._since_s: float | None = None
        """When it began to train; None while it stands at a sync point."""
        self._said_s = 0.0

    def trains(self, now_s: float) -> None:
        """It has its answer and trains on."""
        self._since_s, self._said_s = now_s, 0.0

    def asks(self, now_s: float) -> None:
        """It has reached a sync point."""
        if self._since_s is not None:
            self._periods.append(now_s - self._since_s)
        self._since_s = None

    def ended(self) -> None:
        self._since_s = None

    def quiet(self, now_s: float) -> str:
        """What is to be said of it now, as the end of a sentence; empty if nothing is, or it was said already."""
        if self._since_s is None or not self._periods:
            return ""
        quiet_s, usual_s = now_s - self._since_s, median(self._periods)
        if quiet_s < max(QUIET_S, TIMES * usual_s, 2 * self._said_s):
            return ""
        self._said_s = quiet_s
        return f"has reached no sync point for {quiet_s:.0f} s, and usually does within {usual_s:.1f} s: does it hang?"
