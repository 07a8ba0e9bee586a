"""The outer step: its arithmetic against a loop of plain numbers, and what it leaves alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from swarm.core.merge.mean import from_bfloat16, to_bfloat16
from swarm.core.outer import Nesterov, Step, momenta
from swarm.core.tensors import LEAF_BYTES, Schema, TensorSpec
from swarm.wire import tensorbytes

DILOCO = Nesterov(0.7, 0.9)
LONG = 3 * LEAF_BYTES // 4  # three leaves of float32


def random(seed: int, size: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


class Model:
    """Models of one schema, and the steps taken on them: all of the model at once, or in parts."""

    def __init__(self, arrays: dict[str, np.ndarray], how: Nesterov = DILOCO) -> None:
        self.schema = Schema.of(arrays)
        state = momenta(self.schema)
        assert state is not None
        self.state, self.step = state, Step(self.schema, state, how)

    def packed(self, arrays: dict[str, np.ndarray]) -> bytearray:
        buffer = bytearray(self.schema.nbytes)
        tensorbytes.pack(self.schema, arrays, buffer)
        return buffer

    def take(self, merged, base, momentum, parts=None):
        model, after = bytearray(self.schema.nbytes), bytearray(self.state.nbytes)
        for start, stop in parts or [(0, self.schema.nbytes)]:
            beyond = self.step.take(start, stop, merged, base, momentum, memoryview(model), memoryview(after))
            if beyond:
                return beyond
        return model, after


def test_three_steps_are_those_of_a_loop_of_numbers():
    size = 1000
    base, model = random(0, size), Model({"w": random(0, size)})
    buffer, momentum = model.packed({"w": base}), bytearray(model.state.nbytes)
    expected, kept = [float(value) for value in base], [0.0] * size
    for round_ in range(1, 4):
        merged = random(round_, size)
        buffer, momentum = model.take(model.packed({"w": merged}), buffer, momentum)
        for at, value in enumerate(merged):
            gain = float(value) - expected[at]
            kept[at] = float(np.float32(kept[at] * 0.9 + gain))
            expected[at] = float(np.float32((kept[at] * 0.9 + gain) * 0.7 + expected[at]))
        assert tensorbytes.views(model.schema, buffer)["w"].tolist() == expected
        assert tensorbytes.views(model.state, momentum)["w"].tolist() == kept


def test_without_momentum_and_with_rate_1_it_is_the_merge():
    model = Model({"w": random(0, 100)}, Nesterov(1.0, 0.0))
    merged = model.packed({"w": random(1, 100)})
    after, _ = model.take(merged, model.packed({"w": random(2, 100)}), bytearray(model.state.nbytes))
    assert np.allclose(np.frombuffer(after, np.float32), np.frombuffer(merged, np.float32), rtol=0, atol=1e-7)


def test_however_the_model_is_cut_the_bits_are_the_same():
    kinds = {"a": random(0, 100), "half": random(1, LONG).astype(np.float16), "w": random(2, LONG)}
    kinds |= {"wide": random(3, LONG).astype(np.float64), "count": np.arange(LONG)}
    model = Model(kinds)
    merged, base = (model.packed({n: a + a.dtype.type(more) for n, a in kinds.items()}) for more in (1, 2))
    momentum = bytearray(model.state.nbytes)
    for tensor in tensorbytes.views(model.state, momentum).values():
        tensor[:] = 0.25
    borders = [*range(0, model.schema.nbytes, LEAF_BYTES), model.schema.nbytes]
    parts = list(pairwise(borders))[::-1]
    assert len(parts) > 10
    assert model.take(merged, base, momentum, parts) == model.take(merged, base, momentum)


def test_what_is_no_float_is_merged_and_has_no_momentum():
    arrays = {"n": np.array([3, 4]), "on": np.array([True, False]), "w": np.zeros(2, np.float32)}
    model = Model(arrays)
    assert [(tensor.name, tensor.dtype) for tensor in model.state.tensors] == [("w", "float32")]
    merged = model.packed({**arrays, "w": np.ones(2, np.float32)})
    base = model.packed({"n": np.array([9, 9]), "on": np.array([False, True]), "w": np.zeros(2, np.float32)})
    after = tensorbytes.views(model.schema, model.take(merged, base, bytearray(model.state.nbytes))[0])
    assert after["n"].tolist() == [3, 4]
    assert after["on"].tolist() == [True, False]
    assert after["w"].tolist() == [np.float32(0.7 * 1.9)] * 2


def test_narrow_floats_have_a_wider_momentum_and_are_rounded_once():
    schema = Schema(
        (TensorSpec("b", "bfloat16", (1,)), TensorSpec("h", "float16", (1,)), TensorSpec("d", "float64", (1,)))
    )
    state = momenta(schema)
    assert state is not None
    assert [tensor.dtype for tensor in state.tensors] == ["float32", "float32", "float64"]
    merged, base, after = (bytearray(schema.nbytes) for _ in range(3))
    np.frombuffer(merged, np.uint16)[:1] = to_bfloat16(np.array([1.0]))
    kept = bytearray(state.nbytes)
    assert (
        Step(schema, state, DILOCO).take(0, schema.nbytes, merged, base, kept, memoryview(after), memoryview(kept))
        is None
    )
    assert from_bfloat16(np.frombuffer(after, np.uint16)[:1]) == from_bfloat16(to_bfloat16(np.array([0.7 * 1.9])))


def test_a_model_without_floats_has_no_momentum():
    assert momenta(Schema.of({"n": np.arange(3)})) is None


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_step_beyond_the_range_names_its_tensor(dtype):
    most = np.finfo(dtype).max
    model = Model({"fine": np.zeros(2, dtype), "steep": np.zeros(2, dtype)})
    merged = model.packed({"fine": np.zeros(2, dtype), "steep": np.full(2, most, dtype)})
    base = model.packed({"fine": np.zeros(2, dtype), "steep": np.zeros(2, dtype)})
    assert model.take(merged, base, bytearray(model.state.nbytes)) == "steep"
