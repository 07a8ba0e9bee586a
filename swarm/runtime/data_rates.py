"""Rates: what a learning node's link moves each way, as measured while weights are exchanged.

Sampled by the exchange, told with the next Offer, where shares and deadlines come from it. A rate is that of the
busiest part of the last rounds: the rest is waiting for others, or for a processor. A part is long enough for what
queues let go at once (a lost packet that comes at last confirms all behind it) to weigh little. Measures of like links
still differ by more than shares should: who is about as fast as the others' middle one tells what they tell. Where all
wait for a processor, a rate is what somebody had to move by the time the others took: who is given more to move would
tell more, and be given more again. So who is faster is so only where its streams waited for the link, as the kernel
knows. What came from each other member is measured, too: who claims far more is doubted (`core/layout`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from swarm.core import layout
from swarm.runtime.data_protocol import Traffic

SHORTEST_S = 0.2
"""Samples closer than this say more about buffers than about the link: what was held up arrives at once."""
PARTS, LONGEST_S = 5, 2.0
"""What is measured is a fifth of an exchange, from ``SHORTEST_S`` to this."""
MANY = 1000
"""Samples of one exchange: one that takes minutes keeps every other."""
WORTH_BYTES = 1 << 20
"""A round that moved less each way has measured nothing."""
ALIKE, UNSTEADY_ALIKE = 1.3, 2.0
"""Who is slower or faster than the middle one by less than this is alike. What waits for a link measures about the same
in half of the rounds; what waits for a processor does not, and may be the slower by half without a slower link. Unequal
shares cost bytes for certain, and save time only where links are unequal."""
NEAR, STEADY = 0.8, 4
"""Steady is what was as near as that to the fastest in so many rounds."""
WAITS = 0.5
"""The part of the time for which streams have to have waited for the link. On links that are the limit it is .9 and
more, with 8 and 32 peers on two processors .2 and .02."""
GROWS, CREEPS = 1.03, 1.005
"""Who is alike and yet faster tells so much more: where streams are held to what all have told, no more can be measured
in most rounds, and all go on from there. Where no link is waited for it costs bytes and is for later deadlines only."""
FIRST = 3
"""So many rounds are measured before anything is told."""
ROUNDS = 8
"""After so many rounds a link that became slower is known as slow."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The counters between two moments, and what had come of each member by then."""

    before_s: float
    after_s: float
    arrived: int
    received: int
    waited_us: int
    came: dict[str, int]

    def since(self, earlier: _Sample) -> tuple[list[float], dict[str, float]]:
        """Rates each way and of each member: never too high for a thread that had to wait before it read."""
        seconds = self.after_s - earlier.before_s
        moved = (self.arrived - earlier.arrived, self.received - earlier.received)
        streams = {uid: (came - earlier.came.get(uid, 0)) / seconds for uid, came in self.came.items()}
        return [nbytes / seconds for nbytes in moved], streams


class Rates:
    """``traffic`` reads the node's counters. Called from one thread at a time."""

    def __init__(self, traffic: Callable[[], Traffic], clock: Callable[[], float] = monotonic) -> None:
        self._traffic = traffic
        self._clock = clock
        self._samples: list[_Sample] = []
        """Of the exchange under way, the first when it began."""
        self._rounds: deque[list[float]] = deque(maxlen=ROUNDS)
        self._lock = threading.Lock()
        self._came: dict[str, int] = {}
        """Bytes of each member since the exchange began."""
        self._seen: deque[dict[str, float]] = deque(maxlen=ROUNDS)
        self._waited: deque[tuple[float, float]] = deque(maxlen=ROUNDS)
        """Seconds that streams to others waited for the link, and might have."""

    def begin(self) -> None:
        """An exchange begins."""
        with self._lock:
            self._came = {}
        self._samples = [self._sampled()]

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
        if self._clock() - self._samples[-1].before_s >= SHORTEST_S:
            self._samples.append(self._sampled())
        if len(self._samples) > MANY:
            del self._samples[1::2]

    def _sampled(self) -> _Sample:
        before_s, traffic = self._clock(), self._traffic()
        with self._lock:
            came = dict(self._came)
        return _Sample(before_s, self._clock(), traffic.arrived, traffic.received, traffic.waited_us, came)

    def end(self) -> None:
        """The exchange has ended, and not been broken off."""
        self.sample()
        first, last = self._samples[0], self._samples[-1]
        if min(last.arrived - first.arrived, last.received - first.received) < WORTH_BYTES:
            return
        part_s = min(LONGEST_S, max(SHORTEST_S, (last.before_s - first.before_s) / PARTS))
        busiest, streams = [0.0, 0.0], dict[str, float]()
        for earlier, later in self._parts(part_s):
            rates, came = later.since(earlier)
            busiest = [max(each) for each in zip(busiest, rates, strict=True)]
            streams |= {uid: max(rate, streams.get(uid, 0.0)) for uid, rate in came.items()}
        others, lasted_s = max(1, len(last.came)), last.before_s - first.before_s
        self._waited.append(((last.waited_us - first.waited_us) / 1e6, others * lasted_s))
        self._rounds.append(busiest)
        self._seen.append(streams)

    def _parts(self, part_s: float) -> Iterator[tuple[_Sample, _Sample]]:
        """The shortest from each sample on that are as long as that."""
        at = 0
        for earlier in self._samples:
            while at < len(self._samples) and self._samples[at].before_s - earlier.before_s < part_s:
                at += 1
            if at == len(self._samples):
                return
            yield earlier, self._samples[at]

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
        known = sorted(rate for rate in others if rate)
        middle = known[len(known) // 2] if known else 0
        waited_s, lasted_s = map(sum, zip(*self._waited, strict=True))
        waits = waited_s >= WAITS * lasted_s
        up, down = (_beside(middle, rates, waits=waits) for rates in zip(*self._rounds, strict=True))
        return {"up": max(up, 1), "down": max(down, 1)}


def _beside(middle: int, rates: Sequence[float], *, waits: bool) -> int:
    """What is told of these rounds' rates by who has heard ``middle``, and has waited for its link or not."""
    rate = round(max(rates))
    steady = sum(each >= NEAR * rate for each in rates) >= STEADY
    alike = ALIKE if steady else UNSTEADY_ALIKE
    if middle >= alike * rate or (rate >= alike * middle and (waits or not middle)):
        return rate
    return middle if rate < ALIKE * middle else round((GROWS if waits else CREEPS) * middle)
