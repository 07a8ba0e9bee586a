"""The geometric median: the point with the least weighted sum of distances to the contributions.

HPE's geomedian. Pillutla, Kakade, Harchaoui: "Robust Aggregation for Federated Learning" (IEEE TSP 2022), the
smoothed Weiszfeld algorithm: λᵢ ← wᵢ / max(ν, ‖xᵢ - z‖), normalised, from the mean on. It bears faulty members of
less than half of the weight and needs not be told how many; it moves by little for each of them.

The paper leaves ν to the user. Here it is SMOOTHING of the scale: how far more than half of the weight is at most from
the medoid (the member with the least weighted sum of distances to all). Distances between faulty members have no part
in that, however many pairs they make up, and neither the scale of the weights nor that of the contributions matters.

    scale 0      more than half of the weight is in one place, and that is the median: who is there counts by weight
    START        the mean to begin with is of those within so many scales of the medoid: steps are saved that way, which
                 are finite, not members
    COUNTED      who is further away than so many scales has no part: its λ would be less than a unit of 2^-28, while
                 what is near cannot be told apart beside it in float64

No rule for stopping can end elsewhere on another machine: STEPS are taken, less those after one that moved no bit,
which move none either. Thirty most often reach that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from swarm.core.merge.affine import added, apart, medoids, method
from swarm.core.merge.method import Members

STEPS = 128
SMOOTHING = 1e-6
START = 64.0
COUNTED = 2.0**30


def coefficients(members: Members) -> list[float]:
    far = [sqrt(distance) for distance in members.between[medoids(members)[0]].tolist()]
    scale = _most_are_within(far, members.weights)
    found = _shares_within(START * scale, far, members.weights)
    weights = _shares_within(COUNTED * scale, far, members.weights)
    for _ in range(STEPS if scale else 0):
        to_all = apart(members.between, found)
        pulls = [weight / max(SMOOTHING * scale, each) for weight, each in zip(weights, to_all, strict=True)]
        total = added(pulls)
        before, found = found, [pull / total for pull in pulls]
        if found == before:
            break
    return found


def _most_are_within(far: Sequence[float], weights: Sequence[int]) -> float:
    """The least distance within which more than half of the weight is: the upper weighted median."""
    upto, whole = 0, sum(weights)
    for distance, weight in sorted(zip(far, weights, strict=True)):
        upto += weight
        if 2 * upto > whole:
            return distance
    raise AssertionError("no members")


def _shares_within(most: float, far: Sequence[float], weights: Sequence[int]) -> list[float]:
    """What part of the weight each of those has that are no further away."""
    counted = [weight if distance <= most else 0 for distance, weight in zip(far, weights, strict=True)]
    return [weight / sum(counted) for weight in counted]


GEOMEDIAN = method(coefficients)
