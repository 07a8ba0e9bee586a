"""What a merge method is, to those who write one and to those who run one.

Used by every method of this package and by the exchange of a round. Guarantee: a method sees weights, distances and
elements, never names, times or machines, so what it makes of the same contributions is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

Kernel = Callable[[str, Sequence[Array], Array], None]
"""(element type, the members' stored elements, out): merges a stretch of one tensor into ``out``, none of the others.

Columns are independent: any cut of a model into stretches gives the same bits. Called from several threads at once.
"""


@dataclass(frozen=True, slots=True)
class Members:
    """Whose contributions are merged, in the order of their uids.

    ``weights`` are whole numbers above 0; only their proportions count. ``faulty``: so many of the members may be up to
    no good. ``distances``: between every two of them, squared, over all float tensors; None unless the method asks.
    """

    weights: tuple[int, ...]
    faulty: int = 0
    distances: Array | None = None

    def __post_init__(self) -> None:
        assert self.weights, "nobody contributes"
        assert all(weight > 0 for weight in self.weights), self.weights
        assert 0 <= 2 * self.faulty < max(len(self.weights), 1), (self.faulty, self.weights)
        assert self.distances is None or self.distances.shape == (len(self.weights),) * 2

    @property
    def between(self) -> Array:
        """The squared distances, for a method that has asked for them."""
        assert self.distances is not None, "the method did not ask for distances"
        return self.distances


@dataclass(frozen=True, slots=True)
class Method:
    """``kernel`` is asked once an attempt, when the members are known, and says what happens to every stretch.

    ``distances``: it needs `Members.distances`, which cost the round one more step.
    ``robust``: it bounds what few members can do, so no organisation may have more than a third of the weight.
    ``tells``: what is not finite in a contribution is not finite in the result, where it is looked for then.
    """

    kernel: Callable[[Members], Kernel]
    distances: bool = False
    robust: bool = True
    tells: bool = False


def may_be_faulty(count: int, most: int = -1) -> int:
    """How many of so many members may be faulty: what the contract says, else a third, and never half of them."""
    return min(most, (count - 1) // 2) if most >= 0 else (count - 1) // 3
