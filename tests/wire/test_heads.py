"""Signed heads: who says how far the ledger goes can be held to it, and two that differ are a proof."""

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.core.names import uid_of
from swarm.errors import BadInput, IdentityError, SwarmError
from swarm.wire.heads import contradiction, read_evidence, read_head, sign_head

NETWORK, OTHER_NETWORK = b"n" * 32, b"o" * 32
ONE, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))


def head(key=ONE, *, network=NETWORK, epoch=0, index=7, hash=b"h" * 32):
    return read_head(sign_head(key, network_id=network, epoch=epoch, index=index, hash=hash), network)


def test_a_head_says_who_where_and_what():
    said = head(epoch=3, index=9)
    assert said.uid == uid_of(ONE.public_key().public_bytes_raw())
    assert (said.epoch, said.index, said.hash, said.network_id) == (3, 9, b"h" * 32, NETWORK)


def test_equal_words_have_equal_bytes():
    assert head().raw == head().raw


def test_a_head_of_another_network_is_refused_with_both_named():
    raw = sign_head(ONE, network_id=OTHER_NETWORK, epoch=0, index=7, hash=b"h" * 32)
    with pytest.raises(BadInput, match=r"network 6f6f6f6f6f6f6f6f, this node belongs to network 6e6e6e6e6e6e6e6e"):
        read_head(raw, NETWORK)


@pytest.mark.parametrize("place", range(6))
def test_a_head_that_was_changed_is_nobodys(place):
    said, signature = msgpack.unpackb(head().raw)
    fields = msgpack.unpackb(said)
    fields[place] = {int: lambda v: v + 1, bytes: lambda v: v[:-1] + b"!"}[type(fields[place])](fields[place])
    with pytest.raises((BadInput, IdentityError)):
        read_head(msgpack.packb([msgpack.packb(fields), signature]), NETWORK)


def test_a_head_of_a_newer_version_names_both_versions():
    said, signature = msgpack.unpackb(head().raw)
    fields = msgpack.unpackb(said)
    with pytest.raises(BadInput, match="of version 2, this node knows 1"):
        read_head(msgpack.packb([msgpack.packb([2, *fields[1:]]), signature]), NETWORK)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=600), st.builds(lambda cut: head().raw[:cut], st.integers(0, 200)), st.none()))
def test_whatever_comes_is_a_head_or_one_error(raw):
    if raw != head().raw:
        with pytest.raises(SwarmError):
            read_head(raw, NETWORK)


def test_two_hashes_at_one_index_of_one_epoch_are_a_proof_that_can_be_kept():
    evidence = contradiction(head(), head(OTHER, hash=b"x" * 32))
    assert evidence is not None
    assert read_evidence(evidence.raw(), NETWORK) == evidence
    assert evidence.one.uid in str(evidence)
    assert evidence.other.uid in str(evidence)


def test_one_node_can_contradict_itself():
    assert contradiction(head(), head(hash=b"x" * 32)) is not None


@pytest.mark.parametrize("other", [{}, {"index": 8}, {"epoch": 1}], ids=["equal", "another index", "another epoch"])
def test_what_can_both_be_true_is_no_proof(other):
    differing = {"hash": b"x" * 32} if other else {}
    one, two = head(), head(OTHER, **other, **differing)
    assert contradiction(one, two) is None
    with pytest.raises(BadInput, match="contradict each other in nothing"):
        read_evidence(msgpack.packb([one.raw, two.raw]), NETWORK)


def test_evidence_with_a_forged_head_is_none():
    evidence = contradiction(head(), head(OTHER, hash=b"x" * 32))
    assert evidence is not None
    forged = evidence.raw()[:-1] + b"!"
    with pytest.raises(IdentityError):
        read_evidence(forged, NETWORK)
