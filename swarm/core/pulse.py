"""The pulse: whether the other end of a link still lives, by its beats and by one's own.

Kept by ``runtime/control``, one a link. A process that is dead says nothing; one that waits for its turn on a busy
machine says it late, and so do all others there, this one included. So silence is counted in own beats, which a stall
of this process delays as well, and beats that have come late, the other's or one's own, prolong what is waited for (in
the manner of Chen, Toueg and Aguilera, On the Quality of Service of Failure Detectors, 2002, section 6). Guarantees: on
a machine that keeps up, ``MISSED_MAX`` beats; never more than ``LONGEST`` times as long, whatever came how late.
"""

from __future__ import annotations

from swarm.core.lateness import Lateness

MISSED_MAX = 3
LONGEST = 5
"""Of what a machine that keeps up is given."""
TIMES = 4
"""A beat may be so many times later than the latest of late."""
FADING = 0.8
"""What is left of a lateness with every beat that comes in time."""


class Pulse:
    """Beats are ``beat_s`` apart; times are of a clock that only goes forward."""

    def __init__(self, beat_s: float, now_s: float) -> None:
        self._beat_s = beat_s
        self._heard_s = self._own_s = now_s
        self._theirs_s: float | None = None
        self._silent = 0
        """Own beats since the last sign of life."""
        self._own, self._theirs = Lateness(beat_s / 10, FADING), Lateness(beat_s / 10, FADING)
        """A tenth of a beat is no lateness: every machine has that."""

    def hear(self, now_s: float) -> None:
        """A sign of life, whatever it is."""
        self._silent, self._heard_s = 0, now_s

    def feel(self, now_s: float) -> None:
        """A beat of the other's."""
        if self._theirs_s is not None:
            self._theirs.came(now_s - self._theirs_s - self._beat_s)
        self._theirs_s = now_s

    def beat(self, now_s: float) -> str:
        """An own beat; what there is against the other, as the end of a sentence, or "" when it lives."""
        self._own.came(now_s - self._own_s - self._beat_s)
        self._own_s, self._silent = now_s, self._silent + 1
        if self._silent <= MISSED_MAX or now_s - self._heard_s <= self.patience_s:
            return ""
        return f"no sign of life for {self.patience_s:.2g} s"

    @property
    def patience_s(self) -> float:
        usual_s = self._beat_s * MISSED_MAX
        late_s = TIMES * max(self._own.late_s, self._theirs.late_s)
        return min(usual_s + late_s, usual_s * LONGEST)
