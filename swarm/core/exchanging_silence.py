"""Silence: when a pull has been without a byte for so long that who owes it is to be blamed.

Kept by ``core/exchanging``, for one attempt. A member that is dead and a machine that is slow look alike from one pull;
what tells them apart is how the other pulls go. So the time that is given grows with the longest wait that ended well
in this attempt, and while most of the others that are under way bring nothing either, it is the time for those that
have reasons of their own. Where most are dead indeed, nobody's word is lost: so few are left that they are no majority.
Guarantee: no more than ``PATIENCE`` times ``PATIENCE`` the time that a quiet machine gives, whatever anybody sends.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarm.core.exchanging_places import Lane

SILENT_S = 5.0
RTTS = 20
"""A member that owes bytes is blamed when none came for SILENT_S, or this many round trips if that is longer."""
PATIENCE = 3
"""An owner that lives may wait for others: for ever while this member does too, so many times longer after that."""
PAUSE_S = 2.0
"""Ticks further apart than this: this member itself stood still, and nobody else is to blame for it."""
TIMES = 2
"""What has taken so long once may take this many times longer on the same machine."""


class Silence:
    def __init__(self) -> None:
        self._longest_s = 0.0
        """The longest wait in this attempt that ended with a byte, or with a sign of life where that is enough."""
        self._ticked_s: float | None = None

    def ends(self, lane: Lane, now_s: float) -> None:
        """Something comes for this lane now."""
        self._longest_s = max(self._longest_s, quiet_s(lane, now_s))

    def pause_s(self, now_s: float) -> float:
        """A tick: for how long this member itself stood still before it; else 0."""
        gap_s, self._ticked_s = now_s - (now_s if self._ticked_s is None else self._ticked_s), now_s
        return gap_s if gap_s > PAUSE_S else 0.0

    def patience_s(self, lane: Lane, lanes: Iterable[Lane], rtt_s: float, now_s: float) -> float:
        """How long this one may be quiet, ``lanes`` being all of the attempt."""
        usual_s = max(SILENT_S, min(TIMES * self._longest_s, PATIENCE * SILENT_S))
        whose = lane.pull.source if lane.pull else lane.of
        others = [quiet_s(one, now_s) for one in lanes if one.pull is not None and one.pull.source != whose]
        quiet = sum(2 * other_s >= usual_s for other_s in others)
        return max(PATIENCE * usual_s if 2 * quiet > len(others) else usual_s, RTTS * rtt_s)


def quiet_s(lane: Lane, now_s: float) -> float:
    """A contribution lies ready, so it has to move; who owes what it makes itself only has to live."""
    return now_s - (lane.moved_s if lane.what == "offer" else lane.heard_s)
