"""How far apart the contributions are: squared distances between every two members, over all float tensors.

Used by the exchange of a round, for methods that judge whole contributions (`Method.distances`). Whoever merges a shard
measures there; all sum up what all have measured. Guarantees: float64; the same bits however the model is cut into
shards and stretches and whatever the machine, and for a pair of members whoever else takes part.

    a leaf     (xᵢ - xⱼ)² for each of its elements; of a block of COLUMNS row after row of LANES, then block after
               block, then in halves: the upper half to the lower one, until one is left (always whole rows, element by
               element: sums along a row, np.sum's and those of BLAS, differ from machine to machine)
    a model    a binary tree over its leaves, where the sum of a node is that of the lower half plus the upper half
    a part     what a shard says: the sums of the largest nodes that lie in it, from which all build the rest

Differences are taken before they are squared, pair by pair, so nothing cancels: the error is some 1e-15 of a distance
even where members agree in all but their last digits, where xᵢ·xᵢ - 2xᵢ·xⱼ + xⱼ·xⱼ has no digit right. Integers and
booleans count for nothing here: the scale of a counter says nothing about weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from swarm.core.merge.mean import readable
from swarm.core.merge.method import Array
from swarm.core.tensors import FLOATS, LEAF_BYTES, Schema

COLUMNS = 1 << 13
LANES = 1 << 9
"""Columns that are looked at together, and sums that are carried from block to block."""
PAIRS = 3
"""Pairs that are looked at together: so many rows stay in a core's own cache, and a call is shared by them."""
FARTHEST = 2.0**900
"""A leaf counts at most so much, so that sums stay numbers whatever somebody sends."""

Node = tuple[int, int]
"""(level, index): leaves from index·2^level, 2^level of them."""


def pairs(members: int) -> int:
    return members * (members - 1) // 2


class Room:
    """What measuring a leaf of so many members takes, to be used again: fresh pages for each leaf cost time."""

    def __init__(self, members: int) -> None:
        self.rows = np.empty((members, COLUMNS))
        self.apart = np.empty((PAIRS, COLUMNS))
        self.sums = np.empty((pairs(members), LANES))


def of_leaf(schema: Schema, start: int, contents: Sequence[Array], room: Room) -> Array:
    """The squared distances in the leaf that starts at this byte; ``contents``: its bytes (uint8) of each member.

    One number a pair: (0,1), (0,2) … (1,2) …
    """
    room.sums[:] = 0
    for run in schema.runs(start, start + len(contents[0])):
        if run.dtype in FLOATS:
            storage = schema.tensors[run.tensor].storage
            values = [content[run.start - start : run.stop - start].view(storage) for content in contents]
            for first in range(0, len(values[0]), COLUMNS):
                _add(room, _block(run.dtype, values, first, room.rows))
    return np.minimum(_folded(room.sums), FARTHEST)


def _block(dtype: str, values: Sequence[Array], first: int, whole: Array) -> Array:
    """The next COLUMNS of each member, or as many as there are and nothing apart up to whole LANES."""
    width = min(COLUMNS, len(values[0]) - first)
    rows = whole[:, : -(-width // LANES) * LANES]
    for row, value in zip(rows, values, strict=True):
        np.copyto(row[:width], readable(dtype, value[first : first + width]))
    rows[:, width:] = 0
    return rows


def _add(room: Room, rows: Array) -> None:
    """Add the squares of the rows' differences, pair by pair, LANES after LANES."""
    width, pair = rows.shape[1], 0
    with np.errstate(over="ignore"):
        for i in range(len(rows) - 1):
            for j in range(i + 1, len(rows), PAIRS):
                others = rows[j : j + PAIRS]
                apart = room.apart[: len(others), :width]
                np.subtract(others, rows[i], out=apart)
                np.multiply(apart, apart, out=apart)
                room.sums[pair : pair + len(others)] += np.add.reduce(apart.reshape(len(others), -1, LANES), axis=1)
                pair += len(others)


def _folded(sums: Array) -> Array:
    """Each row added up, the upper half to the lower one, in place."""
    half = sums.shape[1] // 2
    while half:
        sums[:, :half] += sums[:, half : 2 * half]
        half //= 2
    return sums[:, 0]


# ---- the tree


def nodes(first_leaf: int, stop_leaf: int) -> list[Node]:
    """The largest nodes of the tree within these leaves: what a part consists of."""
    found, level = [], 0
    while first_leaf < stop_leaf:
        if first_leaf % 2:
            found.append((level, first_leaf))
            first_leaf += 1
        if stop_leaf % 2 and first_leaf < stop_leaf:
            stop_leaf -= 1
            found.append((level, stop_leaf))
        first_leaf, stop_leaf, level = first_leaf // 2, stop_leaf // 2, level + 1
    return found


def part_bytes(members: int, first_leaf: int, stop_leaf: int) -> int:
    return 8 * pairs(members) * len(nodes(first_leaf, stop_leaf))


def part(first_leaf: int, sums: Array) -> bytes:
    """What a shard says, of the distances in its leaves (one row a leaf): the sums of its nodes, little-endian."""
    levels, first = [sums], [first_leaf]
    while len(levels[-1]) > 1:
        below, at = levels[-1], first[-1]
        below = below[at % 2 :]
        below = below[: len(below) - len(below) % 2]
        levels.append(below[::2] + below[1::2])
        first.append((at + 1) // 2)
    found = [levels[level][index - first[level]] for level, index in nodes(first_leaf, first_leaf + len(sums))]
    return b"".join(row.astype("<f8").tobytes() for row in found)


def sound(said: bytes) -> bool:
    """Whether these can be somebody's sums."""
    sums = np.frombuffer(said, "<f8")
    return bool(np.all(sums >= 0) and np.all(sums <= FARTHEST * 2.0**50))


def together(leaves: int, members: int, parts: Mapping[tuple[int, int], bytes]) -> Array:
    """The matrix of squared distances over all leaves, from the parts of all shards (first leaf, stop leaf)."""
    known: dict[Node, Array] = {}
    for span, said in parts.items():
        here = nodes(*span)
        known |= dict(zip(here, np.frombuffer(said, "<f8").reshape(len(here), pairs(members)), strict=True))

    def total(level: int, index: int) -> Array:
        if (level, index) in known:
            return known[level, index]
        low, high = 2 * index, 2 * index + 1
        lower = total(level - 1, low)
        return lower + total(level - 1, high) if high << (level - 1) < leaves else lower

    return _matrix(members, total((leaves - 1).bit_length(), 0))


def _matrix(members: int, upper: Array) -> Array:
    matrix = np.zeros((members, members))
    for (i, j), apart in zip(_pairs(members), upper.tolist(), strict=True):
        matrix[i, j] = matrix[j, i] = apart
    return matrix


def _pairs(members: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(members) for j in range(i + 1, members))


def leaf_spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The leaves, in bytes, of a stretch that begins with one."""
    return ((at, min(at + LEAF_BYTES, stop)) for at in range(start, stop, LEAF_BYTES))
