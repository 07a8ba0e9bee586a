"""What a contract fixes, who may enrol, when it is finished, and what becomes of its base."""

import re
from dataclasses import replace

import pytest

from swarm.core.agreement import Options
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, Misbehaved
from swarm.core.ledger import Blank, Ledger
from swarm.core.tensors import Schema, TensorSpec
from swarm.errors import BadInput
from tests.core.scene import BIG, CONTRACT, INITIAL, SMALL, Actor, Scene, digest


def newcomer(scene, number=9, organisation="a"):
    actor = Actor("sl", f"sl-{number}", organisation)
    assert scene.join(actor).accepted
    return actor


def missing(scene, actor, what):
    return scene.say(actor, "Missing", {"contract": CONTRACT, "digest": what})


def leave(scene, actor):
    return scene.say(actor, "Leave", {"contract": CONTRACT, "reason": ""})


# ---- options


def test_options_survive_the_wire_and_name_the_first_difference():
    options = Options(2, topology="sharded", organisations=("a",))
    assert Options.from_wire(options.to_wire()) == options
    assert options.difference(options) is None
    assert options.difference(Options(3)) == "minPeers: the contract has 2, this node has 3"
    assert options.difference(Options(2)) == "topology: the contract has sharded, this node has auto"


def test_later_options_are_written_only_when_they_say_something():
    assert not {"maxFaulty", "maxPeersPerOrganisation"} & set(Options(2).to_wire())
    said = Options(2, maxFaulty=1, maxPeersPerOrganisation=3)
    assert Options.from_wire(said.to_wire()) == said
    assert Options(2).difference(said) == "maxFaulty: the contract has -1, this node has 1"
    stepping = Options(2, outer="nesterov", outerMomentum=800)
    assert Options.from_wire(stepping.to_wire()) == stepping
    assert "wire" not in Options(2).to_wire()
    assert Options(2, wire="int8").difference(Options(2)) == "wire: the contract has int8, this node has fp32"
    assert "maxDeltaNorm" not in Options(2).to_wire()
    clipping = Options(2, maxDeltaNorm=2500)
    assert Options.from_wire(clipping.to_wire()) == clipping
    assert clipping.difference(Options(2)) == "maxDeltaNorm: the contract has 2.5, this node has 0"
    other = Options(2, outer="nesterov")
    assert other.difference(stepping) == "outerMomentum: the contract has 0.9, this node has 0.8"


@pytest.mark.parametrize(
    ("wire", "sentence"),
    [
        ({}, "'minPeers' is missing"),
        ({"minPeers": 0}, "minPeers=0 is not possible"),
        ({"minPeers": True}, "minPeers=True is not possible"),
        (
            {"minPeers": 2, "mergeMethod": "median"},
            "mergeMethod='median' is not possible: expected mean or coordmedian",
        ),
        ({"minPeers": 2, "wire": "int4"}, "wire='int4' is not possible: expected fp32 or bf16 or int8"),
        ({"minPeers": 2, "outer": "adam"}, "outer='adam' is not possible: expected plain or nesterov"),
        ({"minPeers": 2, "outerMomentum": 500}, "outerMomentum=0.5 has no meaning with outer='plain'"),
        ({"minPeers": 2, "outer": "nesterov", "outerMomentum": 1000}, "expected a number from 0 to 0.999"),
        ({"minPeers": 2, "maxFaulty": -2}, "maxFaulty=-2 is not possible"),
        ({"minPeers": 2, "onTooFewPeers": "panic"}, "onTooFewPeers='panic'"),
        ({"minPeers": 2, "organisations": "a"}, "organisations has to be a list"),
        ({"minPeers": 2, "organisations": [1]}, "organisations has to be a list"),
        ({"minPeers": 2, "minpeers": 3}, "'minpeers' is not known"),
        ({"minPeers": 2, "tooFewPeersSeconds": -1}, "tooFewPeersSeconds=-1"),
    ],
)
def test_impossible_options_are_named(wire, sentence):
    with pytest.raises(BadInput, match=re.escape(sentence)):
        Options.from_wire(wire)


# ---- enrolling


