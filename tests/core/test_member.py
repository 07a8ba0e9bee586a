"""What a member does about a contract: the machine against a real contract, event by event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.core import member_steps as m
from swarm.core.contract import Contract, Enrolment
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.core.member import FETCH_AGAIN_S, Member, Phase
from swarm.core.names import Identity
from swarm.core.patience import ALONE_MAX
from swarm.core.tensors import Schema
from swarm.errors import Refused, Unreachable

UIDS = [f"{i:08d}-0000-5000-8000-000000000000" for i in range(1, 4)]
ME, OTHER, THIRD = UIDS
BASE = "blake3:" + "0" * 64
OWN, RESULT = "blake3:" + "1" * 64, "blake3:" + "2" * 64
SCHEMA = Schema.of({"w": np.zeros(4, np.float32)})


class World:
    """A contract with members, and the machine of the first of them."""

    def __init__(self, peers: int = 2, checkin: str = "snapshot", **options: Any) -> None:
        asked = Enrolment.of(
            {
                "schema": SCHEMA.to_wire(),
                "hash": "blake3",
                "initial_base": BASE,
                "options": {"minPeers": 2, **options},
                "weight": 1,
                "syncFrequency": 4,
                "data_address": "127.0.0.1:1",
            }
        )
        self.contract = Contract("c", asked)
        for number, uid in enumerate(UIDS[:peers]):
            self.contract.enrol(uid, Identity(f"org-{number}", bytes(32), "sl", f"sl-{number}"), asked)
        self.member = Member(ME, self.contract, holds=BASE, checkin=checkin)
        self.now_s = 0.0

    def ask(self, kind: Any = "sync", batches: int = 4) -> list[m.Effect]:
        return self.member.handle(m.Asked(kind, OWN, batches, 0), self.now_s)

    def offer(self, *uids: str, stop: bool = False) -> list[m.Effect]:
        """The ledger accepts offers; what follows for the member."""
        body = {"contract": "c", "round": self.contract.round, "base": self.contract.base, "digest": OWN, "stop": stop}
        return [effect for uid in uids for effect in self.tell(self.contract.offer(uid, body))]

    def ready(self, *uids: str, digest: str = RESULT) -> list[m.Effect]:
        snap = self.contract.snap
        assert snap is not None
        body = {"contract": "c", "round": snap.round, "attempt": snap.attempt, "digest": digest}
        return [effect for uid in uids for effect in self.tell(self.contract.ready(uid, body))]

    def close_window(self) -> list[m.Effect]:
        return self.tell(self.contract.close_window({"contract": "c", "round": self.contract.round}))

    def others(self) -> list[m.Effect]:
        """The other two commit a round; this member has not offered in time."""
        result = f"blake3:{self.contract.round:064x}"
        offers = [*self.offer(OTHER, THIRD), *(self.close_window() if self.contract.snap is None else [])]
        return [*offers, *self.ready(OTHER, THIRD, digest=result)]

    def deadline(self) -> list[m.Effect]:
        snap = self.contract.snap
        assert snap is not None
        return self.tell(self.contract.pass_deadline({"contract": "c", "round": snap.round, "attempt": snap.attempt}))

    def tell(self, events: list[Any]) -> list[m.Effect]:
        told = (SnapMade, Committed, Aborted, BaseLost, Finished, MemberGone)
        return [one for event in events if isinstance(event, told) for one in self.member.handle(event, self.now_s)]

    def merged(self, digest: str = RESULT) -> list[m.Effect]:
        snap = self.contract.snap
        assert snap is not None
        return self.member.handle(m.Merged(snap.round, snap.attempt, digest), self.now_s)

    def tick(self, seconds: float) -> list[m.Effect]:
        self.now_s += seconds
        return self.member.handle(m.Ticked(), self.now_s)


def kinds(effects: list[m.Effect]) -> list[str]:
    return [effect.kind if isinstance(effect, m.Propose) else type(effect).__name__ for effect in effects]


def answer(effects: list[m.Effect]) -> m.Answer:
    (only,) = effects
    assert isinstance(only, m.Answer)
    return only


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


def test_a_peer_that_missed_a_commit_adopts_it_and_is_told_how_much_it_gave_up() -> None:
    world = World(peers=3)
    world.offer(OTHER, THIRD)
    world.close_window()
    world.ready(OTHER, THIRD)
    assert kinds(world.ask("sync", batches=12)) == ["Fetch"]
    assert "gave up 12 batches" in answer(world.member.handle(m.Fetched(RESULT), 0.0)).note


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
    assert "goes on without this node's weights: it was suspected by 2 of 2 others" in tell.text
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


def test_too_few_peers_are_waited_for_with_a_line_every_ten_seconds_and_then_an_error() -> None:
    world = World(peers=1, tooFewPeersSeconds=25)
    world.ask()
    world.offer(ME)
    assert world.tick(1) == []
    (line,) = world.tick(10)
    assert isinstance(line, m.Tell)
    assert "1 more to enrol (minPeers 2)" in line.text
    (give_up,) = world.tick(20)
    assert isinstance(give_up, m.GiveUp)
    assert isinstance(give_up.error, Unreachable)


def test_waiting_for_live_peers_has_no_end_but_a_line_that_names_them() -> None:
    world = World(tooFewPeersSeconds=25)
    world.ask()
    world.offer(ME)
    (line,) = world.tick(3600)
    assert isinstance(line, m.Tell)
    assert "sl-1 (org-1)" in line.text


def test_too_few_peers_may_train_alone_ten_times_then_wait() -> None:
    world = World(peers=1, onTooFewPeers="local", tooFewPeersSeconds=5)
    assert [answer(world.ask()).how for _ in range(ALONE_MAX)] == ["alone"] * ALONE_MAX
    assert kinds(world.ask()) == ["Offer"]


def test_a_member_whose_peers_go_while_it_waits_for_them_trains_on_alone_too() -> None:
    world = World(onTooFewPeers="local")
    world.ask()
    world.offer(ME)
    world.contract.gone(OTHER, "lost", "no sign of life")
    assert answer(world.tick(0.5)).how == "alone"
    assert kinds(world.offer(OTHER)) == []  # a snap with the stale offer is not this member's any more
    world.tell(world.contract.gone(OTHER, "lost", "no sign of life"))
    assert world.member.ask is None
    assert answer(world.ask()).how == "alone"


def test_stop_on_too_few_peers_gives_up_at_once() -> None:
    world = World(onTooFewPeers="stop")
    world.ask("begin")
    world.offer(ME, OTHER)
    world.merged()
    world.ready(ME, OTHER)
    world.contract.gone(OTHER, "lost", "no sign of life")
    world.ask()
    world.offer(ME)
    assert kinds(world.tick(0.5)) == ["GiveUp"]


def test_stop_on_too_few_peers_waits_for_those_who_have_yet_to_come() -> None:
    world = World(peers=1, onTooFewPeers="stop", tooFewPeersSeconds=25)
    world.ask("begin")
    world.offer(ME)
    assert world.tick(5) == []
    assert kinds(world.tick(25)) == ["GiveUp"]


def test_a_ledger_that_pauses_is_waited_for_by_name_until_the_deadline() -> None:
    world = World(tooFewPeersSeconds=30)
    world.ask()
    world.member.handle(m.LedgerLost("no answer from sn-1 (org-0)"), 0.0)
    (line,) = world.tick(11)
    assert isinstance(line, m.Tell)
    assert "sn-1 (org-0)" in line.text
    assert kinds(world.tick(20)) == ["GiveUp"]


def test_a_ledger_that_pauses_is_waited_for_from_the_sync_point_on() -> None:
    world = World(tooFewPeersSeconds=30)
    world.member.handle(m.LedgerLost("no answer from sn-1 (org-0)"), 0.0)
    world.now_s = 100.0
    world.ask()
    assert "GiveUp" not in kinds(world.tick(11))
    assert kinds(world.tick(20)) == ["GiveUp"]


def test_a_ledger_that_is_back_in_time_costs_nothing() -> None:
    world = World(tooFewPeersSeconds=30)
    world.ask()
    world.member.handle(m.LedgerLost("gone"), 0.0)
    world.member.handle(m.LedgerBack(), 5.0)
    assert "GiveUp" not in kinds(world.tick(60))


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


# ---- late changes


def trained(**options: Any) -> World:
    """Three members; this one holds the model of round 0 and trains on it while the others commit round 1."""
    world = World(peers=3, **options)
    world.ask("begin")
    world.offer(*UIDS)
    world.merged()
    assert answer(world.ready(ME, OTHER)).how == "merged"
    world.others()
    return world


def rebased(world: World, digest: str = "blake3:" + "a" * 64) -> list[m.Effect]:
    return world.member.handle(m.Rebased(world.contract.base, digest), world.now_s)


def late(effects: list[m.Effect]) -> dict[str, Any]:
    """The offer of a late change, which its program is told about."""
    tell, offer = effects
    assert isinstance(tell, m.Tell)
    assert "batches have changed is offered anew" in tell.text
    assert isinstance(offer, m.Propose)
    return offer.body


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


def test_a_new_node_offers_what_the_program_has_trained_although_the_model_is_yet_to_be_found_on_disk() -> None:
    world = World()
    world.ask("begin")
    world.offer(ME, OTHER)
    world.merged()
    world.ready(ME, OTHER)
    world.member = Member(ME, world.contract, holds=BASE, origin=RESULT)
    assert kinds(world.ask("sync")) == ["Fetch"]
    assert kinds(world.member.handle(m.Fetched(RESULT), 0.0)) == ["Offer"]


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


def test_a_program_that_comes_back_offers_its_weights_again_when_the_merge_that_has_them_is_lost() -> None:
    world, newest = World(), "blake3:" + "9" * 64
    for kind, digest in (("begin", RESULT), ("sync", newest)):
        world.ask(kind)
        world.offer(ME, OTHER)
        world.merged(digest)
        world.ready(ME, OTHER, digest=digest)
    world.member = Member(ME, world.contract, holds=BASE, origin=RESULT)
    assert kinds(world.ask("sync")) == ["Fetch"]
    assert "Missing" in kinds(world.member.handle(m.FetchFailed(newest, "nobody serves it"), 0.0))
    for uid in (ME, OTHER):
        told = world.tell(world.contract.missing(uid, newest))
    assert m.Fetch(RESULT, (OTHER,)) in told
    assert kinds(world.member.handle(m.Fetched(RESULT), 0.0)) == ["Offer"]
