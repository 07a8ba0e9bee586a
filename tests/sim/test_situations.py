"""Situations by their number in docs/RELIABILITY.md, one at a time, on a stage. `Stage.end` holds all promises, too."""

from __future__ import annotations

import pytest

from swarm.core.fields import FIRST_RULES
from swarm.core.rules import KNOWN
from swarm.core.upgrade import SETTLED_S
from swarm.errors import Outdated
from tests.sim.program import digest_of
from tests.sim.scenario import Lean, run
from tests.sim.stage import Stage

ROUND_S = 45.0
"""Within which a round ends, whatever happens."""


def finals(stage):
    return {digest_of(node.program.values) for node in stage.sls}


def under_way(stage, node):
    """The number of a round that this node is at the attempt of, and that has yet to be decided."""
    last = stage.commits[-1][4]
    while node.attempt is None or node.attempt.snap.round <= last:
        stage.wait(0.0005)
    return node.attempt.snap.round


def test_r001_the_others_commit_without_a_peer_that_was_killed_and_it_comes_back_to_their_model():
    stage = Stage()
    stage.begin()
    killed = stage.sls[3]
    killed.crash(power=False)
    began_s = stage.world.now_s
    stage.until(lambda: bool(stage.commits_since(began_s)), ROUND_S)
    assert killed.uid not in stage.commits_since(began_s)[-1]
    killed.start()
    back_s = stage.world.now_s
    stage.until(lambda: any(killed.uid in members for members in stage.commits_since(back_s)), ROUND_S)
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize("after_s", [0.001, 0.004, 0.008, 0.012, 0.02])
@pytest.mark.parametrize("who", [0, 3])
def test_r002_r003_who_dies_in_an_attempt_is_not_waited_for_and_its_shard_is_merged_anew(who, after_s):
    stage = Stage()
    stage.begin()
    killed = stage.sls[who]
    round_, began_s = under_way(stage, killed), stage.world.now_s
    assert killed.uid in {shard.owner for shard in killed.attempt.snap.shards}
    stage.wait(after_s)
    killed.crash(power=False)
    decided = ("Committed", "Aborted")
    stage.until(lambda: any(fact[4] == round_ for fact in stage.facts(*decided)), ROUND_S)
    stage.until(lambda: len(stage.commits_since(began_s)) >= 2, 2 * ROUND_S)
    assert killed.uid not in stage.commits_since(began_s)[-1]
    killed.start()
    stage.end()
    assert len(finals(stage)) == 1


def test_r005_below_min_peers_rounds_abort_and_who_waits_gives_up_after_its_time():
    stage = Stage()
    stage.begin()
    round_ = under_way(stage, stage.sls[0])
    for node in stage.sls[2:]:
        node.crash(power=False)
    stage.until(lambda: any(fact[4] == round_ for fact in stage.facts("Aborted")), ROUND_S)
    began_s, steps = stage.world.now_s, stage.world.steps
    stage.wait(40.0)
    assert not stage.commits_since(began_s)
    assert not stage.facts("gave_up")
    assert stage.world.steps - steps < 40 * 100  # they wait, and do nothing else
    stage.until(lambda: len(stage.facts("gave_up")) == 2, 40.0)
    assert all("minPeers 3" in fact[-1] for fact in stage.facts("gave_up"))
    stage.end()


def test_r006_all_peers_without_power_at_once_go_on_at_the_last_committed_round():
    stage = Stage()
    stage.begin()
    for node in stage.sls:
        node.crash(power=True)
    last = stage.commits[-1][4]
    stage.wait(2.0)
    for node in stage.sls:
        node.start()
    began_s = stage.world.now_s
    stage.until(lambda: bool(stage.commits_since(began_s)), ROUND_S)
    assert stage.commits[-1][4] > last
    stage.end()
    rounds = [fact[4] for fact in stage.commits]
    assert len(rounds) == len(set(rounds))


def test_r007_a_sentinel_that_comes_back_continues_rounds_and_tasks():
    stage = Stage()
    stage.begin()
    for _ in range(3):
        stage.sns[0].crash(power=True)
        stage.wait(3.0)
        stage.sns[0].start()
        began_s = stage.world.now_s
        stage.until(lambda at_s=began_s: bool(stage.commits_since(at_s)), ROUND_S)
    stage.end()
    rounds = [fact[4] for fact in stage.commits]
    assert rounds == sorted(set(rounds))
    assert len(stage.facts("worker_started")) == 2


