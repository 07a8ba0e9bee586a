"""The geometric median: the point with the least weighted sum of distances to the contributions.

HPE's geomedian. Pillutla, Kakade, Harchaoui: "Robust Aggregation for Federated Learning" (IEEE TSP 2022), the
smoothed Weiszfeld algorithm: λᵢ ← wᵢ / max(ν, ‖xᵢ - z‖), normalised, from the mean on. It bears faulty members of
less than half of the weight and needs not be told how many; it moves by little for each of them.

No rule for stopping can end elsewhere on another machine: STEPS are taken, less those after one that moved no bit,
which move none either. Thirty most often reach that. ν is SMOOTHING of the middle distance between two members, so the
scale of the weights does not matter.
"""

from __future__ import annotations

from math import sqrt

from swarm.core.merge.affine import added, apart, method, middle, shares
from swarm.core.merge.method import Members

STEPS = 128
SMOOTHING = 1e-6


def coefficients(members: Members) -> list[float]:
    weights, between = shares(members), members.between
    distances = [sqrt(distance) for i, row in enumerate(between.tolist()) for distance in row[:i]]
    smallest = SMOOTHING * middle(distances, [1] * len(distances)) if distances else 0.0
    found = weights
    for _ in range(STEPS if smallest else 0):
        pulls = [weight / max(smallest, far) for weight, far in zip(weights, apart(between, found), strict=True)]
        total = added(pulls)
        before, found = found, [pull / total for pull in pulls]
        if found == before:
            break
    return found


GEOMEDIAN = method(coefficients)
