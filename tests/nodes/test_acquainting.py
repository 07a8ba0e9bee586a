"""What the ledger says of nodes holds at the door."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarm.core.events import Applied, Event, NodeGone, NodeKnown, Outcome
from swarm.core.ledger import Ledger
from swarm.core.names import Identity
from swarm.core.node import Node, Outcomes
from swarm.core.rules import KNOWN
from swarm.errors import SwarmError
from swarm.nodes.acquainting import acquaint, acquaint_all
from swarm.runtime.tls import Acquaintances, Local, Peer

IDENTITY = Identity("org-a", bytes(32), "sn", "sn-1")


def test_who_was_removed_is_let_in_to_be_told_whatever_its_release() -> None:
    """A ledger that was recovered past it may have gone on to rules that it does not know."""
    ledger, node = Ledger(), Node(IDENTITY, b"k" * 32, (), Outcomes(b"1" * 16))
    ledger.nodes["sn-1"], ledger.rules.active = node, KNOWN
    hello: Any = SimpleNamespace(node_key=b"k" * 32, rules=KNOWN - 1, incarnation=b"1" * 16)
    local: Any = SimpleNamespace(acquaintances=Acquaintances())
    acquaint_all(local, ledger)
    with pytest.raises(SwarmError, match="runs a release that knows rules version"):
        local.acquaintances.admit(IDENTITY, hello, "sn-1")
    node.state = "removed"
    acquaint(local, ledger, Applied(Outcome(1, True), (NodeGone("sn-1", "removed"),)))
    local.acquaintances.admit(IDENTITY, hello, "sn-1")
    began_later: Any = SimpleNamespace(acquaintances=Acquaintances())
    acquaint_all(began_later, ledger)
    began_later.acquaintances.admit(IDENTITY, hello, "sn-1")


def hello(key: bytes, incarnation: bytes) -> Any:
    return SimpleNamespace(node_key=key, rules=KNOWN, incarnation=incarnation)


@pytest.mark.parametrize("all_at_once", [False, True])
def test_a_key_that_the_ledger_has_let_go_of_is_a_strangers_again_and_no_other_is(all_at_once: bool) -> None:
    """As it is to a network node that has just begun: whether it may join, the ledger says."""
    stays, goes, other = b"s" * 32, b"g" * 32, Identity("org-b", bytes(32), "sl", "sl-2")
    ledger, local = Ledger(), cast(Local, SimpleNamespace(acquaintances=Acquaintances()))
    admit = local.acquaintances.admit
    for uid, key in (("stays", stays), ("goes", goes)):
        ledger.nodes[uid] = Node(IDENTITY, key, (), Outcomes(b"2" * 16))

    def told(*events: Event) -> None:
        acquaint_all(local, ledger) if all_at_once else acquaint(local, ledger, Applied(Outcome(1, True), events))

    def refused(key: bytes) -> int:
        count = 0
        for identity, incarnation in ((other, b"3" * 16), (IDENTITY, b"1" * 16)):
            try:
                admit(identity, hello(key, incarnation), "sl-1")
            except SwarmError:
                count += 1
        return count

    told(NodeKnown("stays", "new"), NodeKnown("goes", "new"))
    assert (refused(stays), refused(goes)) == (2, 2), "another's name, and an ended incarnation"
    node = ledger.nodes.pop("goes")
    told()
    assert refused(goes) == 2, "by a ledger that has let go of nothing"
    ledger.departed.before = 5
    told()
    assert (refused(stays), refused(goes)) == (2, 0)
    ledger.nodes["goes"] = node
    told(NodeKnown("goes", "new"))
    assert refused(goes) == 2, "it has joined again"


def test_which_process_of_a_stranger_was_the_last_is_forgotten_with_the_stranger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Acquaintances, "_SEEN_MAX", 2)
    known = Acquaintances()
    known.learn(b"a", IDENTITY, b"2" * 16)
    for key in (b"a", b"b", b"c", b"d"):
        peer = cast(Peer, SimpleNamespace(node_key=key, identity=IDENTITY, incarnation=b"2" * 16))
        known.met(peer)
        known.replaced(peer)
    assert set(known._last) == {b"a", b"c", b"d"}
