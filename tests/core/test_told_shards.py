"""A Ready says what its author holds of each shard, so that two that differ always name the shards."""

from dataclasses import replace

import pytest

from swarm.core.dispute import SINCE
from swarm.core.events import Aborted, Misbehaved
from tests.core.scene import BIG, Scene, digest, merging, restored

OWN = f"own@{'0' * 64}"
TRUE, FALSE = b"t" * 32, b"f" * 32


def test_who_is_ready_with_another_digest_and_says_nothing_of_its_shards_is_refused_and_ends_no_round():
    scene, (liar, *honest) = merging(3)
    outcome = scene.ready(liar, "false")
    assert "names 0 digests of shards, not 3" in outcome.reason
    for actor in honest:
        assert scene.ready(actor, shards=[TRUE] * 3).accepted
    assert scene.contract.commits == 1


@pytest.mark.parametrize("told", [1, 2, 4, 6])
def test_so_is_one_that_names_another_number_of_them(told):
    scene, (liar, *_) = merging(3)
    assert not scene.ready(liar, shards=[TRUE] * told).accepted


def test_whoever_is_first_the_shards_that_differ_are_named():
    for liar in range(3):
        scene, actors = merging(3, minPeers=3)
        for number, actor in enumerate(actors):
            false = number == liar
            scene.ready(actor, "false" if false else "true", shards=[TRUE, FALSE if false else TRUE, TRUE])
            if scene.contract.commits:
                break
        if liar == 2:
            assert scene.contract.commits == 1
            continue
        assert scene.last(Aborted).disputed == (1,)
        assert scene.contract.dispute is not None


@pytest.mark.parametrize(
    ("method", "weights", "fits"),
    [("mean", 3, [3]), ("krum", 3, [6]), ("krum", 1, [3]), (OWN, 3, [3, 6]), ("coordmedian", 3, [3])],
)
def test_with_methods_that_judge_they_say_it_of_distances_too(method, weights, fits):
    for told in range(8):
        scene = Scene(rules=SINCE)
        actors = scene.learners(3, schema=BIG, topology="sharded", mergeMethod=method)
        for number, actor in enumerate(actors):
            assert scene.offer(actor, inactive=number >= weights).accepted
        assert scene.ready(actors[0], shards=[TRUE] * told).accepted == (told in fits)


def test_a_model_that_is_not_cut_has_no_shards_to_name():
    scene = Scene(rules=SINCE)
    actors = scene.learners(2)
    for actor in actors:
        scene.offer(actor)
    assert scene.ready(actors[0]).accepted


def test_of_a_round_that_is_over_a_ready_says_only_that_there_is_one_holder_more():
    scene, (one, other, late) = merging(3)
    for actor in (one, other):
        assert scene.ready(actor, shards=[TRUE] * 3).accepted
    contract = scene.contract
    again = {"contract": contract.name, "round": 0, "attempt": 0, "digest": contract.base}
    assert scene.say(late, "Ready", again).accepted


def given_up_and_again(rules=SINCE):
    """What owner and snap are in a round that is run again since a forced recovery, and what the owner had said of it
    before, which whoever heard that has kept."""
    before, (owner, *_) = merging(3, rules=rules)
    snap = before.contract.snap
    first = before.where(digest=digest("the first time"), **({"snap": snap.entry} if rules >= SINCE else {}))
    kept = before.claim(owner, "Ready", {**first, "shards": [FALSE] * 3})
    scene = Scene(rules=rules)
    actors = scene.learners(3, schema=BIG, topology="sharded")
    for actor in reversed(actors):
        assert scene.offer(actor).accepted
    assert replace(scene.contract.snap, entry=snap.entry) == snap
    assert before.take(kept).outcome.accepted, "the first time it counted"
    actors[0].seq = kept.seq  # its process goes on counting
    return scene, actors, kept


def test_what_an_owner_said_of_a_snap_that_a_forced_recovery_gave_up_counts_nothing_in_that_of_the_same_number():
    scene, (owner, *others), kept = given_up_and_again()
    snap = scene.contract.snap
    place = {key: scene.where()[key] for key in ("round", "attempt")} | {"snap": snap.entry}
    outcome = scene.take(kept).outcome
    assert "as that of its snap, which is " + snap.entry.hex()[:16] in outcome.reason
    for actor in (owner, *others):
        assert scene.contract.commits or scene.ready(actor, shards=[TRUE] * 3).accepted
    assert (scene.contract.commits, scene.contract.left_out()) == (1, [])
    shard = [snap.owner_of(index) for index in range(3)].index(owner.uid)
    assert not scene.show(others[0], owner, TRUE, shard=shard, **place).accepted
    assert not [event for event in scene.events if isinstance(event, Misbehaved | Aborted)]


def test_a_ready_that_names_no_snap_counts_nothing_either():
    scene, (one, *_) = merging(3)
    body = scene.where(digest=digest("merged 0"), shards=[TRUE] * 3)
    assert "names no entry as that of its snap" in scene.say(one, "Ready", body).reason
    assert scene.ready(one, shards=[TRUE] * 3).accepted


def test_the_next_attempt_is_another_snap():
    scene, (one, *_, lost) = merging(4)
    before = scene.contract.snap.entry
    scene.lose(lost)
    assert not scene.ready(one, shards=[TRUE] * 3, snap=before).accepted
    assert scene.ready(one, shards=[TRUE] * 3).accepted
    assert restored(scene.ledger).digest() == scene.ledger.digest()


def test_in_a_ledger_of_the_version_before_a_ready_names_neither_and_means_what_it_meant():
    scene, actors = merging(3, rules=SINCE - 1)
    snap = scene.contract.snap.entry
    assert "unknown field 'snap'" in scene.ready(actors[0], snap=snap).reason
    assert scene.ready(actors[0]).accepted
    again, *_, kept = given_up_and_again(rules=SINCE - 1)
    assert again.take(kept).outcome.accepted
