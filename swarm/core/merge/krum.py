"""Krum and Multi-Krum: the member, or members, with the nearest neighbours.

Blanchard, El Mhamdi, Guerraoui, Stainer: "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent"
(NeurIPS 2017): the Krum function, and Multi-Krum of its experiments. A member's score is the sum of its squared
distances to its n - f - 2 nearest ones.

    krum       the member of the lowest score, as it is
    multikrum  the weighted mean of the n - f members of the lowest scores

f of n members may be faulty, n > 2f + 2 (with fewer the choice is made all the same, without the paper's guarantee).
Scores count members, not weight, as f does; of equal scores the heavier member is taken, then the first by uid.
Both choose: what only those who are passed over have learned is lost, and few who agree with each other well enough
(ALIE, Baruch et al. 2019) are chosen. Under skew prefer `geomedian` or `nnm+trimmedmean`.
"""

from __future__ import annotations

from swarm.core.merge.affine import added, method
from swarm.core.merge.method import Members


def scores(members: Members) -> list[float]:
    count = len(members.weights)
    neighbours = max(count - members.faulty - 2, 1)
    rows = members.between.tolist()
    return [added(sorted(row[:i] + row[i + 1 :])[:neighbours]) for i, row in enumerate(rows)]


def _best(members: Members, count: int) -> list[float]:
    found = scores(members)
    ranked = sorted(range(len(found)), key=lambda i: (found[i], -members.weights[i], i))
    return [float(members.weights[i]) if i in ranked[:count] else 0.0 for i in range(len(found))]


KRUM = method(lambda members: _best(members, 1))
MULTI_KRUM = method(lambda members: _best(members, len(members.weights) - members.faulty))
