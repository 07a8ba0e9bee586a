"""Groups that merge among themselves and, through their leaders, with each other: the maths, in exact numbers.

`Play` runs real members against a real ledger, in an order that a seed chooses. A model is one fraction, and its digest
is the digest of its text, so what has to come out can be computed beside it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest

from swarm.core import member_steps as m
from swarm.core.agreement import Options
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.core.level import Level
from swarm.core.member import Member, Phase
from swarm.core.names import uid_of
from swarm.core.rules import KNOWN
from swarm.errors import BadInput, Unreachable
from tests.core.scene import INITIAL, SMALL, Actor, Scene, digest

OF_MEMBER = (SnapMade, Committed, Aborted, BaseLost, Finished, ContractCleared, MemberGone)
UPPER = "all"
BRINGS = ("merged", "adopted")


@dataclass
class Seat:
    """A node's part in one contract, with what trains there: a program, or the group below."""

    actor: Actor
    contract: str
    member: Member
    inbox: list[m.Event] = field(default_factory=list)
    climbs: m.Climb | None = None
    above: Seat | None = None
    below: Seat | None = None
    syncs: int = 0
    asked: Fraction = Fraction(0)
    answers: list[Fraction] = field(default_factory=list)
    over: bool = False

    @property
    def leads(self) -> bool:
        return bool(self.member.contract.members[self.actor.uid].leads)


class Play:
    """``groups``: by name, the weights of its members; the first one leads."""

    def __init__(
        self,
        groups: dict[str, list[int]],
        *,
        every: int,
        syncs: int,
        seed: int = 1,
        min_peers: int = 0,
        upper_peers: int = 0,
    ) -> None:
        self.chance = random.Random(seed)
        self.scene = Scene(rules=KNOWN)
        self.every, self.groups = every, groups
        self.values: dict[str, Fraction] = {}
        self.seats: list[Seat] = []
        for name, weights in groups.items():
            for weight in weights:
                actor = Actor("sl", f"sl-{len(self.seats) + 1}", "ab"[len(self.seats) % 2])
                assert self.scene.join(actor).accepted
                least = min_peers or len(weights)
                above = {"upper": UPPER, "upperEvery": every, "upperPeers": upper_peers or len(groups)}
                options = {"minPeers": least, **above}
                leads = weight is weights[0] and not any(seat.contract == name for seat in self.seats)
                self.seats.append(self.sit(actor, name, options, weight=weight, leads=leads, syncs=syncs))

    def sit(
        self, actor: Actor, name: str, options: dict[str, Any], *, weight: int = 1, leads: bool = False, syncs: int = 0
    ) -> Seat:
        body = {
            "contract": name, "schema": SMALL.to_wire(), "hash": "blake3", "initial_base": INITIAL, "options": options,
            "weight": weight, "syncFrequency": 1, "data_address": "127.0.0.1:1", **({"leads": True} if leads else {}),
        }  # fmt: skip
        outcome = self.scene.say(actor, "Enrolled", body)
        assert outcome.accepted, outcome.reason
        contract = self.scene.ledger.contracts[name]
        return Seat(actor, name, Member(actor.uid, contract, holds=INITIAL), syncs=syncs)

    def digest(self, value: Fraction) -> str:
        made = digest(str(value))
        self.values[made] = value
        return made

    # ---- the programs: each adds its own number at every step

    def step_of(self, seat: Seat) -> Fraction:
        return Fraction(self.seats.index(seat) + 1) * len(seat.answers)

    def ask(self, seat: Seat) -> None:
        """At the next sync point; the first has the initial weights, the last the final ones."""
        model = seat.answers[-1] if seat.answers else Fraction(self.seats.index(seat))
        seat.asked = model + self.step_of(seat)
        kind = "begin" if not seat.answers else "end" if len(seat.answers) >= seat.syncs else "sync"
        seat.inbox.append(m.Asked(kind, self.digest(seat.asked), len(seat.answers), 0))

    # ---- the play

    def run(self, steps: int = 20_000) -> None:
        for _ in range(steps):
            if all(seat.over for seat in self.seats):
                return
            self.step()
        raise AssertionError(f"nothing goes on: {[(seat.contract, seat.member.phase) for seat in self.everybody()]}")

    def everybody(self) -> list[Seat]:
        return [*self.seats, *(seat.above for seat in self.seats if seat.above is not None)]

    def step(self, without: str = "") -> None:
        """``without``: the group whose members stand still."""
        still = {seat.actor.uid for seat in self.seats if seat.contract == without}
        seat = self.chance.choice([seat for seat in self.everybody() if seat.actor.uid not in still])
        if seat.inbox:
            for effect in seat.member.handle(seat.inbox.pop(0), 0.0):
                self.perform(seat, effect)
            seat.member.check()
        elif seat.below is None and seat.member.phase is Phase.RESTING and not seat.over:
            self.ask(seat)

    def perform(self, seat: Seat, effect: m.Effect) -> None:
        match effect:
            case m.Propose():
                applied = self.scene.take(self.scene.claim(seat.actor, effect.kind, effect.body))
                if effect.kind == "Offer":
                    outcome = applied.outcome
                    seat.inbox.append(m.OfferJudged(effect.body["round"], outcome.accepted, outcome.reason))
                self.tell(list(applied.events))
            case m.BeginExchange():
                seat.inbox.append(self.merged(effect.snap))
            case m.Fetch():
                assert effect.digest in self.values
                seat.inbox.append(m.Fetched(effect.digest))
            case m.Climb():
                self.climb(seat, effect)
            case m.Answer():
                self.answered(seat, effect)
            case m.GiveUp():
                raise effect.error

    def tell(self, events: list[Any]) -> None:
        for event in events:
            for other in self.everybody():
                if isinstance(event, OF_MEMBER) and event.contract == other.contract:
                    other.inbox.append(event)

    def merged(self, snap: SnapMade) -> m.Merged:
        counted = [(each.weight, self.values[each.digest]) for each in snap.members if each.weight]
        mean = sum(weight * value for weight, value in counted) / sum(weight for weight, _ in counted)
        return m.Merged(snap.round, snap.attempt, self.digest(Fraction(mean)))

    def climb(self, seat: Seat, effect: m.Climb) -> None:
        group = seat.member.contract
        if seat.above is None:
            options = group.options.above().to_wire()
            seat.above = self.sit(seat.actor, UPPER, options)
            seat.above.member = Member(
                seat.actor.uid, seat.above.member.contract, holds=INITIAL, origin=group.level.handed
            )
            seat.above.below = seat
        seat.climbs = effect
        kind = "begin" if effect.again else "end" if effect.ending else "sync"
        seat.above.inbox.append(m.Asked(kind, effect.base, 0, 0))

    def answered(self, seat: Seat, answer: m.Answer) -> None:
        if seat.below is not None:
            effect = seat.below.climbs
            assert effect is not None
            brought = answer.digest if answer.how in BRINGS else effect.base
            seat.below.inbox.append(m.Lifted(effect.base, brought, answer.training_over))
            return
        assert answer.how in BRINGS or "aborted" in answer.note, answer.note
        seat.answers.append(self.values[answer.digest] if answer.how in BRINGS else seat.asked)
        seat.over = answer.training_over

    def restart(self, seat: Seat) -> None:
        """Its node and its program begin anew."""
        seat.actor.restart()
        self.tell(self.scene.told(seat.actor, "NodeJoined", self.scene.joined(seat.actor)))
        contract, leads = seat.member.contract, seat.leads
        weight = contract.members[seat.actor.uid].weight
        options = contract.options.to_wire()
        anew = self.sit(seat.actor, seat.contract, options, weight=weight, leads=leads, syncs=seat.syncs)
        self.seats[self.seats.index(seat)] = anew

    # ---- what has to come out

    def expected(self, sync: int, models: dict[str, Fraction]) -> dict[str, Fraction]:
        """By group: the model after this many syncs, where ``models`` were the ones before."""
        found, weights = {}, {}
        for name, own in self.groups.items():
            seats = [seat for seat in self.seats if seat.contract == name]
            start = {id(seat): models.get(name, Fraction(self.seats.index(seat))) for seat in seats}
            trained = [start[id(seat)] + Fraction(self.seats.index(seat) + 1) * sync for seat in seats]
            weights[name] = sum(own)
            found[name] = sum(w * x for w, x in zip(own, trained, strict=True)) / Fraction(sum(own))
        if (sync + 1) % self.every == 0:
            above = sum(weights[name] * found[name] for name in found) / Fraction(sum(weights.values()))
            return dict.fromkeys(found, above)
        return found


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


