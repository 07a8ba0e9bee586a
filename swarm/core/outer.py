"""The outer step: what every member makes of a round's merge before it becomes the next base.

Asked by `core/contract` (what state a contract's bases have), performed by ``nodes/stepping``. Guarantees: element by
element in fixed order, float64 in between and rounded once, no BLAS and no sum, so the same inputs give the same bits
on every machine and however the model is cut among threads; what is no float is merged and nothing else.

    plain     g' = z                                                     z = the merge, g = the base before it
    nesterov  m' = μ·m + (z − g),  g' = g + η·((z − g) + μ·m')           m = the momentum, 0 before the first base

`nesterov` is DiLoCo's outer optimiser (Douillard et al. 2023, algorithm 1, whose outer gradient is g − z) with the
momentum of Sutskever et al. 2013 as deep learning frameworks write it. The first base has nothing before it: it is the
merge of the initial weights, and m is 0. Momentum is a part of the base: every member has all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.core.merge.mean import BLOCK, as_float64, readable, rounded
from swarm.core.merge.method import Array
from swarm.core.tensors import FLOATS, Run, Schema, TensorSpec

Buffer = memoryview | bytearray | bytes


@dataclass(frozen=True, slots=True)
class Nesterov:
    """``rate`` is η, ``momentum`` μ."""

    rate: float
    momentum: float


def momenta(schema: Schema) -> Schema | None:
    """The tensors of the momentum: one for each float of the model, of at least 32 bits. None: there are no floats."""
    floats = (tensor for tensor in schema.tensors if tensor.dtype in FLOATS)
    state = [TensorSpec(one.name, "float64" if one.dtype == "float64" else "float32", one.shape) for one in floats]
    return Schema(tuple(state)) if any(one.nbytes for one in state) else None


FARTHEST = {"float16": 2.0**14, "bfloat16": 2.0**120, "float32": 2.0**120, "float64": 2.0**952}
"""How far an element of a contribution may be from the base: a first step of that stays in the range with the usual
rate and momentum. One that is much further would take the step beyond it, and every member's training with it."""


def too_far(schema: Schema, start: int, stop: int, model: Buffer, base: Buffer) -> str | None:
    """The first tensor that is further than `FARTHEST` from the base in bytes ``start`` to ``stop``, all of both."""
    for run in schema.runs(start, stop):
        if run.dtype not in FLOATS:
            continue
        storage, where = schema.tensors[run.tensor].storage, slice(run.start - start, run.stop - start)
        x, g = (readable(run.dtype, np.frombuffer(each, np.uint8)[where].view(storage)) for each in (model, base))
        most = FARTHEST[run.dtype]
        if max(x.max(), -x.min(), g.max(), -g.min()) <= most / 2:
            continue  # as ever: two looks instead of a difference
        with np.errstate(all="ignore"):  # what is not finite is found by whoever merges
            if np.abs(x.astype(np.float64) - g).max() > most:
                return schema.tensors[run.tensor].name
    return None


class Step:
    """One outer step on models of ``schema``, whose float tensors have the momenta ``state``."""

    def __init__(self, schema: Schema, state: Schema, how: Nesterov) -> None:
        self._schema = schema
        self._state = state
        self._how = how
        floats = (index for index, tensor in enumerate(schema.tensors) if tensor.dtype in FLOATS)
        self._place = {index: place for place, index in enumerate(floats)}

    def take(
        self,
        start: int,
        stop: int,
        merged: Buffer,
        base: Buffer,
        momentum: Buffer,
        model: memoryview,
        after: memoryview,
    ) -> str | None:
        """Of bytes ``start`` to ``stop`` of the model, which begin and end with leaves: write ``model`` and ``after``.

        ``merged``, ``base``, ``model`` are whole models, ``momentum`` and ``after`` whole momenta; padding of what is
        written is zero already. The name of a tensor that is beyond its range then, if there is one.
        """
        beyond = None
        for run in self._schema.runs(start, stop):
            z, out = (self._of_model(buffer, run) for buffer in (merged, model))
            if run.tensor not in self._place:
                out[:] = z
                continue
            g = self._of_model(base, run)
            m, m_out = (self._of_state(buffer, run) for buffer in (momentum, after))
            for at in range(0, len(z), BLOCK):
                block = slice(at, at + BLOCK)
                self._nesterov(run.dtype, z[block], g[block], m[block], out[block], m_out[block])
            if not (np.isfinite(m_out).all() and np.isfinite(as_float64(run.dtype, out)).all()):
                beyond = beyond or self._schema.tensors[run.tensor].name
        return beyond

    def _nesterov(self, dtype: str, z: Array, g: Array, m: Array, out: Array, m_out: Array) -> None:
        how, before = self._how, as_float64(dtype, g)
        with np.errstate(all="ignore"):  # what is beyond the range is found by who looks at the result
            gain = as_float64(dtype, z)
            gain -= before
            kept = m.astype(np.float64)
            kept *= how.momentum
            kept += gain
            m_out[:] = kept
            ahead = m_out.astype(np.float64)  # as it is kept, so that the result follows from what is kept
            ahead *= how.momentum
            ahead += gain
            ahead *= how.rate
            ahead += before
            rounded(dtype, ahead, out)

    def _of_model(self, buffer: Buffer, run: Run) -> Array:
        return np.frombuffer(buffer, np.uint8)[run.start : run.stop].view(self._schema.tensors[run.tensor].storage)

    def _of_state(self, buffer: Buffer, run: Run) -> Array:
        """The momenta of the elements of this run."""
        tensor, place = self._schema.tensors[run.tensor], self._place[run.tensor]
        storage, start = self._state.tensors[place].storage, self._state.offsets[place]
        first, last = (at - self._schema.offsets[run.tensor] for at in (run.start, run.stop))
        wider = storage.itemsize // tensor.storage.itemsize
        return np.frombuffer(buffer, np.uint8)[start + first * wider : start + last * wider].view(storage)
