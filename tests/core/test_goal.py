"""asyncGoal: a round begins to merge with so many offers, and who comes later counts less the more rounds it missed."""

from itertools import permutations

import numpy as np
import pytest

from swarm.core import member_steps as m
from swarm.core.agreement import Options
from swarm.core.events import Finished, MemberGone, SnapMade
from swarm.core.merge import mean
from swarm.core.rebase import permille, rebase
from swarm.core.tensors import Schema
from swarm.core.timekeeper import GRACE_S, Tick, Timekeeper
from swarm.errors import BadInput
from tests.core.member_world import ME, OTHER, THIRD, World, answer, kinds, late, rebased
from tests.core.scene import Actor, Scene, digest


def swarm(count=4, goal=2, **options):
    scene = Scene(rules=3)
    return scene, scene.learners(count, asyncGoal=goal, **options)


def weights(snap):
    return {member.uid: member.weight for member in snap.members}


def test_a_round_begins_with_the_goal_and_nobody_who_still_trains_is_dropped():
    scene, (one, two, three, four) = swarm()
    scene.offer(three)
    assert scene.contract.snap is None
    scene.offer(one)
    assert set(weights(scene.last(SnapMade))) == {one.uid, three.uid}
    assert not [event for event in scene.events if isinstance(event, MemberGone)]
    assert {two.uid, four.uid} <= set(scene.contract.live())


def test_the_slowest_is_waited_for_by_nobody_and_counts_when_it_comes():
    scene, (one, two, slow, _) = swarm()
    for _ in range(9):
        scene.commit(one, two)
    assert scene.offer(slow, weight_permille=permille(8)).accepted
    scene.offer(one)
    assert weights(scene.last(SnapMade)) == {slow.uid: 333, one.uid: 1000}


def test_in_whatever_order_offers_come_the_same_members_merge_with_the_same_weights():
    snaps = set()
    for order in permutations(range(3)):
        scene, actors = swarm(goal=3)
        scene.commit(*actors[:3])
        for number in order:
            scene.offer(actors[number], weight_permille=permille(number))
        snap = scene.last(SnapMade)
        snaps.add(tuple((member.uid, member.weight, member.digest) for member in snap.members))
    assert len(snaps) == 1


def test_the_merge_is_the_mean_of_the_changes_weighed_by_their_staleness():
    """Golden numbers, by hand: g + Σ wᵢ·s(τᵢ)·Δᵢ / Σ wᵢ·s(τᵢ), with s(τ) = 1/√(1+τ) in thousandths."""
    schema = Schema.of({"w": np.zeros(2, np.float32)})
    base = np.array([10.0, -2.0], np.float32)
    own = [  # what each has, the model that it trained from, how many merges ago
        (np.array([12.0, -2.0], np.float32), base, 0),
        (np.array([5.0, 1.0], np.float32), np.array([4.0, 0.0], np.float32), 1),
        (np.array([0.0, 8.0], np.float32), np.array([0.0, 0.0], np.float32), 8),
    ]
    parts = []
    for weights_, origin, _ in own:
        out = np.zeros(schema.nbytes, np.uint8)
        rebase(schema, *(padded(schema, each) for each in (weights_, origin, base)), out.data)
        parts.append(out[:8].view(np.float32))
    assert [part.tolist() for part in parts] == [[12.0, -2.0], [11.0, -1.0], [10.0, 6.0]]
    merged = np.zeros(2, np.float32)
    mean.merge("float32", parts, [permille(late_) for _, _, late_ in own], merged)
    total = 1000 + 707 + 333
    expected = [10.0 + (1000 * 2.0 + 707 * 1.0) / total, -2.0 + (707 * 1.0 + 333 * 8.0) / total]
    assert merged.tolist() == [np.float32(each) for each in expected]
    assert merged.tolist() == pytest.approx([11.326961, -0.347549], abs=1e-6)


def padded(schema, values):
    model = np.zeros(schema.nbytes, np.uint8)
    model[: values.nbytes] = values.view(np.uint8)
    return model.data


def training():
    """This member trains on the model of round 0."""
    world = World(peers=3, asyncGoal=2)
    world.ask("begin")
    world.offer(ME, OTHER)
    world.merged()
    assert answer(world.ready(ME, OTHER)).how == "merged"
    return world


def trained():
    """Meanwhile the others commit round 1."""
    world = training()
    world.others()
    return world


def test_a_change_is_never_too_late():
    world = trained()
    for _ in range(7):
        world.others()
    world.ask("sync", batches=36)
    assert kinds(world.member.handle(m.Fetched(world.contract.base), 0.0)) == ["Rebase"]
    assert late(rebased(world))["weight_permille"] == 333


