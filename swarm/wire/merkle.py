"""Merkle trees over a model's leaf hashes: one root names a contribution, a short proof shows that leaves belong to it.

Used where a contract has ``commitments: full``: an Offer carries the root, and whoever receives a part of the weights
checks its leaves against the Offer before it merges them. Guarantees: for a number of leaves, two different lists of
leaf hashes have different roots (while H has no collisions); `verify` takes a range of leaves at their own place only.

    a tree of n leaves: on the left the first 2^k of them, the largest power of two below n; on the right the others
    one leaf: its hash · an inner node: H(1 ‖ left ‖ right) · a proof: the nodes beside the range, from left to right
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from swarm.wire.tensorbytes import HASH_BYTES, Buffer, Hash, hash_function

_INNER = b"\x01"


def root(leaf_hashes: Buffer, hash_name: str) -> bytes:
    """The root over these leaf hashes, which stand one after the other."""
    inner, view = _inner(hash_name), memoryview(leaf_hashes)
    level = [bytes(view[at : at + HASH_BYTES]) for at in range(0, len(view), HASH_BYTES)]
    assert level, "a model has leaves"
    while len(level) > 1:  # level by level gives the same tree: what is left over moves up as it is
        pairs = [inner(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]


def proof(leaf_hashes: Buffer, first: int, stop: int, hash_name: str) -> bytes:
    """What shows that the leaves ``first`` up to, and without, ``stop`` belong to the root."""
    leaves = len(leaf_hashes) // HASH_BYTES
    assert 0 <= first < stop <= leaves, (first, stop, leaves)
    view = memoryview(leaf_hashes)
    return b"".join(
        root(view[low * HASH_BYTES : high * HASH_BYTES], hash_name) for low, high in _beside(0, leaves, first, stop)
    )


def verify(root_: bytes, leaves: int, first: int, leaf_hashes: Buffer, proof_: bytes, hash_name: str) -> bool:
    """Whether these hashes are those of the leaves from ``first`` on, of ``leaves`` in all, under this root."""
    count, odd = divmod(len(leaf_hashes), HASH_BYTES)
    stop = first + count
    if odd or not 0 <= first < stop <= leaves:
        return False
    beside = list(_beside(0, leaves, first, stop))
    if len(proof_) != len(beside) * HASH_BYTES:
        return False
    given = (proof_[at : at + HASH_BYTES] for at in range(0, len(proof_), HASH_BYTES))
    known = dict(zip(beside, given, strict=True))
    view, inner = memoryview(leaf_hashes), _inner(hash_name)

    def node(low: int, high: int) -> bytes:
        if (low, high) in known:
            return known[low, high]
        if first <= low and high <= stop:
            return root(view[(low - first) * HASH_BYTES : (high - first) * HASH_BYTES], hash_name)
        middle = _middle(low, high)
        return inner(node(low, middle), node(middle, high))

    return node(0, leaves) == root_


def _beside(low: int, high: int, first: int, stop: int) -> Iterator[tuple[int, int]]:
    """The largest subtrees of [low, high) that hold no leaf of [first, stop), from left to right."""
    if first <= low and high <= stop:
        return
    if high <= first or stop <= low:
        yield low, high
        return
    middle = _middle(low, high)
    yield from _beside(low, middle, first, stop)
    yield from _beside(middle, high, first, stop)


def _middle(low: int, high: int) -> int:
    return low + (1 << ((high - low - 1).bit_length() - 1))


def _inner(hash_name: str) -> Callable[[bytes, bytes], bytes]:
    function: Hash = hash_function(hash_name)
    return lambda left, right: function(_INNER + left + right)
