"""A member that is Ready with what nobody else holds ends few rounds, and has no honest member left out."""

import itertools

import pytest

from swarm.core import member_steps as m
from swarm.core.dispute import MORE_TOLD_MAX, SHARDS_TOLD_MAX, SINCE
from swarm.core.doubts import TIMES_MAX, Doubts
from swarm.core.events import Aborted, Committed, Contributor, Misbehaved, Shard, SnapMade
from swarm.core.member import Phase
from swarm.core.membership import Member
from swarm.core.offer import Terms
from swarm.core.readys import SHOWN_MAX, outvoted
from swarm.core.round import Round
from tests.core.member_world import ME, OTHER, THIRD, UIDS, World, answer
from tests.core.scene import BIG, INITIAL, Actor, Scene, merging, restored

LONGEST = 2**TIMES_MAX


def pieces(scene, **false):
    """What is said of each shard: the truth, but for those that are named by their owner's uid."""
    return [
        false.get(scene.contract.snap.owner_of(index), b"t" * 32) for index in range(len(scene.contract.snap.shards))
    ]


def lie(scene, liar, about):
    return scene.ready(liar, "false", shards=pieces(scene, **{about.uid: b"f" * 32}))


def truth(scene, *actors):
    for actor in actors:
        if scene.contract.snap and actor.uid in [each.uid for each in scene.contract.snap.members]:
            assert scene.ready(actor, shards=pieces(scene)).accepted


def offers(scene, *actors):
    for actor in actors:
        assert scene.offer(actor).accepted


def place_of(scene, owner):
    """Which shard of this attempt it owns."""
    snap = scene.contract.snap
    index = [snap.owner_of(number) for number in range(len(snap.shards))].index(owner.uid)
    return {"shard": index, "snap": snap.entry} | {key: scene.where()[key] for key in ("round", "attempt")}


def aborts(scene):
    return [event for event in scene.events if isinstance(event, Aborted)]


def out(scene):
    return scene.contract.left_out()


def test_who_is_alone_with_what_it_holds_ends_one_round_and_the_next_two_go_on_without_it():
    scene, (liar, *honest) = merging(4)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    (aborted,) = aborts(scene)
    assert aborted.outvoted == (liar.uid,)
    assert "3 hold" in aborted.reason
    assert "the next rounds go on without sl-1 (b)" in aborted.reason
    for _ in range(2):
        assert (out(scene), scene.contract.state_of(liar.uid)) == ([liar.uid], "left out")
        offers(scene, liar, *honest)
        truth(scene, *honest)
        assert liar.uid not in scene.last(Committed).members
    assert out(scene) == []
    offers(scene, liar, *honest)
    assert liar.uid in {member.uid for member in scene.contract.snap.members}
    assert len(aborts(scene)) == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_in_whatever_order_they_are_ready_nobody_else_is_left_out(order):
    scene, actors = merging(4)
    for number in order:
        if scene.contract.snap is None:
            break
        lie(scene, actors[0], actors[1]) if number == 0 else truth(scene, actors[number])
    assert out(scene) == ([actors[0].uid] if aborts(scene) else [])
    assert scene.contract.commits == (not aborts(scene))
    assert scene.contract.commits == (order[3] == 0)


@pytest.mark.parametrize(("count", "options"), [(3, {}), (5, {}), (5, {"pickPeers": 4}), (5, {"pickPeers": 3})])
def test_one_that_lies_whenever_it_may_ends_few_rounds_in_the_long_run(count, options):
    scene, (liar, *honest) = merging(count, **options) if not options else merging_picked(count, **options)
    for _ in range(200):
        for actor in (liar, *honest):
            if scene.contract.phase == "collecting" and not scene.contract.sits_out(actor.uid):
                scene.offer(actor)
        if liar.uid in {member.uid for member in scene.contract.snap.members}:
            lie(scene, liar, honest[0])
        truth(scene, *honest)
    assert all(set(event.outvoted) <= {liar.uid} for event in aborts(scene))
    assert len(aborts(scene)) <= TIMES_MAX + 200 // LONGEST
    assert scene.contract.round == scene.contract.commits + len(aborts(scene))
    assert restored(scene.ledger).digest() == scene.ledger.digest()


