"""The rules of the ledger have a version: newer ones hold once all nodes know them, and not an entry sooner.

The next release is played here: it knows one version more, with one kind and one field that the first does not have.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarm.core import kinds, policy, rules
from swarm.core.events import RulesActivated
from swarm.core.fields import REASON
from swarm.core.kinds import FIELDS
from swarm.core.ledger import Ledger
from swarm.core.snapshot import restored, taken
from swarm.core.upgrade import AGAIN_S, SETTLED_S, Upgrade
from swarm.core.voters import FOLLOWED
from swarm.errors import Outdated
from tests.core.scene import Actor, Scene

NEXT = rules.KNOWN + 1


@pytest.fixture
def next_release(monkeypatch):
    """The tables of the next release, while the test runs."""
    _tables(monkeypatch)


def _tables(patch):
    patch.setitem(rules.SINCE, "Greeted", NEXT)
    patch.setitem(FIELDS, "Greeted", {"text": REASON})
    patch.setitem(policy.RULES, "Greeted", (frozenset({"swci"}), "none"))
    patch.setitem(FIELDS["ContractCreated"], "note", replace(REASON, required=False, since=NEXT))
    patch.setattr(kinds, "KNOWN", NEXT)


def upgraded(scene, known=NEXT):
    """The same entries, as a node of that release has them."""
    ledger = Ledger(known)
    ledger._kinds["Greeted"] = lambda claim, header: ({"heard": claim.body["text"]}, [])
    for entry in scene.log:
        ledger.apply(*entry)
    scene.ledger = ledger
    return ledger


def join(scene, actor, version):
    body = scene.joined(actor) | ({"rules": version} if version > 1 else {})
    return scene.say(actor, "NodeJoined", body)


def again(scene, actor, version):
    actor.restart()
    outcome = join(scene, actor, version)
    assert outcome.accepted, outcome.reason


def swarm_of(*roles):
    scene = Scene()
    actors = [Actor(role, f"{role}-{number}") for number, role in enumerate(roles, 2)]
    for actor in actors:
        join(scene, actor, 1)
    return scene, actors


def activate(scene, version=NEXT):
    return scene.say(scene.sn, "ProtocolActivated", {"rules": version})


def test_newer_rules_hold_once_every_node_knows_them(next_release):
    scene, actors = swarm_of("sn", "sl", "swop")
    ledger = upgraded(scene)
    assert ledger.rules.active == 1
    for actor in (scene.sn, *actors):
        assert ledger.rules.attainable() == 1
        refused = activate(scene)
        assert f"rules version {NEXT} cannot be activated: not all nodes know it" in refused.reason
        again(scene, actor, NEXT)
    assert ledger.rules.attainable() == NEXT
    assert scene.told(scene.sn, "ProtocolActivated", {"rules": NEXT}) == [RulesActivated(NEXT)]
    assert ledger.rules.active == NEXT
    assert f"follows rules version {NEXT} already" in activate(scene).reason


def test_who_is_lost_or_gone_holds_up_nobody_but_a_network_node_does_until_it_is_removed(next_release):
    scene, (peer, lost, left) = swarm_of("sn", "sl", "sl")
    ledger = upgraded(scene)
    again(scene, scene.sn, NEXT)
    for actor in (lost, peer):
        scene.say(scene.sn, "NodeLost", {"uid": actor.uid, "incarnation": actor.incarnation, "reason": "silent"})
    scene.say(left, "NodeLeft")
    assert [node.identity.name for node in ledger.rules.lacking(NEXT)] == [peer.identity.name]
    person = Actor("swci", "swci-9")
    join(scene, person, NEXT)
    assert scene.say(person, "SnRemoved", {"uid": peer.uid}).accepted
    assert activate(scene).accepted


def test_what_came_with_newer_rules_is_refused_before_they_hold_and_taken_afterwards(next_release):
    scene, (person,) = swarm_of("swci")
    upgraded(scene)
    again(scene, scene.sn, NEXT)
    again(scene, person, NEXT)
    early = scene.say(person, "Greeted", {"text": "hello"})
    assert "kind 'Greeted', which rules version 1 of the ledger does not have" in early.reason
    assert "unknown field 'note'" in scene.say(person, "ContractCreated", {"contract": "c", "note": "new"}).reason
    assert activate(scene).accepted
    assert scene.say(person, "Greeted", {"text": "hello"}).result == {"heard": "hello"}
    assert scene.say(person, "ContractCreated", {"contract": "c", "note": "new"}).accepted


def test_two_releases_have_the_same_state_after_every_entry_until_newer_rules_hold(monkeypatch):
    scene, (person, peer) = swarm_of("swci", "sn")
    for actor in (scene.sn, person):
        again(scene, actor, NEXT)
    scene.say(person, "Greeted", {"text": "hello"})
    scene.say(person, "ContractCreated", {"contract": "c", "note": "new"})
    scene.say(person, "ContractCreated", {"contract": "c"})
    activate(scene)
    again(scene, peer, 1)
    older = scene.ledger.digest()
    with monkeypatch.context() as patch:
        _tables(patch)
        newer = upgraded(scene)
        assert newer.digest() == older
        assert newer.nodes[scene.sn.uid].rules == NEXT


def test_who_does_not_know_what_was_activated_takes_nothing_more_and_says_so(next_release):
    scene, (person,) = swarm_of("swci")
    older = scene.ledger
    newer = upgraded(scene)
    for actor in (scene.sn, person):
        again(scene, actor, NEXT)
        older.apply(*scene.log[-1])
    activate(scene)
    before = older.head_index
    for _ in range(2):
        with pytest.raises(Outdated) as caught:
            older.apply(*scene.log[-1])
        assert caught.value.message == (
            f"from entry {newer.head_index + 1} on this network follows rules version {NEXT}, "
            f"this release of swarm-learning knows version {rules.KNOWN}"
        )
        assert "install the release" in caught.value.hint
        assert (older.head_index, older.rules.active) == (before, 1)
    with pytest.raises(Outdated):
        restored(taken(newer, 1, newer.voters))


def test_a_network_that_begins_with_newer_rules_is_not_understood_by_an_older_release(next_release):
    older, first = Ledger(1), Scene().log[0]
    begun = replace(first[1], body={**first[1].body, "rules": NEXT})
    newer = Ledger(NEXT)
    assert newer.apply(first[0], begun).outcome.accepted
    assert newer.rules.active == NEXT
    with pytest.raises(Outdated):
        older.apply(first[0], begun)


def test_a_second_genesis_is_refused_whatever_rules_it_speaks_of():
    scene, (peer,) = swarm_of("sn")
    again = scene.say(peer, "Genesis", {**scene.log[0][1].body, "rules": 99, "joined": scene.joined(peer)})
    assert not again.accepted


def test_an_older_node_is_neither_let_in_nor_heard_once_newer_rules_hold(next_release):
    scene, (peer, late) = swarm_of("sn", "sl")
    ledger = upgraded(scene)
    again(scene, scene.sn, NEXT)
    again(scene, peer, NEXT)
    scene.say(scene.sn, "NodeLost", {"uid": late.uid, "incarnation": late.incarnation, "reason": "silent"})
    assert activate(scene).accepted
    said = f"{late.identity} proposes Leave and knows rules version 1, this network follows version {NEXT}"
    assert scene.say(late, "Leave", {"contract": "c", "reason": ""}).reason == said
    late.restart()
    refused = join(scene, late, 1)
    assert f"knows rules version 1, this network is at {NEXT}" in refused.reason
    assert "install the release" in refused.hint
    assert ledger.nodes[late.uid].state == "lost"
    again(scene, late, NEXT)
    assert ledger.nodes[late.uid].state == "live"


def test_a_snapshot_carries_the_version_that_holds(next_release, monkeypatch):
    monkeypatch.setattr(rules, "KNOWN", NEXT)
    monkeypatch.setattr(Ledger.__init__, "__defaults__", (NEXT,))
    scene, _ = swarm_of()
    ledger = upgraded(scene)
    again(scene, scene.sn, NEXT)
    assert activate(scene).accepted
    assert restored(taken(ledger, 1, ledger.voters)).rules.active == NEXT


def test_a_leader_proposes_newer_rules_when_all_have_known_them_for_a_while():
    upgrade = Upgrade()
    assert upgrade.tick(0.0, 1, 1) is None
    assert upgrade.tick(100.0, 1, 2) is None
    assert upgrade.tick(99.9 + SETTLED_S, 1, 2) is None
    assert upgrade.tick(100.0 + SETTLED_S, 1, 2) == 2
    assert upgrade.tick(100.1 + SETTLED_S, 1, 2) is None
    assert upgrade.tick(100.1 + SETTLED_S + AGAIN_S, 1, 2) == 2
    assert upgrade.tick(200.0, 2, 2) is None


def test_a_node_that_comes_back_with_its_former_release_begins_the_while_anew():
    upgrade = Upgrade()
    assert upgrade.tick(0.0, 1, 2) is None
    assert upgrade.tick(SETTLED_S - 1, 1, 1) is None
    assert upgrade.tick(SETTLED_S, 1, 2) is None
    assert upgrade.tick(2 * SETTLED_S - 0.1, 1, 2) is None
    assert upgrade.tick(2 * SETTLED_S, 1, 2) == 2


@pytest.mark.parametrize("version", [FOLLOWED - 1, FOLLOWED])
def test_what_consensus_has_followed_counts_whatever_release_says_so(version):
    """Who was removed holds up no new rules, and still decides until it has handed over."""
    scene, (peer, person) = swarm_of("sn", "swci")
    again(scene, scene.sn, version)
    again(scene, person, version)
    again(scene, peer, version - 1)
    both = [scene.sn.uid, peer.uid]
    assert scene.say(scene.sn, "Configuration", {"voters": both}).accepted
    assert scene.say(person, "SnRemoved", {"uid": peer.uid}).accepted
    assert activate(scene, version).accepted
    outcome = scene.say(peer, "Configuration", {"voters": [scene.sn.uid]})
    assert outcome.accepted == (version >= FOLLOWED), outcome.reason
    assert scene.ledger.voters == ((scene.sn.uid,) if outcome.accepted else tuple(both))
