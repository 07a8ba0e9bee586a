"""One member's measuring: how far apart the contributions are in its shards, and from what all say, in the whole.

Used by one exchange, in the threads of its pool, for methods that judge whole contributions. Guarantees: all members
that hold the same parts find the same matrix; a contribution that cannot be merged (NaN, for one) is found here, with
its sender.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swarm.core.events import SnapMade
from swarm.core.exchanging_places import Place, parts
from swarm.core.merge import distances
from swarm.core.merge.method import Array
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.runtime.exchange_merging import BytesOf, must_be_fit


class Measuring:
    """``said``: what all owners say, one part after the other, this member's own among them once it is published.

    In a broadcast nobody says anything: everybody measures all.
    """

    def __init__(self, schema: Schema, snap: SnapMade, mine: Sequence[Place], contribution: BytesOf) -> None:
        self._schema = schema
        self._snap = snap
        self._contribution = contribution
        self._members = sum(member.weight > 0 for member in snap.members)
        self._parts = parts(snap)
        self.said = memoryview(bytearray(self._parts[-1].stop if self._parts else 0))
        self._rooms: list[distances.Room] = []
        """Those that no thread is measuring in."""
        self._sums = {place.start: (place, np.zeros(self._shape(place))) for place in mine}

    def _shape(self, place: Place) -> tuple[int, int]:
        return -(-(place.stop - place.start) // LEAF_BYTES), distances.pairs(self._members)

    def measure(self, start: int, stop: int, parties: Sequence[tuple[str, int]]) -> None:
        place, sums = next(found for found in self._sums.values() if found[0].start <= start < found[0].stop)
        data = [np.frombuffer(self._contribution(uid, start, stop), np.uint8) for uid, _ in parties]
        for run in self._schema.runs(start, stop):
            tensor = self._schema.tensors[run.tensor]
            values = [row[run.start - start : run.stop - start].view(tensor.storage) for row in data]
            must_be_fit(run.dtype, parties, values, tensor.name)
        room = self._room()
        for first, last in distances.leaf_spans(start, stop):
            rows = [row[first - start : last - start] for row in data]
            sums[(first - place.start) // LEAF_BYTES] = distances.of_leaf(self._schema, first, rows, room)
        self._rooms.append(room)

    def _room(self) -> distances.Room:
        try:
            return self._rooms.pop()
        except IndexError:
            return distances.Room(self._members)

    def publish(self, uid: str) -> list[int]:
        """Write what is to be said about this member's shards; where that begins."""
        begins = []
        for part, shard in zip(self._parts, self._snap.shards, strict=True):
            if shard.owner == uid and part.start < part.stop:
                _, sums = self._sums[shard.first_leaf * LEAF_BYTES]
                self.said[part.start : part.stop] = distances.part(shard.first_leaf, sums)
                begins.append(part.start)
        return begins

    def matrix(self) -> Array:
        """The squared distances between every two members, once all parts are here."""
        return distances.together(self._schema.leaves, self._members, self._all())

    def _all(self) -> dict[tuple[int, int], bytes]:
        if self._snap.topology == "broadcast":
            ((_, sums),) = self._sums.values()
            return {(0, self._schema.leaves): distances.part(0, sums)}
        return {
            (shard.first_leaf, shard.stop_leaf): bytes(self.said[part.start : part.stop])
            for part, shard in zip(self._parts, self._snap.shards, strict=True)
        }
