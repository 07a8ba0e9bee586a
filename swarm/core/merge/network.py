"""Sorting networks: the values of many members put in order, column by column, without looking at any one column.

Used by the methods that go by rank. A comparator is one np.minimum and one np.maximum over two whole rows, so a network
sorts as many columns at once as fit a core's cache; np.sort along the columns takes ten times as long. Guarantees: the
order is total (-0.0 is 0.0, and comes out as 0.0), so a row's bits depend neither on the order of the members nor on
the machine; other values are moved, never changed.

Networks are Batcher's odd-even merge sort (Batcher 1968; Knuth, TAOCP 3, 5.2.2, algorithm M), less what the ranks that
are asked for do not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from swarm.core.merge.method import Array
from swarm.core.tensors import STORAGE

ROOM_BYTES = 3 << 19
"""What is at work at once: as much as stays in a core's own cache."""
HALVES = ("float16", "bfloat16")
"""Compared as whole numbers, of which a machine does many at once."""

Comparator = tuple[int, int, bool, bool]
"""Rows i and j; whether the lower value (to i) and the higher one (to j) are asked for."""


class Rows:
    """Room for the rows of one block of columns after the other, so many members' at once."""

    def __init__(self, dtype: str, members: int, columns: int) -> None:
        self._dtype = dtype
        self._halves = dtype in HALVES
        storage = np.dtype(np.int16) if self._halves else np.dtype(STORAGE[dtype])
        rows = 2 * members + 2 if self._halves else members + 2
        self._columns = columns
        self._block = max(1024, ROOM_BYTES // (rows * storage.itemsize))
        self._room = np.empty((rows, min(columns, self._block)), storage)

    def blocks(self) -> Iterator[slice]:
        for start in range(0, self._columns, self._block):
            yield slice(start, start + self._block)

    def load(self, parts: Sequence[Array]) -> list[Array]:
        """The parts as they are compared. They stay until the next load."""
        if not self._halves:
            return list(parts)
        rows = [row[: len(parts[0])] for row in self._room[-len(parts) :]]
        for part, row in zip(parts, rows, strict=True):
            _to_order(part.view(np.int16), row)
        return rows

    def sort(self, loaded: Sequence[Array], ranks: range) -> list[Array]:
        """These rows in order, in this room; of what comes only those of the ``ranks`` are so."""
        free = [row[: len(loaded[0])] for row in self._room[: len(loaded) + 2]]
        rows, ours = list(loaded), [False] * len(loaded)
        for i, j, low, high in network(len(rows), ranks):
            pair = rows[i], rows[j]
            if low:
                rows[i] = np.minimum(*pair, out=free.pop())
            if high:
                rows[j] = np.maximum(*pair, out=free.pop())
            free += [row for row, known in zip(pair, (ours[i], ours[j]), strict=True) if known]
            ours[i], ours[j] = low, high
        return rows

    def stored(self, row: Array) -> Array:
        """Of a row in order: its elements as they are stored."""
        if self._halves:
            return _from_order(row).view(STORAGE[self._dtype])
        return row + row.dtype.type(0) if self._dtype.startswith("float") else row  # -0.0 + 0.0 = 0.0


def _to_order(bits: Array, out: Array) -> None:
    """Sign and magnitude to a whole number of the same order; both zeros are 0."""
    sign = bits >> 15  # 0 or -1
    np.bitwise_and(bits, 0x7FFF, out=out)
    np.bitwise_xor(out, sign, out=out)
    np.subtract(out, sign, out=out)


def _from_order(keys: Array) -> Array:
    sign = keys >> 15
    bits: Array = (keys ^ sign) - sign
    bits |= sign & np.int16(-0x8000)
    return bits


@cache
def network(count: int, ranks: range) -> tuple[Comparator, ...]:
    """What brings the values of these ranks, which are in the middle, into the rows of these numbers, upwards.

    Two of more (in any order) or one are found faster by throwing out the least and the greatest, again and again.
    """
    assert ranks.start + ranks.stop == count, (count, ranks)
    sorting = _pruned(list(_batcher(count)), set(ranks))
    if len(ranks) > 2 or len(ranks) == count:
        return sorting
    return min(sorting, _forgetting(count, ranks), key=lambda steps: sum(low + high for _, _, low, high in steps))


def _pruned(pairs: list[tuple[int, int]], wanted: set[int]) -> tuple[Comparator, ...]:
    kept: list[Comparator] = []
    for i, j in reversed(pairs):
        if i in wanted or j in wanted:
            kept.append((i, j, i in wanted, j in wanted))
            wanted |= {i, j}
    return tuple(reversed(kept))


def _batcher(count: int) -> Iterator[tuple[int, int]]:
    highest = 1 << (count - 1).bit_length() >> 1
    p = highest
    while p:
        q, r, distance = highest, 0, p
        while True:
            yield from ((i, i + distance) for i in range(count - distance) if i & p == r)
            if q == p:
                break
            distance, q, r = q - p, q >> 1, p
        p >>= 1


def _forgetting(count: int, ranks: range) -> tuple[Comparator, ...]:
    """Of so many that the least and the greatest are surely outside of ``ranks``: forget both, take one more in."""
    pairs: list[tuple[int, int]] = []
    known = count - ranks.start + 1
    rows, others = list(range(count))[:known], list(range(count))[known:]
    for _ in range(ranks.start):
        low, high = rows[::2], rows[1::2]
        pairs += zip(low, high, strict=False)
        pairs += [(low[0], row) for row in low[1:]]
        high += low[-1:] if len(low) > len(high) else []
        pairs += [(row, high[-1]) for row in high[:-1]]
        rows = [row for row in rows if row not in (low[0], high[-1])] + others[:1]
        others = others[1:]
    rest = [row for row in range(count) if row not in rows]
    places = [place for place in range(count) if place not in ranks]
    named = dict(zip([*rows, *rest], [*ranks, *places], strict=True))
    return _pruned([(named[i], named[j]) for i, j in pairs], set(ranks))
