"""Lateness: how late something comes of late, and what that adds to the time that others are given.

`Lateness` is kept by `pulse`, for beats. `Turns` is kept by ``runtime/mesh``, one a process: whoever shakes hands with
this process waits for it too, and where the loop comes late to every step, five seconds of it are not five seconds of
the stranger's. Guarantee: a process that gets its turns in time gives exactly the limit, one that does not no more than
``LONGEST`` times as much.
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
    """``late_s``: the most of late, of which each time in time leaves the part ``fading``."""

    def __init__(self, least_s: float, fading: float) -> None:
        self._least_s, self._fading = least_s, fading
        self.late_s = 0.0

    def came(self, late_s: float) -> None:
        """So much later than it should have."""
        most_s = max(late_s, self.late_s * self._fading)
        self.late_s = most_s if most_s > self._least_s else 0.0


class Turns(Lateness):
    """Of this process: looked at every ``LOOK_S``."""

    def __init__(self) -> None:
        super().__init__(LEAST_S, FADING)

    def allows_s(self, limit_s: float) -> float:
        """How long whatever may take ``limit_s`` on a machine that keeps up may take now."""
        return min(limit_s + TURNS * self.late_s, limit_s * LONGEST)