def test_the_first_enrolment_fixes_the_contract_and_tells_where_it_stands():
    scene = Scene()
    actor = newcomer(scene)
    outcome = scene.enrol(actor, weight=5)
    assert outcome.result["joined"] == "new"
    assert (outcome.result["round"], outcome.result["base"], outcome.result["finished"]) == (0, INITIAL, False)
    assert outcome.result["options"]["minPeers"] == 2
    assert scene.contract.members[actor.uid].weight == 5


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"minPeers": 3}, 5, "minPeers: the contract has 2, this node has 3"),
        ({"initialModel": "first"}, 5, "initialModel: the contract has mean, this node has first"),
        (
            {"schema": Schema((SMALL.tensors[0], TensorSpec("dense/bias", "float32", (4,))))},
            7,
            'tensor 2: the contract has "dense/bias" float32 (3,), this model has "dense/bias" float32 (4,)',
        ),
    ],
)
def test_a_later_enrolment_that_differs_is_refused_with_the_field(change, code, sentence):
    scene = Scene()
    scene.learners(1)
    outcome = scene.enrol(newcomer(scene), **change)
    assert (outcome.accepted, outcome.code) == (False, code)
    assert sentence in outcome.reason
    assert "swarm contract reset digits" in outcome.hint
    assert outcome.result["hash"] == "blake3"


KERNEL, BIAS = SMALL.tensors


@pytest.mark.parametrize("wire", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ((KERNEL, replace(BIAS, dtype="float16")), f"tensor 2: the contract has {BIAS}, this model has "),
        ((KERNEL, replace(BIAS, name="dense/gain")), f'the contract has {BIAS}, this model has "dense/gain" float32'),
        ((BIAS, KERNEL), f"tensor 1: the contract has {KERNEL}, this model has {BIAS}"),
        ((KERNEL,), f"the contract has tensor 2, {BIAS}, this model ends before it"),
        ((KERNEL, BIAS, replace(BIAS, name="more")), 'this model has tensor 3, "more" float32 (3,), the contract ends'),
    ],
)
def test_r056_another_type_name_order_or_number_of_tensors_is_refused_with_both(tensors, sentence, wire):
    scene = Scene()
    scene.learners(1, wire=wire)
    outcome = scene.enrol(newcomer(scene), schema=Schema(tensors), wire=wire)
    assert (outcome.accepted, outcome.code) == (False, 7)
    assert sentence in outcome.reason


def test_a_node_without_the_contracts_hash_learns_which_it_is():
    scene = Scene()
    scene.learners(1)
    body = {
        "contract": CONTRACT, "schema": SMALL.to_wire(), "hash": "sha256", "initial_base": "sha256:" + "0" * 64,
        "options": {"minPeers": 2}, "weight": 1, "syncFrequency": 1, "data_address": "127.0.0.1:1",
    }  # fmt: skip
    outcome = scene.say(newcomer(scene), "Enrolled", body)
    assert "contract digits has hash blake3, this node has sha256" in outcome.reason
    assert outcome.result["hash"] == "blake3"


def test_enrolling_again_keeps_the_membership_and_voids_the_open_offer():
    scene = Scene()
    first, second = scene.learners(2)
    scene.offer(first)
    assert scene.enrol(first, weight=3).result["joined"] == "again"
    scene.offer(second)
    assert scene.contract.snap is None
    scene.offer(first)
    assert scene.contract.snap is not None
    assert scene.contract.members[first.uid].ordinal == 0


def test_organisations_limit_who_enrols_by_key_not_by_name():
    scene = Scene(["a", "b"])
    ours, theirs = newcomer(scene, 1, "a"), newcomer(scene, 2, "b")
    assert scene.enrol(ours, organisations=["a"]).accepted
    assert scene.enrol(theirs, organisations=["a"]).reason == "contract digits does not admit the organisation b"
    key = f"sha256:{ours.identity.anchor.hex()}"
    assert scene.enrol(newcomer(scene, 3, "a"), organisations=[key]).accepted
    assert "no organisation 'c' is admitted" in scene.enrol(ours, organisations=["c"]).reason


