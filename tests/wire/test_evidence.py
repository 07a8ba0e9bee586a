"""Evidence: nobody is convicted of what it has not signed."""

import pytest

from swarm.core.tensors import Schema, TensorSpec
from swarm.wire import shardproof
from tests.wire.test_signed import Author, Network

SCHEMA = Schema((TensorSpec("w", "float32", (4,)),))


@pytest.fixture
def scene(organisation):
    """A network of two learning nodes that are members of a contract."""
    ours = organisation("a")
    network = Network(ours)
    files = (ours.cert("sl"), ours.key("sl"))
    authors = [Author("sl", files, b"one"), Author("sl", files, b"two")]
    for author in authors:
        assert network.join(author).accepted
        body = {
            "contract": "c", "schema": SCHEMA.to_wire(), "hash": "sha256", "initial_base": "sha256:" + "0" * 64,
            "options": {"minPeers": 1}, "weight": 1, "syncFrequency": 1, "data_address": "127.0.0.1:1",
        }  # fmt: skip
        assert network.take(author.sign(network.ledger, "Enrolled", body)).accepted
    return network, *authors


def shown(network, signer, digest, **place):
    at = {"contract": "c", "round": 0, "attempt": 0, "snap": SNAP, "index": 1, **place}
    signature = shardproof.sign(signer.node_key, shardproof.ShardPlace(network.ledger.network_id, **at), digest)
    return {"digest": digest, "signature": signature}


def accuse(network, accuser, accused, **shown_):
    body = {"contract": "c", "round": 0, "attempt": 0, "snap": SNAP, "uid": accused.uid, "shard": 1, **shown_}
    return network.take(accuser.sign(network.ledger, "Evidence", body))


ONE, TWO = b"1" * 32, b"2" * 32
SNAP, SNAP_AGAIN = b"s" * 32, b"t" * 32


def test_two_signatures_for_one_shard_convict_their_signer(scene):
    network, accuser, cheat = scene
    outcome = accuse(network, accuser, cheat, first=shown(network, cheat, ONE), second=shown(network, cheat, TWO))
    assert outcome.accepted, outcome.reason
    assert network.ledger.contracts["c"].members[cheat.uid].state == "excluded"


@pytest.mark.parametrize(
    "place",
    [{"round": 1}, {"attempt": 1}, {"snap": SNAP_AGAIN}, {"index": 0}, {"contract": "d"}, {"network_id": b"x" * 32}],
)
def test_a_signature_for_another_place_proves_nothing(scene, place):
    network, accuser, accused = scene
    here = {"network_id": network.ledger.network_id, "contract": "c", "round": 0, "attempt": 0}
    at = {**here, "snap": SNAP, "index": 1, **place}
    signature = shardproof.sign(accused.node_key, shardproof.ShardPlace(**at), TWO)
    other = {"digest": TWO, "signature": signature}
    outcome = accuse(network, accuser, accused, first=shown(network, accused, ONE), second=other)
    assert (outcome.accepted, outcome.code) == (False, 3)
    assert "shows a shard that" in outcome.reason
    assert "never signed" in outcome.reason


def test_what_the_accuser_signed_itself_proves_nothing(scene):
    network, accuser, accused = scene
    forged = shown(network, accuser, TWO)
    outcome = accuse(network, accuser, accused, first=shown(network, accused, ONE), second=forged)
    assert "never signed" in outcome.reason
    assert network.ledger.contracts["c"].members[accused.uid].state == "live"


def test_one_signature_shown_twice_proves_nothing(scene):
    network, accuser, accused = scene
    same = shown(network, accused, ONE)
    assert "proves nothing" in accuse(network, accuser, accused, first=same, second=same).reason


def test_a_stranger_cannot_be_accused(scene):
    network, accuser, _ = scene
    stranger = Author("sl", accuser.files, b"three")
    outcome = accuse(network, accuser, stranger, first=shown(network, stranger, ONE))
    assert f"{stranger.uid} never signed" in outcome.reason
