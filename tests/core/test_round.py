"""Rounds, played entry by entry on a ledger: snap, attempts, COMMIT and ABORT."""

import pytest

from swarm.core.events import Aborted, Committed, MemberGone, SnapMade
from swarm.core.round import Round, quorum
from tests.core.scene import BIG, CONTRACT, Actor, Scene, digest


def merging(count, **options):
    """A scene in attempt 0 with this many members."""
    scene = Scene()
    actors = scene.learners(count, **options)
    for actor in actors:
        assert scene.offer(actor).accepted
    assert scene.contract.phase == "merging"
    return scene, actors


def uids(actors):
    return sorted(actor.uid for actor in actors)


def members(scene):
    return [member.uid for member in scene.last(SnapMade).members]


# ---- the snap


def test_the_last_live_offer_makes_the_snap_with_members_by_uid():
    scene, actors = merging(3)
    snap = scene.last(SnapMade)
    assert (snap.contract, snap.round, snap.attempt) == (CONTRACT, 0, 0)
    assert members(scene) == uids(actors)
    assert {member.digest for member in snap.members} == {digest(f"{actor.uid} 0") for actor in actors}


def test_no_snap_below_min_peers_nor_while_a_live_member_has_time():
    scene = Scene()
    actors = scene.learners(3)
    scene.offer(actors[0])
    refused = scene.close_window()
    assert not refused.accepted
    assert "1 of at least 2 members have offered" in refused.reason
    scene.offer(actors[1])
    assert scene.contract.snap is None
    assert scene.contract.waiting_for() == [actors[2].uid]


def test_a_closed_window_drops_who_has_not_offered_until_it_offers_again():
    scene = Scene()
    *early, late = scene.learners(3)
    for actor in early:
        scene.offer(actor)
    assert scene.close_window().accepted
    assert members(scene) == uids(early)
    gone = scene.last(MemberGone)
    assert (gone.uid, gone.what) == (late.uid, "dropped")
    refused = scene.offer(late)
    assert not refused.accepted
    assert "is merging" in refused.reason
    for actor in early:
        scene.ready(actor)
    for actor in early:
        scene.offer(actor)  # nobody waits for the dropped one
    assert members(scene) == uids(early)
    for actor in early:
        scene.ready(actor)
    scene.offer(late)
    assert late.uid in scene.contract.live()


def test_a_lost_member_is_not_waited_for_and_its_offer_is_void():
    scene = Scene()
    first, second, third = scene.learners(3)
    scene.offer(first)
    scene.lose(first)
    scene.offer(second)
    assert scene.contract.snap is None
    scene.offer(third)
    assert members(scene) == uids([second, third])


def test_the_offer_of_a_lost_node_brings_it_back():
    scene = Scene()
    first, second = scene.learners(2)
    scene.lose(first)
    scene.offer(second)
    assert scene.offer(first).accepted
    assert not scene.ledger.nodes[first.uid].lost
    assert members(scene) == uids([first, second])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"round": 5}, "round 5 of contract digits, which is in round 0"),
        ({"base": digest("other")}, "is on blake3:"),
        ({"contract": "other"}, "there is no contract other"),
        ({"digest": "md5:00"}, "the field 'digest'"),
        ({"weight_permille": 1001}, "the field 'weight_permille'"),
        ({"weight": 100}, "unknown field 'weight'"),
    ],
)
def test_an_offer_that_does_not_fit_is_refused_by_name(wrong, reason):
    scene = Scene()
    (actor, _) = scene.learners(2)
    outcome = scene.offer(actor, **wrong)
    assert not outcome.accepted
    assert reason in outcome.reason


def test_an_offer_of_other_weights_replaces_the_earlier_one_until_the_snap():
    scene = Scene()
    actor, other = scene.learners(2)
    scene.offer(actor)
    assert scene.offer(actor, digest=digest("later")).accepted
    scene.offer(other)
    (offered,) = [member.digest for member in scene.last(SnapMade).members if member.uid == actor.uid]
    assert offered == digest("later")
    assert not scene.offer(actor, digest=digest("too late")).accepted


def test_one_offer_a_round_and_none_by_strangers():
    scene = Scene()
    actor, _ = scene.learners(2)
    scene.offer(actor)
    assert "has offered already" in scene.offer(actor).reason
    stranger = Actor("sl", "sl-9")
    scene.join(stranger)
    assert "is not enrolled" in scene.offer(stranger).reason


