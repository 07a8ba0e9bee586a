"""What an SN says of itself fits into a message, however much there is to say, and names first who is there."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any, cast

from swarm.cli.status import _nodes, _order
from swarm.core.names import uid_of
from swarm.core.node import Node, Outcomes
from swarm.nodes.status import OTHERS_MAX, ledger_status
from swarm.runtime.driver import Driver
from swarm.runtime.tls import Local
from swarm.wire import frame
from tests.core.scene import Actor, Scene


class Network(Scene):
    def __init__(self) -> None:
        super().__init__(rules=4)
        self.silent: set[str] = set()
        self.leader: str | None = self.sn.uid
        self.ledger.check = lambda: None  # type: ignore[method-assign]
        self.observer.see = lambda ledger, events: None  # type: ignore[method-assign]

    def status(self) -> dict[str, Any]:
        uid = self.sn.uid
        driver = SimpleNamespace(
            ledger=self.ledger, voters=(uid,), role="leader", leader_uid=uid, term=1, one_copy=True, last_index=1
        )
        local = SimpleNamespace(
            credentials=SimpleNamespace(identity=self.sn.identity), state=SimpleNamespace(uid=self.sn.uid)
        )
        seen: Any = ({}, self.silent, [], lambda contract, uid: None)
        said = ledger_status(cast(Driver, driver), cast(Local, local), *seen, leader=self.leader)
        frame.pack(["reply", 1, said])
        return said


def test_learning_nodes_that_never_came_back_keep_nobody_from_asking_how_the_network_is():
    """Of one host that made itself a new state directory each time."""
    scene = Network()
    lost = [Actor("sl", f"sl-{number}") for number in range(6100)]
    for joined, actor in enumerate(lost):
        node = Node(actor.identity, actor.node_key, ("127.0.0.1:1",), Outcomes(actor.incarnation), joined=joined)
        node.state = "lost"
        scene.ledger.nodes[actor.uid] = node
    live = Actor("sl", "sl-live")
    assert scene.join(live).accepted
    said = scene.status()
    states = {row["uid"]: row["state"] for row in said["nodes"]}
    assert (states[scene.sn.uid], states[live.uid]) == ("live", "live")
    assert set(states) - {scene.sn.uid, live.uid} == {actor.uid for actor in lost[-OTHERS_MAX:]}, "the newest"
    assert said["unlisted"]["nodes"] == len(lost) - OTHERS_MAX
    assert sorted(row["live_nodes"] for row in said["organisations"]) == [0, 2]


def test_a_contract_names_its_members_that_are_there_and_counts_all_that_ever_were():
    scene = Network()
    members = [Actor("sl", f"sl-{number}") for number in range(3 * OTHERS_MAX)]
    for actor in members:
        assert scene.join(actor).accepted
        assert scene.enrol(actor).accepted
        if actor is not members[0]:
            assert scene.lose(actor).accepted
    (contract,) = scene.status()["contracts"]
    uids = [row["uid"] for row in contract["members"]]
    assert contract["enrolled"] == len(members)
    assert set(uids) == {members[0].uid, *(actor.uid for actor in members[-OTHERS_MAX:])}
    assert contract["members"][0]["state"] == "live"


def test_however_many_are_there_it_fits():
    scene = Network()
    for number in range(1500):
        actor = Actor("sl", f"{number:04d}{'n' * 200}-1")
        assert scene.join(actor).accepted
        if number < 300:
            assert scene.enrol(actor).accepted
    said = scene.status()
    listed = len(said["nodes"])
    assert listed + said["unlisted"]["nodes"] == 1501
    assert 300 < listed < 1501
    assert 0 < len(said["contracts"][0]["members"]) < said["contracts"][0]["enrolled"] == 300


def test_r005_of_each_contract_it_says_who_is_waited_for_who_is_lost_and_how_many_there_have_to_be():
    scene = Network()
    one, other, third = scene.learners(3, minPeers=3)
    assert scene.lose(third).accepted
    assert scene.offer(one).accepted
    (row,) = scene.status()["contracts"]
    assert [member["state"] for member in row["members"]] == ["live", "live", "lost"]
    assert row["waiting_for"] == [str(scene.contract.members[other.uid])]
    assert row["absent"] == [f"{scene.contract.members[third.uid]} lost (minPeers 3)"]
    assert scene.offer(other).accepted
    (row,) = scene.status()["contracts"]
    assert (row["round"], row["min_peers"], row["commits"]) == (0, 3, 0), "two are not enough"


def test_members_of_one_name_are_told_apart_where_they_are_waited_for_and_listed():
    scene = Network()
    _, *others = twins = [Actor("sl", "sl-1") for _ in range(3)]
    for number, actor in enumerate(twins):
        actor.node_key = hashlib.sha256(bytes([number])).digest()
        actor.uid = uid_of(actor.node_key)
        assert scene.join(actor).accepted
        assert scene.enrol(actor, minPeers=3).accepted
    alone = Actor("sl", "sl-2")
    assert scene.join(alone).accepted
    assert scene.enrol(alone, minPeers=3).accepted
    said = scene.status()
    assert sorted(said["contracts"][0]["waiting_for"]) == sorted(
        [*(f"sl-1 (a) {actor.uid[:8]}" for actor in twins), "sl-2 (a)"]
    )
    names = [*_nodes(said["nodes"]).columns[0].cells]
    assert names == ["sn-1", *(f"sl-1 {uid[:8]}" for uid in sorted(actor.uid for actor in twins)), "sl-2"]
    for actor in (others[1], alone):
        assert scene.lose(actor).accepted
    (row,) = scene.status()["contracts"]
    assert row["absent"] == [f"1 of: sl-2 (a) lost, sl-1 (a) {others[1].uid[:8]} lost (minPeers 3)"]
    for actor in others:
        assert scene.say(actor, "Leave", {"contract": scene.contract.name, "reason": "done"}).accepted
    assert scene.status()["contracts"][0]["waiting_for"] == ["sl-1 (a)"], "the others have left"


def test_a_network_node_that_is_not_heard_is_silent_and_counts_as_none_that_lives():
    scene = Network()
    peer = Actor("sn", "sn-2")
    assert scene.join(peer).accepted
    scene.silent = {peer.uid}
    said = scene.status()
    states = {row["uid"]: row["state"] for row in said["nodes"]}
    assert states == {scene.sn.uid: "live", peer.uid: "silent"}
    assert sum(row["live_nodes"] for row in said["organisations"]) == 1
    assert said["learners"] == [peer.uid], "who votes is another question"
    assert "storing along" not in _order(said)
    scene.silent = set()
    assert "storing along sn-2 (" in _order(scene.status())
