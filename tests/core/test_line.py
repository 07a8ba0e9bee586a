"""pickPeers: so many of the members take part in a round, drawn by what none of them can choose."""

import re
from collections import Counter

import pytest

from swarm.core import member_steps as m
from swarm.core.agreement import Options
from swarm.core.events import Committed, MemberGone, SnapMade
from swarm.core.ledger import Ledger
from swarm.core.line import Line
from swarm.core.member import Member, Phase
from swarm.errors import BadInput
from tests.core.member_world import ME, OTHER, OWN, RESULT, THIRD, World, answer, kinds
from tests.core.scene import CONTRACT, Actor, Scene, digest


def swarm(count=5, picks=2, **options):
    """Enrolled members, and a first round behind them."""
    scene = Scene(rules=3)
    actors = {actor.uid: actor for actor in scene.learners(count, pickPeers=picks, **options)}
    scene.commit(*picked(scene, actors))
    return scene, actors


def picked(scene, actors):
    return [actors[uid] for uid in scene.contract.waiting_for()]


def others(scene, actors):
    return [actor for actor in actors.values() if actor.uid not in scene.contract.waiting_for()]


# ---- the draw


def test_each_round_takes_exactly_so_many_and_everybody_in_turn():
    scene, actors = swarm(count=6, picks=2)
    taken = Counter()
    for _ in range(60):
        now = picked(scene, actors)
        assert len(now) == 2
        committed = scene.commit(*now)
        assert sorted(committed.members) == sorted(actor.uid for actor in now)
        taken.update(committed.members)
    assert sum(taken.values()) == 120
    assert all(10 <= taken[uid] <= 30 for uid in actors), f"20 each, were it in turn: {taken.values()}"


def test_the_first_round_takes_members_as_they_came():
    scene = Scene(rules=3)
    actors = scene.learners(4, pickPeers=3)
    assert scene.contract.waiting_for() == [actor.uid for actor in actors[:3]]


def test_the_order_is_that_of_a_hash_over_contract_round_entry_and_uid():
    """Golden, so that two releases never draw differently."""
    line, uids = Line(2), [f"uid-{number}" for number in range(5)]
    line.draw("digits", 7, b"\7" * 32, uids)
    assert line.first(uids) == ["uid-3", "uid-0"]
    assert [uid for uid in uids if line.is_behind(uid)] == ["uid-1", "uid-2", "uid-4"]
    for other in [("digits", 8, b"\7" * 32), ("other", 7, b"\7" * 32), ("digits", 7, bytes(32))]:
        drawn = Line(5)
        drawn.draw(*other, uids)
        assert drawn.first(()) != ["uid-3", "uid-0", "uid-4", "uid-2", "uid-1"]


def test_the_order_of_arrival_of_members_changes_nothing():
    uids = [f"uid-{number}" for number in range(9)]
    one, two = Line(9), Line(9)
    one.draw("c", 1, b"entry", uids)
    two.draw("c", 1, b"entry", uids[::-1])
    assert one.first(()) == two.first(())


def test_every_replica_and_every_snapshot_has_the_same_line():
    scene, _ = swarm()
    again = Ledger()
    for header, claim in scene.log:
        again.apply(header, claim)
    restored = Ledger.restore(scene.ledger.snapshot())
    for ledger in (again, restored):
        assert ledger.contracts[CONTRACT].waiting_for() == scene.contract.waiting_for()
        assert ledger.digest() == scene.ledger.digest()


# ---- who comes and goes


def test_an_offer_of_who_is_not_picked_counts_for_nothing():
    scene, actors = swarm()
    before, state = scene.contract.waiting_for(), scene.contract.to_state()
    scene.offer(others(scene, actors)[0])
    assert (scene.contract.waiting_for(), scene.contract.offers) == (before, {})
    assert {**scene.contract.to_state(), "kept": None} == {**state, "kept": None}  # it is known to hold the base


def test_the_next_in_line_takes_the_place_of_a_picked_member_that_dies():
    scene, actors = swarm(minPeers=2)
    one, two = picked(scene, actors)
    scene.offer(one)
    scene.lose(two)
    (third,) = picked(scene, actors)
    assert third not in (one, two)
    scene.offer(third)
    snap = scene.last(SnapMade)
    assert sorted(member.uid for member in snap.members) == sorted([one.uid, third.uid])


