"""One owner's merging: a chunk's contributions in, merged bytes and the hashes of their leaves out.

Used by one exchange, in the threads of its pool. Guarantees: the parts are merged in the order given; padding is zero;
a contribution with NaN, infinity or whatever else cannot be merged (`tensorbytes.flaw`) is found before its chunk is
finished, and its sender named; so are leaves that were not committed to, where an offer has a Merkle root, and what no
merge can be in what others say they have merged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from swarm.core.merge import Kernel, Members, Method
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.errors import ModelError
from swarm.wire import tensorbytes

HASH = tensorbytes.HASH_BYTES
BytesOf = Callable[[str, int, int], memoryview]
"""(whose contribution, bytes from, bytes to)"""
Store = Callable[[int, memoryview], None]
"""Writes down what the result is from this byte on, where it outlives this process."""


class BadContribution(ModelError):
    def __init__(self, uid: str, message: str) -> None:
        super().__init__(message)
        self.uid = uid


class ProvenLeaves:
    """The leaves of a contribution in bytes ``span`` (whole ones), as its offer has committed to them."""

    def __init__(self, uid: str, span: tuple[int, int], hashes: bytes, hash_name: str) -> None:
        self._uid = uid
        self._start, self._stop = span
        self._hashes = hashes
        self._hash_name = hash_name
        self._upto = self._start

    def checked(self, content: Callable[[int, int], memoryview], upto: int) -> int:
        """Bytes below ``upto`` are here: how far they are what was offered. Raises when they are not."""
        whole = upto if upto == self._stop else upto - (upto - self._start) % LEAF_BYTES
        found = tensorbytes.leaf_hashes(content(self._upto, whole), self._hash_name)
        at = (self._upto - self._start) // LEAF_BYTES * HASH
        if found != self._hashes[at : at + len(found)]:
            raise BadContribution(self._uid, "the weights it sent are not those it offered: a leaf has another hash")
        self._upto = whole
        return whole


class Merging:
    """``contribution`` finds bytes of a member's. ``result`` and ``leaves`` (the hashes) are addressed as in the model.

    ``settle`` is told what has been merged, before it is hashed. ``store`` writes down what is final; none is needed
    where the result lies in a place that outlives this process.
    """

    def __init__(
        self,
        schema: Schema,
        method: Method,
        contribution: BytesOf,
        result: memoryview,
        leaves: memoryview,
        hash_name: str,
        settle: Callable[[int, int], None],
        store: Store | None = None,
    ) -> None:
        self._schema = schema
        self._method = method
        self._kernel: Kernel | None = None
        self._contribution = contribution
        self._result = result
        self._leaves = leaves
        self._hash_name = hash_name
        self._settle = settle
        self._store = store
        self._unfit: dict[int, str] = {}

    def prepare(self, members: Members) -> None:
        """Who merges, in the order of the parts, is known, and how far apart they are if that matters."""
        self._kernel = self._method.kernel(members)

    def merge(self, start: int, stop: int, parts: Sequence[tuple[str, int]]) -> None:
        assert self._kernel is not None, "merging has not been prepared"
        data = [np.frombuffer(self._contribution(uid, start, stop), np.uint8) for uid, _ in parts]
        merged = np.frombuffer(self._result[start:stop], np.uint8)
        upto = 0
        for run in self._schema.runs(start, stop):
            a, b = run.start - start, run.stop - start
            storage = self._schema.tensors[run.tensor].storage
            merged[upto:a] = 0
            upto = b
            out = merged[a:b].view(storage)
            values = [part[a:b].view(storage) for part in data]
            name = self._schema.tensors[run.tensor].name
            if not self._is_told(run.dtype):
                must_be_fit(run.dtype, parts, values, name)
            with np.errstate(all="ignore"):  # what is not finite is found below, with its sender
                self._kernel(run.dtype, values, out)
            if not tensorbytes.finite(run.dtype, out):
                must_be_fit(run.dtype, parts, values, name)
                raise ModelError(f'the merged tensor "{name}" is beyond the range of {run.dtype}')
        merged[upto:] = 0
        self._settle(start, stop)
        self.seal(start, stop)

    def _is_told(self, dtype: str) -> bool:
        """Whether what cannot be merged was found when it was measured, or will be in the result."""
        return self._method.distances or (self._method.tells and dtype not in ("bool", "float64"))

    def seal(self, start: int, stop: int) -> None:
        """The result is here between ``start`` and ``stop``: fill in the hashes of its leaves, and write it down."""
        hashes = tensorbytes.leaf_hashes(self._result[start:stop], self._hash_name)
        at = start // LEAF_BYTES * HASH
        self._leaves[at : at + len(hashes)] = hashes
        if self._store is not None:
            self._store(start, self._result[start:stop])

    def receive(self, start: int, stop: int) -> None:
        """This much of another's shard has come: seal it, and remember whether it can be a merge at all."""
        self.seal(start, stop)
        found = tensorbytes.first_flaw(self._schema, self._result[start:stop], start, stop)
        self._unfit[start] = "" if found is None else f'{found[1]}, in "{found[0]}"' if found[0] else found[1]

    def unfit(self, start: int, stop: int) -> str:
        """What of that which was received from ``start`` to ``stop`` no honest owner signs; "" where nothing is."""
        return next((found for at, found in sorted(self._unfit.items()) if found and start <= at < stop), "")


def must_be_fit(
    dtype: str, parts: Sequence[tuple[str, int]], values: Sequence[np.ndarray[Any, Any]], tensor: str
) -> None:
    """Raise for the first contribution that holds what cannot be merged in this stretch of the tensor."""
    for (uid, _), sent in zip(parts, values, strict=True):
        if found := tensorbytes.flaw(dtype, sent, sent=True):
            raise BadContribution(uid, f'its tensor "{tensor}" holds {found}')