# ---- weights, shards


def test_weights_come_from_the_enrolment_and_an_offer_only_lowers_them():
    scene = Scene()
    first = scene.learners(1, weight=7)[0]
    others = [Actor("sl", f"sl-{number}") for number in (5, 6)]
    for actor in others:
        scene.join(actor)
        scene.enrol(actor, weight=100)
    scene.offer(first)
    scene.offer(others[0], inactive=True)
    scene.offer(others[1], weight_permille=500)
    weights = {member.uid: member.weight for member in scene.last(SnapMade).members}
    assert weights == {first.uid: 7000, others[0].uid: 0, others[1].uid: 50_000}


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"weight_permille": 10**9}, "the field 'weight_permille' has to be a share of 1 to 1000"),
        ({"weight": 10**9}, "unknown field 'weight'"),
    ],
)
def test_r065_a_claimed_weight_of_a_billion_is_refused_and_counts_nowhere(claim, said):
    scene = Scene(rules=3)
    actor, other = scene.learners(2, weight=7)
    newcomer = Actor("sl", "sl-9")
    scene.join(newcomer)
    assert "a weight of 1 to 1000000" in scene.enrol(newcomer, weight=10**9).reason
    assert said in scene.offer(actor, **claim).reason
    for each in (actor, other):
        scene.offer(each)
    assert {member.weight for member in scene.last(SnapMade).members} == {7000}


def test_small_models_are_broadcast_and_big_ones_cut_into_equal_shards_of_whole_leaves():
    scene, _ = merging(3)
    assert (scene.last(SnapMade).topology, scene.last(SnapMade).shards) == ("broadcast", ())
    scene, actors = merging(3, schema=BIG)
    snap = scene.last(SnapMade)
    assert snap.topology == "sharded"
    assert [shard.owner for shard in snap.shards] == uids(actors)
    assert (snap.shards[0].first_leaf, snap.shards[-1].stop_leaf) == (0, BIG.leaves)
    sizes = [shard.stop_leaf - shard.first_leaf for shard in snap.shards]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 2 * BIG.leaves / 3


RATES = {"up": 10**7, "down": 10**9}


def sizes(snap):
    return {shard.owner: shard.stop_leaf - shard.first_leaf for shard in snap.shards}


def test_shards_follow_the_rates_in_the_offers_and_are_cut_anew_for_every_attempt():
    scene = Scene()
    actors = scene.learners(4, schema=BIG)
    slow, *fast = actors
    scene.offer(slow, rates={"up": 10**5, "down": 10**9})
    for actor in fast:
        scene.offer(actor, rates=RATES)
    first = scene.last(SnapMade)
    assert slow.uid not in sizes(first)  # its upload costs it a model once, and that is all it can do
    assert {member.uid: member.rate for member in first.members}[slow.uid] == 10**5
    assert max(sizes(first).values()) - min(sizes(first).values()) <= 1
    scene.lose(fast[0])
    again = scene.last(SnapMade)
    assert again.attempt == 1
    assert sum(sizes(again).values()) == BIG.leaves
    assert set(sizes(again)) <= {actor.uid for actor in (slow, *fast[1:])}


def test_a_rate_that_all_others_doubt_is_capped_by_what_they_have_seen_and_a_snapshot_keeps_their_doubts():
    scene = Scene()
    actors = scene.learners(4, schema=BIG)
    liar, *others = actors
    scene.offer(liar, rates={"up": 1 << 50, "down": 1 << 50})
    for actor in others[:-1]:
        scene.offer(actor, rates=RATES, seen={liar.uid: 10**4})
    scene.offer(others[-1], rates=RATES, seen={liar.uid: 2 * 10**4})
    snap = scene.last(SnapMade)
    assert liar.uid not in sizes(snap), "three streams of 20 KB a second: slow, so it merges nothing"
    assert sum(sizes(snap).values()) == BIG.leaves
    state = scene.contract.current.to_state()
    kept = Round.from_state(state, scene.contract.current.terms)
    assert kept.attempt is not None
    assert (kept.to_state(), kept.attempt.snap) == (state, snap)


def test_who_has_measured_nothing_yet_merges_like_the_others():
    scene = Scene()
    actors = scene.learners(3, schema=BIG)
    scene.offer(actors[0])
    for actor in actors[1:]:
        scene.offer(actor, rates=RATES)
    assert max(sizes(scene.last(SnapMade)).values()) - min(sizes(scene.last(SnapMade)).values()) <= 1


