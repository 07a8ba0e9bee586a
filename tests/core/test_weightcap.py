"""The cap: a third of the weight at most, in whole numbers, and nothing is changed that need not be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.events import SnapMade
from swarm.core.weightcap import capped
from tests.core import scene as scene_module
from tests.core.scene import CONTRACT, Actor, Scene, restored

PEERS = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 100_000)), min_size=1, max_size=9)


def totals(peers: list[tuple[str, int]], weights: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, (organisation, weight) in enumerate(peers):
        if weight:
            found[organisation] = found.get(organisation, 0) + weights[str(number)]
    return found


@given(PEERS)
def test_no_organisation_of_three_or_more_has_more_than_a_third(peers: list[tuple[str, int]]) -> None:
    given_ = {str(number): weight for number, (_, weight) in enumerate(peers)}
    found = capped(given_, {str(number): name for number, (name, _) in enumerate(peers)})
    before, after = totals(peers, given_), totals(peers, found)
    assert all((found[uid] > 0) == (weight > 0) and found[uid] <= weight for uid, weight in given_.items())
    if len(before) < 3 or 3 * max(before.values()) <= sum(before.values()):
        assert found == given_
        return
    assert 3 * max(after.values()) <= sum(after.values()) + 4 * len(peers), "but for what rounding takes"
    third = max(after.values())
    for name, weight in before.items():
        assert after[name] == weight or after[name] >= third - len(peers), "who is lowered has a third"


def test_golden_shares() -> None:
    organisations = {"1": "a", "2": "b", "3": "c", "4": "c"}
    assert capped({"1": 800, "2": 100, "3": 60, "4": 40}, organisations) == {"1": 100, "2": 100, "3": 60, "4": 40}
    assert capped({"1": 450, "2": 450, "3": 60, "4": 40}, organisations) == {"1": 100, "2": 100, "3": 60, "4": 40}
    assert capped({"1": 30, "2": 30, "3": 300, "4": 100}, organisations) == {"1": 30, "2": 30, "3": 22, "4": 7}
    assert capped({"1": 800, "2": 100, "3": 0, "4": 0}, organisations) == {"1": 800, "2": 100, "3": 0, "4": 0}


@pytest.fixture
def twin(monkeypatch):
    """A second CA, whose certificate has the name of organisation a."""
    said = scene_module.anchored
    monkeypatch.setattr(
        scene_module, "anchored", lambda whose: replace(said(whose), name="a") if whose == "twin" else said(whose)
    )


def with_a_twin(rules: int, **options) -> tuple[Scene, Actor, Actor]:
    """A member of organisation a, and another node of it that has joined since there is a second a."""
    scene = Scene(["a", "b", "c"], rules=rules)
    one, person, two = Actor("sl", "sl-1"), Actor("swci", "swci-1"), Actor("sl", "sl-2")
    assert scene.join(one).accepted
    assert scene.enrol(one, **options).accepted
    assert scene.join(person).accepted
    assert scene.say(person, "OrganisationAdmitted", {"ca": b"CA of twin"}).accepted
    assert scene.join(two).accepted
    return scene, one, two


@pytest.mark.parametrize("rules", [4, 5])
def test_a_second_ca_of_its_name_gives_no_organisation_more_peers_than_it_may_have(twin, rules):
    options = {"mergeMethod": "geomedian", "maxPeersPerOrganisation": 1}
    scene, _, two = with_a_twin(rules, **options)
    outcome = scene.enrol(two, **options)
    assert outcome.accepted == (rules == 4), "as ledgers of earlier rules have it"
    if rules == 5:
        assert "has 1 peers of a#" in outcome.reason
    other = Actor("sl", "sl-9", "b")
    assert scene.join(other).accepted
    assert scene.enrol(other, **options).accepted
    restored(scene.ledger)


@pytest.mark.parametrize(("rules", "weights"), [(4, [1000, 1000, 1000, 1000]), (5, [500, 500, 1000, 1000])])
def test_a_second_ca_of_its_name_gives_no_organisation_more_weight_than_a_third(twin, rules, weights):
    options = {"mergeMethod": "geomedian", "minPeers": 4}
    scene, one, two = with_a_twin(rules, **options)
    others = [Actor("sl", "sl-1", "b"), Actor("sl", "sl-1", "c")]
    for other in others:
        scene.join(other)
    for member in (two, *others):
        assert scene.enrol(member, **options).accepted
    for member in (one, two, *others):
        assert scene.offer(member).accepted
    snap = next(event for event in scene.events if isinstance(event, SnapMade))
    found = {member.uid: member.weight for member in snap.members}
    assert [found[member.uid] for member in (one, two, *others)] == weights
    restored(scene.ledger)


def test_a_merge_under_way_weighs_what_it_weighed_when_newer_rules_begin(twin):
    """Whose they are by their CAs is noted between two rounds: a node that starts from a snapshot merges alike."""
    options = {"mergeMethod": "geomedian", "minPeers": 4}
    scene, one, two = with_a_twin(4, **options)
    others = [Actor("sl", "sl-1", "b"), Actor("sl", "sl-1", "c")]
    late = Actor("sl", "sl-9", "b")
    for actor in (*others, late):
        scene.join(actor)
    for member in (two, *others):
        assert scene.enrol(member, **options).accepted
    members = (one, two, *others)
    for member in members:
        assert scene.offer(member).accepted
    scene.rules = 5
    for actor in (*members, late, scene.sn, Actor("swci", "swci-1")):
        scene.ledger.nodes[actor.uid].rules = 5
    assert scene.say(scene.sn, "ProtocolActivated", {"rules": 5}).accepted
    assert scene.enrol(late, **options).accepted
    assert scene.enrol(two, **options).accepted
    merging = scene.contract.snap
    assert {member.weight for member in merging.members} == {1000}
    assert restored(scene.ledger).contracts[CONTRACT].snap == merging
    for member in members[:3]:
        assert scene.ready(member).accepted
    for member in (*members, late):
        scene.offer(member)
    found = {member.uid: member.weight for member in scene.contract.snap.members}
    assert found[one.uid] == found[two.uid] < 1000
    assert restored(scene.ledger).contracts[CONTRACT].snap == scene.contract.snap
