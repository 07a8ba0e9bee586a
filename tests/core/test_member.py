"""What a member does about a contract: the machine against a real contract, event by event."""

from __future__ import annotations

import pytest

from swarm.core import member_steps as m
from swarm.core.events import Aborted, ContractCleared
from swarm.core.member import Phase
from swarm.errors import Refused
from tests.core.member_world import BASE, ME, OTHER, OWN, RESULT, SCHEMA, THIRD, UIDS, World, answer, kinds


def test_a_round_offers_merges_says_ready_and_hands_over_only_after_the_commit() -> None:
    world = World()
    assert kinds(world.ask("begin")) == ["Offer"]
    assert world.offer(ME) == []
    assert kinds(world.offer(OTHER)) == ["BeginExchange"]
    assert kinds(world.merged()) == ["Ready"]
    assert world.ready(ME) == []
    given = answer(world.ready(OTHER))
    assert (given.how, given.digest, given.members) == ("merged", RESULT, 2)
    assert world.member.holds == world.contract.base == RESULT


def overtaken() -> World:
    """The others have committed while this node still merges."""
    world = World(peers=3)
    world.ask("begin")
    assert kinds(world.offer(*UIDS)) == ["BeginExchange"]
    assert world.ready(OTHER, THIRD) == []
    assert world.member.phase is Phase.OVERTAKEN
    return world


def test_an_overtaken_member_goes_on_merging_and_ends_with_the_committed_bytes() -> None:
    world = overtaken()
    ready, given = world.member.handle(m.Merged(0, 0, RESULT), 0.0)
    assert isinstance(ready, m.Propose)
    assert ready.kind == "Ready"
    assert answer([given]).how == "merged"
    assert world.member.holds == RESULT


@pytest.mark.parametrize("event", [m.Merged(0, 0, OWN), m.Stalled(0, 0, OTHER, "gone")])
def test_an_overtaken_member_that_cannot_end_its_merge_fetches_the_committed_model(event: m.Event) -> None:
    world = overtaken()
    end, fetch = world.member.handle(event, 0.0)
    assert isinstance(end, m.EndExchange)
    assert isinstance(fetch, m.Fetch)
    assert set(fetch.holders) == {OTHER, THIRD}
    assert answer(world.member.handle(m.Fetched(RESULT), 0.0)).how == "adopted"


def test_a_member_whose_merge_stalled_before_the_commit_fetches_the_committed_model() -> None:
    """The others go on at once after the commit, and take their buffers back from whoever still reads them."""
    world = World(peers=3)
    world.ask("begin")
    world.offer(*UIDS)
    assert kinds(world.member.handle(m.Stalled(0, 0, OTHER, "the round is over"), 0.0)) == ["Suspect"]
    assert kinds(world.ready(OTHER, THIRD)) == ["EndExchange", "Fetch"]
    assert answer(world.member.handle(m.Fetched(RESULT), 0.0)).how == "adopted"


def test_what_is_merged_is_told_by_the_round_that_made_it_also_when_later_ones_are_known_already() -> None:
    """Behind a cut, the commit comes together with a whole round more, which came to nothing."""
    world = World(peers=3)
    world.ask("begin")
    world.offer(*UIDS)
    world.merged()
    world.ready(ME)
    contract = world.contract
    events = contract.ready(OTHER, {"contract": "c", "round": 0, "attempt": 0, "digest": RESULT})
    for uid in (OTHER, THIRD):
        events += contract.offer(uid, {"contract": "c", "round": 1, "base": RESULT, "digest": OWN, "stop": False})
    events += contract.close_window({"contract": "c", "round": 1})
    events += contract.leave(OTHER, "")
    assert contract.round == 2
    given = answer(world.tell(events))
    assert (given.how, given.digest, given.round) == ("merged", RESULT, 0)


@pytest.mark.parametrize(
    ("kind", "expected"), [("sync", ["EndExchange", "Answer"]), ("begin", ["EndExchange", "Tell", "Offer"])]
)
def test_an_abort_lets_a_training_program_go_on_and_a_beginning_one_ask_again(kind: str, expected: list[str]) -> None:
    world = World()
    world.ask(kind)
    world.offer(ME, OTHER)
    assert kinds(world.tell(world.contract.gone(OTHER, "lost", "no sign of life"))) == expected
    assert world.contract.base == BASE


