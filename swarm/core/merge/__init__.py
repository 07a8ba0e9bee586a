"""Merge methods: how the contributions of a round become one model, by the name that a contract gives.

Used by the exchange of a round. Guarantee: a method is a pure function of (contributions in uid order, weights), the
same bits everywhere.
"""

from __future__ import annotations

from swarm.core.merge import clipping, geomedian, krum, mean, mixing, ranks
from swarm.core.merge.method import Kernel, Members, Method

__all__ = ["METHODS", "Kernel", "Members", "Method"]

METHODS: dict[str, Method] = {
    "mean": mean.MEAN,
    "coordmedian": ranks.MEDIAN,
    "geomedian": geomedian.GEOMEDIAN,
    "trimmedmean": ranks.TRIMMED_MEAN,
    "krum": krum.KRUM,
    "multikrum": krum.MULTI_KRUM,
    "centeredclip": clipping.CENTERED_CLIP,
    "nnm+trimmedmean": mixing.NNM_TRIMMED_MEAN,
}
