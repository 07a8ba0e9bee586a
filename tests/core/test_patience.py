"""Patience: how long a member waits for whom, what it says meanwhile, and what it does at the end."""

from __future__ import annotations

from swarm.core import member_steps as m
from swarm.core.patience import ALONE_MAX
from swarm.errors import Unreachable
from tests.core.member_world import ME, OTHER, THIRD, World, answer, kinds


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


def test_who_was_there_is_waited_for_by_name_and_state() -> None:
    world = World(peers=3, minPeers=4)
    world.ask()
    world.offer(ME)
    world.contract.gone(OTHER, "lost", "no sign of life")
    world.contract.gone(THIRD, "restarted", "began anew")
    (line,) = world.tick(11)
    assert isinstance(line, m.Tell)
    names = "sl-2 (org-2) restarted, sl-1 (org-1) lost, 1 more to enrol (minPeers 4)"
    assert line.text.startswith(f"waiting for peers: {names}, ")


def test_of_more_who_are_gone_than_are_lacking_it_says_how_many_have_to_come_back() -> None:
    world = World(peers=3)
    world.ask()
    world.offer(ME)
    for uid in (OTHER, THIRD):
        world.contract.gone(uid, "lost", "no sign of life")
    (line,) = world.tick(11)
    assert isinstance(line, m.Tell)
    assert line.text.startswith("waiting for peers: 1 of: sl-2 (org-2) lost, sl-1 (org-1) lost (minPeers 2), ")
    world.contract.back(THIRD)  # and has not offered yet
    (line,) = world.tick(11)
    assert isinstance(line, m.Tell)
    assert line.text.startswith("waiting for peers: 1 of: sl-2 (org-2) dropped, sl-1 (org-1) lost (minPeers 2), ")


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
