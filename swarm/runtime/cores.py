"""Work over a whole model, piece by piece, with all cores of this machine.

Used by learning nodes for what lies in memory or in a file as a whole: hashing, clipping, quantising, outer steps.
Guarantee: pieces are unions of leaves and the results are in their order, whatever the number of cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from swarm.core.tensors import LEAF_BYTES

T = TypeVar("T")
PIECE_BYTES = 64 * LEAF_BYTES


def by_pieces(nbytes: int, work: Callable[[int, int], T]) -> list[T]:
    """``work`` gets where each piece starts and stops, in several threads; what it returns."""
    starts = range(0, nbytes, PIECE_BYTES)
    stops = [min(start + PIECE_BYTES, nbytes) for start in starts]
    if len(stops) <= 1:
        return list(map(work, starts, stops))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, starts, stops))
