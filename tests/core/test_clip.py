"""Clipping leaves the direction of a change, and everything that is no float, as it was."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.core import clip
from swarm.core.tensors import FLOATS, LEAF_BYTES, Schema, TensorSpec
from swarm.wire import tensorbytes

SCHEMA = Schema(
    (
        TensorSpec("a", "float32", (40_000,)),
        TensorSpec("steps", "int64", (5,)),
        TensorSpec("b", "bfloat16", (333,)),
        TensorSpec("mask", "bool", (3,)),
        TensorSpec("c", "float64", (2, 7)),
        TensorSpec("d", "float16", ()),
    )
)

EPS = {dtype: float(ml_dtypes.finfo(np.dtype(dtype)).eps) for dtype in FLOATS}


def packed(seed: int) -> bytearray:
    generator, buffer = np.random.default_rng(seed), bytearray(SCHEMA.nbytes)
    arrays = {t.name: (generator.standard_normal(t.shape) * 3).astype(np.dtype(t.dtype)) for t in SCHEMA.tensors}
    tensorbytes.pack(SCHEMA, arrays, buffer)
    return buffer


def changes(model: bytearray, base: bytearray) -> np.ndarray:
    views = [tensorbytes.views(SCHEMA, buffer) for buffer in (model, base)]
    floats = [t.name for t in SCHEMA.tensors if t.dtype in FLOATS]
    return np.concatenate([np.ravel(views[0][n].astype(float) - views[1][n].astype(float)) for n in floats])


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), by=st.floats(0, 2))
def test_a_pulled_change_is_so_many_times_as_long_wherever_the_model_is_cut(seed, by):
    model, base = packed(seed), packed(seed + 1)
    out = bytearray(b"\xaa" * SCHEMA.nbytes)
    for start in range(0, SCHEMA.nbytes, LEAF_BYTES):
        where = slice(start, min(start + LEAF_BYTES, SCHEMA.nbytes))
        clip.pull(SCHEMA, where.start, where.stop, model[where], base[where], by, memoryview(out)[where])
    rounding = np.concatenate(
        [np.full(int(np.prod(t.shape)), EPS[t.dtype]) for t in SCHEMA.tensors if t.dtype in FLOATS]
    )
    assert np.all(np.abs(changes(out, base) - changes(model, base) * by) <= 100 * rounding)  # of numbers below 100
    for name, array in tensorbytes.views(SCHEMA, out).items():
        if array.dtype.name not in FLOATS:
            assert np.array_equal(array, tensorbytes.views(SCHEMA, model)[name])
    parts = [
        clip.squares(SCHEMA, start, stop, model[start:stop], base[start:stop])
        for start, stop in ((0, LEAF_BYTES), (LEAF_BYTES, SCHEMA.nbytes))
    ]
    assert np.sqrt(sum(parts)) == pytest.approx(np.linalg.norm(changes(model, base)))


def test_the_norm_of_what_is_not_finite_is_not_below_any_limit():
    model, base = packed(1), packed(2)
    tensorbytes.views(SCHEMA, model)["a"][7] = np.nan
    assert np.isnan(clip.squares(SCHEMA, 0, SCHEMA.nbytes, model, base))
