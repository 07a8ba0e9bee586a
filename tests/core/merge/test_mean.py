"""The mean is exact where it can be, rounded once where it cannot, and the same for every cut."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.merge.mean import BLOCK, merge
from swarm.core.tensors import STORAGE

INTEGERS = sorted(name for name in STORAGE if "int" in name)
FLOATS = ["float16", "float32", "float64", "bfloat16"]
WEIGHTS = st.lists(st.integers(0, 100_000), min_size=1, max_size=5).filter(any)


def merged(dtype: str, parts: list, weights: list) -> np.ndarray:
    out = np.empty(len(parts[0]), STORAGE[dtype])
    merge(dtype, parts, weights, out)
    return out


@given(st.sampled_from(INTEGERS), WEIGHTS, st.data())
def test_integers_are_the_exact_mean_rounded_once(dtype: str, weights: list, data: st.DataObject) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    number = st.one_of(st.integers(low, high), st.sampled_from([low, low + 1, 0, 1, high - 1, high]))
    rows = [data.draw(st.lists(number, min_size=4, max_size=4)) for _ in weights]
    expected = [
        round(Fraction(sum(w * x for w, x in zip(weights, column, strict=True)), sum(weights)))  # exact, ties to even
        for column in zip(*rows, strict=True)
    ]
    assert merged(dtype, [np.array(row, dtype) for row in rows], weights).tolist() == expected


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8"])
def test_integers_are_exact_with_weights_whose_squares_leave_64_bits(dtype: str) -> None:
    high, weights = np.iinfo(dtype).max, [999_999_999, 1_000_000_000, 1, 2**32]
    rows = [[high, high - 1, 0, 1], [high, high, 1, 2], [0, high, 0, 0], [high, 3, 1, 1]]
    expected = [
        round(Fraction(sum(w * x for w, x in zip(weights, column, strict=True)), sum(weights)))
        for column in zip(*rows, strict=True)
    ]
    assert merged(dtype, [np.array(row, dtype) for row in rows], weights).tolist() == expected


@given(st.sampled_from(["float16", "float32", "bfloat16"]), WEIGHTS, st.integers(0, 2**32))
def test_floats_are_the_float64_mean_rounded_once(dtype: str, weights: list, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [(generator.standard_normal(50) * 10.0 ** generator.integers(-6, 4, 50)).astype(dtype) for _ in weights]
    result = merged(dtype, [row.view(STORAGE[dtype]) for row in rows], weights).view(np.dtype(dtype))
    for column, value in zip(zip(*rows, strict=True), result, strict=True):
        exact = sum(w * Fraction(float(x)) for w, x in zip(weights, column, strict=True)) / sum(weights)
        in_float64 = np.float64(exact.numerator / exact.denominator)
        spacing = abs(float(np.spacing(np.abs(value)))) if dtype != "bfloat16" else abs(float(value)) / 128 + 1e-40
        assert abs(float(value) - in_float64) <= spacing * 0.51


def test_float64_is_accumulated_in_the_order_given() -> None:
    parts = [np.array([x]) for x in (1.0, 1e-16, 1e-16, 1e-16)]
    assert merged("float64", parts, [1, 1, 1, 1]).tolist() == [1.0 / 4]
    assert merged("float64", parts[::-1], [1, 1, 1, 1]).tolist() == [(1.0 + 3e-16) / 4]


@pytest.mark.parametrize("dtype", sorted(set(STORAGE) - {"float64"}))  # float64 may change in its last bit
def test_equal_inputs_stay_as_they_are(dtype: str) -> None:
    if dtype == "bool":
        values = np.array([True, False])
    elif dtype in INTEGERS:
        values = np.array([np.iinfo(dtype).min, 0, 1, 77, np.iinfo(dtype).max], dtype)
    else:
        values = np.array([-0.0, 1.0, 0.1, 3.14e-3], np.float64).astype(dtype).view(STORAGE[dtype])
    for weights in ([1, 1], [1, 1, 1], [3, 100, 64_000]):
        assert merged(dtype, [values] * len(weights), weights).tobytes() == values.tobytes()


def test_bfloat16_is_rounded_once_and_to_even() -> None:
    every = np.arange(0x10000, dtype=np.uint32).astype(np.uint16)
    finite = every[(every & 0x7F80) != 0x7F80]
    generator = np.random.default_rng(7)
    other = generator.permutation(finite)
    for weights in ([1, 1], [1, 2], [1, 100_000]):
        result = merged("bfloat16", [finite, other], weights).view(ml_dtypes.bfloat16).astype(np.float64)
        a, b = (part.view(ml_dtypes.bfloat16).astype(np.float64) for part in (finite, other))
        exact = (a * weights[0] + b * weights[1]) / sum(weights)
        below = np.nextafter(result.astype(ml_dtypes.bfloat16), ml_dtypes.bfloat16(-np.inf)).astype(np.float64)
        above = np.nextafter(result.astype(ml_dtypes.bfloat16), ml_dtypes.bfloat16(np.inf)).astype(np.float64)
        error = np.abs(result - exact)
        for neighbour in (below, above):
            distance = np.abs(neighbour - exact)
            odd = result.astype(ml_dtypes.bfloat16).view(np.uint16) & 1
            assert np.all((error < distance) | ((error == distance) & (odd == 0)) | ~np.isfinite(neighbour))


def test_bool_is_true_where_at_least_half_of_the_weight_is() -> None:
    parts = [np.array([True, True, False, False]), np.array([True, False, True, False])]
    assert merged("bool", parts, [1, 1]).tolist() == [True, True, True, False]
    assert merged("bool", parts, [2, 1]).tolist() == [True, True, False, False]


def test_weight_nought_does_not_count_and_weights_are_proportions() -> None:
    generator = np.random.default_rng(3)
    parts = [generator.standard_normal(9) for _ in range(3)]
    expected = merged("float64", parts[:2], [1, 2])
    assert merged("float64", [*parts[:2], np.full(9, np.nan)], [50, 100, 0]).tobytes() == expected.tobytes()


@given(st.sampled_from(sorted(STORAGE)), st.integers(1, 2 * BLOCK), st.integers(0, 2**32))
def test_a_cut_changes_no_bit(dtype: str, cut: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    if dtype in FLOATS:
        rows = [generator.standard_normal(2 * BLOCK + 5).astype(dtype).view(STORAGE[dtype]) for _ in range(3)]
    else:
        rows = [generator.integers(0, 2, 2 * BLOCK + 5).astype(dtype) for _ in range(3)]
    whole = merged(dtype, rows, [3, 1, 2])
    halves = [merged(dtype, [row[part] for row in rows], [3, 1, 2]) for part in (slice(0, cut), slice(cut, None))]
    assert np.concatenate(halves).tobytes() == whole.tobytes()