def test_picked_members_that_hang_make_room_for_those_who_stand_behind_them():
    scene, actors = swarm(count=4, picks=2, minPeers=2)
    one, hangs = picked(scene, actors)
    scene.offer(one)
    assert scene.close_window().accepted
    (third,) = picked(scene, actors)
    assert third not in (one, hangs)
    assert scene.contract.sits_out(hangs.uid)
    assert hangs.uid in scene.contract.live()
    assert Ledger.restore(scene.ledger.snapshot()).digest() == scene.ledger.digest()
    assert scene.offer(hangs).accepted
    assert sorted(scene.contract.offers) == [one.uid]
    scene.offer(third)
    assert sorted(member.uid for member in scene.last(SnapMade).members) == sorted([one.uid, third.uid])


def test_where_nobody_stands_behind_those_who_are_picked_there_is_no_room_to_make():
    scene, actors = swarm(count=2, picks=2, minPeers=2)
    scene.offer(picked(scene, actors)[0])
    assert "stays open: 1 of at least 2 members have offered" in scene.close_window().reason


def test_a_round_goes_on_from_min_peers_when_a_picked_member_dies_in_the_merge():
    scene, actors = swarm(picks=3, minPeers=2)
    one, two, three = picked(scene, actors)
    for actor in (one, two, three):
        scene.offer(actor)
    scene.lose(three)
    assert scene.last(SnapMade).attempt == 1
    scene.ready(one)
    scene.ready(two)
    assert sorted(scene.last(Committed).members) == sorted([one.uid, two.uid])


def test_who_comes_stands_behind_all_others_in_the_round_under_way():
    scene, actors = swarm()
    before = picked(scene, actors)
    for number in range(10, 20):  # with 50 uids to choose from, one may have liked its place better
        actor = Actor("sl", f"sl-{number}", "a")
        assert scene.join(actor).accepted
        assert scene.enrol(actor, pickPeers=2).accepted
        actors[actor.uid] = actor
        assert picked(scene, actors) == before
    scene.commit(*before)
    seen = set()
    for _ in range(20):
        seen.update(scene.commit(*picked(scene, actors)).members)
    assert len(seen & {uid for uid, actor in actors.items() if len(actor.identity.name) == 5}) > 3


def test_who_missed_its_round_offers_and_is_counted_among_the_live_again():
    scene, actors = swarm(count=4, picks=3, minPeers=2)
    one, two, three = picked(scene, actors)
    (fourth,) = others(scene, actors)
    scene.offer(one)
    scene.offer(two)
    scene.close_window()
    assert scene.last(MemberGone).uid == three.uid
    scene.ready(one)
    scene.ready(two)
    assert set(scene.contract.waiting_for()) == {one.uid, two.uid, fourth.uid}
    assert scene.offer(three).accepted
    assert scene.contract.offers == {}
    assert three.uid in scene.contract.live()
    assert scene.contract.sits_out(three.uid)


def test_with_fewer_members_than_it_picks_a_round_takes_them_all():
    scene, actors = swarm(count=2, picks=5)
    assert len(scene.contract.waiting_for()) == 2
    assert len(scene.commit(*picked(scene, actors)).members) == 2


def test_a_base_that_is_lost_begins_a_round_with_a_line_of_its_own():
    scene, actors = swarm(count=4)
    for actor in actors.values():
        scene.say(actor, "Missing", {"contract": CONTRACT, "digest": scene.contract.base})
    assert not scene.contract.has_model
    assert len(scene.contract.waiting_for()) == 2


# ---- the option


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        (
            {"minPeers": 3, "pickPeers": 2},
            "pickPeers=2 is not possible with minPeers=3: expected 3 or more",
        ),
        (
            {"minPeers": 2, "pickPeers": 2, "upper": "all", "upperPeers": 2},
            "pickPeers=2 is not possible for a group, whose model is replaced by that of contract all as it is",
        ),
        ({"minPeers": 2, "pickPeers": -1}, "pickPeers=-1 is not possible: expected a whole number from 0 to 1000"),
        ({"minPeers": 2, "pickPeers": 2.5}, "pickPeers=2.5 is not possible: expected a whole number from 0 to 1000"),
        (
            {"minPeers": 2, "pickPeers": 5, "organisations": ["a", "b"], "maxPeersPerOrganisation": 2},
            "pickPeers=5 is not possible: the contract admits 4 peers, maxPeersPerOrganisation=2 of 2 organisations, "
            "expected 4 or less",
        ),
    ],
)
def test_a_number_that_no_round_could_have_is_refused(wire, sentence):
    with pytest.raises(BadInput, match=re.escape(sentence)):
        Options.from_wire(wire)


def test_it_needs_the_third_rules_and_is_fixed_by_the_first_that_enrols():
    assert "pickPeers" not in Options(2).to_wire()
    early = Scene(rules=2)
    actor = Actor("sl", "sl-1", "a")
    assert early.join(actor).accepted
    assert "the contract option 'pickPeers' is not known" in early.enrol(actor, pickPeers=2).reason
    scene, _ = swarm()
    late = Actor("sl", "sl-9", "a")
    assert scene.join(late).accepted
    assert "pickPeers: the contract has 2, this node has 3" in scene.enrol(late, pickPeers=3).reason


