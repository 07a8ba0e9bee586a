"""Catching up: which model a member that is behind fetches, from whom, and what its program is told once it is here."""

from __future__ import annotations

from swarm.core import member_steps as m
from swarm.core.catchup import FETCH_AGAIN_S
from swarm.core.events import BaseLost
from swarm.core.member import Member
from tests.core.member_world import BASE, ME, OTHER, RESULT, THIRD, World, answer, kinds


def test_a_late_joiner_adopts_the_committed_model_when_it_begins() -> None:
    world = World()
    world.offer(ME, OTHER)
    world.ready(ME, OTHER)
    assert kinds(world.ask("begin")) == ["Fetch"]
    given = answer(world.member.handle(m.Fetched(RESULT), 0.0))
    assert (given.how, given.digest) == ("adopted", RESULT)


def test_what_is_adopted_after_a_round_that_came_to_nothing_is_told_by_the_round_that_made_it() -> None:
    world = World(peers=3)
    world.offer(OTHER, THIRD)
    world.close_window()
    world.ready(OTHER, THIRD)
    world.offer(OTHER, THIRD)  # this member was dropped: nobody waits for it
    world.tell(world.contract.leave(OTHER, ""))
    assert world.contract.round == 2
    world.ask("begin")
    given = answer(world.member.handle(m.Fetched(RESULT), 0.0))
    assert (given.how, given.digest, given.round) == ("adopted", RESULT, 0)


def test_a_peer_that_missed_a_commit_adopts_it_and_is_told_how_much_it_gave_up() -> None:
    world = World(peers=3)
    world.offer(OTHER, THIRD)
    world.close_window()
    world.ready(OTHER, THIRD)
    assert kinds(world.ask("sync", batches=12)) == ["Fetch"]
    assert "gave up 12 batches" in answer(world.member.handle(m.Fetched(RESULT), 0.0)).note


def test_rounds_that_are_committed_meanwhile_begin_no_second_fetch_of_a_model_that_is_kept_still() -> None:
    """One that a silent holder was to send, or a slow one: each round more began another, without end."""
    world = World(peers=3)
    world.offer(OTHER, THIRD)
    world.close_window()
    world.ready(OTHER, THIRD)
    assert kinds(world.ask("begin")) == ["Fetch"]
    assert world.others() == []
    (fetch,) = world.others()
    second = world.contract.base
    assert fetch == m.Fetch(second, (OTHER, THIRD)), "nobody keeps the first one any more"
    assert world.member.handle(m.FetchFailed(RESULT, "it is kept no longer"), 0.0) == []
    assert world.others() == []
    (fetch,) = world.member.handle(m.Fetched(second), 0.0)
    assert fetch == m.Fetch(world.contract.base, (OTHER, THIRD))
    assert world.member.handle(m.Fetched(second), 0.0) == [], "what took another's place is the one that counts"
    assert answer(world.member.handle(m.Fetched(world.contract.base), 0.0)).how == "adopted"


def test_a_model_that_nobody_serves_is_reported_missing_and_tried_again() -> None:
    world = World()
    world.offer(ME, OTHER)
    world.ready(ME, OTHER)
    world.ask("begin")
    assert kinds(world.member.handle(m.FetchFailed(RESULT, "sl-1 is gone"), 0.0)) == ["Tell", "Missing"]
    assert kinds(world.tick(FETCH_AGAIN_S + 1)) == ["Fetch"]


def test_a_missing_model_is_said_once_and_again_when_the_last_who_had_it_has_left() -> None:
    world = World(peers=3)
    world.offer(OTHER, THIRD)
    world.close_window()
    world.ready(OTHER, THIRD)
    world.ask("begin")
    assert kinds(world.member.handle(m.FetchFailed(RESULT, "gone"), 0.0)) == ["Tell", "Missing"]
    world.tell(world.contract.missing(ME, RESULT))
    assert world.contract.behind() == [ME]
    for _ in range(3):
        assert kinds(world.tick(FETCH_AGAIN_S)) == ["Fetch"]
        assert world.member.handle(m.FetchFailed(RESULT, "gone"), world.now_s) == []
    for uid in (OTHER, THIRD):
        world.contract.gone(uid, "left", "left")
    assert kinds(world.tick(FETCH_AGAIN_S)) == ["Fetch"]
    assert kinds(world.member.handle(m.FetchFailed(RESULT, "gone"), world.now_s)) == ["Missing"]
    assert any(isinstance(event, BaseLost) for event in world.contract.missing(ME, RESULT))


def test_a_model_that_nobody_serves_is_waited_for_until_the_deadline() -> None:
    world = World(tooFewPeersSeconds=30)
    world.offer(ME, OTHER)
    world.ready(ME, OTHER)
    world.ask("begin")
    world.member.handle(m.FetchFailed(RESULT, "sl-1 is gone"), world.now_s)
    assert "GiveUp" not in kinds(world.tick(20))
    world.member.handle(m.FetchFailed(RESULT, "sl-1 is gone"), world.now_s)
    assert "GiveUp" in kinds(world.tick(20))


def test_when_the_only_model_is_lost_the_next_offer_is_on_the_tensors_alone() -> None:
    world = World()
    world.offer(ME, OTHER)
    world.ready(ME, OTHER)
    world.ask("begin")
    world.contract.gone(OTHER, "left", "left")
    world.member.handle(m.FetchFailed(RESULT, "sl-1 is gone"), 0.0)
    assert kinds(world.tell(world.contract.missing(ME, RESULT))) == ["Tell", "Offer"]
    assert world.member.holds == world.contract.base == BASE


def test_the_model_of_a_finished_contract_cannot_be_lost() -> None:
    world = World()
    world.offer(ME, OTHER, stop=True)
    world.ready(ME, OTHER)
    world.contract.gone(OTHER, "left", "finished")
    assert world.contract.missing(ME, RESULT) == []
    assert world.contract.base == RESULT


def test_a_new_node_offers_what_the_program_has_trained_although_the_model_is_yet_to_be_found_on_disk() -> None:
    world = World()
    world.ask("begin")
    world.offer(ME, OTHER)
    world.merged()
    world.ready(ME, OTHER)
    world.member = Member(ME, world.contract, holds=BASE, origin=RESULT)
    assert kinds(world.ask("sync")) == ["Fetch"]
    assert kinds(world.member.handle(m.Fetched(RESULT), 0.0)) == ["Offer"]
