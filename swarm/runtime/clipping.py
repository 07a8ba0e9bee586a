"""A whole model clipped, and what others sent held against the same limit.

Used by learning nodes for what they offer, and by one exchange for what it merges.
"""

from __future__ import annotations

import math
import threading

from swarm.core import clip
from swarm.core.tensors import Schema
from swarm.core.wireform import Base
from swarm.runtime.cores import by_pieces
from swarm.runtime.exchange_merging import BadContribution, BytesOf
from swarm.runtime.outerstep import steppable

TOLERATED = 1.05
"""So many times the limit is what the wire makes of an honest contribution, at the most: int8 adds up to 2.4 %."""
NEAR = 1 + 1e-6
TRIES = 8
"""Elements of 16 bits are rounded back to where they were: then the change is made smaller than it would have to be."""


def clipped(schema: Schema, weights: memoryview, base: Base, most: float) -> tuple[float, memoryview | None]:
    """How far the weights are from the base, and what to offer instead of them; None: they are near enough."""
    norm = _far(schema, weights, base)
    if not norm > most:
        return norm, None
    out, by = memoryview(bytearray(schema.nbytes)), most / norm
    for left in reversed(range(TRIES)):

        def pull(start: int, stop: int, by: float = by if left else 0.0) -> None:
            where = slice(start, stop)
            clip.pull(schema, start, stop, model=weights[where], base=base(start, stop), by=by, out=out[where])

        by_pieces(schema.nbytes, pull)
        if (still := _far(schema, out, base)) <= most * NEAR:
            break
        by *= most / still
    return norm, out


def _far(schema: Schema, model: memoryview, base: Base) -> float:
    def squares(start: int, stop: int) -> float:
        return clip.squares(schema, start, stop, model=model[start:stop], base=base(start, stop))

    return math.sqrt(math.fsum(by_pieces(schema.nbytes, squares)))


def limited(schema: Schema, base: Base | None, most: float, steps: bool, bytes_of: BytesOf, uid: str) -> BytesOf:
    """The same bytes, each to be asked for once, held against what the contract says about their distance."""
    if base is None:
        return bytes_of
    held = steppable(schema, base, bytes_of) if steps else bytes_of
    return Limit(schema, base, most).on(held, uid) if most else held


class Limit:
    """How far contributions are from the base, as far as they have been merged here. Called from several threads.

    An owner sees its shards only, so it refuses what is too far in these alone: who sends a millionfold change is
    found, who spreads a little over many shards is not.
    """

    def __init__(self, schema: Schema, base: Base, most: float) -> None:
        self._schema = schema
        self._base = base
        self._most = most
        self._squares: dict[str, float] = {}
        self._lock = threading.Lock()

    def on(self, bytes_of: BytesOf, uid: str) -> BytesOf:
        """The same bytes, each to be asked for once; raises BadContribution when somebody but ``uid`` goes too far."""

        def held(contributor: str, start: int, stop: int) -> memoryview:
            part = bytes_of(contributor, start, stop)
            if contributor != uid:  # it has clipped its own
                self._hold(contributor, clip.squares(self._schema, start, stop, part, self._base(start, stop)))
            return part

        return held

    def _hold(self, uid: str, squares: float) -> None:
        with self._lock:
            total = self._squares[uid] = self._squares.get(uid, 0.0) + squares
        if total > (self._most * TOLERATED) ** 2:
            norm = f"the norm {math.sqrt(total):.6g} or more"
            raise BadContribution(uid, f"its change since the last model has {norm}: at most {self._most:g} is allowed")
