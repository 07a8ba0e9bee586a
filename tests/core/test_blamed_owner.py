"""A contribution that is bad for one owner only: that owner alone sees it, and all others have to wait for it."""

import pytest

from swarm.core.events import Aborted, Committed, MemberGone
from swarm.core.snapshot import restored, taken
from tests.core.scene import merging

RULES = 5


def waits(scene, actor, owner):
    """The owner gives signs of life, and its shard does not come."""
    outcome = scene.say(actor, "Suspect", scene.where(uid=owner.uid, reason="no byte of its shard", alive=True))
    assert outcome.accepted, outcome.reason


def here(scene):
    return {member.uid for member in scene.contract.snap.members}


def gone(scene):
    return [event.uid for event in scene.events if isinstance(event, MemberGone)]


def test_who_sends_one_owner_what_it_cannot_use_is_left_out_and_the_owner_stays():
    scene, (evil, owner, *others) = merging(5)
    scene.suspect(owner, evil)
    for other in others[:2]:
        assert scene.contract.snap.attempt == 0
        waits(scene, other, owner)
    assert (scene.contract.snap.attempt, gone(scene)) == (1, [evil.uid])
    assert "by 3 of 4 others, some of whom wait for sl-2" in scene.last(MemberGone).reason


def test_it_is_left_out_whoever_speaks_first_and_whatever_it_says_itself():
    scene, (evil, owner, *others) = merging(5)
    waits(scene, others[0], owner)
    waits(scene, evil, owner)
    waits(scene, others[1], owner) if scene.contract.snap.attempt else None
    scene.suspect(evil, others[2])
    scene.suspect(owner, evil)
    waits(scene, others[1], owner)
    assert gone(scene) == [evil.uid]


@pytest.mark.parametrize("count", [3, 4, 5, 8])
def test_at_the_deadline_too(count):
    scene, (evil, owner, *others) = merging(count)
    scene.suspect(owner, evil)
    waits(scene, evil, owner)
    waits(scene, others[0], owner)
    scene.pass_deadline() if scene.contract.snap.attempt == 0 else None
    assert (scene.contract.snap.attempt, gone(scene)) == (1, [evil.uid])


def test_of_two_owners_that_one_spoils_none_is_lost():
    scene, (evil, one, two, *others) = merging(5)
    scene.suspect(one, evil)
    scene.suspect(two, evil)
    waits(scene, others[0], one)
    waits(scene, others[0], two)
    assert (scene.contract.snap.attempt, gone(scene)) == (1, [evil.uid])


def test_an_owner_that_makes_it_up_costs_a_round_one_honest_member_and_goes_itself_the_second_time():
    scene, (liar, first, second, *others) = merging(5)
    scene.suspect(liar, first)
    for other in (second, *others)[:2]:
        waits(scene, other, liar)
    assert gone(scene) == [first.uid]
    scene.suspect(liar, second)
    for other in (second, *others)[:2]:
        waits(scene, other, liar)
    assert gone(scene) == [first.uid, liar.uid]
    assert here(scene) == {second.uid, *(other.uid for other in others)}


def test_the_word_of_an_owner_counts_once_a_round_and_anew_in_the_next():
    scene, (liar, first, second, *others) = merging(5)
    for _ in range(2):
        scene.suspect(liar, first)
        for other in others:
            waits(scene, other, liar) if scene.contract.snap.attempt == 0 else None
        assert scene.contract.snap.attempt == 1
        for actor in (liar, second, *others):
            if scene.contract.phase == "merging":
                scene.ready(actor, shards=[bytes(32)] * len(scene.contract.snap.shards))
        for actor in (liar, first, second, *others):
            scene.offer(actor)
    assert gone(scene) == [first.uid, first.uid]


def test_two_of_seven_that_spoil_owners_one_after_the_other_are_left_out_one_after_the_other():
    scene, (evil, worse, one, two, *others) = merging(7)
    for bad, owner in ((evil, one), (worse, two)):
        scene.suspect(owner, bad)
        for other in others:
            waits(scene, other, owner)
    assert gone(scene) == [evil.uid, worse.uid]
    assert scene.contract.snap.attempt == 2


def test_who_suspects_most_of_the_others_has_a_bad_link_itself():
    scene, (owner, *others) = merging(5)
    for other in others[:3]:
        scene.suspect(owner, other)
    for other in others[:3]:
        waits(scene, other, owner)
    assert gone(scene) == [owner.uid]


def test_an_owner_that_suspects_nobody_or_only_waits_itself_is_left_out():
    scene, (owner, other, *rest) = merging(5)
    waits(scene, owner, other)
    for actor in rest:
        waits(scene, actor, owner)
    assert gone(scene) == [owner.uid]


def test_suspicion_of_its_own_contribution_is_not_passed_on():
    scene, (evil, scapegoat, *others) = merging(5)
    scene.suspect(evil, scapegoat)
    for other in others:
        scene.suspect(other, evil)
    assert gone(scene) == [evil.uid]


def test_whose_word_counted_and_who_waits_survive_a_snapshot():
    scene, (evil, owner, *others) = merging(6)
    scene.suspect(owner, evil)
    for other in others[:2]:
        waits(scene, other, owner)
    assert gone(scene) == [evil.uid]
    scene.suspect(owner, others[0])
    waits(scene, others[1], owner)
    again = restored(taken(scene.ledger, 1, scene.ledger.voters))
    assert again.digest() == scene.ledger.digest()
    now = again.contracts["digits"].current
    assert now.heeded == {owner.uid}
    assert now.attempt.waiting == {owner.uid: (others[1].uid,)}


def test_below_min_peers_the_round_is_given_up():
    scene, (evil, owner, other) = merging(3, minPeers=3)
    scene.suspect(owner, evil)
    waits(scene, other, owner)
    assert "2 of at least 3 members are left" in scene.last(Aborted).reason


def test_a_ledger_of_the_version_before_means_what_it_meant():
    scene, (evil, owner, *others) = merging(5, rules=RULES - 1)
    early = scene.say(others[0], "Suspect", scene.where(uid=owner.uid, reason="", alive=True))
    assert "unknown field 'alive'" in early.reason
    scene.suspect(owner, evil)
    for other in others:
        scene.suspect(other, owner)
    assert gone(scene) == [owner.uid]
    state = scene.contract.current.to_state()
    assert "heeded" not in state
    assert len(state["attempt"]) == 5


def test_two_who_have_two_others_dropped_by_what_they_make_up_commit_nothing_by_themselves():
    scene, (one, two, first, second, honest) = merging(5, minPeers=3)
    scene.suspect(one, first)
    for other in (second, honest):
        waits(scene, other, one)
    scene.suspect(two, second)
    waits(scene, honest, two)
    if len(here(scene)) == 4:
        waits(scene, one, two)
    assert here(scene) == {one.uid, two.uid, honest.uid}
    for liar in (one, two):
        pieces = [b"6" * 32] * len(scene.contract.snap.shards)
        assert scene.ready(liar, "made up", shards=pieces).accepted
    assert not [event for event in scene.events if isinstance(event, Committed)]
    assert scene.contract.check() is None