def test_full_commitments_need_a_root_with_every_offer_and_it_is_in_the_snap():
    scene = Scene()
    actors = scene.learners(2, commitments="full")
    assert "offers without a Merkle root" in scene.offer(actors[0]).reason
    for number, actor in enumerate(actors):
        assert scene.offer(actor, root=bytes([number]) * 32).accepted
    assert {member.root for member in scene.last(SnapMade).members} == {b"\0" * 32, b"\1" * 32}


@pytest.mark.parametrize("options", [{"wire": "int8"}, {"maxDeltaNorm": 1000}])
@pytest.mark.parametrize(("topology", "asked"), [("auto", True), ("broadcast", True), ("sharded", False)])
def test_once_there_is_a_base_rounded_or_clipped_weights_that_all_merge_need_a_root(topology, asked, options):
    """Everybody merges what it got, so it must be told who sent one thing to one and another to the other."""
    scene = Scene()
    actors = scene.learners(2, topology=topology, **options)
    for actor in actors:
        assert scene.offer(actor).accepted, "the first weights travel as they are"
    for actor in actors:
        scene.ready(actor)
    assert scene.offer(actors[0]).accepted != asked
    for actor in actors:
        scene.offer(actor, root=bytes(32))
    assert {member.root for member in scene.last(SnapMade).members} >= {bytes(32)}


def test_topology_is_the_contracts_word_where_it_has_one():
    scene, _ = merging(2, schema=BIG, topology="broadcast")
    assert scene.last(SnapMade).topology == "broadcast"
    scene, _ = merging(2, topology="sharded")
    assert [(shard.first_leaf, shard.stop_leaf) for shard in scene.last(SnapMade).shards] == [(0, 1)]


def test_initial_model_first_counts_only_the_earliest_member_until_there_is_a_model():
    scene, actors = merging(3, initialModel="first")
    weights = {member.uid: member.weight for member in scene.last(SnapMade).members}
    assert weights == {actors[0].uid: 1000, actors[1].uid: 0, actors[2].uid: 0}
    scene.say(actors[0], "Leave", {"contract": CONTRACT, "reason": ""})
    weights = {member.uid: member.weight for member in scene.last(SnapMade).members}
    assert weights == {actors[1].uid: 1000, actors[2].uid: 0}
    for actor in actors[1:]:
        scene.ready(actor)
    for actor in actors[1:]:
        scene.offer(actor)
    assert {member.weight for member in scene.last(SnapMade).members} == {1000}


# ---- COMMIT


@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_commit_is_derived_at_the_quorum_of_equal_readys(count, needed):
    assert quorum(count) == needed
    scene, actors = merging(count, minPeers=1) if count > 1 else (Scene(), [])
    if count == 1:
        actors = scene.learners(1, minPeers=1)
        scene.offer(actors[0])
    for number, actor in enumerate(actors[:needed], start=1):
        assert not [event for event in scene.events if isinstance(event, Committed)], number
        scene.ready(actor)
    commit = scene.last(Committed)
    assert (commit.round, commit.attempt, commit.digest) == (0, 0, digest("merged 0"))
    assert commit.members == tuple(uids(actors))
    assert commit.signers == tuple(uids(actors[:needed]))
    assert (scene.contract.round, scene.contract.base, scene.contract.commits) == (1, commit.digest, 1)


def test_the_same_ready_twice_counts_once():
    scene, actors = merging(3)
    assert scene.ready(actors[0]).accepted
    assert scene.ready(actors[0]).accepted
    assert scene.contract.phase == "merging"
    assert "is ready with" in scene.ready(actors[0], "other").reason


def test_a_ready_after_commit_makes_one_more_holder_and_another_digest_is_refused():
    scene, actors = merging(3)
    late = scene.where(digest=digest("merged 0"))
    scene.ready(actors[0])
    scene.ready(actors[1])
    assert scene.say(actors[2], "Ready", late).accepted
    assert actors[2].uid in scene.contract.kept.holders(digest("merged 0"))
    outcome = scene.say(actors[2], "Ready", {**late, "digest": digest("else")})
    assert not outcome.accepted
    assert outcome.result == {"round": 1, "base": digest("merged 0"), "finished": False}


