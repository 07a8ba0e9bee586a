"""What the peers of `swarm bench merge` contribute, and what must come of it, computed in one place.

Used by the measured programs (`arrays`) and by the bench (`Expected`). Guarantees: arrays differ from peer to
peer and from round to round; the expected result is computed from the inputs by code of its own, not by the product's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from swarm.nodes.bench.central import BY_ELEMENT, Array, Model, as_sent, by_element, merged

LAYERS = (1, 7, 64, 0, 200, 28)
"""Relative sizes of the model's tensors; the one of 0 is a scalar."""
BLOCK = 1 << 22
"""Elements."""


def sizes(mb: int) -> list[int]:
    """Elements of each tensor: float32, 10^6 x ``mb`` bytes in all."""
    elements, shares = mb * 250_000 - 1, sum(LAYERS)
    counted = [elements * share // shares if share else 1 for share in LAYERS]
    counted[-1] += mb * 250_000 - sum(counted)
    return counted


def arrays(mb: int, peer: int, round_: int, out: dict[str, Array] | None = None) -> dict[str, Array]:
    """In ``out``, the model of an earlier round, or in new memory."""
    generator = np.random.default_rng([peer, round_])
    model = out or {f"layer-{i}": np.empty(size, np.float32) for i, size in enumerate(sizes(mb))}
    for array in model.values():
        generator.random(dtype=np.float32, out=array)
        array -= 0.5
    return model


def blocks(mb: int, peer: int, round_: int) -> Iterator[Array]:
    """The elements of `arrays` in order, some at a time and none of two tensors."""
    generator = np.random.default_rng([peer, round_])
    for size in sizes(mb):
        for start in range(0, size, BLOCK):
            yield generator.random(min(BLOCK, size - start), np.float32) - 0.5


def digest(model: Iterable[Array]) -> str:
    """SHA-256 over the elements' bytes, in order: equal digests are equal bits."""
    hashed = hashlib.sha256()
    for array in model:
        hashed.update(array.data)
    return hashed.hexdigest()


class Expected:
    """What the rounds have to come to, computed in one place; to be asked for every round, in their order."""

    def __init__(self, method: str, mb: int, wire: str, *, sharded: bool) -> None:
        self._method = method
        self._mb = mb
        self._wire = wire
        self._sharded = sharded
        self._base: Model | None = None
        """The result of the round before, where a wire form needs one."""

    def digest(self, peers_in_order: Sequence[int], round_: int) -> str:
        if self._wire == "fp32" and self._method in BY_ELEMENT:
            return digest(self._in_blocks(peers_in_order, round_))
        self._base = self._whole([arrays(self._mb, peer, round_) for peer in peers_in_order])
        return digest(self._base.values())

    def _in_blocks(self, peers_in_order: Sequence[int], round_: int) -> Iterator[Array]:
        """Of a model of gigabytes everybody's weights would not fit beside the swarm that is measured."""
        of_all = zip(*(blocks(self._mb, peer, round_) for peer in peers_in_order), strict=True)
        return (by_element(self._method, block) for block in of_all)

    def _whole(self, contributions: Sequence[Model]) -> Model:
        """Without a base all travels as it is, and so does what everybody merges alone."""
        base = self._base
        if base is None or self._wire == "fp32":
            return dict(zip(contributions[0], merged(self._method, contributions), strict=True))
        contributions = [as_sent(self._wire, each, base) for each in contributions]
        result = dict(zip(base, merged(self._method, contributions), strict=True))
        return as_sent(self._wire, result, base) if self._sharded else result