def test_who_comes_second_to_a_name_is_told_who_has_it_and_what_helps():
    scene = Scene(["a", "b"], rules=5)
    ours, theirs = newcomer(scene, 1, "a"), newcomer(scene, 2, "b")
    assert scene.enrol(ours, organisations=["a"]).accepted
    refused = scene.enrol(theirs, organisations=["b"])
    assert "organisation b: sl-1 (a) was the first to use that name, and admits certain" in refused.reason
    assert "have a reset this one (swarm contract reset digits)" in refused.hint
    before = Scene(["a", "b"], rules=4)
    ours, theirs = newcomer(before, 1, "a"), newcomer(before, 2, "b")
    assert before.enrol(ours, organisations=["a"]).accepted
    assert before.enrol(theirs, organisations=["b"]).reason == "contract digits does not admit the organisation b"


def test_an_organisation_has_no_more_peers_in_a_contract_than_it_admits():
    scene = Scene(["a", "b"])
    first, second, other = newcomer(scene, 1, "a"), newcomer(scene, 2, "a"), newcomer(scene, 3, "b")
    assert scene.enrol(first, maxPeersPerOrganisation=1).accepted
    refused = scene.enrol(second, maxPeersPerOrganisation=1)
    assert refused.reason == "contract digits has 1 peers of a, the most that it admits"
    assert scene.enrol(other, maxPeersPerOrganisation=1).accepted
    assert scene.enrol(first, maxPeersPerOrganisation=1).accepted, "again: it is the same peer"
    scene.say(first, "Leave", {"contract": CONTRACT, "reason": ""})
    assert scene.enrol(second, maxPeersPerOrganisation=1).accepted


@pytest.mark.parametrize(("method", "expected"), [("mean", [100, 100, 20, 30]), ("geomedian", [10, 10, 20, 20])])
def test_with_a_robust_method_no_organisation_has_more_than_a_third_of_the_weight(method, expected):
    scene = Scene(["a", "b", "c"])
    actors = [newcomer(scene, number, name) for number, name in enumerate(["a", "a", "b", "c"])]
    for actor, weight in zip(actors, [100, 100, 20, 30], strict=True):
        assert scene.enrol(actor, weight=weight, minPeers=4, mergeMethod=method).accepted
    for actor in actors:
        scene.offer(actor)
    weights = {member.uid: member.weight for member in scene.contract.snap.members}
    assert [weights[actor.uid] for actor in actors] == [1000 * weight for weight in expected]


def test_who_has_left_offers_only_after_enrolling_again():
    scene = Scene()
    actor, _ = scene.learners(2)
    assert leave(scene, actor).accepted
    assert not leave(scene, actor).accepted
    assert "it has to enrol again" in scene.offer(actor).reason
    assert scene.enrol(actor).accepted
    assert scene.offer(actor).accepted


# ---- the end


def test_the_first_commit_with_min_peers_stop_flags_is_final():
    scene = Scene()
    actors = scene.learners(3)
    assert not scene.commit(*actors).finished
    scene.offer(actors[0], stop=True)
    scene.offer(actors[1])
    scene.offer(actors[2])
    for actor in actors[:2]:
        scene.ready(actor)
    assert not scene.last(Committed).finished
    scene.offer(actors[0], stop=True)
    scene.offer(actors[1], stop=True)
    scene.offer(actors[2])
    for actor in actors[:2]:
        scene.ready(actor)
    assert scene.last(Committed).finished
    assert scene.last(Finished).digest == scene.contract.base
    assert (scene.contract.phase, scene.contract.waiting_for()) == ("finished", [])


def test_stop_flags_count_only_with_those_who_are_members_of_the_attempt():
    scene = Scene()
    actors = scene.learners(4)
    for actor in actors[:2]:
        scene.offer(actor, stop=True)
    for actor in actors[2:]:
        scene.offer(actor)
    scene.lose(actors[0])
    for actor in actors[1:3]:
        scene.ready(actor)
    assert not scene.last(Committed).finished


