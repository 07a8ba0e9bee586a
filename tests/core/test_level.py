"""Groups that merge among themselves and, through their leaders, with each other: the maths, and who may lead."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from swarm.core import member_steps as m
from swarm.core.agreement import Options
from swarm.core.events import Aborted, SnapMade
from swarm.core.member import Phase
from swarm.core.names import uid_of
from swarm.errors import BadInput, Unreachable
from tests.core.play import UPPER, Play, Seat
from tests.core.scene import INITIAL, SMALL, Actor, digest

GROUPS = {"eu": [3, 5, 1], "us": [2, 40]}


@pytest.mark.parametrize("every", [1, 2, 3])
def test_two_groups_of_other_sizes_and_weights_have_the_mean_of_all_whenever_they_meet(every: int):
    for seed in range(12):
        print(f"seed {seed}")
        play = Play(GROUPS, every=every, syncs=6, seed=seed)
        play.run()
        models: dict[str, Fraction] = {}
        for sync in range(5):
            models = play.expected(sync, models)
            assert {seat.contract: seat.answers[sync] for seat in play.seats} == models
            assert len({(seat.contract, seat.answers[sync]) for seat in play.seats}) == len(GROUPS)


def test_one_merge_of_each_group_gives_what_one_contract_of_all_gives():
    play = Play(GROUPS, every=1, syncs=1)
    play.run()
    numbers = [(w, Fraction(index)) for index, w in enumerate(w for weights in GROUPS.values() for w in weights)]
    flat = sum(w * x for w, x in numbers) / Fraction(sum(w for w, _ in numbers))
    assert {seat.answers[0] for seat in play.seats} == {flat}
    assert flat != sum(sum(w * x for w, x in part) / sum(w for w, _ in part) for part in (numbers[:3], numbers[3:])) / 2


@pytest.mark.parametrize("every", [1, 3])
def test_all_groups_end_together_with_one_model_though_one_trains_for_longer(every: int):
    for seed in range(12):
        print(f"seed {seed}")
        play = Play({"eu": [1, 2], "us": [4, 8], "asia": [16]}, every=every, syncs=3, seed=seed)
        for seat in play.seats:
            seat.syncs += 4 * (seat.contract == "us")
        play.run()
        contracts = play.scene.ledger.contracts
        assert len({seat.answers[-1] for seat in play.seats}) == 1
        assert {play.digest(play.seats[0].answers[-1])} == {contract.base for contract in contracts.values()}
        assert all(contract.finished for contract in contracts.values())


def test_a_group_waits_for_a_leader_that_is_lost_names_it_and_gives_up_in_the_end():
    play = Play({"eu": [1, 1, 1], "us": [1]}, every=1, syncs=3, min_peers=1)
    leader, follower = play.seats[0], play.seats[1]
    while leader.member.phase is not Phase.CLIMBING:
        play.step()
    body = {"uid": leader.actor.uid, "incarnation": leader.actor.incarnation, "reason": "no sign of life for 10 s"}
    play.tell(play.scene.told(play.scene.sn, "NodeLost", body))
    while follower.inbox:
        follower.member.handle(follower.inbox.pop(0), 0.0)
    assert follower.member.phase is Phase.OFFERED
    follower.member.handle(m.Ticked(), 1.0)
    (told,) = follower.member.handle(m.Ticked(), 12.0)
    assert "a leader that merges in contract all for this group" in told.text
    (given_up,) = follower.member.handle(m.Ticked(), 700.0)
    assert isinstance(given_up.error, Unreachable)
    assert "a leader that merges in contract all" in given_up.error.message


def test_a_leader_that_began_anew_brings_what_its_group_has_merged():
    for seed in range(12):
        print(f"seed {seed}")
        play = Play(GROUPS, every=2, syncs=6, seed=seed)
        leader = play.seats[0]
        while leader.member.phase is not Phase.CLIMBING:
            play.step()
        play.restart(leader)
        play.run()
        assert len({seat.answers[-1] for seat in play.seats}) == 1


@pytest.mark.parametrize("every", [1, 2])
def test_whoever_begins_anew_and_when_all_end_with_one_model(every: int):
    for seed in range(15):
        print(f"seed {seed}")
        play = Play(GROUPS, every=every, syncs=6, seed=seed)
        for _ in range(3):
            for _ in range(play.chance.randint(1, 150)):
                play.step()
            seat = play.chance.choice(play.seats)
            if not play.scene.ledger.contracts[seat.contract].finished:
                play.restart(seat)
        play.run()
        assert len({seat.answers[-1] for seat in play.seats}) == 1
        assert all(contract.finished for contract in play.scene.ledger.contracts.values())


def test_what_comes_from_above_tells_a_program_that_its_change_came_too_late_to_count():
    play = Play({"eu": [1, 1], "us": [1]}, every=1, syncs=20, min_peers=1)
    leader, follower = play.seats[:2]
    group, told = leader.member.contract, []
    while not follower.answers:
        play.step()
    play.seats.remove(follower)  # it trains, and the others go on
    while not group.offers:
        play.step()
    play.tell(play.scene.told(play.scene.sn, "WindowClosed", {"contract": "eu", "round": group.round}))
    commits = group.commits + 4
    while group.commits < commits or group.level.stage != "down":
        play.step()
    play.seats.insert(1, follower)
    play.ask(follower)
    answered = play.answered
    play.answered = lambda seat, answer: (seat is follower and told.append(answer), answered(seat, answer))  # type: ignore
    while not told:
        play.step()
    assert told[0].how == "adopted"
    assert "gave up 1 batches" in told[0].note


def test_a_leader_that_missed_its_groups_merge_brings_what_is_above_and_then_puts_its_own_change_on_it():
    """What it offered was the model from above: nothing that its program has trained is in that round."""
    play = Play({"eu": [1, 1], "us": [1]}, every=1, syncs=20, min_peers=1)
    leader = play.seats[0]
    group, done = leader.member.contract, []
    while not leader.answers:
        play.step()
    play.seats.remove(leader)  # it trains, and the other one goes on
    while not group.offers:
        play.step()
    play.tell(play.scene.told(play.scene.sn, "WindowClosed", {"contract": "eu", "round": group.round}))
    while group.level.stage != "down":
        play.step()
    play.seats.insert(0, leader)
    play.ask(leader)
    perform = play.perform
    play.perform = lambda seat, effect: (seat is leader and done.append(effect), perform(seat, effect))  # type: ignore
    while not any(isinstance(effect, m.Rebase | m.Answer) for effect in done):
        play.step()
    assert any(isinstance(effect, m.Climb) for effect in done)
    assert isinstance(done[-1], m.Rebase)


def brought(play: Play) -> tuple[Seat, m.Propose]:
    """The leader of eu, with the offer that it is about to make of what it has brought from above."""
    leader = play.seats[0]
    while not any(isinstance(each, m.Lifted) for each in leader.inbox):
        play.step()
    while len(leader.inbox) > 1:
        leader.member.handle(leader.inbox.pop(0), 0.0)
    (offer,) = leader.member.handle(leader.inbox.pop(0), 0.0)
    assert isinstance(offer, m.Propose)
    return leader, offer


def test_a_leader_can_hand_its_group_nothing_but_what_the_upper_contract_has_committed():
    play = Play(GROUPS, every=1, syncs=6)
    leader, offer = brought(play)
    upper = play.scene.ledger.contracts[UPPER]
    assert offer.body["digest"] == upper.base != leader.member.contract.base
    poisoned = play.scene.say(leader.actor, "Offer", {**offer.body, "digest": digest("poison")})
    assert poisoned.reason == (
        f"sl-1 (a) brings group eu the model {digest('poison')}, and contract all has committed {upper.base}"
    )
    early = play.scene.say(leader.actor, "Offer", {**offer.body, "stop": True})
    assert early.reason == f"sl-1 (a) ends group eu with {upper.base}: contract all has not ended with that"
    play.perform(leader, offer)
    play.run()
    assert len({seat.answers[-1] for seat in play.seats}) == 1


def test_a_group_that_was_served_another_model_than_its_leader_offered_commits_nothing_and_names_it():
    play = Play(GROUPS, every=1, syncs=6)
    leader, offer = brought(play)
    group, honest = leader.member.contract, play.merged
    before = group.base
    aborts: list[Aborted] = []

    def served(snap: SnapMade) -> m.Merged:
        poison = snap.contract == "eu" and group.level.stage == "down" and not aborts
        return m.Merged(snap.round, snap.attempt, play.digest(Fraction(666))) if poison else honest(snap)

    def heard(events: list[Any]) -> None:
        aborts.extend(event for event in events if isinstance(event, Aborted) and event.contract == "eu")
        tell(events)

    play.merged, tell, play.tell = served, play.tell, heard  # type: ignore[method-assign]
    play.perform(leader, offer)
    while not aborts:
        play.step()
    assert aborts[0].reason == (
        f"sl-1 (a) offered {offer.body['digest']}, the model from above, "
        f"and the group has {play.digest(Fraction(666))} of it"
    )
    assert group.base == before
    play.run()
    assert Fraction(666) not in {answer for seat in play.seats for answer in seat.answers}
    assert len({seat.answers[-1] for seat in play.seats}) == 1


def test_a_leader_that_comes_back_too_late_with_a_model_goes_for_the_newest_one():
    play = Play({"eu": [1, 1], "us": [1], "asia": [1]}, every=1, syncs=9, upper_peers=2)
    leader, offer = brought(play)
    upper = play.scene.ledger.contracts[UPPER]
    while len(upper.offers) < 2:
        play.step(without="eu")
    play.tell(play.scene.told(play.scene.sn, "WindowClosed", {"contract": UPPER, "round": upper.round}))
    while upper.kept.of(offer.body["digest"]) is not None:
        play.step(without="eu")
    seen: list[m.Climb] = []
    climb, play.climb = play.climb, lambda seat, effect: (seen.append(effect), climb(seat, effect))  # type: ignore
    play.perform(leader, offer)
    while leader.member.phase is not Phase.RESTING:
        play.step()
    assert [effect.again for effect in seen] == [True]
    assert play.digest(leader.answers[-1]) == upper.base


def test_a_leader_that_is_too_late_again_goes_again_and_gives_up_where_nothing_is_newer():
    play = Play({"eu": [1, 1]}, every=1, syncs=9)
    leader, _ = brought(play)
    member, group = leader.member, leader.member.contract
    late = m.OfferJudged(group.round, accepted=False, reason="too late")
    for newer in ("one", "two", "three"):
        assert member.handle(late, 0.0) == [m.Climb(group.base, ending=False, again=True)]
        (offer,) = member.handle(m.Lifted(group.base, digest(newer), over=False), 0.0)
        assert isinstance(offer, m.Propose)
        assert offer.body["digest"] == digest(newer)
    assert member.handle(late, 0.0) == [m.Climb(group.base, ending=False, again=True)]
    member.handle(m.Lifted(group.base, digest("three"), over=False), 0.0)
    (given_up,) = member.handle(late, 0.0)
    assert isinstance(given_up, m.GiveUp)


@pytest.mark.parametrize("served", ["first", "second"])
def test_of_two_leaders_that_bring_two_models_neither_is_committed_whoever_came_first(served: str):
    play = Play({"eu": [1, 1], "us": [1]}, every=1, syncs=6)
    leader, offer = brought(play)
    scene, group, follower = play.scene, leader.member.contract, play.seats[1].actor
    play.sit(follower, "eu", group.options.to_wire())  # its program began anew: the round waits for it
    assert scene.take(scene.claim(leader.actor, "Offer", offer.body)).outcome.accepted
    heir = Actor("sl", "sl-1", "a")
    heir.node_key = b"another process with that certificate"[:32]
    heir.uid = uid_of(heir.node_key)
    assert scene.join(heir).accepted
    play.sit(heir, "eu", group.options.to_wire(), leads=True)
    assert scene.say(heir, "Offer", {**offer.body, "digest": group.base}).accepted
    assert scene.say(follower, "Offer", {**offer.body, "digest": group.base, "inactive": True}).accepted
    assert group.snap is not None
    assert sum(bool(member.weight) for member in group.snap.members) == 2
    before, digests = group.base, {"first": offer.body["digest"], "second": group.base}
    ready = {"contract": "eu", "round": group.round, "attempt": 0, "snap": group.snap.entry, "digest": digests[served]}
    for actor in (heir, follower):
        assert scene.say(actor, "Ready", ready).accepted
    aborted = scene.last(Aborted)
    assert "sl-1 (a) offered" in aborted.reason
    assert group.base == before
    assert group.level.stage == "down"


def test_only_who_leads_a_group_takes_part_above_and_a_group_has_one_leader():
    play = Play(GROUPS, every=1, syncs=3)
    follower, scene = play.seats[1], play.scene
    options = follower.member.contract.options
    body = {
        "contract": UPPER, "schema": SMALL.to_wire(), "hash": "blake3", "initial_base": INITIAL, "weight": 1,
        "options": options.above().to_wire(), "syncFrequency": 1, "data_address": "127.0.0.1:1",
    }  # fmt: skip
    assert "leads none of them" in scene.say(follower.actor, "Enrolled", body).reason
    again = {**body, "contract": "eu", "options": options.to_wire(), "leads": True}
    assert "is led by sl-1 (a): a group has one leader" in scene.say(follower.actor, "Enrolled", again).reason
    heir = Actor("sl", "sl-1", "a")
    heir.node_key = b"another process with that certificate"[:32]
    heir.uid = uid_of(heir.node_key)
    assert scene.join(heir).accepted
    assert scene.say(heir, "Enrolled", again).accepted
    assert [member.leads for member in scene.ledger.contracts["eu"].members.values()] == [False, False, False, True]
    single = {**again, "contract": "other", "options": {"minPeers": 1}}
    assert scene.say(follower.actor, "Enrolled", {**single, "leads": False}).accepted
    assert "has no upper one" in scene.say(play.seats[2].actor, "Enrolled", single).reason


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"upper": "all"}, "needs upperPeers"),
        ({"upper": "A b", "upperPeers": 2}, "expected the name of a contract"),
        ({"upperEvery": 2}, "have no meaning without upper"),
        ({"upper": "all", "upperPeers": 2, "upperEvery": 0}, "upperEvery=0 is not possible"),
        ({"upper": "all", "upperPeers": 2, "wire": "int8"}, "wire='int8' is not possible for a group"),
        ({"upper": "all", "upperPeers": 2, "mergeMethod": "krum"}, "mergeMethod='krum' is not possible for a group"),
        ({"upper": "all", "upperPeers": 2, "maxDeltaNorm": 5}, "maxDeltaNorm=0.005 is not possible for a group"),
    ],
)
def test_options_that_would_change_what_comes_from_above_are_refused(options: dict[str, Any], said: str):
    with pytest.raises(BadInput) as caught:
        Options.from_wire({"minPeers": 2, **options})
    assert said in caught.value.message
