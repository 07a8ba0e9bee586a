"""Lateness: how late this process gets its turn, and what that adds to the time that others are given.

Kept by ``runtime/mesh``, one a process. Whoever shakes hands with this process waits for it too: where the loop comes
late to every step, five seconds of it are not five seconds of the stranger's. Guarantee: a process that gets its turns
in time gives exactly the limit, one that does not no more than ``LONGEST`` times as much.
"""

from __future__ import annotations

LOOK_S = 0.25
LEAST_S = 0.1
"""Less is no lateness: every machine has that now and then."""
TURNS = 10
"""So many turns of the loop a handshake takes, on either side."""
LONGEST = 4
FADING = 0.9


class Lateness:
    """``late_s``: of late, at most; looked at every ``LOOK_S``."""

    def __init__(self) -> None:
        self.late_s = 0.0

    def woke(self, late_s: float) -> None:
        """So much later than it asked for, the loop has come back."""
        self.late_s = max(late_s if late_s > LEAST_S else 0.0, self.late_s * FADING)
        if self.late_s < LEAST_S:
            self.late_s = 0.0

    def allows_s(self, limit_s: float) -> float:
        """How long whatever may take ``limit_s`` on a machine that keeps up may take now."""
        return min(limit_s + TURNS * self.late_s, limit_s * LONGEST)
