"""A late change on a newer model: the arithmetic per element type, against exact numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.merge.mean import from_bfloat16, to_bfloat16
from swarm.core.rebase import permille, rebase
from swarm.core.tensors import STORAGE, Schema, TensorSpec
from swarm.wire import tensorbytes

INTEGERS = [name for name in STORAGE if name.startswith(("int", "uint"))]


def rebased(dtype, own, origin, base):
    """The three models have one tensor of these stored values; the stored values of the result."""
    schema = Schema((TensorSpec("w", dtype, (len(own),)),))
    storage = np.dtype(STORAGE[dtype])
    models = []
    for values in (own, origin, base):
        model = np.zeros(schema.nbytes, np.uint8)
        model[: len(own) * storage.itemsize] = np.asarray(values, storage).view(np.uint8)
        models.append(model.data)
    out = np.full(schema.nbytes, 255, np.uint8)
    rebase(schema, *models, out.data)
    assert not out[len(own) * storage.itemsize :].any(), "padding is zero"
    return out[: len(own) * storage.itemsize].view(storage)


@pytest.mark.parametrize(
    ("late", "weight"), [(0, 1000), (1, 707), (2, 577), (3, 500), (8, 333), (99, 100), (10**6, 1), (10**9, 1)]
)
def test_the_weight_of_a_late_change_falls_with_the_root_of_its_lateness(late, weight):
    assert permille(late) == weight


floats32 = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.tuples(floats32, floats32, floats32), min_size=1, max_size=50))
def test_floats_are_summed_wide_and_rounded_once(rows):
    own, origin, base = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    expected = base.astype(np.float64) + (own.astype(np.float64) - origin.astype(np.float64))
    assert rebased("float32", own, origin, base).tobytes() == expected.astype(np.float32).tobytes()


def test_bfloat16_is_rounded_once():
    own, origin, base = (to_bfloat16(np.array([value])) for value in (1.0, 0.5, 256.0))
    assert from_bfloat16(rebased("bfloat16", own, origin, base)) == [256.0]  # 256.5, ties to even
    base = to_bfloat16(np.array([258.0]))
    assert from_bfloat16(rebased("bfloat16", *(to_bfloat16(np.array([value])) for value in (2.0, 0.5)), base)) == [
        260.0
    ]


def test_a_change_out_of_range_is_infinite_so_that_it_is_found():
    (value,) = rebased("float16", [6e4], [0], [6e4])
    assert np.isinf(value)
    schema = Schema((TensorSpec("w", "float16", (1,)),))
    out = np.zeros(schema.nbytes, np.uint8)
    out[:2] = np.array([value]).view(np.uint8)
    assert tensorbytes.first_flaw(schema, out.data) == ("w", tensorbytes.NOT_FINITE)


@pytest.mark.parametrize("dtype", INTEGERS)
@given(data=st.data())
def test_integers_are_exact_and_stay_in_range(dtype, data):
    limits = np.iinfo(STORAGE[dtype])
    own, origin, base = (data.draw(st.integers(int(limits.min), int(limits.max))) for _ in range(3))
    (moved,) = rebased(dtype, [own], [origin], [base])
    assert int(moved) == min(max(base + own - origin, int(limits.min)), int(limits.max))


def test_bools_that_changed_are_the_late_programs():
    own, origin, base = [True, True, False, False], [True, False, True, False], [False, False, True, True]
    assert rebased("bool", own, origin, base).tolist() == [False, True, False, True]


def test_no_change_gives_the_base_and_no_lateness_the_own_weights():
    rng = np.random.default_rng(4)
    own, base = rng.normal(size=(2, 40_000)).astype(np.float32)
    assert (rebased("float32", own, own, base) == base).all()
    assert (rebased("float32", own, base, base) == own).all()


def test_a_model_of_many_types_is_rebased_tensor_by_tensor():
    schema = Schema((TensorSpec("a", "float32", (3,)), TensorSpec("n", "int64", ()), TensorSpec("b", "float64", (70,))))
    models = {}
    for name, step in (("own", 5), ("origin", 2), ("base", 10)):
        arrays = {"a": np.full(3, step, np.float32), "n": np.int64(step), "b": np.full(70, step, np.float64)}
        models[name] = bytearray(schema.nbytes)
        tensorbytes.pack(schema, {key: np.asarray(value) for key, value in arrays.items()}, models[name])
    out = bytearray(schema.nbytes)
    rebase(schema, models["own"], models["origin"], models["base"], memoryview(out))
    shown = tensorbytes.views(schema, out)
    assert {name: set(np.ravel(array).tolist()) for name, array in shown.items()} == {"a": {13}, "n": {13}, "b": {13}}


def test_the_result_is_near_the_exact_sum():
    (value,) = rebased("float64", [0.1], [0.3], [1e9])
    exact = Fraction(1e9) + Fraction(0.1) - Fraction(0.3)
    assert abs(Fraction(float(value)) - exact) <= Fraction(1, 2**22)
