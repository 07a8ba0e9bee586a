from __future__ import annotations

import uuid

import pytest

from swarm.core.names import Identity, parse_name, peer_id, uid_of
from swarm.errors import BadInput


def test_names_are_lower_cased() -> None:
    assert parse_name("SN-1.Example_x") == "sn-1.example_x"


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "a/b", "ä", "a\n", "K\u212a", ".", ".."])
def test_what_is_no_name_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(BadInput, match="is not a name: expected 1 to 64"):
        parse_name(text)


def test_an_identity_reads_as_its_uri_and_compares_by_anchor_role_and_name() -> None:
    one = Identity("org-a", b"a" * 32, "sn", "sn-1")
    assert str(one) == "swarm://org-a/sn/sn-1"
    assert one.same_as(Identity("org-a#01020304", b"a" * 32, "sn", "sn-1"))
    assert not one.same_as(Identity("org-a", b"b" * 32, "sn", "sn-1"))


def test_peer_ids_are_those_of_libp2p() -> None:
    libp2p = pytest.importorskip("libp2p.crypto.ed25519")
    from libp2p.peer.id import ID

    for seed in range(20):
        pair = libp2p.create_new_key_pair(bytes([seed]) * 32)
        assert peer_id(pair.public_key.to_bytes()) == str(ID.from_pubkey(pair.public_key))


def test_the_uid_is_a_version_5_uuid_that_never_changes() -> None:
    assert peer_id(bytes(range(32))) == "12D3KooW9pP4Seg3kZYhySpuVjn1RPdQBsUFZKiFxGMGQN5MeL6A"
    assert uuid.UUID(uid_of(bytes(range(32)))).version == 5
    assert uid_of(bytes(range(32))) == "ea36adb5-4a27-5c33-bfe4-f1a9e546a8ee"