def test_an_ended_program_offers_again_until_the_contract_is_finished() -> None:
    world = World()
    world.ask("end")
    world.offer(ME, stop=True)
    world.offer(OTHER)
    world.merged()
    assert kinds(world.ready(ME, OTHER)) == ["Offer"]
    world.offer(ME, OTHER, stop=True)
    second = "blake3:" + "3" * 64
    world.merged(second)
    final = answer(world.ready(ME, OTHER, digest=second))
    assert final.training_over
    assert final.digest == second


def test_an_active_ended_program_contributes_the_base_not_its_own_weights() -> None:
    world = World(checkin="active")
    world.offer(ME, OTHER)
    world.ready(ME, OTHER)
    world.member.holds = RESULT
    (offer,) = world.ask("end")
    assert isinstance(offer, m.Propose)
    assert offer.body["digest"] == RESULT
    world.tell(world.contract.offer(ME, offer.body))
    (begin,) = world.offer(OTHER, stop=True)
    assert isinstance(begin, m.BeginExchange)
    assert begin.source == "base"


def test_when_all_have_ended_inactive_the_base_is_the_final_model() -> None:
    world = World(checkin="inactive")
    world.ask("begin")
    world.offer(ME, OTHER)
    world.merged()
    world.ready(ME, OTHER)
    assert kinds(world.ask("end")) == ["Offer"]
    where = {"contract": "c", "round": 1, "base": RESULT, "digest": OWN, "stop": True, "inactive": True}
    events = [*world.contract.offer(ME, where), *world.contract.offer(OTHER, where)]
    given = answer(world.tell(events))
    assert (given.digest, given.training_over) == (RESULT, True)


def test_a_dropped_member_waits_for_the_decision_and_adopts_it() -> None:
    world = World(peers=3)
    world.ask()
    world.offer(*UIDS)
    accused = {"contract": "c", "round": 0, "attempt": 0, "uid": ME, "reason": "silent"}
    world.tell(world.contract.suspect(OTHER, accused))
    tell, end = world.tell(world.contract.suspect(THIRD, accused))
    assert isinstance(tell, m.Tell)
    assert "goes on without this node's weights: it was suspected by 2 of 2 others; if that" in tell.text
    assert isinstance(end, m.EndExchange)
    assert world.member.phase is Phase.LATE
    assert kinds(world.ready(OTHER, THIRD)) == ["Fetch"]


def test_an_offer_that_came_after_the_snap_waits_for_the_round_to_end() -> None:
    world = World(peers=3)
    world.ask()
    world.offer(OTHER, THIRD)
    (tell,) = world.close_window()
    assert isinstance(tell, m.Tell)
    assert "round 0 began without this node's weights" in tell.text
    assert world.member.handle(m.OfferJudged(0, False, "too late"), 0.0) == []
    assert world.member.phase is Phase.LATE


def test_a_reset_contract_ends_the_program_with_a_sentence() -> None:
    world = World()
    world.ask()
    (give_up,) = world.member.handle(ContractCleared("c", "swci-1"), 0.0)
    assert isinstance(give_up, m.GiveUp)
    assert isinstance(give_up.error, Refused)


def test_two_asks_at_once_are_a_mistake_of_ours() -> None:
    world = World()
    world.ask()
    with pytest.raises(AssertionError):
        world.ask()


def test_a_node_that_counted_as_lost_while_it_waited_offers_again() -> None:
    world = World()
    world.ask()
    world.offer(ME)
    assert kinds(world.tell(world.contract.gone(ME, "lost", "no sign of life"))) == ["Tell", "Offer"]
    world.offer(ME)
    assert world.member.handle(m.OfferJudged(0, False, "sl-0 has offered already"), 0.0) == []
    assert kinds(world.offer(OTHER)) == ["BeginExchange"]


# ---- progress, disputes