def merging_picked(count, **options):
    scene = Scene(rules=SINCE)
    return scene, scene.learners(count, schema=BIG, topology="sharded", **options)


def test_who_is_doubted_and_gone_is_shown_as_gone():
    scene, (liar, *honest) = merging(5)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    assert scene.contract.state_of(liar.uid) == "left out"
    scene.lose(liar)
    assert (scene.contract.state_of(liar.uid), out(scene)) == ("lost", [])


def test_a_doubt_goes_with_as_many_commits_as_its_member_was_ready_for():
    scene, (liar, *honest) = merging(3)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    for _ in range(2):
        offers(scene, *honest)
        truth(scene, *honest)
    for left in range(LONGEST, 0, -1):
        assert ("doubts" in scene.contract.to_state()) == (left > 0)
        offers(scene, liar, *honest)
        truth(scene, liar, honest[0])
    assert "doubts" not in scene.contract.to_state()


def test_an_owner_that_has_an_honest_member_outvoted_is_convicted_and_that_one_takes_part_at_once():
    scene, (owner, fooled, *others) = merging(5)
    place = place_of(scene, owner)
    lie(scene, fooled, owner)
    truth(scene, *others)
    assert out(scene) == [fooled.uid]
    assert scene.show(others[0], owner, b"t" * 32, **place).accepted
    assert scene.show(fooled, owner, b"f" * 32, **place).accepted
    assert (scene.last(Misbehaved).uid, out(scene)) == (owner.uid, [])
    offers(scene, fooled, *others)
    assert fooled.uid in {member.uid for member in scene.last(SnapMade).members}
    assert "doubts" not in scene.contract.to_state()


def test_also_when_it_shows_what_it_got_only_after_the_next_commit():
    scene, (owner, fooled, *others) = merging(5)
    place = place_of(scene, owner)
    lie(scene, fooled, owner)
    truth(scene, *others)
    scene.show(others[0], owner, b"t" * 32, **place)
    offers(scene, owner, *others)
    truth(scene, *others)
    assert scene.contract.commits == 1
    assert restored(scene.ledger).digest() == scene.ledger.digest()
    assert scene.show(fooled, owner, b"f" * 32, **place).accepted
    assert (scene.last(Misbehaved).uid, out(scene)) == (owner.uid, [])


def fooled_in_turn(owners, *fooled):
    """A scene in which these members were told another shard by these owners, one a round, and where that was."""
    scene, actors = merging(7)
    places = []
    for owner, victim in [(actors[one], actors[other]) for one, other in zip(owners, fooled, strict=True)]:
        places.append(place_of(scene, owner))
        lie(scene, victim, owner)
        truth(scene, *(actor for actor in actors if actor is not victim))
        offers(scene, *(actor for actor in actors if not scene.contract.sits_out(actor.uid)))
    return scene, actors, places


@pytest.mark.parametrize("proved", [0, 1])
def test_all_that_an_owner_had_outvoted_are_free_whichever_of_its_lies_is_proved(proved):
    scene, (owner, one, other, witness, *_), places = fooled_in_turn([0, 0], 1, 2)
    assert out(scene) == sorted([one.uid, other.uid])
    assert restored(scene.ledger).digest() == scene.ledger.digest()
    assert scene.show(witness, owner, b"t" * 32, b"f" * 32, **places[proved]).accepted
    assert (scene.last(Misbehaved).uid, out(scene)) == (owner.uid, [])
    assert "doubts" not in scene.contract.to_state()
    assert restored(scene.ledger).digest() == scene.ledger.digest()


