"""What peers do that are up to no good: the first ones of a swarm, all in the same way.

Used by `training`. Each is what the literature on robust merging is measured with; attackers know what they need to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarm.core.merge.method import Array

Forge = Callable[[Array, Array, int, np.random.Generator], Array]
"""(base, the models that all have trained, how many attack, chance): what the attackers offer."""


@dataclass(frozen=True)
class Attack:
    name: str
    peers: int = 0
    flips: bool = False
    """They learn honestly from wrong labels: 9 - y."""
    forge: Forge | None = None
    told: int = -1
    """`maxFaulty` of the contract; -1: left out, so it is a third."""


def sign_flip(base: Array, models: Array, count: int, random: np.random.Generator) -> Array:
    """What has been learned, four times and backwards."""
    return np.asarray(base - np.float32(4) * (models[:count] - base))


def noise(base: Array, models: Array, count: int, random: np.random.Generator) -> Array:
    """What has been learned, with normal noise on every weight."""
    return np.asarray(models[:count] + random.standard_normal((count, models.shape[1])).astype(np.float32))


def alie(base: Array, models: Array, count: int, random: np.random.Generator) -> Array:
    """A little is enough (Baruch, Baruch, Goldberg 2019): 1.5 deviations below the mean of the honest ones."""
    honest = models[count:].astype(np.float64)
    one = honest.mean(0) - 1.5 * honest.std(0)
    return np.broadcast_to(one.astype(np.float32), (count, models.shape[1]))


NONE = Attack("none")
ATTACKS = (
    NONE,
    Attack("3/10 label flip", 3, flips=True, told=3),
    Attack("2/10 sign flip ×4", 2, forge=sign_flip, told=2),
    Attack("2/10 sign flip ×4, maxFaulty left out", 2, forge=sign_flip),
    Attack("3/10 noise", 3, forge=noise, told=3),
    Attack("3/10 ALIE", 3, forge=alie, told=3),
)
