"""Distances: exact to the last digits, and the same bits for every way of cutting the model into shards."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.core.merge import distances
from swarm.core.tensors import STORAGE, Schema, TensorSpec
from swarm.wire import tensorbytes
from tests.core.merge.contributions import numbers, random_parts

SCHEMA = Schema(
    tuple(
        TensorSpec(name, dtype, (size,))
        for name, dtype, size in [
            ("a", "float32", 70_001), ("steps", "int64", 1), ("b", "float16", 33_000), ("c", "float64", 20_011),
            ("mask", "bool", 100), ("d", "bfloat16", 40_000), ("e", "float32", 3), ("f", "float32", 120_000),
        ]
    )
)  # fmt: skip


def contents(schema: Schema, members: int, seed: int) -> list[np.ndarray]:
    """Whole contributions as canonical bytes."""
    columns = [random_parts(t.dtype, members, t.shape[0], seed + i) for i, t in enumerate(schema.tensors)]
    made = []
    for member in range(members):
        buffer = bytearray(schema.nbytes)
        arrays = {
            t.name: column[member].view(np.dtype(t.dtype)) for t, column in zip(schema.tensors, columns, strict=True)
        }
        tensorbytes.pack(schema, arrays, buffer)
        made.append(np.frombuffer(buffer, np.uint8))
    return made


def measured(schema: Schema, models: list[np.ndarray], first: int, stop: int) -> bytes:
    sums = np.empty((stop - first, distances.pairs(len(models))))
    spans, room = distances.leaf_spans(*schema.span(first, stop)), distances.Room(len(models))
    for leaf, (start, end) in enumerate(spans):
        sums[leaf] = distances.of_leaf(schema, start, [model[start:end] for model in models], room)
    part = distances.part(first, sums)
    assert len(part) == distances.part_bytes(len(models), first, stop)
    return part


def matrix(schema: Schema, models: list[np.ndarray], borders: list[int]) -> np.ndarray:
    spans = [(a, b) for a, b in pairwise(borders) if a < b]
    parts = {span: measured(schema, models, *span) for span in spans}
    return distances.together(schema.leaves, len(models), parts)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.lists(st.integers(0, SCHEMA.leaves), max_size=8), st.integers(0, 2**32))
def test_no_cut_changes_a_bit(members: int, cuts: list[int], seed: int) -> None:
    models = contents(SCHEMA, members, seed)
    whole = matrix(SCHEMA, models, [0, SCHEMA.leaves])
    assert matrix(SCHEMA, models, [0, *sorted(cuts), SCHEMA.leaves]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("leaves", range(1, 40))
def test_any_cut_of_any_number_of_leaves_gives_the_same_tree(leaves: int) -> None:
    sums = np.random.default_rng(leaves).random((leaves, 3))

    def together(borders: list[int]) -> np.ndarray:
        spans = [(a, b) for a, b in pairwise(borders) if a < b]
        return distances.together(leaves, 3, {(a, b): distances.part(a, sums[a:b]) for a, b in spans})

    whole = together([0, leaves])
    assert np.allclose(whole[np.triu_indices(3, 1)], sums.sum(0), rtol=1e-14)
    for one in range(leaves):
        for other in range(one, leaves):
            assert together([0, one, other, leaves]).tobytes() == whole.tobytes()


def test_neither_the_order_of_the_members_nor_who_else_takes_part_changes_a_bit() -> None:
    models = contents(SCHEMA, 5, 1)
    whole = matrix(SCHEMA, models, [0, SCHEMA.leaves])
    for chosen in ([4, 2, 0, 1, 3], [3, 1], [0, 4, 2]):
        some = matrix(SCHEMA, [models[i] for i in chosen], [0, SCHEMA.leaves])
        assert some.tobytes() == whole[np.ix_(chosen, chosen)].tobytes()


def test_they_are_those_of_exact_arithmetic_over_the_floats_only() -> None:
    tensors = TensorSpec("a", "float32", (9_001,)), TensorSpec("n", "int32", (50,)), TensorSpec("b", "float16", (77,))
    schema = Schema(tensors)
    models = contents(schema, 3, 9)
    rows: list = [[], [], []]
    for tensor, offset in zip(schema.tensors, schema.offsets, strict=False):
        for row, model in zip(rows, models, strict=True):
            if "float" in tensor.dtype:
                row += numbers(tensor.dtype, model[offset : offset + tensor.nbytes].view(STORAGE[tensor.dtype]))
    exact = [[float(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))) for y in rows] for x in rows]
    assert np.allclose(matrix(schema, models, [0, schema.leaves]), exact, rtol=1e-14, atol=0)


def test_members_that_agree_in_all_but_their_last_digits_are_told_apart() -> None:
    schema = Schema((TensorSpec("a", "float32", (50_000,)),))
    base = np.random.default_rng(2).standard_normal(50_000).astype(np.float32)
    models = [base, np.nextafter(base, np.float32(9)), np.nextafter(base, np.float32(-9))]
    found = matrix(schema, [model.view(np.uint8) for model in models], [0, schema.leaves])
    wide = [model.astype(np.float64) for model in models]
    expected = [[float(((a - b) ** 2).sum()) for b in wide] for a in wide]
    assert np.allclose(found, expected, rtol=1e-12, atol=0)


def test_numbers_beyond_measure_stay_numbers() -> None:
    schema = Schema((TensorSpec("a", "float64", (20_000,)),))
    models = [np.full(20_000, value).view(np.uint8) for value in (1.7e308, -1.7e308, 0.0)]
    found = matrix(schema, models, [0, schema.leaves])
    assert np.isfinite(found).all()
    assert found[0, 1] == schema.leaves * distances.FARTHEST


def test_one_member_alone_has_no_distances() -> None:
    assert matrix(SCHEMA, contents(SCHEMA, 1, 3), [0, 2, SCHEMA.leaves]).tolist() == [[0.0]]


def test_sums_that_nobody_can_have_measured_are_told() -> None:
    assert distances.sound(np.array([0.0, 3.5, distances.FARTHEST * 1000]).tobytes())
    for bad in (np.nan, np.inf, -1.0):
        assert not distances.sound(np.array([1.0, bad]).tobytes())


def test_sums_are_added_row_after_row_whatever_numpy_does_inside() -> None:
    """What makes them the same on every machine: nothing is added up along a row but by halves."""
    schema = Schema((TensorSpec("a", "float32", (16_384,)),))
    models = [np.random.default_rng(seed).standard_normal(16_384).astype(np.float32) for seed in range(5)]
    leaf = distances.of_leaf(schema, 0, [model.view(np.uint8) for model in models], distances.Room(5))
    found = iter(leaf.tolist())
    for i, one in enumerate(models):
        for other in models[i + 1 :]:
            squares = (other.astype(np.float64) - one) ** 2
            lanes = np.zeros(distances.LANES)
            for block in squares.reshape(-1, distances.COLUMNS // distances.LANES, distances.LANES):
                within = block[0].copy()
                for row in block[1:]:
                    within += row
                lanes += within
            while len(lanes) > 1:
                lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
            assert next(found) == lanes[0]
