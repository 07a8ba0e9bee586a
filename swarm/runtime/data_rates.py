"""Rates: what a learning node's link moves each way, as measured while weights are exchanged.

Sampled by the exchange, told with the next Offer, where shares and deadlines come from it. A rate is that of the
busiest moments of the last rounds: the rest is waiting for others, or for a processor, and a measure can only be too
low. Measures of like links still differ by more than shares should: who is less than twice as fast or slow as the
others' middle one tells what they tell. What came from each other member is measured in the same way: who claims far
more is doubted (`core/layout`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from swarm.core import layout
from swarm.runtime.data_protocol import Traffic

SHORTEST_S = 0.2
"""Samples closer than this say more about buffers than about the link: what was held up arrives at once."""
WORTH_BYTES = 1 << 20
"""A round that moved less each way has measured nothing."""
ALIKE = 2
FIRST = 3
"""So many rounds are measured before anything is told."""
ROUNDS = 8
"""After so many rounds a link that became slower is known as slow."""


class Rates:
    """``traffic`` reads the node's counters. Called from one thread at a time."""

    def __init__(self, traffic: Callable[[], Traffic], clock: Callable[[], float] = monotonic) -> None:
        self._traffic = traffic
        self._clock = clock
        self._began = self._last = (clock(), Traffic())
        """When the counters were about to be read, and what they said."""
        self._busiest = [0.0, 0.0]
        self._rounds: deque[list[float]] = deque(maxlen=ROUNDS)
        self._lock = threading.Lock()
        self._came: dict[str, int] = {}
        """Bytes of each member since the last sample."""
        self._streams: dict[str, float] = {}
        self._seen: deque[dict[str, float]] = deque(maxlen=ROUNDS)

    def begin(self) -> None:
        """An exchange begins."""
        self._began = self._last = (self._clock(), self._traffic())
        self._busiest = [0.0, 0.0]
        self._streams, self._came = {}, {}

    def counted(self, uid: str, start: int, on_progress: Callable[[int], None]) -> Callable[[int], None]:
        """``on_progress`` of a transfer from this member, which begins with byte ``start``. Any thread may call it."""
        at = start

        def progress(upto: int) -> None:
            nonlocal at
            with self._lock:
                self._came[uid] = self._came.get(uid, 0) + upto - at
            at = upto
            on_progress(upto)

        return progress

    def sample(self) -> None:
        last_s, last = self._last
        now_s = self._clock()
        if now_s - last_s < SHORTEST_S:
            return
        traffic = self._traffic()
        self._last = (now_s, traffic)
        moved = (traffic.arrived - last.arrived, traffic.received - last.received)
        longest_s = self._clock() - last_s  # a thread that had to wait for a processor in between read them later
        self._busiest = [max(known, nbytes / longest_s) for known, nbytes in zip(self._busiest, moved, strict=True)]
        with self._lock:
            came, self._came = self._came, {}
        for uid, nbytes in came.items():
            self._streams[uid] = max(self._streams.get(uid, 0.0), nbytes / longest_s)

    def end(self) -> None:
        """The exchange has ended, and not been broken off."""
        self.sample()
        moved, before = self._last[1], self._began[1]
        if min(moved.arrived - before.arrived, moved.received - before.received) < WORTH_BYTES:
            return
        self._rounds.append(self._busiest)
        self._seen.append(self._streams)

    def doubted(self, claims: Mapping[str, int]) -> dict[str, int]:
        """For an Offer: what came from those whose claims cannot be. ``claims``: what all members told last, by uid."""
        if len(self._seen) < FIRST:
            return {}
        fastest = {uid: max(streams.get(uid, 0.0) for streams in self._seen) for uid in claims}
        return layout.doubted(claims, {uid: rate for uid, rate in fastest.items() if rate})

    def told(self, others: Sequence[int]) -> dict[str, int] | None:
        """For an Offer, in bytes a second; None before enough was measured. ``others``: what all told last."""
        if len(self._rounds) < FIRST:
            return None
        measured = [round(max(rates)) for rates in zip(*self._rounds, strict=True)]
        known = sorted(rate for rate in others if rate)
        middle = known[len(known) // 2] if known else 0
        up, down = (middle if rate < ALIKE * middle and middle < ALIKE * rate else rate for rate in measured)
        return {"up": max(up, 1), "down": max(down, 1)}
