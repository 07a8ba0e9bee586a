"""What a member does about a contract: the machine against a real contract, event by event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.core import member_steps as m
from swarm.core.contract import Contract, Enrolment
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.core.member import ALONE_MAX, FETCH_AGAIN_S, Member, Phase
from swarm.core.names import Identity
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
    (begin,) = world.offer(ME, OTHER, stop=True)
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
    assert kinds(world.tell(world.contract.suspect(THIRD, accused))) == ["EndExchange"]
    assert world.member.phase is Phase.LATE
    assert kinds(world.ready(OTHER, THIRD)) == ["Fetch"]


def test_an_offer_that_came_after_the_snap_waits_for_the_round_to_end() -> None:
    world = World(peers=3)
    world.ask()
    world.offer(OTHER, THIRD)
    world.close_window()
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


def test_a_model_that_nobody_serves_is_reported_missing_and_tried_again() -> None:
    world = World()
    world.offer(ME, OTHER)
    world.ready(ME, OTHER)
    world.ask("begin")
    assert kinds(world.member.handle(m.FetchFailed(RESULT, "sl-1 is gone"), 0.0)) == ["Tell", "Missing"]
    assert kinds(world.tick(FETCH_AGAIN_S + 1)) == ["Fetch"]


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
    assert kinds(world.tell(world.contract.gone(ME, "lost", "no sign of life"))) == ["Offer"]
    world.offer(ME)
    assert world.member.handle(m.OfferJudged(0, False, "sl-0 has offered already"), 0.0) == []
    assert kinds(world.offer(OTHER)) == ["BeginExchange"]
