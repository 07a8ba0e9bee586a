"""Schemas are sound or refused, lay models out alike everywhere, and never cut an element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.tensors import ALIGN, LEAF_BYTES, STORAGE, Schema, TensorSpec, split
from swarm.errors import ModelError

SPECS = st.lists(
    st.tuples(st.sampled_from(sorted(STORAGE)), st.lists(st.integers(0, 300), max_size=2)), min_size=1, max_size=6
)


def schema_of(specs: list) -> Schema:
    tensors = [TensorSpec(f"t{i}", dtype, tuple(shape)) for i, (dtype, shape) in enumerate(specs)]
    return Schema((TensorSpec("first", "float32", (1,)), *tensors))


def test_tensors_start_at_multiples_of_64_bytes_in_the_order_given() -> None:
    schema = Schema.of({"a": np.zeros((3, 5), np.float32), "b": np.zeros((), np.int64), "c": np.zeros(65, bool)})
    assert schema.offsets == (0, 64, 128, 256)
    assert schema.nbytes == 256
    assert schema.leaves == 1


@given(SPECS)
def test_a_schema_survives_the_wire(specs: list) -> None:
    schema = schema_of(specs)
    again = Schema.from_wire(schema.to_wire())
    assert again == schema
    assert again.offsets == schema.offsets
    assert schema.first_difference(again) is None


@given(SPECS, st.integers(1, 5))
def test_runs_of_consecutive_shards_cover_every_element_once(specs: list, owners: int) -> None:
    schema = schema_of(specs)
    covered = [0] * len(schema.tensors)
    for first, stop in split(schema.leaves, owners):
        for run in schema.runs(*schema.span(first, stop)):
            tensor, offset = schema.tensors[run.tensor], schema.offsets[run.tensor]
            assert offset <= run.start < run.stop <= offset + tensor.nbytes
            assert (
                (run.start - offset) % tensor.storage.itemsize == (run.stop - run.start) % tensor.storage.itemsize == 0
            )
            covered[run.tensor] += run.stop - run.start
    assert covered == [tensor.nbytes for tensor in schema.tensors]


def test_an_element_never_crosses_a_leaf() -> None:
    assert LEAF_BYTES % ALIGN == 0
    assert all(ALIGN % np.dtype(storage).itemsize == 0 for storage in STORAGE.values())


@pytest.mark.parametrize(
    "wire",
    [
        None, 7, "abc", {}, [], [7], [["a"]], [["a", "float32", "3"]], [["a", "float32", [True]]],
        [["a", "float32", [1.0]]],
        [["a", "complex64", [3]]], [["a", "object", [3]]], [["a", "float32", [-1]]], [["a", "float32", [1 << 70]]],
        [["a", "float32", [1 << 30, 1 << 30]]], [["a", "float32", [1] * 33]], [["", "float32", [1]]],
        [["a\n", "float32", [1]]], [["x" * 513, "float32", [1]]], [["a", "float32", [1]], ["a", "float32", [1]]],
        [["a", "float32", [0]]], [["a", "uint8", [1 << 42]], ["b", "uint8", [64]]], [["a", "float32", [3], 0]],
    ],
)  # fmt: skip
def test_a_schema_that_is_none_is_refused_in_a_sentence(wire: object) -> None:
    with pytest.raises(ModelError) as raised:
        Schema.from_wire(wire)
    assert len(raised.value.message) < 300


def test_the_first_difference_is_named() -> None:
    contract = Schema.of({"dense/kernel": np.zeros((64, 10), np.float32), "dense/bias": np.zeros(10, np.float32)})
    model = Schema.of({"dense/kernel": np.zeros((64, 12), np.float32), "dense/bias": np.zeros(12, np.float32)})
    assert contract.first_difference(model) == (
        'tensor 1: the contract has "dense/kernel" float32 (64, 10), this model has "dense/kernel" float32 (64, 12)'
    )
    short = Schema(contract.tensors[:1])
    assert contract.first_difference(short) == (
        'the contract has tensor 2, "dense/bias" float32 (10,), this model ends before it'
    )
    assert short.first_difference(contract) == (
        'this model has tensor 2, "dense/bias" float32 (10,), the contract ends before it'
    )


@given(st.integers(0, 5000), st.lists(st.integers(0, 1000), min_size=1, max_size=20).filter(any))
def test_shards_are_contiguous_and_within_a_leaf_of_their_share(leaves: int, shares: list[int]) -> None:
    ranges = split(leaves, shares)
    assert [first for first, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])]
    assert ranges[-1][1] == leaves
    for (first, stop), share in zip(ranges, shares, strict=True):
        assert abs((stop - first) * sum(shares) - leaves * share) < sum(shares)
    assert split(leaves, len(shares)) == split(leaves, [3] * len(shares))
