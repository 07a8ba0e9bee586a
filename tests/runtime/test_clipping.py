"""What a learning node has clipped is within what owners bear, whatever its elements are rounded to."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from swarm.core.tensors import Schema, TensorSpec
from swarm.runtime.clipping import Limit, clipped
from swarm.wire import tensorbytes


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("share", [0.9, 0.6, 0.3, 1e-6])
@pytest.mark.parametrize("sigma", [0.001, 0.003, 1.0])
def test_what_was_clipped_is_taken_by_every_owner(dtype: str, share: float, sigma: float) -> None:
    schema, generator = Schema((TensorSpec("w", dtype, (20_000,)),)), np.random.default_rng(7)
    before = generator.standard_normal(20_000)
    base, model = (memoryview(bytearray(schema.nbytes)) for _ in range(2))
    storage = np.dtype(getattr(ml_dtypes, dtype, dtype))
    tensorbytes.pack(schema, {"w": before.astype(storage)}, base)
    tensorbytes.pack(schema, {"w": (before + sigma * generator.standard_normal(20_000)).astype(storage)}, model)

    def of_base(start: int, stop: int) -> memoryview:
        return base[start:stop]

    norm, _ = clipped(schema, model, of_base, 1e9)
    far, offered = clipped(schema, model, of_base, norm * share)
    assert far == norm
    assert offered is not None
    held = Limit(schema, of_base, norm * share).on(lambda uid, start, stop: offered[start:stop], "me")
    held("another", 0, schema.nbytes)  # raises when it is too far
