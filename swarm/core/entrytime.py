"""Entry time: what a leader stamps its entries with: its wall clock, except while that has jumped ahead.

Kept by ``runtime/clock``, one a network node, and told both clocks at every reading. The ledger's time never goes back,
and certificates are judged by it: one entry from a clock that is a year ahead for a moment would refuse whoever joins,
for a year. Guarantees: a clock that jumps ahead by more than OFF_MS, and is set right within an hour, moves no entry;
entries never wait for a clock, they go on with the time that it would show had it not jumped; a jump that lasts an hour
is believed; a process that begins on a host whose clock is ahead knows no better than that clock.
"""

from __future__ import annotations

OFF_MS = 120_000
"""A clock that is further off than this is wrong."""
LASTS_MS = 3_600_000


class EntryTime:
    def __init__(self) -> None:
        self._origin_ms: int | None = None
        """What the wall clock would have shown when the other one was at 0: the latest that was believed."""
        self._jump_ms: tuple[int, int] | None = None
        """The same of a jump that is not believed yet, and when it was seen."""

    def ahead_ms(self, wall_ms: int, now_ms: int) -> int:
        """How far the wall clock is ahead of what it would show had it not jumped; 0: it is believed.

        ``now_ms``: on the clock that only goes forward, also while the machine sleeps.
        """
        origin_ms = wall_ms - now_ms
        believed_ms = origin_ms if self._origin_ms is None else self._origin_ms
        if origin_ms - believed_ms > OFF_MS and not self._lasts(origin_ms, now_ms):
            return origin_ms - believed_ms
        self._origin_ms, self._jump_ms = max(believed_ms, origin_ms), None
        return 0

    def _lasts(self, origin_ms: int, now_ms: int) -> bool:
        if self._jump_ms is None or abs(origin_ms - self._jump_ms[0]) > OFF_MS:
            self._jump_ms = origin_ms, now_ms
        return now_ms - self._jump_ms[1] >= LASTS_MS
