"""Lineage: what becomes of a change that comes late, is given up, or is in a merge already."""

from __future__ import annotations

import pytest

from swarm.core import member_steps as m
from swarm.core.member import Member
from tests.core.member_world import (
    BASE,
    ME,
    OTHER,
    OWN,
    RESULT,
    THIRD,
    UIDS,
    World,
    answer,
    kinds,
    late,
    rebased,
    trained,
)


@pytest.mark.parametrize(("missed", "permille"), [(1, 707), (2, 577), (3, 500)])
def test_a_change_that_missed_merges_is_offered_anew_with_less_weight(missed: int, permille: int) -> None:
    world = trained()
    for _ in range(missed - 1):
        world.others()
    (fetch,) = world.ask("sync", batches=12)
    assert isinstance(fetch, m.Fetch)
    (rebase,) = world.member.handle(m.Fetched(world.contract.base), 0.0)
    assert rebase == m.Rebase(RESULT, world.contract.base)
    body = late(rebased(world))
    assert (body["weight_permille"], body["digest"]) == (permille, "blake3:" + "a" * 64)
    assert body["base"] == world.contract.base
    assert world.tell(world.contract.offer(ME, body)) == []
    (begin,) = world.offer(OTHER, THIRD)
    assert isinstance(begin, m.BeginExchange)
    assert begin.source == "rebased"
    assert {member.uid: member.weight for member in begin.snap.members}[ME] == permille
    final = "blake3:" + "f" * 64
    world.merged(final)
    assert answer(world.ready(ME, OTHER, digest=final)).how == "merged"
    assert kinds(world.ask("sync")) == ["Offer"]  # in step again, with its whole weight
    assert world.member.lineage.permille == 1000


def test_a_change_that_missed_four_merges_is_given_up_in_one_line_that_counts_its_batches() -> None:
    world = trained()
    for _ in range(3):
        world.others()
    world.ask("sync", batches=36)
    given = answer(world.member.handle(m.Fetched(world.contract.base), 0.0))
    assert (given.how, given.digest) == ("adopted", world.contract.base)
    assert given.note == "missed a merge: adopted the model of round 4, gave up 32 batches"


def test_a_change_that_cannot_be_moved_is_given_up_and_says_why() -> None:
    world = trained()
    world.ask("sync", batches=12)
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    tell, given = world.member.handle(m.RebaseFailed(world.contract.base, "it is out of range"), 0.0)
    assert isinstance(tell, m.Tell)
    assert "it is out of range" in tell.text
    assert "gave up 8 batches" in answer([given]).note


def test_a_commit_while_the_change_is_moved_makes_it_one_later() -> None:
    world = trained()
    world.ask("sync")
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    before = world.contract.base
    (fetch,) = world.others()
    assert fetch == m.Fetch(world.contract.base, (OTHER, THIRD))
    assert world.member.handle(m.Rebased(before, OWN), 0.0) == []
    assert kinds(world.member.handle(m.Fetched(world.contract.base), 0.0)) == ["Rebase"]
    assert late(rebased(world))["weight_permille"] == 577


def test_a_late_change_survives_an_abort_and_is_moved_again_at_the_next_sync_point() -> None:
    world = trained()
    world.ask("sync")
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    world.tell(world.contract.offer(ME, late(rebased(world))))
    world.offer(OTHER)
    assert kinds(world.tell(world.contract.gone(THIRD, "left", "left"))) == ["BeginExchange"]
    end, kept = world.tell(world.contract.gone(OTHER, "left", "left"))
    assert isinstance(end, m.EndExchange)
    assert answer([kept]).how == "kept"
    assert world.ask("sync") == [m.Rebase(RESULT, world.contract.base)]


def test_a_change_that_is_in_the_base_again_is_not_offered_again_when_a_later_model_is_lost() -> None:
    world, later = World(peers=3), "blake3:" + "f" * 64
    world.ask("sync")
    world.offer(*UIDS)
    assert world.ready(OTHER, THIRD) == []  # this one has offered as well, and merges still
    world.offer(OTHER, THIRD)
    assert kinds(world.close_window()) == ["EndExchange", "Fetch"]
    assert world.ready(OTHER, THIRD, digest=later) == []
    assert kinds(world.member.handle(m.Fetched(RESULT), 0.0)) == ["Fetch"]
    world.member.handle(m.FetchFailed(later, "gone"), 0.0)
    for uid in UIDS:
        lost = world.tell(world.contract.missing(uid, later))
    assert world.contract.base == RESULT
    tell, given = lost
    assert isinstance(tell, m.Tell)
    assert (answer([given]).how, answer([given]).digest) == ("adopted", RESULT)