def test_a_late_change_of_nothing_counts_as_any_other():
    """Put on the base it is the base, whose digest others offer when they have given up."""
    world = trained()
    world.ask("sync", batches=8)
    base = world.contract.base
    assert kinds(world.member.handle(m.Fetched(base), 0.0)) == ["Rebase"]
    tell, offer = world.member.handle(m.Rebased(base, base), 0.0)
    assert kinds([tell, offer]) == ["Tell", "Offer"]
    world.tell(world.contract.offer(ME, offer.body))
    world.offer(OTHER)
    newest = digest("newest")
    world.merged(newest)
    assert answer(world.ready(ME, OTHER, digest=newest)).how == "merged"


def test_who_comes_while_others_merge_comes_into_the_next_round():
    world = trained()
    world.ask("sync", batches=8)
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    world.offer(OTHER, THIRD)
    rebased(world)
    assert kinds(world.member.handle(m.OfferJudged(2, False, "it is merging"), 0.0)) == ["Tell"]
    newest = digest("newest")
    assert kinds(world.ready(OTHER, THIRD, digest=newest)) == ["Fetch"]
    assert kinds(world.member.handle(m.Fetched(newest), 0.0)) == ["Rebase"]
    assert late(rebased(world))["weight_permille"] == 577


def test_programs_that_have_ended_do_not_make_rounds_begin_sooner():
    scene, (one, two, three, _) = swarm(count=4)
    scene.commit(one, two)
    scene.offer(one, stop=True)
    scene.offer(two, stop=True)
    scene.offer(three)
    assert scene.contract.snap is None


def test_the_change_of_a_program_that_has_ended_counts_in_one_round():
    world = training()
    (first,) = world.ask("end")
    assert isinstance(first, m.Propose)
    assert not first.body["inactive"]
    world.tell(world.contract.offer(ME, first.body))
    world.offer(OTHER, THIRD)
    world.merged(digest("next"))
    (again,) = world.ready(ME, OTHER, digest=digest("next"))
    assert isinstance(again, m.Propose)
    assert (again.kind, again.body["inactive"], again.body["stop"]) == ("Offer", True, True)


def test_when_all_have_ended_and_counted_the_base_is_final():
    scene, actors = swarm(count=3, minPeers=2)
    scene.commit(*actors[:2])
    base = scene.contract.base
    for actor in actors:
        scene.offer(actor, stop=True, inactive=True)
    assert scene.last(Finished).digest == base


def test_a_round_below_its_goal_is_given_the_whole_window():
    """From minPeers on it goes on without those who do not come, as ever, and no round has told how late they are."""
    scene, actors = swarm(count=4, goal=3)
    keeper = Timekeeper(scene.ledger, scene.sn.uid, 0.0)
    told = len(scene.events)
    for _ in range(3):
        scene.commit(*actors[:3])
    for event in scene.events[told:]:
        keeper.handle(event)
    scene.offer(actors[0])
    scene.offer(actors[1])
    due = []
    for tick in range(80):
        now_s = tick / 2
        for actor in actors:
            keeper.alive(actor.uid, now_s)
        due += [now_s for proposal in keeper.handle(Tick(now_s)) if proposal.kind == "WindowClosed"]
    assert GRACE_S[1] <= due[0] < GRACE_S[1] + 1.0
    scene.close_window()
    assert set(weights(scene.last(SnapMade))) == {actor.uid for actor in actors[:2]}


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        ({"minPeers": 3, "asyncGoal": 2}, "asyncGoal=2 is not possible with minPeers=3: expected 3 or more"),
        ({"minPeers": 1, "asyncGoal": 2, "pickPeers": 2}, "pickPeers=2 and asyncGoal=2 are not possible together"),
        (
            {"minPeers": 1, "asyncGoal": 4, "organisations": ["a"], "maxPeersPerOrganisation": 3},
            "asyncGoal=4 is not possible: the contract admits 3 peers",
        ),
        ({"minPeers": 1, "asyncGoal": "2"}, "asyncGoal='2' is not possible: expected a whole number from 0 to 1000"),
    ],
)
def test_a_goal_that_no_round_could_reach_is_refused(wire, sentence):
    with pytest.raises(BadInput, match=sentence):
        Options.from_wire(wire)


def test_it_is_fixed_by_the_first_that_enrols():
    assert "asyncGoal" not in Options(2).to_wire()
    scene, _ = swarm()
    actor = Actor("sl", "sl-9", "a")
    assert scene.join(actor).accepted
    assert "asyncGoal: the contract has 2, this node has 0" in scene.enrol(actor).reason
