"""Whom a network node hears, and who told it that it stops, on the way to who leads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from swarm.errors import BadInput
from swarm.nodes.sn_life import Life
from swarm.runtime.clock import Clock


class Node:
    """``passed``: what it told who leads; ``driven``: what its own driver heard."""

    def __init__(self, role: str) -> None:
        self.passed: list[tuple[str, dict[str, Any]]] = []
        self.driven: list[Any] = []
        to_leader = SimpleNamespace(tell=lambda verb, body: self.passed.append((verb, body)))
        ledger = SimpleNamespace(nodes={"known": object()})
        driver: Any = SimpleNamespace(role=role, ledger=ledger, alive=lambda *heard: self.driven.append(heard))
        leader: Any = SimpleNamespace(link=lambda: to_leader)
        links: Any = SimpleNamespace(heard=lambda: ["known", "stranger"])
        self.life = Life(driver, leader, links, Clock(wall_ms=lambda: 7), "own")


LINK: Any = SimpleNamespace(peer=SimpleNamespace(uid="known", incarnation=b"i"))


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_who_stops_speaks_for_its_own_process_and_who_leads_hears_of_it(role: str) -> None:
    node = Node(role)
    said = {"uid": "another", "incarnation": b"x"}
    assert trio.run(node.life.handlers()["going"], LINK, said) == {}
    assert node.driven == [([], (("known", b"i"),))]
    assert node.passed == ([] if role == "leader" else [("alive", {"uids": [], "going": [["known", b"i"]]})])


def test_what_a_network_node_passes_on_is_what_who_leads_takes() -> None:
    follower, leader = Node("follower"), Node("leader")
    trio.run(follower.life.handlers()["going"], LINK, {})
    ((verb, body),) = follower.passed
    leader.life.listeners()[verb](LINK, body)
    assert leader.driven == follower.driven
    leader.life.listeners()["alive"](LINK, {"uids": ["known", "stranger"]})  # of the release before
    assert leader.driven[1] == (["known", "stranger"], ())
    assert leader.life.heard_ms == {"known": 7}


@pytest.mark.parametrize("body", [{}, {"uids": [1]}, {"uids": [], "going": 5}, {"uids": [], "going": [["a"]]}])
def test_what_says_neither_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Node("leader").life.listeners()["alive"](LINK, body)
