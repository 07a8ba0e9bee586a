"""Two processes with one node key: each is shown the other one's own word, by whoever has met both."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.nodes.sn_twins import Twins
from swarm.runtime.tls import Acquaintances
from swarm.wire.twins import speaks_against, twin_word

NETWORK = b"n" * 32
KEY, OTHER = Ed25519PrivateKey.from_private_bytes(b"k" * 32), Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def process(key: Ed25519PrivateKey, start: int, random: bytes) -> SimpleNamespace:
    public = key.public_key().public_bytes_raw()
    state: Any = SimpleNamespace(
        node_key=key, node_public=public, network_id=NETWORK, incarnation=start.to_bytes(8, "big") + random * 8
    )
    acquaintances = Acquaintances()
    peer: Any = SimpleNamespace(node_key=public, incarnation=state.incarnation)
    twins = Twins(SimpleNamespace(state=state, acquaintances=acquaintances))  # type: ignore[arg-type]
    return SimpleNamespace(state=state, peer=peer, twins=twins, acquaintances=acquaintances, link=as_link(peer))


def as_link(peer: Any) -> Any:
    return SimpleNamespace(peer=peer)


def exchange(one: Any, other: Any) -> None:
    told = one.twins.told(other.link)
    other.twins.take(one.link, told)
    one.twins.take(other.link, other.twins.told(one.link))


def test_who_is_turned_away_is_shown_the_word_of_the_one_that_lives() -> None:
    lives, copy, met = process(KEY, 4, b"a"), process(KEY, 5, b"b"), process(OTHER, 1, b"c")
    exchange(met, lives)
    assert met.acquaintances.turned_away(copy.peer) == b"", "it has just come"
    exchange(met, lives)
    shown = met.acquaintances.turned_away(copy.peer)
    assert copy.twins.speak_against_this(shown)
    assert not lives.twins.speak_against_this(shown), "it is the one's own"
    later = process(KEY, 6, b"d")
    assert not later.twins.speak_against_this(shown), "what was said before it began says nothing of it"
    assert met.acquaintances.turned_away(later.peer) == b""


def test_who_took_the_place_of_another_is_told_of_no_double() -> None:
    met, now = process(OTHER, 1, b"c"), process(KEY, 5, b"b")
    met.acquaintances.turned_away(now.peer)
    assert met.twins.told(now.link)["double"] == b""


def test_nobody_is_made_to_speak_against_itself_and_nobody_else_speaks_for_it() -> None:
    lives, liar = process(KEY, 4, b"a"), process(OTHER, 1, b"c")
    for double in (lives.state.incarnation, b"short", 7, None):
        lives.twins.take(liar.link, {"double": double, "word": b""})
        assert lives.twins.told(liar.link)["word"] == b""
    for word in (twin_word(OTHER, NETWORK, b"x" * 16, lives.state.incarnation), b"", b"?" * 80, None, 7):
        assert not speaks_against(word, lives.state.node_public, NETWORK, lives.state.incarnation)
    good = twin_word(KEY, NETWORK, b"x" * 16, lives.state.incarnation)
    assert speaks_against(good, lives.state.node_public, NETWORK, lives.state.incarnation)
    assert not speaks_against(good, lives.state.node_public, b"o" * 32, lives.state.incarnation)


@pytest.mark.parametrize("word", [b"?" * 80, b"", None, 7])
def test_what_is_no_word_is_not_kept(word: Any) -> None:
    lives, copy, met = process(KEY, 4, b"a"), process(KEY, 5, b"b"), process(OTHER, 1, b"c")
    met.acquaintances.turned_away(copy.peer)
    met.twins.take(lives.link, {"word": word})
    assert met.acquaintances.turned_away(copy.peer) == b""