def test_a_finished_contract_takes_nobody_new_and_gives_members_the_final_model():
    scene = Scene()
    actors = scene.learners(2)
    final = scene.commit(*actors, stop=True).digest
    outcome = scene.enrol(newcomer(scene))
    assert (outcome.code, outcome.hint) == (5, "swarm contract reset digits")
    assert outcome.reason == f"training contract digits is finished: its final model is {final}"
    assert outcome.result["finished"]
    actors[0].restart()
    scene.join(actors[0])
    back = scene.enrol(actors[0])
    assert (back.accepted, back.result["base"], back.result["finished"]) == (True, final, True)
    assert "is finished: it takes no Offer" in scene.offer(actors[0]).reason


def test_only_inactive_offers_make_no_snap_and_finish_on_the_base_when_enough_stop():
    scene = Scene()
    actors = scene.learners(3)
    base = scene.commit(*actors).digest
    scene.offer(actors[0], inactive=True, stop=True)
    scene.offer(actors[1], inactive=True)
    scene.offer(actors[2], inactive=True)
    assert scene.contract.phase == "collecting"
    scene = Scene()
    actors = scene.learners(3)
    base = scene.commit(*actors).digest
    for actor in actors:
        scene.offer(actor, inactive=True, stop=True)
    assert scene.last(Finished).digest == base
    assert scene.contract.finished
    assert scene.contract.commits == 1


def test_an_active_offer_after_inactive_ones_makes_the_snap():
    scene = Scene()
    actors = scene.learners(3)
    scene.offer(actors[0], inactive=True)
    scene.offer(actors[1], inactive=True)
    assert scene.close_window().accepted
    assert scene.contract.snap is None
    scene.offer(actors[2])
    assert len(scene.contract.snap.members) == 3


# ---- reset


def test_reset_aborts_the_round_clears_the_members_and_goes_on_counting_rounds():
    scene = Scene()
    actors = scene.learners(2)
    scene.commit(*actors)
    for actor in actors:
        scene.offer(actor)
    stale = scene.where(digest=digest("x"))
    person = Actor("swci", "swci-1", "b")
    scene.join(person)
    events = scene.told(person, "ContractReset", {"contract": CONTRACT})
    assert [type(event) for event in events] == [Aborted, ContractCleared]
    assert "swarm://b/swci/swci-1 has reset the contract" in events[0].reason
    assert CONTRACT not in scene.ledger.contracts
    assert "there is no contract" in scene.say(actors[0], "Ready", stale).reason
    scene.observer.bases.clear()
    scene.observer.finished.clear()
    assert scene.enrol(actors[0], minPeers=1).result["round"] == 2
    assert "round 1 of contract digits, which is in round 2" in scene.say(actors[0], "Ready", stale).reason


def test_only_an_organisation_that_may_enrol_resets():
    scene = Scene(["a", "b"])
    scene.enrol(newcomer(scene, 1, "a"), organisations=["a"])
    person = Actor("swci", "swci-1", "b")
    scene.join(person)
    assert "does not admit its organisation" in scene.say(person, "ContractReset", {"contract": CONTRACT}).reason


# ---- the base


def test_the_base_is_lost_when_all_signers_miss_it_and_nobody_else_has_it():
    scene = Scene()
    actors = scene.learners(3)
    first = scene.commit(*actors).digest
    second = scene.commit(*actors).digest
    signers = [actor for actor in actors if actor.uid in scene.last(Committed).signers]
    assert scene.contract.kept.holders(second) == sorted(actor.uid for actor in signers)
    assert missing(scene, signers[0], second).accepted
    assert scene.contract.base == second
    missing(scene, signers[1], second)
    lost = scene.last(BaseLost)
    assert (lost.digest, lost.base) == (second, first)
    assert scene.contract.base == first


def test_a_live_member_that_offered_on_the_base_still_has_it():
    scene = Scene()
    actors = scene.learners(3)
    base = scene.commit(*actors).digest
    scene.offer(actors[2])
    for actor in actors[:2]:
        missing(scene, actor, base)
    assert scene.contract.base == base
    scene.lose(actors[2])
    missing(scene, actors[0], base)
    assert scene.last(BaseLost).base == INITIAL


