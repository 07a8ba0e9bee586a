"""One owner's merging: contributions come in, merged leaves go out, chunk by chunk.

Used by one exchange. Guarantees: a chunk is merged once, as soon as every contribution to it is here, in the members'
order whatever the order of arrival; padding is zero; a contribution with NaN or infinity is found before the shard is
finished, and its sender named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarm.core.merge import Elementwise
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.errors import ModelError
from swarm.runtime.data_region import Region
from swarm.wire import tensorbytes

CHUNK = 1 << 20
assert CHUNK % LEAF_BYTES == 0
HASH = tensorbytes.HASH_BYTES


@dataclass(frozen=True)
class Part:
    """A member's contribution to the shard: ``data`` fills from the front."""

    uid: str
    weight: int
    data: memoryview


class BadContribution(ModelError):
    def __init__(self, uid: str, message: str) -> None:
        super().__init__(message)
        self.uid = uid


class Merging:
    """The shard that lies in bytes ``start`` to ``stop`` of the model.

    ``merged`` and ``leaves`` (the hashes) are filled, ``region`` follows; ``on_merged`` is called once, by a job.
    """

    def __init__(
        self,
        schema: Schema,
        span: tuple[int, int],
        method: Elementwise,
        parts: Sequence[Part],
        merged: memoryview,
        leaves: memoryview,
        hash_name: str,
        region: Region,
        submit: Callable[..., object],
        on_merged: Callable[[], None],
    ) -> None:
        self._schema = schema
        self._start, self._stop = span
        self._method = method
        self.parts = parts
        self._data = [np.frombuffer(part.data, np.uint8) for part in parts]
        self._weights = [part.weight for part in parts]
        self._merged_view = merged
        self._merged = np.frombuffer(merged, np.uint8)
        self._leaves = leaves
        self._hash_name = hash_name
        self._region = region
        self._submit = submit
        self._on_merged = on_merged
        self._lock = threading.Lock()
        self._here = {part.uid: 0 for part in parts}
        self._started = 0
        self._finished: set[int] = set()
        self._upto = 0

    @property
    def nbytes(self) -> int:
        return self._stop - self._start

    def arrived(self, uid: str, nbytes: int) -> None:
        """The first ``nbytes`` of the shard are here from this member."""
        with self._lock:
            self._here[uid] = nbytes
            here, first = min(self._here.values()), self._started
            self._started = self.nbytes if here == self.nbytes else here - here % CHUNK
            chunks = range(first, self._started, CHUNK)
        for chunk in chunks:
            self._submit(self._merge, chunk)

    def _merge(self, first: int) -> None:
        last = min(first + CHUNK, self.nbytes)
        upto = first
        for run in self._schema.runs(self._start + first, self._start + last):
            a, b = run.start - self._start, run.stop - self._start
            storage = self._schema.tensors[run.tensor].storage
            self._merged[upto:a] = 0
            upto = b
            out = self._merged[a:b].view(storage)
            values = [data[a:b].view(storage) for data in self._data]
            with np.errstate(all="ignore"):  # what is not finite is found below, with its sender
                self._method(run.dtype, values, self._weights, out)
            if not tensorbytes.finite(run.dtype, out):
                raise self._bad(run.dtype, values, self._schema.tensors[run.tensor].name)
        self._merged[upto:last] = 0
        hashes = tensorbytes.leaf_hashes(self._merged_view[first:last], self._hash_name)
        at = first // LEAF_BYTES * HASH
        self._leaves[at : at + len(hashes)] = hashes
        self._done(first)

    def _bad(self, dtype: str, values: list[np.ndarray[Any, Any]], tensor: str) -> ModelError:
        for part, sent in zip(self.parts, values, strict=True):
            if not tensorbytes.finite(dtype, sent):
                return BadContribution(part.uid, f'its tensor "{tensor}" holds NaN or infinity')
        return ModelError(f'the merged tensor "{tensor}" is beyond the range of {dtype}')

    def _done(self, chunk: int) -> None:
        with self._lock:
            self._finished.add(chunk)
            while self._upto in self._finished:
                self._finished.remove(self._upto)
                self._upto += CHUNK
            upto = min(self._upto, self.nbytes)
            self._region.advance(self._start + upto)
        if upto == self.nbytes:
            self._on_merged()
