"""Whom a network node hears, and who told it that it stops, on the way to who leads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.names import uid_of
from swarm.core.timekeeper import SILENCE_S
from swarm.errors import BadInput, IdentityError
from swarm.nodes.sn_life import Life
from swarm.runtime.clock import Clock
from swarm.wire import frame
from swarm.wire.lastwords import last_words

NETWORK, INCARNATION = b"n" * 32, b"i" * 16
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
UID = uid_of(KEY.public_key().public_bytes_raw())
WORDS = last_words(KEY, NETWORK, INCARNATION)


class Node:
    """``passed``: what it told who leads; ``driven``: what its own driver heard."""

    def __init__(self, role: str) -> None:
        self.passed: list[tuple[str, dict[str, Any]]] = []
        self.driven: list[Any] = []
        to_leader = SimpleNamespace(tell=lambda verb, body: self.passed.append((verb, body)))
        ledger = SimpleNamespace(nodes={UID: object()}, network_id=NETWORK, sns=lambda: [(UID, object())])
        self.ledger = ledger
        self.now_s = 0.0
        driver: Any = SimpleNamespace(role=role, ledger=ledger, alive=lambda *heard: self.driven.append(heard))
        leader: Any = SimpleNamespace(link=lambda: to_leader)
        self.heard = [UID, "stranger"]
        links: Any = SimpleNamespace(heard=lambda: self.heard)
        self.life = Life(driver, leader, links, Clock(wall_ms=lambda: 7, now_s=lambda: self.now_s), "own")

    def turn(self, seconds: float) -> None:
        """Time goes by, and it looks once whom it hears."""
        self.now_s += seconds

        async def once() -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await self.life.run()

        trio.run(once)


LINK: Any = SimpleNamespace(peer="sn-2")


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_who_stops_speaks_for_its_own_process_and_who_leads_hears_of_it(role: str) -> None:
    node = Node(role)
    assert trio.run(node.life.handlers()["going"], LINK, {"words": WORDS}) == {}
    assert node.driven == [([], ((UID, INCARNATION),))]
    assert node.passed == ([] if role == "leader" else [("alive", {"uids": [], "going": WORDS})])


def test_what_a_network_node_passes_on_is_what_who_leads_takes() -> None:
    follower, leader = Node("follower"), Node("leader")
    trio.run(follower.life.handlers()["going"], LINK, {"words": WORDS})
    ((verb, body),) = follower.passed
    assert frame.is_flat(body), "or who leads would end the link"
    leader.life.listeners()[verb](LINK, body)
    assert leader.driven == follower.driven
    leader.life.listeners()["alive"](LINK, {"uids": [UID, "stranger"]})  # of the release before
    assert leader.driven[1] == ([UID, "stranger"], ())
    assert leader.life.heard_ms == {UID: 7}


def test_when_a_node_was_heard_is_forgotten_once_the_ledger_has_let_go_of_it() -> None:
    node = Node("leader")
    node.turn(1)
    assert node.life.heard_ms == {UID: 7}
    node.heard = []
    node.turn(1)
    assert node.life.heard_ms == {UID: 7}, "it is in the ledger"
    node.ledger.nodes.clear()
    node.turn(1)
    assert node.life.heard_ms == {}


def test_a_network_node_that_is_heard_no_longer_is_silent_until_it_is_heard_again() -> None:
    node = Node("follower")
    node.heard = []
    node.turn(100)
    assert node.life.silent() == set(), "this node itself has just begun"
    node.turn(SILENCE_S + 1)
    assert node.life.silent() == {UID}
    node.heard = [UID]
    node.turn(1)
    node.turn(SILENCE_S + 1)
    assert node.life.silent() == set()
    node.heard = []
    node.turn(SILENCE_S + 1)
    assert node.life.silent() == {UID}


@pytest.mark.parametrize("body", [{}, {"uids": [1]}, {"uids": [], "going": 5}, {"uids": [], "going": [["a"]]}])
def test_what_says_neither_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Node("leader").life.listeners()["alive"](LINK, body)


def test_nobody_is_lost_by_the_word_of_another() -> None:
    node, forged = Node("follower"), WORDS[:-1] + bytes([WORDS[-1] ^ 1])
    with pytest.raises(IdentityError):
        trio.run(node.life.handlers()["going"], LINK, {"words": forged})
    with pytest.raises(IdentityError):
        node.life.listeners()["alive"](LINK, {"uids": [], "going": forged})
    assert not node.driven
    assert not node.passed
