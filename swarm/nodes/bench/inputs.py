"""What the peers of `swarm bench merge` contribute, and what must come of it, computed in one place.

Used by the measured programs (`arrays`) and by the bench (`expected`). Guarantees: arrays differ from peer to
peer and from round to round; the expected result is computed from the inputs by code of its own, not by the product's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from swarm.nodes.bench.central import Array, Model, as_sent, merged

LAYERS = (1, 7, 64, 0, 200, 28)
"""Relative sizes of the model's tensors; the one of 0 is a scalar."""


def sizes(mb: int) -> list[int]:
    """Elements of each tensor: float32, 10^6 x ``mb`` bytes in all."""
    elements, shares = mb * 250_000 - 1, sum(LAYERS)
    counted = [elements * share // shares if share else 1 for share in LAYERS]
    counted[-1] += mb * 250_000 - sum(counted)
    return counted


def arrays(mb: int, peer: int, round_: int) -> dict[str, Array]:
    generator = np.random.default_rng([peer, round_])
    return {f"layer-{i}": generator.random(size, np.float32) - 0.5 for i, size in enumerate(sizes(mb))}


def digest(model: Iterable[Array]) -> str:
    """SHA-256 over the elements' bytes, in order: equal digests are equal bits."""
    hashed = hashlib.sha256()
    for array in model:
        hashed.update(array.data)
    return hashed.hexdigest()


def expected(
    method: str, mb: int, peers_in_order: Sequence[int], round_: int, wire: str, base: Model | None, *, sharded: bool
) -> Model:
    """The merge of these peers' arrays, in this order, computed in one place.

    ``base``: the result of the round before. Without one all travels as it is, and so does what everybody merges alone.
    """
    contributions = [arrays(mb, peer, round_) for peer in peers_in_order]
    if base is None or wire == "fp32":
        return dict(zip(contributions[0], merged(method, contributions), strict=True))
    contributions = [as_sent(wire, each, base) for each in contributions]
    result = dict(zip(base, merged(method, contributions), strict=True))
    return as_sent(wire, result, base) if sharded else result