def test_offers_on_a_lost_base_are_void_and_their_round_is_aborted():
    scene = Scene()
    actors = scene.learners(3)
    base = scene.commit(*actors).digest
    scene.offer(actors[0])
    leave(scene, actors[1])
    missing(scene, actors[0], base)
    assert isinstance(scene.events[-2], Aborted)
    assert isinstance(scene.events[-1], BaseLost)
    assert not scene.contract.offers
    assert not scene.contract.has_model


def test_missing_is_only_said_of_models_that_are_kept():
    scene = Scene()
    actors = scene.learners(2)
    assert "none of the models" in missing(scene, actors[0], INITIAL).reason
    oldest = scene.commit(*actors).digest
    scene.commit(*actors)
    scene.commit(*actors)
    assert "none of the models" in missing(scene, actors[0], oldest).reason


def test_everybody_leaving_after_the_end_loses_nothing():
    scene = Scene()
    actors = scene.learners(2)
    final = scene.commit(*actors, stop=True).digest
    for actor in actors:
        leave(scene, actor)
    assert scene.contract.base == final
    assert [event.what for event in scene.events if isinstance(event, MemberGone)] == ["left", "left"]


def person(scene, organisation="a"):
    actor = Actor("swci", "swci-1", organisation)
    assert scene.join(actor).accepted
    return actor


def rebase(scene, who, what=None):
    return scene.say(who, "ContractRebased", {"contract": CONTRACT, "digest": what or scene.contract.base})


def test_a_person_gives_up_a_base_whose_holders_are_lost_and_the_newest_earlier_one_at_hand_is_the_base():
    scene = Scene()
    *signers, late = scene.learners(3)
    swci = person(scene)
    first = scene.commit(*signers, late).digest
    for actor in signers:
        scene.offer(actor)
    scene.offer(late)
    for actor in signers:
        scene.ready(actor)
    second = scene.contract.base
    for actor in signers:
        scene.lose(actor)
    scene.say(late, "Ready", {"contract": CONTRACT, "round": 0, "attempt": 0, "digest": first})
    missing(scene, late, second)
    assert scene.contract.base == second, "its signers may come back: only a person knows that they do not"
    outcome = rebase(scene, swci)
    assert outcome.accepted, outcome.reason
    lost = scene.last(BaseLost)
    assert (lost.digest, lost.base) == (second, first)
    assert outcome.result["base"] == scene.contract.base == first


def test_nobody_gives_up_a_base_that_somebody_can_serve_or_that_is_none():
    scene = Scene()
    actors = scene.learners(2)
    swci = person(scene)
    assert "there is nothing to give up" in rebase(scene, swci).reason
    scene.commit(*actors)
    scene.lose(actors[0])
    other = next(actor for actor in actors[1:])
    refused = rebase(scene, swci)
    assert refused.reason.endswith(f"is not lost: {other.identity.name} ({other.identity.organisation}) can serve it")
    scene.lose(actors[1])
    assert "there is nothing to give up" in rebase(scene, swci, digest("older")).reason
    assert rebase(scene, swci).result["base"] == INITIAL


def test_the_final_model_is_not_given_up_nor_by_an_organisation_that_is_not_in_the_contract():
    scene = Scene(["a", "b"])
    actors = [newcomer(scene, number, "a") for number in (1, 2)]
    for actor in actors:
        assert scene.enrol(actor, organisations=["a"]).accepted
    stranger = person(scene, "b")
    assert "may not rebase contract digits" in rebase(scene, stranger).reason
    scene.commit(*actors, stop=True)
    swci = Actor("swci", "swci-2", "a")
    scene.join(swci)
    for actor in actors:
        scene.lose(actor)
    assert "is finished: its final model stays" in rebase(scene, swci).reason


# ---- behind


def test_who_was_dropped_or_began_anew_may_still_come_for_the_last_model_and_who_left_or_is_lost_does_not():
    scene = Scene()
    first, second, dropped, restarted, lost, left = actors = scene.learners(6)
    for actor in (first, second, restarted, lost, left):
        assert scene.offer(actor, stop=True).accepted
    assert scene.close_window().accepted
    restarted.restart()
    assert scene.join(restarted).accepted
    scene.lose(lost)
    leave(scene, left)
    for actor in (first, second):
        assert scene.ready(actor).accepted
    assert scene.contract.finished
    states = [scene.contract.members[actor.uid].state for actor in actors]
    assert states == ["live", "live", "dropped", "restarted", "lost", "left"]
    assert scene.contract.to_serve() == sorted(actor.uid for actor in (first, second, dropped, restarted))


