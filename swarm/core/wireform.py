"""The wire form: how the leaves of a model travel where a contract has ``wire: bf16`` or ``int8``.

Used by the exchange of a round and by who offers. What members contribute and what owners merge is first put on what
the wire can say (`write`, then `read`), and only that counts: it is merged, hashed, committed to and signed, as a model
with all its bytes. So the wire form is no more than another writing of those bytes, without loss, for whoever holds the
base: leaves, shards, digests and proofs are the model's own and know nothing of it; a shard is passed on as it came.

    leaf by leaf, each from its own bytes and those of the base alone: a union of leaves is one range on the wire too
    a leaf: its stretches of tensors one after the other, each as `core/quantise` has it, from multiples of ALIGN on

Guarantee: where each leaf lies follows from the schema alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from swarm.core import quantise
from swarm.core.merge.method import Array
from swarm.core.tensors import LEAF_BYTES, Run, Schema

ALIGN = 8
Base = Callable[[int, int], memoryview]
"""Bytes of the base, from and to; a piece at a time, so that nobody needs room for the whole of it."""
WIRES = ("fp32", "bf16", "int8")
"""What a contract may ask for; fp32: everything travels as it is."""


class WireForm:
    """Where the leaves of such a model lie on the wire."""

    def __init__(self, schema: Schema, wire: str) -> None:
        self.schema = schema
        self.wire = wire
        starts = range(0, schema.nbytes, LEAF_BYTES)
        self._offsets = list(accumulate(map(self._leaf_bytes, starts), initial=0))

    @property
    def nbytes(self) -> int:
        return self._offsets[-1]

    def at(self, position: int) -> int:
        """Where what begins at this byte of the model, the start of a leaf or its end, begins on the wire."""
        assert position % LEAF_BYTES == 0 or position == self.schema.nbytes, position
        return self._offsets[-(-position // LEAF_BYTES)]

    def whole(self, offset: int) -> int:
        """Up to which byte of the model, a border of leaves, the wire below ``offset`` says everything."""
        return min((bisect_right(self._offsets, offset) - 1) * LEAF_BYTES, self.schema.nbytes)

    def stretches(self, start: int, stop: int) -> Iterator[tuple[Run, int, int]]:
        """The stretches of the leaves from ``start`` to ``stop``, and the bytes of each counted from `at` (start)."""
        at = 0
        for first in range(start, stop, LEAF_BYTES):
            for run in self.schema.runs(first, min(first + LEAF_BYTES, stop)):
                size = self._bytes_of(run)
                yield run, at, at + size
                at += -(-size // ALIGN) * ALIGN

    def _leaf_bytes(self, start: int) -> int:
        runs = self.schema.runs(start, min(start + LEAF_BYTES, self.schema.nbytes))
        return sum(-(-self._bytes_of(run) // ALIGN) * ALIGN for run in runs)

    def _bytes_of(self, run: Run) -> int:
        elements = (run.stop - run.start) // self.schema.tensors[run.tensor].storage.itemsize
        return quantise.stretch_bytes(run.dtype, self.wire, elements)


@dataclass(frozen=True, slots=True)
class Coding:
    """A wire form together with the base (a model) that both ends hold.

    ``model`` and ``sent`` are the bytes ``start`` to ``stop`` of a model, a union of leaves, and their wire form.
    """

    form: WireForm
    base: Base

    def write(self, start: int, stop: int, model: memoryview, sent: memoryview) -> None:
        for piece in self._pieces(start, stop, model, sent):
            quantise.write(piece.dtype, self.form.wire, piece.values, piece.base, piece.sent)

    def read(self, start: int, stop: int, sent: memoryview, model: memoryview) -> None:
        np.frombuffer(model, np.uint8)[:] = 0  # padding
        for piece in self._pieces(start, stop, model, sent):
            quantise.read(piece.dtype, self.form.wire, piece.sent, piece.base, piece.values)

    def _pieces(self, start: int, stop: int, model: memoryview, sent: memoryview) -> Iterator[_Piece]:
        form, values, target = self.form, np.frombuffer(model, np.uint8), np.frombuffer(sent, np.uint8)
        assert model.nbytes == stop - start, (model.nbytes, start, stop)
        assert sent.nbytes == form.at(stop) - form.at(start), (sent.nbytes, start, stop)
        for leaf in range(start, stop, LEAF_BYTES):
            end = min(leaf + LEAF_BYTES, stop)
            base, at = np.frombuffer(self.base(leaf, end), np.uint8), form.at(leaf) - form.at(start)
            for run, first, last in form.stretches(leaf, end):
                storage = form.schema.tensors[run.tensor].storage
                yield _Piece(
                    run.dtype,
                    values[run.start - start : run.stop - start].view(storage),
                    base[run.start - leaf : run.stop - leaf].view(storage),
                    target[at + first : at + last],
                )


class _Piece(NamedTuple):
    """The stored elements of a stretch, those of the base, and the bytes that they take on the wire."""

    dtype: str
    values: Array
    base: Array
    sent: Array
