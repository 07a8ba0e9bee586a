"""A whole model clipped, and what others sent held against the same limit.

Used by learning nodes for what they offer, and by one exchange for what it merges.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from swarm.core import clip
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.core.wireform import Base
from swarm.runtime.exchange_merging import BadContribution

BytesOf = Callable[[str, int, int], memoryview]
"""(whose contribution, bytes from, bytes to)"""
STRIDE = 16 * LEAF_BYTES
TOLERATED = 1.05
"""So many times the limit is what the wire makes of an honest contribution, at the most: int8 adds up to 2.4 %."""
NEAR = 1 + 1e-6
TRIES = 8
"""Elements of 16 bits are rounded back to where they were: then the change is made smaller than it would have to be."""


def clipped(schema: Schema, weights: memoryview, base: Base, most: float) -> tuple[float, memoryview | None]:
    """How far the weights are from the base, and what to offer instead of them; None: they are near enough."""
    spans = [(start, min(start + STRIDE, schema.nbytes)) for start in range(0, schema.nbytes, STRIDE)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def far(model: memoryview) -> float:
            def squares(span: tuple[int, int]) -> float:
                return clip.squares(schema, *span, model=model[slice(*span)], base=base(*span))

            return math.sqrt(math.fsum(pool.map(squares, spans)))

        norm = far(weights)
        if not norm > most:
            return norm, None
        out, by = memoryview(bytearray(schema.nbytes)), most / norm
        for left in reversed(range(TRIES)):

            def pull(span: tuple[int, int], by: float = by if left else 0.0) -> None:
                where = slice(*span)
                clip.pull(schema, *span, model=weights[where], base=base(*span), by=by, out=out[where])

            list(pool.map(pull, spans))
            if (still := far(out)) <= most * NEAR:
                break
            by *= most / still
    return norm, out


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
