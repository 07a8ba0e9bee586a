"""Combinations: methods whose result is z = Σ λᵢ·xᵢ with λ found from the distances alone.

Used by those methods (`krum`, `geomedian`, `clipping`). Any z with Σλ = 1 is ‖xᵢ - z‖² = (Pλ)ᵢ - λᵀPλ/2 away from xᵢ,
where P are the squared distances: so λ is found on N numbers, wherever the models are, and is the same for every shard.

Guarantees: λ in float64 by element-wise operations in fixed order (no sum(): from Python 3.12 on it adds up otherwise),
then in whole numbers of 2^-28: so what is merged with is the same to the bit for whoever computes λ half as exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import fsum, sqrt

import numpy as np

from swarm.core.merge import mean
from swarm.core.merge.method import Array, Kernel, Members, Method

ONE = 1 << 28
"""λ = 1 in whole numbers; times a float32 it is exact in float64."""

Coefficients = Callable[[Members], Sequence[float]]
"""λ, one a member; only their proportions count. None is below 0, and not all are 0."""


def method(coefficients: Coefficients) -> Method:
    """The merge method with these λ. Integers and booleans are merged with them as with weights (`mean`)."""

    def kernel(members: Members) -> Kernel:
        counts = whole(coefficients(members))

        def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
            mean.merge(dtype, parts, counts, out)

        return merged

    return Method(kernel, distances=True)


def whole(coefficients: Sequence[float]) -> tuple[int, ...]:
    total = added(coefficients)
    assert total > 0, coefficients
    return tuple(round(each / total * ONE) for each in coefficients)


def added(numbers: Iterable[float]) -> float:
    """From the first to the last, as sum() was before it took to compensating."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def shares(members: Members) -> list[float]:
    """What part of the weight each member has."""
    total = sum(members.weights)
    return [weight / total for weight in members.weights]


def apart(between: Array, coefficients: Sequence[float]) -> list[float]:
    """How far each member is from Σ λᵢ·xᵢ; Σ λ = 1."""
    to_all = np.zeros(len(between))
    for row, each in zip(between, coefficients, strict=True):
        to_all += row * each
    within = added(distance * each for distance, each in zip(to_all.tolist(), coefficients, strict=True))
    return [sqrt(max(0.0, distance - within / 2)) for distance in to_all.tolist()]


def medoids(members: Members) -> list[int]:
    """The members with the least weighted sum of distances to all; of equals the heaviest, and all of those."""
    weights = shares(members)
    sums = [
        fsum(weight * sqrt(far) for weight, far in zip(weights, row, strict=True)) for row in members.between.tolist()
    ]
    ranks = [(each, -weight) for each, weight in zip(sums, weights, strict=True)]
    return [i for i, rank in enumerate(ranks) if rank == min(ranks)]


def middle(numbers: Sequence[float], weights: Sequence[int]) -> float:
    """The lower weighted median."""
    upto, whole_ = 0, sum(weights)
    for number, weight in sorted(zip(numbers, weights, strict=True)):
        upto += weight
        if 2 * upto >= whole_:
            return number
    raise AssertionError("no numbers")