def test_r010_another_leads_within_five_seconds_and_rounds_go_on():
    stage = Stage(sns=3)
    stage.begin()
    dead = stage.leader
    dead.crash(power=False)
    began_s = stage.world.now_s
    assert stage.until(lambda: stage.leads(but=dead), 5.0) < 5.0
    stage.until(lambda: bool(stage.commits_since(began_s)), ROUND_S)
    dead.start()
    stage.end()


def test_r011_a_leader_of_a_minority_commits_nothing_and_what_it_had_vanishes():
    stage = Stage(sns=3)
    stage.begin()
    alone = stage.leader
    others = [sn for sn in stage.sns if sn is not alone]
    fault = stage.cut([alone, stage.swci], [*others, *stage.sls, *stage.swops])
    head = alone.orderer.head
    stage.until(lambda: stage.leads(but=alone), 5.0)
    stage.until(lambda: max(sn.orderer.head for sn in others) > head + 10, ROUND_S)
    assert alone.orderer.head <= head + 1
    assert alone.orderer.role != "leader"
    stage.heal(fault)
    stage.until(lambda: alone.orderer.head == stage.leader.orderer.head, 10.0)
    stage.end()  # who had asked the old leader has its outcome, and nothing acknowledged is gone


def test_r012_a_peer_that_was_frozen_for_a_minute_is_left_out_and_takes_part_again():
    stage = Stage(rounds=60)
    stage.begin()
    frozen = stage.sls[3]
    frozen.pause()
    stage.wait(10.0)
    began_s = stage.world.now_s
    stage.wait(50.0)
    assert len(stage.commits_since(began_s)) > 10
    assert all(frozen.uid not in members for members in stage.commits_since(began_s))
    frozen.resume()
    back_s = stage.world.now_s
    stage.until(lambda: any(frozen.uid in members for members in stage.commits_since(back_s)), ROUND_S)
    stage.end()
    assert len(finals(stage)) == 1


def test_r013_a_leader_that_was_frozen_for_a_minute_commits_nothing_and_serves_nothing_stale():
    stage = Stage(sns=3, rounds=60)
    stage.begin()
    frozen = stage.leader
    frozen.pause()
    stage.until(lambda: stage.leads(but=frozen), 5.0)
    head = frozen.orderer.head
    stage.wait(60.0)
    stage.world.history.facts.append(("read_asked", stage.world.now_s, stage.swci.name, 10_000))
    frozen.read(stage.swci, stage.swci.life, 10_000)
    frozen.resume()
    stage.until(lambda: frozen.orderer.role != "leader", 5.0)
    stage.until(lambda: frozen.orderer.head > head, 10.0)
    stage.end()  # reads that were answered show all that was acknowledged before


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.003, 0.006, 0.02, 0.7])
def test_r019_a_task_is_there_whole_or_not_at_all_when_its_author_is_killed_and_made_once(after_s):
    stage = Stage()
    stage.sns[0].start()
    for process in [*stage.sls, *stage.swops]:
        process.start()
    stage.swci.start()
    stage.until(lambda: stage.swci.lost is False, 10.0)
    while not stage.proposed("TaskCreated"):
        stage.wait(0.0005)
    stage.wait(after_s)
    stage.swci.crash(power=False)
    stage.wait(2.0)
    task = stage.sns[0].orderer.ledger.board.tasks.get("task-1")
    assert task is None or (task.state in ("draft", "final") and task.body["Command"] == "train.py")
    stage.swci.start()
    stage.end()
    board = stage.sns[0].orderer.ledger.board
    assert (board.tasks["task-1"].state, len(stage.facts("worker_started"))) == ("done", 2)


def test_r020_nothing_acknowledged_is_gone_when_the_power_of_all_goes_in_the_middle_of_writes():
    stage = Stage(sns=3, rounds=20)
    stage.begin()
    for trap in ("unsynced", "torn", "unsynced", "torn"):
        for process in [*stage.sns, *stage.sls]:
            process.trap = trap
        stage.wait(4.0)
        for process in stage.weather.everybody:
            if not process.alive and not getattr(process, "done", False):
                process.start()
        stage.wait(2.0)
    assert stage.weather.counts["unsynced_write_lost"] + stage.weather.counts["torn_write"] > 5
    stage.end()


@pytest.mark.parametrize("whole", [True, False])
def test_r021_three_of_five_go_on_and_two_wait_and_all_end_alike(whole):
    """With the network node on the side of the three, or in touch with everybody."""
    stage = Stage(peers=5, rounds=20)
    stage.begin()
    two, three = stage.sls[:2], stage.sls[2:]
    fault = stage.cut(two, [*three, *stage.sns, *stage.swops] if whole else three)
    stage.wait(20.0)
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 3, 2 * ROUND_S)
    assert all(members == {node.uid for node in three} for members in stage.commits_since(began_s))
    stage.heal(fault)
    stage.end()
    assert len(finals(stage)) == 1