def test_who_was_outvoted_for_a_shard_of_another_stays_doubted():
    scene, (owner, another, one, other, witness, *_), places = fooled_in_turn([0, 1], 2, 3)
    assert out(scene) == sorted([one.uid, other.uid])
    assert scene.show(witness, owner, b"t" * 32, b"f" * 32, **places[0]).accepted
    assert out(scene) == [other.uid]
    assert scene.show(witness, another, b"t" * 32, b"f" * 32, **places[1]).accepted
    assert out(scene) == []


@pytest.mark.parametrize("count", [2, 3])
def test_who_is_ready_with_another_shard_of_its_own_than_it_has_sent_is_convicted_by_its_own_ready(count):
    scene, (liar, *honest) = merging(count)
    place = place_of(scene, liar)
    lie(scene, liar, liar)
    truth(scene, *honest)
    assert scene.show(honest[0], liar, b"t" * 32, **place).accepted
    assert scene.last(Misbehaved).uid == liar.uid


def test_of_two_there_is_no_majority_and_both_stay():
    scene, (one, other) = merging(2)
    lie(scene, one, other)
    truth(scene, other)
    assert aborts(scene)[0].outvoted == ()
    assert "sl-1 (b)" in aborts(scene)[0].reason
    assert "sl-2 (a)" in aborts(scene)[0].reason
    offers(scene, one, other)
    assert len(scene.contract.snap.members) == 2


def test_two_against_two_end_the_round_and_nobody_is_left_out():
    scene, (one, two, three, four) = merging(4)
    for liar in (one, two):
        lie(scene, liar, three)
    truth(scene, three)
    assert scene.contract.snap is not None  # the fourth may still tell
    truth(scene, four)
    assert (aborts(scene)[0].outvoted, out(scene)) == ((), [])


def test_what_cannot_become_clear_any_more_is_not_waited_for():
    scene, (one, two, three, four) = merging(4)
    lie(scene, one, four)
    scene.ready(two, "another", shards=pieces(scene, **{four.uid: b"g" * 32}))
    assert scene.contract.snap is not None
    truth(scene, three)
    assert aborts(scene)[0].outvoted == ()