def test_who_owed_by_far_the_most_is_suspected_when_the_same_members_try_again() -> None:
    world = World(peers=3)
    world.ask()
    world.offer(*UIDS)
    nbytes = SCHEMA.nbytes
    world.member.handle(m.Owed(0, 0, {OTHER: nbytes, THIRD: 0}), 0.0)
    end, begin, suspect = world.deadline()
    assert isinstance(end, m.EndExchange)
    assert isinstance(begin, m.BeginExchange)
    assert isinstance(suspect, m.Propose)
    assert (suspect.kind, suspect.body["uid"], suspect.body["attempt"]) == ("Suspect", OTHER, 1)
    world.member.handle(m.Owed(0, 1, {OTHER: nbytes, THIRD: nbytes}), 0.0)
    assert kinds(world.deadline()) == ["EndExchange", "BeginExchange"]  # all are slow: nobody is blamed


def test_a_ready_names_the_shards_and_an_abort_over_them_shows_what_their_owners_signed() -> None:
    world = World(peers=3, topology="sharded")
    world.ask()
    world.offer(*UIDS)
    shards = (b"1" * 32,)
    (ready,) = world.member.handle(m.Merged(0, 0, RESULT, shards), 0.0)
    assert isinstance(ready, m.Propose)
    assert ready.body["shards"] == list(shards)
    world.tell(world.contract.ready(ME, ready.body))
    other = {**ready.body, "digest": OWN, "shards": [b"2" * 32]}
    show, end, kept = world.tell(world.contract.ready(OTHER, other))
    assert show == m.Show(0, 0, (0,))
    assert isinstance(end, m.EndExchange)
    assert answer([kept]).how == "kept"


def test_an_excluded_node_ends_its_program_with_the_reason() -> None:
    world = World(peers=3)
    world.ask()
    proof = {"contract": "c", "round": 0, "attempt": 0, "uid": ME, "shard": 0}
    shown = {"first": {"digest": b"1" * 32}, "second": {"digest": b"2" * 32}}
    (give_up,) = world.tell(world.contract.evidence(OTHER, {**proof, **shown}))
    assert isinstance(give_up, m.GiveUp)
    assert "signed two different results for shard 0" in give_up.error.message


# ---- a replica that is ahead of what the member was told, and offers that are not of this ask


def test_the_end_of_an_earlier_round_says_nothing_about_an_offer_in_this_one() -> None:
    world = World(peers=3)
    world.offer(OTHER, THIRD)
    (snap,) = world.contract.close_window({"contract": "c", "round": 0})[-1:]
    (*_, aborted) = world.contract.leave(OTHER, "")
    assert isinstance(aborted, Aborted)
    assert kinds(world.ask("sync")) == ["Offer"]  # the replica knows of the abort, the member will be told
    assert world.tell([snap, aborted]) == []
    assert world.member.phase is Phase.OFFERED
    world.offer(ME)
    assert kinds(world.offer(THIRD)) == ["BeginExchange"]


def test_a_commit_that_is_told_late_hands_over_nothing_that_is_not_the_base() -> None:
    world, newest = World(peers=3), "blake3:" + "9" * 64
    world.ask()
    world.offer(*UIDS)
    world.merged()
    where = {"contract": "c", "round": 0, "attempt": 0, "digest": RESULT}
    told = [*world.contract.ready(ME, where), *world.contract.ready(OTHER, where)]
    later = world.contract
    for uid in (OTHER, THIRD):
        later.offer(uid, {"contract": "c", "round": 1, "base": RESULT, "digest": OWN})
    later.close_window({"contract": "c", "round": 1})
    for uid in (OTHER, THIRD):
        later.ready(uid, {"contract": "c", "round": 1, "attempt": 0, "digest": newest})
    (fetch,) = world.tell(told)
    assert fetch == m.Fetch(newest, (OTHER, THIRD))
    given = answer(world.member.handle(m.Fetched(newest), 0.0))
    assert (given.how, given.digest, given.note) == ("adopted", newest, "")


def test_weights_of_another_ask_are_not_contributed_under_the_digest_of_this_one() -> None:
    world = World(peers=3)
    world.ask()
    world.offer(OTHER, THIRD)
    stale = {"contract": "c", "round": 0, "base": BASE, "digest": RESULT}  # of an ask that was answered without it
    (tell,) = world.tell(world.contract.offer(ME, stale))
    assert isinstance(tell, m.Tell)
    assert world.member.phase is Phase.LATE
