"""Rebasing: what a late program has learned, put onto the model that the others have agreed on meanwhile.

Used by the member machine (how much a late change counts), by the learning node (the bytes), and by callbacks whose
program trains on while a round is in flight. Guarantees: element by element in fixed order, float64 in between and
rounded once, so the same inputs give the same bits on every machine.

    floats   base + (own − origin)
    integers the same, exact, held within the range of the type
    bool     own where it differs from origin, else base
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from swarm.core.merge.mean import BLOCK, as_float64, rounded
from swarm.core.tensors import FLOATS, Schema

Array = np.ndarray[Any, Any]
Buffer = memoryview | bytearray | bytes

LATEST = 3
"""Later changes are given up, where rounds wait for all."""


def permille(late: int) -> int:
    """What a change counts that comes so many rounds late: 1000 / sqrt(1 + rounds) (FedBuff: Nguyen et al. 2022)."""
    return max(1, round(1000 / sqrt(1 + late)))


def rebase(schema: Schema, own: Buffer, origin: Buffer, base: Buffer, out: memoryview) -> None:
    """``own`` was trained from ``origin``: write ``base`` with the same change into ``out``. All are whole models.

    ``out`` may be one of the others.
    """
    sources = [np.frombuffer(buffer, np.uint8) for buffer in (own, origin, base)]
    target = np.frombuffer(out, np.uint8)
    assert all(array.size == schema.nbytes for array in (*sources, target)), "models of this schema"
    upto = 0
    for run in schema.runs(0, schema.nbytes):
        storage = schema.tensors[run.tensor].storage
        parts = [source[run.start : run.stop].view(storage) for source in sources]
        kernel = _floats if run.dtype in FLOATS else _bools if run.dtype == "bool" else _integers
        moved = target[run.start : run.stop].view(storage)
        target[upto : run.start], upto = 0, run.stop
        for start in range(0, len(moved), BLOCK):
            block = slice(start, start + BLOCK)
            moved[block] = kernel(run.dtype, *(part[block] for part in parts))
    target[upto:] = 0


def _floats(dtype: str, own: Array, origin: Array, base: Array) -> Array:
    wide, moved = [as_float64(dtype, part) for part in (own, origin, base)], np.empty_like(own)
    with np.errstate(all="ignore"):  # what is out of range becomes infinite, and whoever checks the result says so
        rounded(dtype, wide[2] + (wide[0] - wide[1]), moved)
    return moved


def _integers(dtype: str, own: Array, origin: Array, base: Array) -> Array:
    limits = np.iinfo(own.dtype)
    if own.dtype.itemsize < 8:
        moved = base.astype(np.int64) + (own.astype(np.int64) - origin.astype(np.int64))
        small: Array = np.clip(moved, limits.min, limits.max).astype(own.dtype)
        return small
    with np.errstate(over="ignore"):
        change = own - origin  # modulo 2^64: what it is, is known by which of the two is larger
        moved = base + change
    moved = np.where((own >= origin) & (moved < base), limits.max, moved)
    held: Array = np.where((own < origin) & (moved > base), limits.min, moved)
    return held


def _bools(dtype: str, own: Array, origin: Array, base: Array) -> Array:
    return np.where(own != origin, own, base)
