"""Methods that go by rank, element by element: the coordinate-wise median and trimmed mean.

Yin, Chen, Ramchandran, Bartlett: "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates" (ICML
2018), algorithm 1, options I and II. Both bear f members, whoever they are, up to fewer than half of the weight; both
assume that honest contributions are alike: where organisations' data differ, so do their weights, and what the rarer
organisations have learned is cut off. `mixing` is the remedy.

    coordmedian  w equal: the middle value, or the mean of the two middle ones (as HPE). Else, sorted upwards with W the
                 whole and C the weight up to and with a value: lo = the first value with 2C >= W, hi = the first with
                 2C > W, the result is (lo + hi) / 2. So a weight of 3 is three members of weight 1.
    trimmedmean  From each end as much weight is cut off as the f heaviest members have, part of a value's weight if
                 need be; the weighted mean of what is left. Never is half of the weight cut off or more: there it
                 becomes the median. With equal weights: f values from each end.

The mean of what is left is `mean`'s, so integers and booleans are exact, and everything is rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from swarm.core.merge import mean
from swarm.core.merge.method import Array, Kernel, Members, Method
from swarm.core.merge.network import Rows


def median(members: Members) -> Kernel:
    weights = _reduced(members.weights)
    if len(set(weights)) == 1:
        count = len(weights)
        middle = sorted({(count - 1) // 2, count // 2})
        return _between(range(middle[0], middle[-1] + 1))
    return _weighted_median(weights)


def trimmed_mean(members: Members) -> Kernel:
    weights = _reduced(members.weights)
    if len(set(weights)) == 1:
        return _between(range(members.faulty, len(weights) - members.faulty))
    cut = sum(sorted(weights)[len(weights) - members.faulty :])
    return _weighted_trim(weights, min(cut, (sum(weights) - 1) // 2))


def _reduced(weights: Sequence[int]) -> list[int]:
    divisor = gcd(*weights)
    return [weight // divisor for weight in weights]


def _between(ranks: range) -> Kernel:
    """The mean of the values of these ranks."""

    def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
        room = Rows(dtype, len(parts), len(out))
        for block in room.blocks():
            rows = room.sort(room.load([part[block] for part in parts]), ranks)
            left = [(room.stored(rows[rank]), 1) for rank in ranks]
            mean.combine(dtype, left, len(left), out[block])

    return merged


def _weighted_median(weights: list[int]) -> Kernel:
    whole = sum(weights)

    def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
        room = Rows(dtype, len(parts), len(out))
        for block in room.blocks():
            rows, upto = _weighed(room, [part[block] for part in parts], weights)
            values = np.stack(rows)
            low, high = _passed(upto, (whole - 1) // 2), _passed(upto, whole // 2)
            middle = [(room.stored(_taken(values, passed)), 1) for passed in (low, high)]
            mean.combine(dtype, middle, 2, out[block])

    return merged


def _passed(upto: list[Array], weight: int) -> Array:
    """In how many of a column's values, from the first on, all weight so far is not more than this."""
    count = np.zeros(len(upto[0]), np.int16)
    for so_far in upto:
        np.add(count, (so_far <= weight).view(np.int8), out=count)
    return count


def _taken(rows: Array, ranks: Array) -> Array:
    """Of each column the value in the row of this rank."""
    columns = rows.shape[1]
    taken: Array = rows.ravel().take(ranks.astype(np.intp) * columns + np.arange(columns))
    return taken


def _weighted_trim(weights: list[int], cut: int) -> Kernel:
    whole = sum(weights)

    def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
        room = Rows(dtype, len(parts), len(out))
        for block in room.blocks():
            rows, upto = _weighed(room, [part[block] for part in parts], weights)
            kept = [np.clip(weight, cut, whole - cut) for weight in upto]
            below = [np.full_like(kept[0], cut), *kept[:-1]]
            left = [(room.stored(row), upper - lower) for row, upper, lower in zip(rows, kept, below, strict=True)]
            mean.combine(dtype, left, whole - 2 * cut, out[block])

    return merged


def _weighed(room: Rows, parts: Sequence[Array], weights: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """The rows in order, and the weight of all values up to and with each: of equal ones the first has it all.

    Weights are found by comparing, not carried along: so ties cannot matter, and any element type will do.
    """
    values = room.load(parts)
    rows = room.sort(values, range(len(parts)))
    whole = np.min_scalar_type(-2 * sum(weights))  # the narrower, the more of them a machine does at once
    term, total = np.empty(len(rows[0]), whole), np.empty((len(rows), len(rows[0])), whole)
    below = np.empty(len(rows[0]), np.bool_)
    for row, upto in zip(rows, total, strict=True):
        upto[:] = 0
        for value, weight in zip(values, weights, strict=True):
            np.copyto(term, np.less_equal(value, row, out=below))
            np.multiply(term, whole.type(weight), out=term)
            np.add(upto, term, out=upto)
    return rows, list(total)


MEDIAN = Method(median)
TRIMMED_MEAN = Method(trimmed_mean)
