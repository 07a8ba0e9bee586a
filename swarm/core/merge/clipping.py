"""Centered clipping: the mean of the contributions after each was pulled in to a ball around a centre.

Karimireddy, He, Jaggi: "Learning from History for Byzantine Robust Optimization" (ICML 2021), centered clipping: from
a centre v on, v ← v + Σ wᵢ/W · (xᵢ - v) · min(1, τ/‖xᵢ - v‖). It bears faulty members of less than half of the weight.

The paper starts from the model before and leaves τ to the user. Here both come from the distances, so the method needs
neither history nor tuning: the first centre is the member with the least weighted sum of distances to all (the medoid),
and τ in each of STEPS is the weighted median of the distances to the centre, so at least half of the weight counts in
full. Of medoids with one weight it is their mean: nothing says that the first of two is right and the second is not.
"""

from __future__ import annotations

from swarm.core.merge.affine import added, apart, medoids, method, middle, shares
from swarm.core.merge.method import Members

STEPS = 24


def coefficients(members: Members) -> list[float]:
    weights, between, centre = shares(members), members.between, medoids(members)
    found = [(i in centre) / len(centre) for i in range(len(weights))]
    for _ in range(STEPS):
        far = apart(between, found)
        radius = middle(far, members.weights)
        pulls = [w if each <= radius else w * (radius / each) for w, each in zip(weights, far, strict=True)]
        stay = 1.0 - added(pulls)
        found = [max(0.0, each * stay) + pull for each, pull in zip(found, pulls, strict=True)]
    return found


CENTERED_CLIP = method(coefficients)