def test_who_finds_nobody_to_serve_the_base_is_behind_until_it_offers_on_it():
    scene = Scene()
    actors = scene.learners(3)
    base = scene.commit(*actors).digest
    late = next(actor for actor in actors if actor.uid not in scene.last(Committed).signers)
    assert missing(scene, late, base).accepted
    assert scene.contract.behind() == [late.uid]
    assert scene.contract.state_of(late.uid) == "behind"
    scene.offer(late)
    assert scene.contract.behind() == []
    assert scene.contract.state_of(late.uid) == "live"


# ---- evidence


def disputed(count=3):
    """A round that was aborted because the results differ in the shard of the second member by uid."""
    scene = Scene()
    actors = scene.learners(count, schema=BIG)
    for actor in actors:
        scene.offer(actor)
    place = scene.where(snap=scene.contract.snap.entry)
    scene.ready(actors[0], shards=[b"a" * 32, b"b" * 32, b"c" * 32])
    scene.ready(actors[1], "other", shards=[b"a" * 32, b"x" * 32, b"c" * 32])
    (owner,) = [actor for actor in actors if actor.uid == sorted(each.uid for each in actors)[1]]
    return scene, actors, owner, {key: place[key] for key in ("round", "attempt", "snap")}


def test_what_two_members_show_of_a_disputed_shard_convicts_its_owner():
    scene, actors, owner, place = disputed()
    one, other = (actor for actor in actors if actor is not owner)
    assert scene.show(one, owner, b"b" * 32, shard=1, **place).accepted
    assert scene.show(one, owner, b"b" * 32, shard=1, **place).accepted  # said twice
    assert scene.contract.members[owner.uid].state == "live"
    shown = {"first": {"digest": b"x" * 32, "signature": bytes(64)}, **place}
    events = scene.told(other, "Evidence", {"contract": CONTRACT, "uid": owner.uid, "shard": 1, **shown})
    assert events[0] == Misbehaved(CONTRACT, owner.uid, 0, 0, 1)
    gone = next(event for event in events if isinstance(event, MemberGone))
    assert (gone.uid, gone.what) == (owner.uid, "excluded")
    assert scene.contract.members[owner.uid].state == "excluded"


def test_who_tells_two_members_different_distances_is_convicted_though_all_hold_one_result():
    scene = Scene()
    actors = scene.learners(3, schema=BIG, mergeMethod="geomedian")
    for actor in actors:
        scene.offer(actor)
    place = scene.where(snap=scene.contract.snap.entry)
    shards, said = [b"a" * 32, b"b" * 32, b"c" * 32], [b"1" * 32, b"2" * 32, b"3" * 32]
    scene.ready(actors[0], shards=[*shards, *said])
    scene.ready(actors[1], shards=[*shards, b"1" * 32, b"x" * 32, b"3" * 32])
    aborted = scene.last(Aborted)
    assert aborted.disputed == (4,)
    assert "were told different distances; they differ in the shards of" in aborted.reason
    (owner,) = [actor for actor in actors if actor.uid == sorted(each.uid for each in actors)[1]]
    one, other = (actor for actor in actors if actor is not owner)
    assert scene.show(one, owner, b"2" * 32, shard=4, **place).accepted
    assert scene.show(other, owner, b"x" * 32, shard=4, **place).accepted
    assert scene.contract.members[owner.uid].state == "excluded"