def test_a_ready_of_an_earlier_attempt_does_not_count_for_the_next():
    scene, actors = merging(4)
    before = scene.where(digest=digest("merged 0"))
    scene.ready(actors[0])
    scene.ready(actors[1])
    scene.lose(actors[3])
    assert scene.contract.snap.attempt == 1
    outcome = scene.say(actors[2], "Ready", before)
    assert not outcome.accepted
    assert "is for attempt 0 of round 0, which is in attempt 1" in outcome.reason
    scene.ready(actors[2])
    assert scene.contract.phase == "merging"
    scene.ready(actors[0])
    assert scene.contract.phase == "collecting"


def test_two_digests_end_the_round_and_name_the_shards_that_differ():
    scene, actors = merging(3, schema=BIG)
    hashes = [bytes([number]) * 32 for number in range(3)]
    scene.ready(actors[0], shards=hashes)
    scene.ready(actors[1], "other", shards=[hashes[0], b"x" * 32, hashes[2]])
    abort = scene.last(Aborted)
    owner = next(actor for actor in actors if actor.uid == uids(actors)[1])
    assert f"the shards of {owner.identity.name} ({owner.identity.organisation})" in abort.reason
    assert (abort.attempt, abort.disputed) == (0, (1,))
    assert (scene.contract.round, scene.contract.base) == (1, scene.contract.initial_base)


# ---- attempts


def test_suspects_of_more_than_half_of_the_others_begin_the_next_attempt_without_the_accused():
    scene, actors = merging(4)
    assert scene.suspect(actors[1], actors[0]).accepted
    assert scene.suspect(actors[1], actors[0]).accepted  # said twice, counts once
    assert scene.contract.snap.attempt == 0
    assert scene.suspect(actors[2], actors[0]).accepted
    assert scene.contract.snap.attempt == 1
    assert members(scene) == uids(actors[1:])
    assert scene.contract.members[actors[0].uid].state == "dropped"


def test_suspects_count_in_their_attempt_only():
    scene, actors = merging(5)
    scene.suspect(actors[1], actors[0])
    scene.suspect(actors[2], actors[0])
    scene.lose(actors[4])
    scene.suspect(actors[3], actors[0])
    assert (scene.contract.snap.attempt, members(scene)) == (1, uids(actors[:4]))


def test_nobody_suspects_itself_or_a_stranger():
    scene, actors = merging(3)
    assert "cannot suspect itself" in scene.suspect(actors[0], actors[0]).reason
    assert "is no member" in scene.suspect(actors[0], Actor("sl", "sl-9")).reason


@pytest.mark.parametrize("how", ["leave", "lost", "node left", "restarted"])
def test_a_member_that_goes_is_not_in_the_next_attempt(how):
    scene, actors = merging(3)
    goes = actors[1]
    match how:
        case "leave":
            scene.say(goes, "Leave", {"contract": CONTRACT, "reason": "the program ended"})
        case "lost":
            scene.lose(goes)
        case "node left":
            scene.say(goes, "NodeLeft")
        case "restarted":
            goes.restart()
            assert scene.join(goes).accepted
    assert scene.contract.snap.attempt == 1
    assert members(scene) == uids([actors[0], actors[2]])


def test_a_restarted_member_has_to_enrol_before_it_offers():
    scene = Scene()
    actor, other = scene.learners(2)
    actor.restart()
    scene.join(actor)
    assert "has to enrol again" in scene.offer(actor).reason
    assert scene.enrol(actor).result["joined"] == "again"
    scene.offer(actor)
    scene.offer(other)
    assert scene.contract.phase == "merging"


def test_deadline_drops_the_most_suspected_else_those_not_ready_else_nobody():
    scene, actors = merging(5)
    scene.suspect(actors[0], actors[4])
    scene.suspect(actors[1], actors[4])
    scene.suspect(actors[2], actors[3])
    scene.pass_deadline()
    assert members(scene) == uids(actors[:4])
    scene.ready(actors[0])
    scene.ready(actors[1])
    scene.pass_deadline()
    assert members(scene) == uids(actors[:2])
    scene.pass_deadline()
    assert (scene.contract.snap.attempt, members(scene)) == (3, uids(actors[:2]))


def test_of_two_that_suspect_each_other_only_one_goes_at_the_deadline():
    """A link between two is cut, everybody else reaches both: either may go, not both."""
    scene, actors = merging(3)
    scene.suspect(actors[0], actors[1])
    scene.suspect(actors[1], actors[0])
    scene.pass_deadline()
    assert scene.contract.snap.attempt == 1
    assert len(members(scene)) == 2
    assert actors[2].uid in members(scene)


