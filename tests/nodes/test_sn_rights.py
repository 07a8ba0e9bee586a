"""What a network node takes from whom: the role of a certificate is not yet a place in the network."""

import pytest

from swarm.errors import Refused
from swarm.nodes.sn import check_place
from swarm.runtime.tls import Peer
from tests.core.scene import Actor, Scene


def peer(actor: Actor) -> Peer:
    return Peer(actor.identity, actor.node_key, actor.uid, "", actor.incarnation, b"", ())


def refusal(scene: Scene, actor: Actor, verb: str) -> str:
    try:
        check_place(peer(actor), verb, scene.ledger, scene.ledger.voters)
    except Refused as error:
        return error.message
    return ""


def test_signs_of_life_are_taken_from_admitted_network_nodes_only():
    """Whoever has a certificate of that role could keep the dead alive for ever."""
    scene, newcomer = Scene(), Actor("sn", "sn-2", "b")
    assert refusal(scene, newcomer, "alive") == (
        "swarm://b/sn/sn-2 may not say 'alive': it is no network node of this network"
    )
    assert not refusal(scene, newcomer, "propose"), "else it could not join"
    assert scene.join(newcomer).accepted
    assert not refusal(scene, newcomer, "alive")
    assert not refusal(scene, scene.sn, "alive")


@pytest.mark.parametrize("verb", ["alive", "raft", "propose", "snapshot"])
def test_who_was_removed_is_told_so(verb):
    scene, other, person = Scene(), Actor("sn", "sn-2", "b"), Actor("swci", "swci-1")
    for actor in (other, person):
        assert scene.join(actor).accepted
    assert scene.say(person, "SnRemoved", {"uid": other.uid}).accepted
    assert refusal(scene, other, verb) == "swarm://b/sn/sn-2 was removed from this network"
    assert not refusal(scene, other, "heads"), "so that it can find out why"
