"""Nearest-neighbour mixing before the trimmed mean.

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan: "Fixing by Mixing: A Recipe for Optimal Byzantine ML under
Heterogeneity" (AISTATS 2023), algorithm 2: each contribution is replaced by the mean of its n - f nearest ones, itself
among them; then a rule by rank (`ranks`). The best of the methods here where organisations' data differ.

f of n members may be faulty, 2f < n. Neighbours count one each, as f does, and of equally near ones the heavier is
taken, then the first by uid; within a mean, and in the trimmed mean, weights count. The trimmed mean is taken of the
mixed values in float64 and rounded once. Integers and booleans are not mixed: of them it is taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swarm.core.merge import mean, ranks
from swarm.core.merge.mean import BLOCK
from swarm.core.merge.method import Array, Kernel, Members, Method
from swarm.core.tensors import FLOATS


def kernel(members: Members) -> Kernel:
    mixes = [neighbours(members, i) for i in range(len(members.weights))]
    trimmed = ranks.trimmed_mean(members)

    def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
        if dtype not in FLOATS:
            trimmed(dtype, parts, out)
            return
        for start in range(0, len(out), BLOCK):
            block = slice(start, start + BLOCK)
            values = [mean.as_float64(dtype, part[block]) for part in parts]
            mixed = [_mixed(values, members.weights, mix) for mix in mixes]
            left = np.empty_like(values[0])
            trimmed("float64", mixed, left)
            mean.rounded(dtype, left, out[block])

    return merged


def neighbours(members: Members, one: int) -> list[int]:
    """The n - f members nearest to this one, itself among them, in the order of their uids."""
    row, weights = members.between[one].tolist(), members.weights
    nearest = sorted(range(len(row)), key=lambda i: (i != one, row[i], -weights[i], i))
    return sorted(nearest[: len(row) - members.faulty])


def _mixed(values: Sequence[Array], weights: Sequence[int], mix: Sequence[int]) -> Array:
    mixed = np.empty_like(values[0])
    mean.combine("float64", [(values[i], weights[i]) for i in mix], sum(weights[i] for i in mix), mixed)
    return mixed


NNM_TRIMMED_MEAN = Method(kernel, distances=True)
