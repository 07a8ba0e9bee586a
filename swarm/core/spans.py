"""Spans: which bytes of something are there, as ranges.

Used by the exchange of a round, for contributions that arrive in pieces and are kept from one attempt to the next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""From the first byte to the one behind the last."""


class Spans:
    """A set of numbers from 0 on, kept as sorted ranges that neither touch nor overlap."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop)
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last], self._stops[first:last] = [start], [stop]

    def covers(self, start: int, stop: int) -> bool:
        at = bisect_right(self._starts, start) - 1
        return start >= stop or (at >= 0 and stop <= self._stops[at])

    def within(self, start: int, stop: int) -> Spans:
        """What lies between ``start`` and ``stop``."""
        found, places = Spans(), self._between(start, stop)
        found._starts = [max(start, self._starts[place]) for place in places]
        found._stops = [min(stop, self._stops[place]) for place in places]
        return found

    def gaps(self, start: int, stop: int) -> Iterator[Range]:
        """What is missing between ``start`` and ``stop``, in order."""
        at = start
        for place in self._between(start, stop):
            if at < self._starts[place]:
                yield at, self._starts[place]
            at = self._stops[place]
        if at < stop:
            yield at, stop

    def _between(self, start: int, stop: int) -> range:
        """The places of the ranges that have numbers between them."""
        return range(bisect_right(self._stops, start), bisect_left(self._starts, stop) if start < stop else 0)

    def __iter__(self) -> Iterator[Range]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        """How many bytes that is."""
        return sum(self._stops) - sum(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Spans({list(self)})"