# ---- the member


class Picking(World):
    """Two of three take part; the ledger's entries are numbered."""

    def __init__(self, *, me: bool) -> None:
        super().__init__(peers=3, pickPeers=2)
        body = {"contract": "c", "digest": OWN}
        for uid in (ME, OTHER):
            self.contract.offer(uid, {**body, "round": 0, "base": self.contract.base})
        for uid in (ME, OTHER):
            self.contract.ready(uid, {**body, "round": 0, "attempt": 0, "digest": RESULT})
        self.member = Member(ME, self.contract, holds=RESULT)
        entry = next(n for n in range(99) if self.drawn(n) == me)
        self.contract.draw(bytes([entry]))

    def drawn(self, entry: int) -> bool:
        self.contract.draw(bytes([entry]))
        return ME in self.contract.waiting_for()


def test_a_member_that_is_not_picked_offers_nothing_and_adopts_what_the_others_merge():
    world = Picking(me=False)
    assert world.ask(batches=4) == []
    assert world.member.phase is Phase.SITTING_OUT
    assert world.offer(OTHER, THIRD) == []
    (fetch,) = world.ready(OTHER, THIRD, digest=digest("next"))
    assert isinstance(fetch, m.Fetch)
    given = answer(world.member.handle(m.Fetched(digest("next")), 0.0))
    assert (given.how, given.digest) == ("adopted", digest("next"))
    assert given.note == "a round of 2 others: adopted the model of round 1, gave up 4 batches"


def test_it_says_for_whom_it_waits():
    world = Picking(me=False)
    world.ask()
    (told,) = world.tick(20.0)
    assert told == m.Tell("waiting for the offers of sl-1 (org-1), sl-2 (org-2)")
    world.offer(OTHER, THIRD)
    (told,) = world.tick(20.0)
    assert told == m.Tell("waiting for the merge of sl-1 (org-1), sl-2 (org-2)")


def test_it_offers_as_soon_as_it_is_next():
    world = Picking(me=False)
    world.ask()
    (proposed,) = world.tell(world.contract.gone(THIRD, "lost", "was lost"))
    assert isinstance(proposed, m.Propose)
    assert (proposed.kind, proposed.body["digest"]) == ("Offer", OWN)


def test_it_offers_when_another_has_hung_for_too_long():
    world = Picking(me=False)
    world.ask()
    world.offer(OTHER)
    world.contract.close_window({"round": world.contract.round})
    (proposed,) = world.tick(600.0)
    assert isinstance(proposed, m.Propose)
    assert (proposed.kind, proposed.body["digest"]) == ("Offer", OWN)


def test_an_aborted_round_leaves_it_its_own_weights():
    world = Picking(me=False)
    world.ask()
    world.offer(OTHER, THIRD)
    given = answer(world.ready(OTHER, digest=RESULT) + world.ready(THIRD, digest=OWN))
    assert given.how == "kept"


def test_who_comes_too_late_to_sit_out_a_round_adopts_its_model_at_once():
    """A change of the round before would be offered anew; here others are picked by now."""
    world = Picking(me=False)
    world.contract.offer(OTHER, {"round": 1, "base": RESULT, "digest": OWN})
    world.contract.offer(THIRD, {"round": 1, "base": RESULT, "digest": OWN})
    for uid in (OTHER, THIRD):
        world.contract.ready(uid, {"round": 1, "attempt": 0, "digest": digest("next")})
    assert not world.drawn(next(n for n in range(99) if not world.drawn(n)))
    assert kinds(world.ask()) == ["Fetch"]
    given = answer(world.member.handle(m.Fetched(digest("next")), 0.0))
    assert given.how == "adopted"


def test_a_picked_member_offers_merges_and_is_handed_the_model_as_ever():
    world = Picking(me=True)
    assert kinds(world.ask()) == ["Offer"]
    (other,) = (uid for uid in world.contract.waiting_for() if uid != ME)
    assert kinds(world.offer(ME, other)) == ["BeginExchange"]


def test_who_was_gone_offers_to_be_counted_and_then_sits_out():
    world = Picking(me=False)
    world.contract.gone(ME, "lost", "was lost")
    world.contract.back(ME)
    assert kinds(world.ask()) == ["Offer"]
    world.offer(ME)
    world.member.handle(m.OfferJudged(1, True), 0.0)
    assert world.member.phase is Phase.SITTING_OUT
