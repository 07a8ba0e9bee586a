"""Merkle roots and proofs over leaf hashes: what is accepted is what the root was made of, at its own place."""

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swarm.wire import merkle
from swarm.wire.tensorbytes import HASH_BYTES, leaf_hashes

HASH = "sha256"


def hashes(leaves, salt=0):
    return b"".join(hashlib.sha256(f"{salt} {leaf}".encode()).digest() for leaf in range(leaves))


def part(all_hashes, first, stop):
    return all_hashes[first * HASH_BYTES : stop * HASH_BYTES]


def by_definition(all_hashes):
    """The tree as the module's description says it, one recursion."""
    leaves = len(all_hashes) // HASH_BYTES
    if leaves == 1:
        return all_hashes
    half = 1
    while half * 2 < leaves:
        half *= 2
    left, right = by_definition(part(all_hashes, 0, half)), by_definition(part(all_hashes, half, leaves))
    return hashlib.sha256(b"\x01" + left + right).digest()


@st.composite
def ranges(draw):
    leaves = draw(st.integers(1, 70))
    first = draw(st.integers(0, leaves - 1))
    return leaves, first, draw(st.integers(first + 1, leaves))


@given(st.integers(1, 70))
def test_the_root_is_that_of_the_tree_described(leaves):
    assert merkle.root(hashes(leaves), HASH) == by_definition(hashes(leaves))


@given(ranges())
def test_every_range_of_leaves_is_proved_against_the_root(range_):
    leaves, first, stop = range_
    all_hashes = hashes(leaves)
    proof = merkle.proof(all_hashes, first, stop, HASH)
    assert len(proof) // HASH_BYTES <= 2 * leaves.bit_length()
    assert merkle.verify(merkle.root(all_hashes, HASH), leaves, first, part(all_hashes, first, stop), proof, HASH)


@given(ranges(), st.data())
def test_another_leaf_or_proof_is_refused(range_, data):
    leaves, first, stop = range_
    all_hashes = hashes(leaves)
    root, proof = merkle.root(all_hashes, HASH), merkle.proof(all_hashes, first, stop, HASH)
    both = bytearray(part(all_hashes, first, stop) + proof)
    both[data.draw(st.integers(0, len(both) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = (stop - first) * HASH_BYTES
    assert not merkle.verify(root, leaves, first, both[:cut], bytes(both[cut:]), HASH)


@given(ranges(), st.data())
def test_leaves_are_refused_at_another_place(range_, data):
    leaves, first, stop = range_
    all_hashes = hashes(leaves)
    root = merkle.root(all_hashes, HASH)
    elsewhere = data.draw(st.integers(0, leaves - (stop - first)))
    assume(elsewhere != first)
    for proof in (
        merkle.proof(all_hashes, first, stop, HASH),
        merkle.proof(all_hashes, elsewhere, elsewhere + stop - first, HASH),
    ):
        assert not merkle.verify(root, leaves, elsewhere, part(all_hashes, first, stop), proof, HASH)


@pytest.mark.parametrize(
    ("first", "count", "proof"), [(-1, 1, b""), (0, 0, b""), (3, 2, b""), (0, 4, b"x" * HASH_BYTES), (0, 1, b"")]
)
def test_ranges_and_proofs_of_the_wrong_size_are_refused(first, count, proof):
    all_hashes = hashes(4)
    assert not merkle.verify(merkle.root(all_hashes, HASH), 4, first, hashes(count), proof, HASH)


def test_leaf_hashes_of_a_wrong_length_are_refused():
    assert not merkle.verify(merkle.root(hashes(1), HASH), 1, 0, hashes(1) + b"x", b"", HASH)


def test_inner_nodes_cannot_stand_for_leaves():
    root = merkle.root(hashes(4), HASH)
    halves = by_definition(hashes(2)) + by_definition(part(hashes(4), 2, 4))
    assert not merkle.verify(root, 4, 0, halves, b"", HASH)
    assert merkle.root(halves, HASH) == root  # which is why the number of leaves belongs to the check


def test_a_model_of_one_leaf_is_its_own_root():
    leaf = leaf_hashes(b"weights", HASH)
    assert merkle.root(leaf, HASH) == leaf
    assert merkle.verify(leaf, 1, 0, leaf, b"", HASH)
