"""Median and trimmed mean: against exact rational arithmetic, in every element type, and the same for every cut."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.core.merge import METHODS, Members
from swarm.core.merge.method import may_be_faulty
from swarm.core.tensors import STORAGE
from tests.core.merge.contributions import numbers, random_parts, stored

BOTH = ["coordmedian", "trimmedmean"]
WEIGHTS = st.lists(st.integers(1, 100_000), min_size=1, max_size=9) | st.integers(1, 12).map(lambda n: [7] * n)


def merged(name: str, dtype: str, parts: list, weights: list, faulty: int | None = None) -> np.ndarray:
    out = np.empty(len(parts[0]), STORAGE[dtype])
    members = Members(tuple(weights), may_be_faulty(len(weights)) if faulty is None else faulty)
    METHODS[name].kernel(members)(dtype, parts, out)
    return out


def median_of(pairs: list[tuple[Fraction, int]]) -> list[tuple[Fraction, int]]:
    """What of a column is averaged: the definition, value by value."""
    pairs, whole = sorted(pairs), sum(weight for _, weight in pairs)
    upto = [sum(weight for _, weight in pairs[: k + 1]) for k in range(len(pairs))]
    low = next(value for (value, _), c in zip(pairs, upto, strict=True) if 2 * c >= whole)
    high = next(value for (value, _), c in zip(pairs, upto, strict=True) if 2 * c > whole)
    return [(low, 1), (high, 1)]


def trimmed_of(pairs: list[tuple[Fraction, int]], faulty: int) -> list[tuple[Fraction, int]]:
    divisor = int(np.gcd.reduce([weight for _, weight in pairs]))
    pairs = sorted((value, weight // divisor) for value, weight in pairs)
    whole = sum(weight for _, weight in pairs)
    cut = min(sum(sorted((weight for _, weight in pairs), reverse=True)[:faulty]), (whole - 1) // 2)
    grains = [value for value, weight in pairs for _ in range(weight)] if whole < 500 else None
    if grains is not None:
        return [(value, 1) for value in grains[cut : whole - cut]]
    left, upto = [], 0
    for value, weight in pairs:
        left.append((value, max(0, min(upto + weight, whole - cut) - max(upto, cut))))
        upto += weight
    return left


def central(name: str, dtype: str, parts: list, weights: list, faulty: int) -> np.ndarray:
    columns = list(zip(*(numbers(dtype, part) for part in parts), strict=True))
    exact = []
    for column in columns:
        pairs = list(zip(column, weights, strict=True))
        left = median_of(pairs) if name == "coordmedian" else trimmed_of(pairs, faulty)
        exact.append(sum(value * weight for value, weight in left) / sum(weight for _, weight in left))
    return stored(dtype, exact, [float(value) for value in exact])


@settings(deadline=None)
@given(st.sampled_from(BOTH), st.sampled_from(sorted(STORAGE)), WEIGHTS, st.integers(0, 2**32))
def test_every_type_and_weight_gives_what_exact_arithmetic_gives(name, dtype, weights, seed) -> None:
    parts, faulty = random_parts(dtype, len(weights), 40, seed), may_be_faulty(len(weights))
    result, expected = merged(name, dtype, parts, weights), central(name, dtype, parts, weights, faulty)
    if dtype == "float64" or (name == "trimmedmean" and "float" in dtype):
        # accumulated in float64: the last bit of it may differ, and what is near nothing after large terms have gone
        scale = np.max([np.abs(numbers(dtype, part)) for part in parts], axis=0).astype(float)
        near = np.array([float(a - b) for a, b in zip(numbers(dtype, result), numbers(dtype, expected), strict=True)])
        spacing = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-49}[dtype]
        values = np.array([abs(float(value)) for value in numbers(dtype, expected)])
        assert np.all(np.abs(near) <= values * spacing + scale * 2.0**-49 + (2.0**-24 if dtype == "float16" else 0))
    else:
        assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("weights", [[3] * 10, [3] * 7, [5, 1, 1, 2, 9, 4, 4, 1, 1, 2]])
@pytest.mark.parametrize("dtype", sorted(STORAGE))
@pytest.mark.parametrize("name", BOTH)
def test_neither_order_nor_cut_nor_threads_change_a_bit(name: str, dtype: str, weights: list) -> None:
    seed = 11
    parts = random_parts(dtype, len(weights), 70_001, seed)
    whole = merged(name, dtype, parts, weights)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(weights))
    assert merged(name, dtype, [parts[i] for i in order], [weights[i] for i in order]).tobytes() == whole.tobytes()
    borders = [0, *sorted(generator.integers(0, 70_001, 5).tolist()), 70_001]
    cuts = [slice(start, stop) for start, stop in pairwise(borders)]
    kernel, out = METHODS[name].kernel(Members(tuple(weights), may_be_faulty(len(weights)))), np.empty_like(whole)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda cut: kernel(dtype, [part[cut] for part in parts], out[cut]), cuts))
    assert out.tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", sorted(STORAGE))
@pytest.mark.parametrize("name", BOTH)
def test_equal_contributions_stay_as_they_are(name: str, dtype: str) -> None:
    values = random_parts(dtype, 1, 500, 3)[0]
    if "float" in dtype:
        values = merged("coordmedian", dtype, [values], [1])  # no -0.0
    for weights in ([1], [1, 1], [1, 1, 1], [3, 100, 64_000], [2] * 10):
        result = merged(name, dtype, [values] * len(weights), weights)
        if dtype == "float64" and name == "trimmedmean":
            assert np.allclose(result, values, rtol=2**-51, atol=0)
        else:
            assert result.tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_median_of_equal_weights_is_numpys(dtype: str) -> None:
    for members in (1, 2, 5, 8, 11):
        parts = random_parts(dtype, members, 3000, members)
        expected = np.median(np.stack([part.view(np.dtype(dtype)).astype(np.float64) for part in parts]), axis=0)
        result = merged("coordmedian", dtype, parts, [9] * members).view(np.dtype(dtype))
        assert np.array_equal(result, expected.astype(np.dtype(dtype)))


def test_a_weight_of_three_is_three_members() -> None:
    parts = random_parts("float32", 4, 1000, 5)
    once, thrice = [2, 6, 2, 4], [0, 1, 1, 1, 2, 3, 3]
    many = [parts[i] for i in thrice]
    assert merged("coordmedian", "float32", parts, once).tobytes() == (
        merged("coordmedian", "float32", many, [5] * 7).tobytes()
    )


@pytest.mark.parametrize("weights", [[1] * 7, [4, 1, 2, 3, 1, 2, 4]])
@pytest.mark.parametrize("name", BOTH)
def test_two_members_of_seven_cannot_leave_the_range_of_the_others(name: str, weights: list) -> None:
    parts = random_parts("float32", 7, 2000, 13)
    honest = np.stack(parts[1:6])
    bad = [np.full(2000, 1e38, np.float32), np.full(2000, -1e38, np.float32)]
    for pair in (bad, [bad[0], bad[0]]):
        result = merged(name, "float32", [pair[0], *parts[1:6], pair[1]], weights, faulty=2)
        assert np.all(result >= honest.min(0))
        assert np.all(result <= honest.max(0))


def test_golden_values() -> None:
    parts = [np.array([x], np.float32) for x in (1.0, 2.0, 4.0, 8.0, 1000.0)]
    assert merged("coordmedian", "float32", parts, [1] * 5).tolist() == [4.0]
    assert merged("coordmedian", "float32", parts[:4], [1] * 4).tolist() == [3.0]
    assert merged("coordmedian", "float32", parts, [1, 1, 1, 1, 4]).tolist() == [504.0]  # half of the weight
    assert merged("coordmedian", "float32", parts, [1, 1, 1, 1, 5]).tolist() == [1000.0]  # and more
    assert merged("trimmedmean", "float32", parts, [1] * 5, faulty=1).tolist() == [np.float32(14 / 3)]
    assert merged("trimmedmean", "float32", parts, [2, 1, 1, 2, 2], faulty=1).tolist() == [(2 + 4 + 2 * 8) / 4]
    assert merged("trimmedmean", "float32", parts, [1, 1, 2, 3, 3], faulty=1).tolist() == [(4 + 8 * 3) / 4]
