"""Whether a network node's wall clock can be right: compared with those of the voters, as they tell them.

Used by ``nodes/sn_heads``. Pure. With three and more voters their median is the truth, with one voter its own clock
is; two that differ show that one of them is wrong, and not which. Guarantees: what was told counts for as long as the
clocks run on, so silence changes nobody's judgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low

from swarm.core.entrytime import OFF_MS


class Clocks:
    def __init__(self) -> None:
        self._ahead_ms: dict[str, int] = {}

    def told(self, uid: str, theirs_ms: int, own_ms: int) -> None:
        """Another network node has just told the time."""
        self._ahead_ms[uid] = theirs_ms - own_ms

    def off_ms(self, own_uid: str, voters: Iterable[str]) -> int:
        """How far the own clock is ahead of the voters' median, where it is too far; else 0."""
        ahead = {**self._ahead_ms, own_uid: 0}
        known = [ahead[uid] for uid in voters if uid in ahead]
        if not known or len(known) == 2:
            return 0
        off_ms = -median_low(known)
        return off_ms if abs(off_ms) > OFF_MS else 0