def test_an_excluded_member_takes_no_part_until_a_person_resets_the_contract():
    scene = Scene()
    actors = scene.learners(3)
    scene.show(actors[1], actors[0], b"1" * 32, b"2" * 32)
    cheat = actors[0]
    sentence = "is excluded from contract digits: it signed two different results for one shard"
    assert sentence in scene.offer(cheat).reason
    refused = scene.enrol(cheat)
    assert sentence in refused.reason
    assert refused.hint == "swarm contract reset digits"
    cheat.restart()
    scene.join(cheat)
    assert sentence in scene.enrol(cheat).reason
    assert scene.commit(*actors[1:]).members == tuple(sorted(actor.uid for actor in actors[1:]))
    scene.say(person(scene), "ContractReset", {"contract": CONTRACT})
    scene.observer.bases.clear()
    assert scene.enrol(cheat).accepted


def test_evidence_during_an_attempt_begins_the_next_one_without_the_cheat():
    scene = Scene()
    actors = scene.learners(4)
    for actor in actors:
        scene.offer(actor)
    assert scene.show(actors[1], actors[0], b"1" * 32, b"2" * 32).accepted
    assert scene.contract.snap.attempt == 1
    assert actors[0].uid not in {member.uid for member in scene.contract.snap.members}


def test_a_single_word_is_taken_only_about_what_is_disputed():
    scene, actors, owner, place = disputed()
    one, other = (actor for actor in actors if actor is not owner)
    for wrong in ({"shard": 0}, {"round": 7}, {"attempt": 1}, {"snap": b"s" * 32}):
        assert "nobody disputes shard" in scene.show(one, owner, b"b" * 32, **{"shard": 1, **place, **wrong}).reason
    assert "nobody disputes shard" in scene.show(one, other, b"b" * 32, shard=1, **place).reason
    scene.commit(*actors)
    assert "nobody disputes a shard" in scene.show(one, owner, b"b" * 32, shard=1, **place).reason


def test_a_round_that_is_run_again_has_another_snap_than_the_first_time():
    """After a forced recovery the same members may offer the same weights again: nobody is convicted of both rounds."""
    scene = Scene()
    actors = scene.learners(3)
    before = len(scene.log)
    for actor in actors:
        scene.offer(actor)
    first = scene.contract.snap
    assert first.entry == scene.log[-1][0].hash
    again = Scene()
    again.learners(3)
    assert len(again.log) == before
    again.take(Blank())  # of the node that leads in the new epoch
    for actor in actors:
        actor.seq -= 1
        again.offer(actor)
    assert replace(again.contract.snap, entry=first.entry) == first
    assert again.contract.snap.entry not in (b"", first.entry)
    assert Ledger.restore(again.ledger.snapshot()).contracts[CONTRACT].snap == again.contract.snap


def test_the_next_attempt_names_the_entry_that_began_it():
    scene = Scene()
    actors = scene.learners(3)
    for actor in actors:
        scene.offer(actor)
    scene.lose(actors[0])
    assert (scene.contract.snap.attempt, scene.contract.snap.entry) == (1, scene.log[-1][0].hash)


def test_a_weight_of_more_than_a_hundred_is_a_number_of_examples_and_the_contract_says_so():
    scene = Scene(rules=3)
    first, second = Actor("sl", "sl-1"), Actor("sl", "sl-2")
    for actor in (first, second):
        assert scene.join(actor).accepted
    assert scene.enrol(first, weight=101).reason == "the weight is 101, a nodeWeightage is a number from 1 to 100"
    assert scene.enrol(first, weight=3500, weightage="samples").accepted
    assert "weightage: the contract has samples, this node has given" in scene.enrol(second, weight=1).reason
    assert scene.enrol(second, weight=989, weightage="samples").accepted
    assert not scene.enrol(second, weight=1_000_001, weightage="samples").accepted


@pytest.mark.parametrize("rules", [1, 2])
def test_before_rules_version_3_weights_are_judged_as_releases_of_then_did(rules):
    scene = Scene(rules=rules)
    actor = newcomer(scene)
    too_much = "this Enrolled proposal cannot be taken: the field 'weight' has to be a nodeWeightage of 1 to 100"
    assert scene.enrol(actor, weight=3500, weightage="samples").reason == too_much
    unknown = scene.enrol(actor, weight=100, weightage="samples").reason
    assert unknown.startswith("the contract option 'weightage' is not known: expected one of ")
    assert "weightage" not in unknown.partition("expected")[2]
    assert scene.enrol(actor, weight=100).accepted
