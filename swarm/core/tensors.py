"""Tensors: what a model is made of, and where each of them lies in its canonical bytes.

Used by the ledger (a contract's schema, shard layout), the channel, merging and the digest. Guarantees: a `Schema` that
exists is sound (sizes fit, names differ), two equal schemas have equal layouts on every machine, and no element ever
crosses the border of a leaf, so whole leaves can be sent, merged and hashed alone.

    canonical bytes: tensors in contract order, little-endian, each starting at a multiple of ALIGN, zero-padded
    leaf: LEAF_BYTES of them (the last one may be shorter); shards are unions of whole leaves
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from swarm.errors import ModelError

LEAF_BYTES = 65_536
ALIGN = 64
TENSORS_MAX = 100_000
NAME_MAX = 512
DIMS_MAX = 32
NBYTES_MAX = 1 << 42

STORAGE: dict[str, str] = {
    "bool": "|b1",
    "int8": "|i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
    "uint8": "|u1",
    "uint16": "<u2",
    "uint32": "<u4",
    "uint64": "<u8",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "bfloat16": "<u2",  # numpy has no bfloat16 of its own: its bits are kept
}
"""Names of the element types that a model may have, and how numpy stores each in canonical bytes."""
_SIZES = {name: np.dtype(stored).itemsize for name, stored in STORAGE.items()}
_NAMES = {name: name for name in STORAGE}
"""Each once: a schema that was received has them a hundred thousand times."""

FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_MAX or not self.name.isprintable():
            raise ModelError(
                f"tensor name {self.name[:80]!r} cannot be used: expected 1 to {NAME_MAX} printable characters"
            )
        if self.dtype not in STORAGE:
            raise ModelError(
                f'tensor "{self.name}" has element type {self.dtype[:40]!r}, which cannot be merged',
                hint=f"one of {', '.join(STORAGE)}",
            )
        if len(self.shape) > DIMS_MAX:
            raise ModelError(f'tensor "{self.name}" has {len(self.shape)} dimensions, at most {DIMS_MAX} are possible')
        possible = not self.shape or (min(self.shape) >= 0 and max(self.shape) <= NBYTES_MAX)
        if not possible or self.nbytes > NBYTES_MAX:
            raise ModelError(
                f'tensor "{self.name}" of shape {self.shape} is not possible: at most {NBYTES_MAX} bytes are'
            )

    @property
    def storage(self) -> np.dtype[Any]:
        return np.dtype(STORAGE[self.dtype])

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * _SIZES[self.dtype]

    def __str__(self) -> str:
        return f'"{self.name}" {self.dtype} {self.shape}'


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes ``start`` to ``stop`` of the canonical bytes: elements of one tensor, whole ones."""

    tensor: int
    dtype: str
    start: int
    stop: int


@dataclass(frozen=True)
class Schema:
    """The tensors of a model, in contract order."""

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if len(self.tensors) > TENSORS_MAX:
            raise ModelError(f"the model has {len(self.tensors)} tensors, at most {TENSORS_MAX} are possible")
        names: set[str] = set()
        for tensor in self.tensors:
            if tensor.name in names:
                raise ModelError(f'two tensors of the model are named "{tensor.name}"')
            names.add(tensor.name)
        if not 0 < self.nbytes <= NBYTES_MAX:
            raise ModelError(f"the model has {self.nbytes} bytes of weights, expected 1 to {NBYTES_MAX}")

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Schema:
        """The schema of these arrays, in the order of the mapping."""
        return cls(tuple(TensorSpec(name, array.dtype.name, array.shape) for name, array in arrays.items()))

    @classmethod
    def from_wire(cls, wire: Any) -> Schema:
        """The schema that another process wrote; raises ModelError on anything that is not one."""
        if not isinstance(wire, list | tuple) or len(wire) > TENSORS_MAX:
            raise ModelError(f"a model's schema is a list of at most {TENSORS_MAX} tensors, received {_shown(wire)}")
        return cls(tuple(_spec(entry) for entry in wire))

    def to_wire(self) -> list[list[Any]]:
        return [[tensor.name, tensor.dtype, list(tensor.shape)] for tensor in self.tensors]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each tensor starts; one more entry than tensors: the last is the end."""
        return tuple(accumulate((_aligned(tensor.nbytes) for tensor in self.tensors), initial=0))

    @property
    def nbytes(self) -> int:
        return self.offsets[-1]

    @property
    def leaves(self) -> int:
        return -(-self.nbytes // LEAF_BYTES)

    def span(self, first_leaf: int, stop_leaf: int) -> tuple[int, int]:
        """The bytes of the leaves ``first_leaf`` up to, and without, ``stop_leaf``."""
        assert 0 <= first_leaf <= stop_leaf <= self.leaves, (first_leaf, stop_leaf, self.leaves)
        return min(first_leaf * LEAF_BYTES, self.nbytes), min(stop_leaf * LEAF_BYTES, self.nbytes)

    def runs(self, start: int, stop: int) -> Iterator[Run]:
        """The elements that lie in these bytes; what is between the runs is padding."""
        index = max(bisect_right(self.offsets, start) - 1, 0)
        while index < len(self.tensors) and self.offsets[index] < stop:
            tensor, offset = self.tensors[index], self.offsets[index]
            first, last = max(start, offset), min(stop, offset + tensor.nbytes)
            if first < last:
                yield Run(index, tensor.dtype, first, last)
            index += 1

    def first_difference(self, other: Schema) -> str | None:
        """How ``other`` (this model) differs from this schema (the contract's) first, as a sentence; None if not."""
        for position, (ours, theirs) in enumerate(zip(self.tensors, other.tensors, strict=False), start=1):
            if ours != theirs:
                return f"tensor {position}: the contract has {ours}, this model has {theirs}"
        if len(self.tensors) > len(other.tensors):
            missing = self.tensors[len(other.tensors)]
            return f"the contract has tensor {len(other.tensors) + 1}, {missing}, this model ends before it"
        if len(self.tensors) < len(other.tensors):
            extra = other.tensors[len(self.tensors)]
            return f"this model has tensor {len(self.tensors) + 1}, {extra}, the contract ends before it"
        return None


def split(leaves: int, shares: int | Sequence[int]) -> list[tuple[int, int]]:
    """Cut leaves into ranges (first, stop), one an owner, by shares (a number: that many equal ones).

    Largest remainder, ties to the earlier owner; integers only, so every machine cuts alike. A range may be empty.
    """
    weights = [1] * shares if isinstance(shares, int) else list(shares)
    total = sum(weights)
    assert leaves >= 0, leaves
    assert weights, "no owners"
    assert min(weights) >= 0, weights
    assert total > 0, weights
    counts = [leaves * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda owner: (-(leaves * weights[owner] % total), owner))
    for owner in by_remainder[: leaves - sum(counts)]:
        counts[owner] += 1
    return list(pairwise(accumulate(counts, initial=0)))


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGN) * ALIGN


def _spec(entry: Any) -> TensorSpec:
    match entry:
        case [str(name), str(dtype), [*shape]] if all(type(extent) is int for extent in shape):
            return TensorSpec(name, _NAMES.get(dtype, dtype), tuple(shape))
    raise ModelError(f"a tensor of a model's schema is [name, element type, [extents]], received {_shown(entry)}")


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, list | tuple | dict) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 80 else f"{text[:80]}…"