@pytest.mark.parametrize("lost", ["what it has merged", "what came from above"])
def test_a_group_that_has_lost_its_model_takes_the_newest_from_above_and_brings_nothing_there_a_second_time(lost: str):
    play = Play({"eu": [1], "us": [1]}, every=1, syncs=6)
    leader, group = play.seats[0], play.seats[0].member.contract
    above: list[str] = []
    tell, climb = play.tell, play.climb
    climbs: list[m.Climb] = []

    def heard(events: list[Any]) -> None:
        snaps = [event for event in events if isinstance(event, SnapMade) and event.contract == UPPER]
        above.extend(each.digest for snap in snaps for each in snap.members if each.uid == leader.actor.uid)
        tell(events)

    play.tell = heard  # type: ignore[method-assign]
    stage = "down" if lost == "what it has merged" else "up"
    while not group.level.handed or group.level.stage != stage or group.offers:
        play.step()
    play.restart(leader)
    play.tell(play.scene.told(leader.actor, "Missing", {"contract": "eu", "digest": group.base}))
    assert (group.level.stage, group.level.weight) == ("down", 0)
    play.climb = lambda seat, effect: (seat.contract == "eu" and climbs.append(effect), climb(seat, effect))  # type: ignore
    play.run()
    assert [effect.again for effect in climbs[:2]] == [True, False]
    assert len(above) == len(set(above)) > 3
    assert play.seats[0].answers[-1] == play.seats[1].answers[-1]


def test_what_a_group_has_left_goes_up_as_ever_in_a_ledger_of_earlier_rules():
    for version, weight in ((3, 5000), (4, 0)):
        level = Level(1)
        level.committed("merged", 5000, ending=False)
        level.lost("merged", version)
        assert (level.stage, level.weight) == ("down", weight)


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
    ready = {"contract": "eu", "round": group.round, "attempt": 0, "digest": digests[served]}
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