def test_r022_where_no_side_has_min_peers_rounds_abort_and_resume_when_the_cut_heals():
    stage = Stage()
    stage.begin()
    fault = stage.cut(stage.sls[:2], stage.sls[2:])
    stage.wait(3.0)
    began_s = stage.world.now_s
    stage.until(lambda: any(fact[1] >= began_s for fact in stage.facts("Aborted")), 2 * ROUND_S)
    assert not stage.commits_since(began_s)
    stage.heal(fault)
    healed_s = stage.world.now_s
    stage.until(lambda: bool(stage.commits_since(healed_s)), ROUND_S)
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize("to_leader", [True, False])
def test_r023_one_direction_that_is_cut_between_two_network_nodes_costs_one_election_at_most(to_leader):
    stage = Stage(sns=3, rounds=40)
    stage.begin()
    leader = stage.leader
    follower = next(sn for sn in stage.sns if sn is not leader)
    pair = [[follower], [leader]] if to_leader else [[leader], [follower]]
    fault = stage.cut(*pair, both=False)
    began_s = stage.world.now_s
    stage.wait(40.0)
    elected = [fact for fact in stage.facts("role") if fact[1] >= began_s and fact[4] == "leader"]
    assert len(elected) <= 1
    assert len(stage.commits_since(began_s)) >= 5
    stage.heal(fault)
    stage.end()


def test_r023_one_direction_that_is_cut_between_two_peers_is_as_the_loss_of_one():
    stage = Stage(peers=4, min_peers=3, rounds=20)
    stage.begin()
    began_s = stage.world.now_s
    fault = stage.cut([stage.sls[0]], [stage.sls[1]], both=False)
    stage.until(lambda: len(stage.commits_since(began_s)) >= 4, 4 * ROUND_S)
    last = stage.commits_since(began_s)[-1]
    assert len(last) == 3
    assert {stage.sls[2].uid, stage.sls[3].uid} < last
    stage.heal(fault)
    stage.end()
    assert len(finals(stage)) == 1


def test_r024_peers_that_reach_each_other_only_by_a_third_end_alike():
    stage = Stage(peers=3, min_peers=2, rounds=20)
    stage.begin()
    fault = stage.cut([stage.sls[0]], [stage.sls[2]])
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 4, 4 * ROUND_S)
    stage.heal(fault)
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "faults", [("clog",), ("loss", "duplicate", "reorder", "delay")], ids=["r025_clogs", "r026_messages"]
)
def test_r025_r026_whatever_links_do_all_promises_hold(faults, seed):
    report = run(seed, lean=Lean(faults=faults))
    assert report.clean, ([str(each) for each in report.violations], report.open, report.failed)
    assert all(report.faults[kind] for kind in faults)


def test_r034_a_leader_whose_disk_is_full_hands_over_and_takes_part_again_when_there_is_room():
    stage = Stage(sns=3, rounds=30)
    stage.begin()
    full = stage.leader
    full.disk.full = True
    head, others = full.orderer.head, [sn for sn in stage.sns if sn is not full]
    stage.until(lambda: stage.leads(but=full) and full.orderer.role != "leader", 5.0)
    stage.until(lambda: min(sn.orderer.head for sn in others) > head, 10.0)
    full.disk.full = False
    stage.until(lambda: full.disk.last_index == stage.leader.disk.last_index, 10.0)
    stage.end()


def test_r036_a_network_node_with_a_damaged_ledger_comes_back_as_another_and_loses_nothing():
    stage = Stage(sns=3, rounds=30)
    stage.begin()
    victim = next(sn for sn in stage.sns if sn is not stage.leader)
    before = victim.uid
    victim.disk.damaged = True
    victim.crash(power=False)
    victim.start()
    assert victim.uid != before
    stage.until(lambda: victim.orderer.head == stage.leader.orderer.head > 0, 20.0)
    stage.end()


def test_r038_a_model_that_does_not_match_its_digest_is_fetched_anew():
    stage = Stage(peers=3)
    stage.begin()
    node = stage.sls[2]
    node.crash(power=False)
    stage.wait(1.0)
    base = stage.commits[-1][6]
    assert node.disk.flip_bit(base)
    node.start()
    began_s = stage.world.now_s
    stage.until(lambda: bool(stage.commits_since(began_s)), ROUND_S)
    assert digest_of(node.disk.files[base].values) == base
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
@pytest.mark.parametrize("sns", [1, 3])
def test_r040_a_clock_that_is_an_hour_off_stops_no_round_and_ends_no_lease(sns, skew_s):
    stage = Stage(sns=sns, rounds=30)
    stage.begin()
    off = stage.leader
    off.skew_s = skew_s
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 5, ROUND_S)
    if sns > 1:
        assert stage.leader is not off
    stage.end()
    assert len(stage.facts("SlotAssigned")) == 2
    assert not [fact for fact in stage.facts("own_proposal") if fact[3] in ("NodeLost", "LeaseEnded")]