def test_where_members_are_too_many_to_tell_of_each_shard_nobody_is_doubted_for_an_owner_that_may_have_lied():
    count = SHARDS_TOLD_MAX + 1
    scene, (owner, *others) = merging(count)
    for fooled in others[: count // 3]:
        assert scene.ready(fooled, "another").accepted
    for actor in (owner, *others[count // 3 :]):
        if scene.contract.snap:
            assert scene.ready(actor).accepted
    (aborted,) = aborts(scene)
    assert (aborted.disputed, aborted.outvoted, out(scene)) == ((), (), [])
    offers(scene, owner, *others)
    assert len(scene.contract.snap.members) == count


def test_nor_where_only_some_tell_of_them():
    scene, (owner, *others) = merging(SHARDS_TOLD_MAX + 1)
    lie(scene, owner, others[0])
    assert scene.ready(others[0], "another").accepted
    for actor in others[1:]:
        if scene.contract.snap:
            truth(scene, actor)
    assert (aborts(scene)[0].outvoted, out(scene)) == ((), [])


def untold(count, **options):
    """Behind a round that one owner has ended where nobody tells of each shard."""
    scene, actors = merging(count, **options)
    owner, fooled, *honest = actors
    assert scene.ready(fooled, "another").accepted
    for actor in (owner, *honest):
        if scene.contract.snap:
            assert scene.ready(actor).accepted
    offers(scene, *actors)
    return scene, actors


@pytest.mark.parametrize(("count", "method"), [(SHARDS_TOLD_MAX + 1, "mean"), (SHARDS_TOLD_MAX // 2 + 2, "geomedian")])
def test_where_one_owner_has_ended_a_round_untold_all_tell_in_the_next_and_it_is_convicted(count, method):
    scene, (owner, fooled, *honest) = untold(count, mergeMethod=method)
    assert len(scene.contract.snap.members) == count
    place = place_of(scene, owner)
    assert "names 0 digests of shards" in scene.ready(owner).reason
    distances = [] if method == "mean" else [b"d" * 32] * count
    scene.ready(fooled, "another", shards=[*pieces(scene, **{owner.uid: b"f" * 32}), *distances])
    for actor in (owner, *honest):
        if scene.contract.snap:
            assert scene.ready(actor, shards=[*pieces(scene), *distances]).accepted
    assert (aborts(scene)[1].disputed, out(scene)) == ((place["shard"],), [fooled.uid])
    assert restored(scene.ledger).digest() == scene.ledger.digest()
    assert scene.show(honest[0], owner, b"t" * 32, **place).accepted
    assert scene.show(fooled, owner, b"f" * 32, **place).accepted
    assert (scene.last(Misbehaved).uid, out(scene)) == (owner.uid, [])


def test_what_all_tell_then_has_its_bound(monkeypatch):
    monkeypatch.setattr("swarm.core.doubts.MORE_TOLD_MAX", SHARDS_TOLD_MAX + 1)
    for more in (1, 2):
        scene, (one, *_) = untold(SHARDS_TOLD_MAX + more)
        assert scene.ready(one).accepted == (more == 2)


def test_all_tell_until_as_many_commits_are_made_as_it_takes_a_doubt_to_go():
    doubts = Doubts({})
    doubts.aborted(Aborted("eu", 3, "they differ", untold=True), ())
    for left in range(LONGEST, 0, -1):
        assert (doubts.told_max, doubts.to_state()) == (MORE_TOLD_MAX, {"telling": left})
        doubts.aborted(Aborted("eu", 4, "they differ"), ())
        doubts.committed(())
        doubts.check()
    doubts.committed(())
    assert (doubts.told_max, doubts.to_state()) == (SHARDS_TOLD_MAX, {})


def test_in_a_ledger_of_the_version_before_nobody_has_to_tell():
    scene, (one, *_) = untold(SHARDS_TOLD_MAX + 1, rules=SINCE - 1)
    assert not scene.last(Aborted).untold
    assert "telling" not in scene.contract.to_state()
    assert scene.ready(one).accepted


def test_of_many_shards_as_many_are_named_as_all_may_show_and_who_makes_up_many_hides_nobodys_only_one():
    count = 4 * SHARDS_TOLD_MAX
    snap = of_many(count)
    names = [member.uid for member in snap.members]
    true = (b"t" * 32,) * count
    ready = dict.fromkeys(names[2:], ("true", true))
    ready[names[0]] = ("made up", (b"f" * 32,) * count)
    ready[names[1]] = ("fooled", (*true[:-1], b"f" * 32))
    found = outvoted(ready, snap, count // 2 + 1, str, str)
    assert found.outvoted == tuple(names[:2])
    assert found.disputed == (*range(SHOWN_MAX // count - 1), count - 1)


def of_many(count):
    names = [f"sl-{number:03}" for number in range(count)]
    members = tuple(Contributor(name, 1, "", "") for name in names)
    shards = tuple(Shard(name, number, number + 1) for number, name in enumerate(names))
    return SnapMade("eu", 0, 0, members, shards, "sharded", INITIAL)


def test_where_all_merge_all_themselves_who_is_alone_has_nobody_to_blame():
    scene = Scene(rules=SINCE)
    liar, *honest = scene.learners(4, topology="broadcast")
    offers(scene, liar, *honest)
    assert scene.ready(liar, "false").accepted
    for actor in honest:
        assert scene.ready(actor).accepted
    assert (aborts(scene)[0].outvoted, out(scene)) == ((liar.uid,), [liar.uid])


def test_one_organisation_with_most_members_does_not_outvote_two_others():
    scene = Scene(("a", "b", "c"), rules=SINCE)
    actors = [Actor("sl", f"sl-{number}", whose) for number, whose in enumerate("aaabc")]
    for actor in actors:
        scene.join(actor)
        assert scene.enrol(actor, schema=BIG, topology="sharded").accepted
    offers(scene, *actors)
    for actor in actors[3:]:
        lie(scene, actor, actors[0])
    truth(scene, *actors[:3])
    assert aborts(scene)[0].outvoted == ()


def test_never_are_so_many_left_out_that_fewer_than_min_peers_stay():
    scene, (liar, *honest) = merging(3, minPeers=3)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    assert (aborts(scene)[0].outvoted, out(scene)) == ((liar.uid,), [])
    offers(scene, liar, *honest)
    assert len(scene.contract.snap.members) == 3


@pytest.mark.parametrize("comes", ["offers", "says anything"])
def test_who_was_lost_meanwhile_is_spared_as_well_where_min_peers_needs_it(comes):
    scene, (liar, *honest) = merging(3, minPeers=3)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    scene.lose(liar)
    if comes == "says anything":
        assert scene.say(liar, "NodeJoined", scene.joined(liar)).accepted
    assert (out(scene), scene.contract.sits_out(liar.uid)) == ([], False)
    assert restored(scene.ledger).digest() == scene.ledger.digest()
    offers(scene, *honest, liar)
    assert len(scene.contract.snap.members) == 3


def test_who_was_lost_is_left_out_as_long_as_enough_others_live_and_spared_when_they_do_not():
    scene, (liar, *honest) = merging(4, minPeers=3)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    scene.lose(liar)
    offers(scene, liar)
    assert (out(scene), dict(scene.contract.offers)) == ([liar.uid], {})
    scene.lose(liar)
    scene.lose(honest[0])
    assert out(scene) == []
    offers(scene, liar, *honest[1:])
    assert liar.uid in {member.uid for member in scene.contract.snap.members}


def test_who_is_left_out_is_next_when_others_go_and_when_they_hang():
    for goes in (True, False):
        scene, (liar, *honest) = merging(4, minPeers=3)
        lie(scene, liar, honest[0])
        truth(scene, *honest)
        assert out(scene) == [liar.uid]
        offers(scene, *honest[:2])
        scene.lose(honest[2]) if goes else scene.close_window()
        assert (out(scene), liar.uid in scene.contract.waiting_for()) == ([], True)
        assert restored(scene.ledger).digest() == scene.ledger.digest()
        scene.offer(liar)
        scene.close_window() if not goes else None
        assert liar.uid in {member.uid for member in scene.contract.snap.members}


def test_once_a_round_takes_everybody_it_does_until_it_ends():
    scene, (liar, *honest) = merging_picked(4, pickPeers=3, minPeers=3)
    offers(scene, liar, *honest[:2])
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    assert out(scene) == [liar.uid]
    offers(scene, *honest[:2])  # the third hangs
    for _ in range(3):
        assert scene.close_window().accepted
        assert (out(scene), scene.contract.current.takes_all) == ([], True)
        assert restored(scene.ledger).digest() == scene.ledger.digest()
    offers(scene, liar)
    assert liar.uid in {member.uid for member in scene.contract.snap.members}


def test_who_is_silent_or_dies_after_its_ready_is_not_doubted():
    scene, (liar, *honest) = merging(5)
    lie(scene, liar, honest[0])
    truth(scene, honest[0])
    scene.lose(honest[0])
    assert scene.contract.snap.attempt == 1
    lie(scene, liar, honest[1])
    truth(scene, *honest[1:])
    assert aborts(scene)[0].outvoted == (liar.uid,)


def test_a_new_node_key_is_no_way_out():
    scene, (liar, *honest) = merging(4)
    lie(scene, liar, honest[0])
    truth(scene, *honest)
    again, elsewhere = Actor("sl", "sl-9", "b"), Actor("sl", "sl-8", "a")
    for actor in (again, elsewhere):
        scene.join(actor)
        assert scene.enrol(actor, schema=BIG, topology="sharded").accepted
    assert out(scene) == sorted([liar.uid, again.uid])
    offers(scene, again, elsewhere, *honest)
    assert {member.uid for member in scene.contract.snap.members} == {actor.uid for actor in (elsewhere, *honest)}


def test_of_two_doubts_as_long_it_takes_over_the_same_in_whatever_order_the_ledger_came_to_have_them():
    uids = ["a", "z", "new"]
    members = {uid: Member(uid, "org-a", place, 1, 1, "", anchor=b"a") for place, uid in enumerate(uids)}
    applied, kept = Doubts(members), Doubts(members)
    applied.outvoted(5, ["z"], ["p"])
    applied.outvoted(7, ["a"], ["q"])
    kept.restore(applied.to_state())
    for doubts in (applied, kept):
        doubts.take_over("new")
        doubts.take_back("p")
    assert applied.to_state() == kept.to_state()


def test_a_ledger_of_the_version_before_means_what_it_meant():
    scene, (liar, *honest) = merging(4, rules=SINCE - 1)
    lie(scene, liar, honest[0])
    truth(scene, honest[0])
    (aborted,) = aborts(scene)
    assert (aborted.outvoted, aborted.said, out(scene)) == ((), (), [])
    state = scene.contract.to_state()
    assert "doubts" not in state
    assert len(state["dispute"]) == 5
    offers(scene, liar, *honest)
    assert len(scene.contract.snap.members) == 4


@pytest.mark.parametrize(("stage", "expected"), [("up", ["leader"]), ("down", [])])
def test_a_leader_that_brings_its_group_what_comes_from_above_is_not_left_out(stage, expected):
    names = ("leader", "one", "two")
    members = {name: Member(name, "a", 0, 1, 1, "", leads=name == "leader") for name in names}
    doubts = Doubts(members)
    doubts.outvoted(3, ["leader"])
    current = Round(4, INITIAL, Terms("eu", 2, "sharded", 9, 9, first=False, members=members, stage=stage))
    assert doubts.out(current, 2) == expected


# ---- what the member does


def doubted():
    """This member has been Ready with what the other two do not hold."""
    world = World(peers=3)
    world.ask("sync")
    world.offer(*UIDS)
    world.merged("blake3:" + "f" * 64)
    snap = world.contract.snap
    events = []
    for uid, said in ((ME, "f"), (OTHER, "2"), (THIRD, "2")):
        body = {"contract": "c", "round": snap.round, "attempt": snap.attempt, "digest": "blake3:" + said * 64}
        events += world.contract.ready(uid, body, settles=True)
    (_, kept) = world.tell(events)
    assert "the next rounds go on without sl-0 (org-0)" in answer([kept]).note
    assert world.contract.left_out() == [ME]
    return world


def test_the_program_is_told_that_it_is_left_out_and_gets_the_model_of_the_others():
    world = doubted()
    (told,) = world.ask("sync")
    assert "this round goes on without this node" in told.text
    assert world.member.phase is Phase.SITTING_OUT
    world.offer(OTHER, THIRD)
    (fetch,) = world.ready(OTHER, THIRD, digest="blake3:" + "3" * 64)
    assert isinstance(fetch, m.Fetch)


def test_it_names_many_shards_only_when_all_have_to():
    said = []
    for untold in (False, True):
        world = World(peers=3)
        world.contract.doubts.aborted(Aborted("c", 0, "they differ", untold=untold), ())
        world.ask("sync")
        world.offer(*UIDS)
        snap = world.contract.snap
        held = m.Merged(snap.round, snap.attempt, "blake3:" + "f" * 64, (b"t" * 32,) * (SHARDS_TOLD_MAX + 1))
        (ready,) = world.member.handle(held, 0.0)
        said.append(len(ready.body.get("shards", ())))
    assert said == [0, SHARDS_TOLD_MAX + 1]


def test_it_offers_when_it_is_next():
    world = doubted()
    world.ask("sync")
    world.tell(world.contract.gone(THIRD, "lost", "was lost"))
    assert world.member.phase is Phase.OFFERED
