"""Merge methods: how the contributions of a round become one model, by the name that a contract gives.

Used by the exchange of a round. Guarantee: a method is a pure function of (contributions in uid order, weights), the
same bits everywhere.
"""

from __future__ import annotations

from swarm.core.merge import mean, ranks
from swarm.core.merge.method import Kernel, Members, Method

__all__ = ["METHODS", "Kernel", "Members", "Method"]

METHODS: dict[str, Method] = {
    "mean": mean.MEAN,
    "coordmedian": ranks.MEDIAN,
    "trimmedmean": ranks.TRIMMED_MEAN,
}