@pytest.mark.parametrize("sns", [1, 3])
def test_r040_a_clock_that_is_400_days_ahead_for_a_moment_moves_no_entry(sns):
    stage = Stage(sns=sns, rounds=30)
    stage.begin()
    off = stage.leader
    off.skew_s = 400 * 86400.0
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 3, ROUND_S)
    off.skew_s = 0.0
    assert stage.leader.orderer.ledger.time <= off.wall_ms
    stage.end()


def test_r055_who_spoils_one_owner_s_shard_is_left_out_of_its_rounds_and_nobody_else_is():
    stage = Stage(peers=5)
    stage.begin()
    evil, honest = stage.sls[4], {node.uid for node in stage.sls[:4]}
    evil.spoils.append(stage.sls[0].uid)
    began_s = stage.world.now_s
    stage.until(lambda: any(evil.uid not in members for members in stage.commits_since(began_s)), ROUND_S)
    stage.until(lambda: len(stage.commits_since(began_s)) >= 3, 3 * ROUND_S)
    assert all(honest <= members for members in stage.commits_since(began_s))
    assert {uid for *_, uid, what in stage.facts("MemberGone") if what == "dropped"} == {evil.uid}
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize(("peers", "liars"), [(3, 1), (5, 2)])
def test_r063_who_is_ready_with_another_result_whenever_it_may_ends_few_rounds_and_all_end_alike(peers, liars):
    stage = Stage(peers=peers, min_peers=2, rounds=24)
    stage.begin()
    false = stage.sls[-liars:]
    for node in false:
        node.lies["ready"] = 1.0
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 12, 16 * ROUND_S)
    for members in stage.commits_since(began_s):
        assert {node.uid for node in stage.sls[:-liars]} <= members, "nobody who tells the truth is left out"
    assert 1 <= len([fact for fact in stage.facts("Aborted") if fact[1] >= began_s]) <= 4 * liars
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize(("old", "new"), [(FIRST_RULES, 2), (KNOWN - 1, KNOWN)])
def test_r095_nodes_are_upgraded_one_by_one_and_newer_rules_hold_when_the_last_one_is(old, new):
    stage = Stage(sns=3, rounds=60)
    everybody = [*stage.sns, *stage.sls, *stage.swops, stage.swci]
    for process in everybody:
        process.rules = old
    stage.begin()
    for process in everybody:
        assert not stage.proposed("ProtocolActivated")
        assert {sn.orderer.ledger.rules.active for sn in stage.sns} == {old}
        process.crash(power=False)
        stage.wait(1.0)
        process.rules = new
        process.start()
        began_s = stage.world.now_s
        stage.until(lambda at_s=began_s: len(stage.commits_since(at_s)) >= 2, ROUND_S)
    stage.until(lambda: all(sn.orderer.ledger.rules.active == new for sn in stage.sns), SETTLED_S + ROUND_S)
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 2, ROUND_S)
    follower = next(sn for sn in stage.sns if sn is not stage.leader)
    follower.crash(power=False)
    follower.rules = old
    follower.start()
    with pytest.raises(Outdated, match=f"follows rules version {new}, this release.* knows version {old}"):
        stage.wait(ROUND_S)  # at the latest when who leads has said how much is committed
    follower.crash(power=False)
    follower.rules = new
    follower.start()
    stage.end()
    assert len(finals(stage)) == 1


@pytest.mark.parametrize("sns", [1, 3])
def test_r098_a_day_that_all_clocks_jump_back_is_not_noticed(sns):
    stage = Stage(sns=sns, rounds=30)
    stage.begin()
    for process in stage.weather.everybody:
        process.skew_s = -86400.0
    began_s = stage.world.now_s
    stage.until(lambda: len(stage.commits_since(began_s)) >= 5, 15.0)
    assert not [fact for fact in stage.facts("Aborted") if fact[1] >= began_s]
    assert not [fact for fact in stage.facts("own_proposal") if fact[3] in ("NodeLost", "LeaseEnded")]
    for process in stage.weather.everybody:  # else the end of faults sets them right
        process.skew_s = -86400.0
    stage.end()
