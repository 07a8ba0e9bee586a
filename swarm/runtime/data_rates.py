"""Rates: what a learning node's link moves each way, as measured while weights are exchanged.

Sampled by the exchange, told with the next Offer, where shares and deadlines come from it. A rate is that of the
busiest moments of a round (the rest of it is waiting for others), smoothed over rounds. Measures of like links differ
by more than shares should: who is less than twice as fast or slow as the others' middle one tells what they tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from swarm.runtime.data_protocol import Traffic

SHORTEST_S = 0.05
"""Samples closer than this say more about buffers than about the link."""
WORTH_BYTES = 1 << 20
"""A round that moved less each way has measured nothing."""
ALIKE = 2


class Rates:
    """``traffic`` reads the node's counters. Called from one thread at a time."""

    def __init__(self, traffic: Callable[[], Traffic], clock: Callable[[], float] = monotonic) -> None:
        self._traffic = traffic
        self._clock = clock
        self._began = self._last = (clock(), Traffic())
        self._busiest = [0.0, 0.0]
        self._smooth: list[int] = []

    def begin(self) -> None:
        """An exchange begins."""
        self._began = self._last = (self._clock(), self._traffic())
        self._busiest = [0.0, 0.0]

    def sample(self) -> None:
        now_s, traffic = self._clock(), self._traffic()
        last_s, last = self._last
        if now_s - last_s < SHORTEST_S:
            return
        self._last = (now_s, traffic)
        moved = (traffic.sent - last.sent, traffic.received - last.received)
        self._busiest = [
            max(known, nbytes / (now_s - last_s)) for known, nbytes in zip(self._busiest, moved, strict=True)
        ]

    def end(self) -> None:
        """The exchange has ended: what it measured counts a quarter, the rounds before it the rest."""
        self.sample()
        moved, before = self._last[1], self._began[1]
        if min(moved.sent - before.sent, moved.received - before.received) < WORTH_BYTES:
            return
        new = [round(rate) for rate in self._busiest]
        self._smooth = [(3 * old + now) // 4 for old, now in zip(self._smooth or new, new, strict=True)]

    def told(self, others: Sequence[int]) -> dict[str, int] | None:
        """For an Offer, in bytes a second; None before anything was measured. ``others``: what they told last."""
        if not self._smooth:
            return None
        known = sorted(rate for rate in others if rate)
        middle = known[len(known) // 2] if known else 0
        up, down = (middle if rate < ALIKE * middle and middle < ALIKE * rate else rate for rate in self._smooth)
        return {"up": max(up, 1), "down": max(down, 1)}
