"""Clipping: a contribution pulled towards the base until it is no further from it than the contract allows.

Used by who offers (to pull its own) and by who merges (to measure what others sent). The distance is the L2 norm over
all float tensors together; integers and booleans have none. x ← g + (x − g)·c with c = most / norm, in float64, rounded
once (Geyer et al. 2017; Sun et al. 2019, "Can You Really Backdoor Federated Learning?", section 4).
"""

from __future__ import annotations

import numpy as np

from swarm.core.merge.mean import BLOCK, as_float64, rounded
from swarm.core.tensors import FLOATS, Schema

Buffer = memoryview | bytearray | bytes


def squares(schema: Schema, start: int, stop: int, model: Buffer, base: Buffer) -> float:
    """The sum of (x − g)² in bytes ``start`` to ``stop``, which both buffers hold; added up differently on other
    machines perhaps, in the last digits. NaN where a contribution holds one."""
    total = 0.0
    values, before = np.frombuffer(model, np.uint8), np.frombuffer(base, np.uint8)
    for run in schema.runs(start, stop):
        if run.dtype not in FLOATS:
            continue
        storage, where = schema.tensors[run.tensor].storage, slice(run.start - start, run.stop - start)
        x, g = values[where].view(storage), before[where].view(storage)
        with np.errstate(all="ignore"):  # what is not finite is found by whoever merges
            for at in range(0, len(x), BLOCK):
                change = as_float64(run.dtype, x[at : at + BLOCK])
                change -= as_float64(run.dtype, g[at : at + BLOCK])
                np.square(change, out=change)
                total += float(change.sum())
    return total


def pull(schema: Schema, start: int, stop: int, model: Buffer, base: Buffer, by: float, out: memoryview) -> None:
    """Write into ``out`` what is left of the change when it is ``by`` times as large; what is no float as it is."""
    values, before, target = (np.frombuffer(buffer, np.uint8) for buffer in (model, base, out))
    target[:] = values
    for run in schema.runs(start, stop):
        if run.dtype not in FLOATS:
            continue
        storage, where = schema.tensors[run.tensor].storage, slice(run.start - start, run.stop - start)
        x, g, pulled = (array[where].view(storage) for array in (values, before, target))
        for at in range(0, len(x), BLOCK):
            block = slice(at, at + BLOCK)
            origin = as_float64(run.dtype, g[block])
            with np.errstate(all="ignore"):
                change = as_float64(run.dtype, x[block])
                change -= origin
                change *= by
                rounded(run.dtype, change + origin, pulled[block])