def test_entries_that_do_not_say_fewest_drop_both_of_two_that_suspect_each_other():
    scene, actors = merging(4)
    scene.suspect(actors[0], actors[1])
    scene.suspect(actors[1], actors[0])
    body = {key: value for key, value in scene.where().items() if key != "fewest"}
    assert scene.say(scene.sn, "DeadlinePassed", body).accepted
    assert members(scene) == uids(actors[2:])


def test_two_cut_links_cost_two_members_in_one_attempt():
    scene, actors = merging(6)
    for one, other in ((0, 1), (2, 3)):
        scene.suspect(actors[one], actors[other])
        scene.suspect(actors[other], actors[one])
    scene.pass_deadline()
    assert (scene.contract.snap.attempt, len(members(scene))) == (1, 4)


def test_when_all_are_suspected_alike_nobody_is_to_blame():
    scene, actors = merging(4)
    for number, actor in enumerate(actors):
        scene.suspect(actor, actors[(number + 1) % 4])
    scene.pass_deadline()
    assert (scene.contract.snap.attempt, members(scene)) == (1, uids(actors))


def test_a_deadline_counts_for_its_attempt_only():
    scene, actors = merging(3)
    old = scene.where()
    scene.lose(actors[0])
    assert "which is in attempt 1" in scene.say(scene.sn, "DeadlinePassed", old).reason


def test_the_fourth_attempt_that_fails_aborts_and_the_base_stays():
    scene, actors = merging(3)
    for attempt in range(4):
        assert scene.contract.snap.attempt == attempt
        scene.pass_deadline()
    abort = scene.last(Aborted)
    assert abort.round == 0
    assert abort.members == tuple(uids(actors))
    assert "the last of 4 attempts" in abort.reason
    assert (scene.contract.round, scene.contract.base) == (1, scene.contract.initial_base)
    assert scene.contract.live() == uids(actors)
    assert scene.commit(*actors).round == 1


def test_below_min_peers_the_round_aborts_and_names_who_went():
    scene, actors = merging(2)
    scene.lose(actors[0])
    assert scene.last(Aborted).reason == (
        "sl-1 (b) was lost: no sign of life for 10 s; 1 of at least 2 members are left"
    )


def test_when_only_inactive_members_are_left_the_round_aborts():
    scene = Scene()
    actors = scene.learners(3)
    scene.offer(actors[0])
    for actor in actors[1:]:
        scene.offer(actor, inactive=True)
    scene.lose(actors[0])
    assert "all who are left have weight 0" in scene.last(Aborted).reason


def test_what_belongs_to_the_other_phase_is_refused():
    scene = Scene()
    actors = scene.learners(2)
    for outcome in (scene.ready(actors[0]), scene.suspect(actors[0], actors[1]), scene.pass_deadline()):
        assert "is collecting" in outcome.reason
    for actor in actors:
        scene.offer(actor)
    assert "is merging: it takes no WindowClosed" in scene.close_window().reason


def test_a_node_that_restarts_in_mid_round_enrols_at_once_and_is_in_the_next_one():
    scene, actors = merging(3)
    goes, *others = actors
    goes.restart()
    assert scene.join(goes).accepted
    enrolled = scene.enrol(goes)
    assert (enrolled.result["joined"], enrolled.result["round"]) == ("again", 0)
    assert members(scene) == uids(others)
    assert "is merging: it takes no Offer" in scene.offer(goes).reason
    for actor in others:
        scene.ready(actor)
    for actor in others:
        scene.offer(actor)
    assert scene.contract.waiting_for() == [goes.uid]
    assert scene.offer(goes).accepted
    assert members(scene) == uids(actors)


def test_a_program_that_hangs_from_the_start_is_waited_for_by_name_until_the_window_closes_and_then_by_nobody():
    scene = Scene()
    *others, hung = scene.learners(3)
    for round_ in range(2):
        for actor in others:
            assert scene.offer(actor).accepted
        if round_ == 0:
            assert scene.contract.waiting_for() == [hung.uid]
            assert scene.close_window().accepted
        assert members(scene) == uids(others)
        for actor in others:
            scene.ready(actor)
    assert scene.contract.commits == 2
    assert hung.uid not in scene.contract.live()