def test_weights_that_are_in_the_merge_are_not_offered_again_by_who_only_fetched_its_result() -> None:
    world = trained()
    world.ask("sync")
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    world.tell(world.contract.offer(ME, late(rebased(world))))
    world.offer(OTHER, THIRD)
    world.member.handle(m.Stalled(2, 0, OTHER, "gone"), 0.0)
    final = "blake3:" + "f" * 64
    assert kinds(world.ready(OTHER, THIRD, digest=final)) == ["EndExchange", "Fetch"]
    given = answer(world.member.handle(m.Fetched(final), 0.0))
    assert (given.how, given.note) == ("adopted", "")


def ended_too_late(world: World) -> m.Propose:
    """The offer of a program that has ended three merges later than it trained for."""
    for _ in range(3):
        world.others()
    world.ask("end")
    (offer,) = world.member.handle(m.Fetched(world.contract.base), 0.0)
    assert isinstance(offer, m.Propose)
    return offer


def test_a_program_that_ended_too_late_contributes_nothing_and_says_stop() -> None:
    world = trained()
    offer = ended_too_late(world)
    assert (offer.body["inactive"], offer.body["stop"]) == (True, True)
    assert offer.body["digest"] == world.contract.base


def test_a_change_that_was_given_up_has_not_counted_by_a_round_that_its_program_was_only_there_for() -> None:
    """Else it would be offered as it is, with its whole weight, on a model that it was not trained from."""
    world = trained()
    world.tell(world.contract.offer(ME, ended_too_late(world).body))
    world.offer(OTHER, THIRD)
    committed = "blake3:" + "f" * 64
    world.merged(committed)
    (again,) = world.ready(ME, OTHER, digest=committed)
    assert isinstance(again, m.Propose)
    assert (again.body["digest"], again.body["inactive"]) == (committed, True)


def test_an_ended_programs_late_change_stays_what_it_was_once_it_counted() -> None:
    world = trained()
    world.ask("end")
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    body = late(rebased(world))
    assert body["stop"]
    world.tell(world.contract.offer(ME, body))
    world.offer(OTHER, THIRD)
    final = "blake3:" + "f" * 64
    world.merged(final)
    (offer,) = world.ready(ME, OTHER, digest=final)
    assert isinstance(offer, m.Propose)
    assert (offer.body["digest"], offer.body["weight_permille"]) == (body["digest"], 707)


def test_a_new_member_for_a_program_that_lives_knows_how_late_it_is() -> None:
    world = trained()
    world.member = Member(ME, world.contract, holds=world.contract.base, origin=RESULT)
    assert world.ask("sync") == [m.Rebase(RESULT, world.contract.base)]
    world.others()
    world.others()
    world.member = Member(ME, world.contract, holds=world.contract.base, origin=RESULT)
    assert answer(world.ask("sync")).how == "adopted"  # nobody keeps that model any more


def test_a_program_that_comes_back_with_weights_that_are_in_the_merge_does_not_offer_them_again() -> None:
    world = trained()
    world.ask("sync")
    world.member.handle(m.Fetched(world.contract.base), 0.0)
    origin = world.contract.base
    world.tell(world.contract.offer(ME, late(rebased(world))))
    world.offer(OTHER, THIRD)
    world.ready(OTHER, THIRD, digest="blake3:" + "f" * 64)
    world.member = Member(ME, world.contract, holds=BASE, origin=origin)
    assert kinds(world.ask("sync")) == ["Fetch"]
    assert answer(world.member.handle(m.Fetched(world.contract.base), 0.0)).note == ""


def came_back() -> tuple[World, str]:
    """Its node died between a commit that has the program's weights and the answer; with the digest of that model."""
    world, newest = World(), "blake3:" + "9" * 64
    for kind, digest in (("begin", RESULT), ("sync", newest)):
        world.ask(kind)
        world.offer(ME, OTHER)
        world.merged(digest)
        world.ready(ME, OTHER, digest=digest)
    world.member = Member(ME, world.contract, holds=BASE, origin=RESULT)
    return world, newest


def test_a_program_that_comes_back_offers_its_weights_again_when_the_merge_that_has_them_is_lost() -> None:
    world, newest = came_back()
    assert kinds(world.ask("sync")) == ["Fetch"]
    assert "Missing" in kinds(world.member.handle(m.FetchFailed(newest, "nobody serves it"), 0.0))
    for uid in (ME, OTHER):
        told = world.tell(world.contract.missing(uid, newest))
    assert m.Fetch(RESULT, (OTHER,)) in told
    assert kinds(world.member.handle(m.Fetched(RESULT), 0.0)) == ["Offer"]


def test_a_program_that_comes_back_after_that_merge_was_lost_offers_its_weights_again() -> None:
    world, newest = came_back()
    for uid in (OTHER, ME):
        world.tell(world.contract.missing(uid, newest))
    assert world.ask("sync") == [m.Fetch(RESULT, (OTHER,))]
    assert kinds(world.member.handle(m.Fetched(RESULT), 0.0)) == ["Offer"]
