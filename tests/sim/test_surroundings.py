"""What the simulator does to the product could happen to it: no more than is promised against, and in an order that the
product's own surroundings keep. Worlds that got stuck over less are no finding."""

from __future__ import annotations

from random import Random

import pytest

from swarm.core.asking import Installed
from swarm.core.ordering import Append, Stored
from swarm.core.snapshot import Snapshot
from tests.core.consensus_world import entry
from tests.sim.disk import SnDisk
from tests.sim.stage import Stage


def test_an_operator_that_stands_still_as_it_starts_a_worker_hears_of_the_start_before_the_end():
    stage = Stage()
    for process in stage.weather.everybody:
        process.start()
    while not stage.facts("worker_started"):
        stage.wait(0.001)
    operator = stage.swops[0]
    operator.pause()
    stage.wait(max(operator.work_s))
    operator.resume()
    stage.end()
    assert stage.facts("TaskChanged")[-1][-1] == "done"


@pytest.mark.parametrize(("sns", "voters", "may_go"), [(2, 1, 0), (5, 4, 1), (5, 5, 2)])
def test_no_more_voters_lose_their_ledger_than_the_others_can_decide_without(sns, voters, may_go):
    stage = Stage(sns=sns)
    for process in stage.weather.everybody:
        process.start()
    stage.until(lambda: all(len(sn.orderer.consensus.voters) == voters for sn in stage.sns), 10.0)
    gone = 0
    while spare := [sn for sn in stage.sns if not sn.disk.damaged and stage.weather.is_spare(sn)]:
        spare[0].disk.damaged = True
        spare[0].crash(power=False)
        gone += 1
    assert gone == may_go
    stage.end()


def test_who_is_being_removed_is_none_that_the_others_decide_with():
    stage = Stage(sns=3)
    stage.begin(0)
    removed, other, _ = stage.sns
    assert stage.weather.is_spare(other)
    stage.weather.leaving.add(removed.uid)
    assert not stage.weather.is_spare(other)
    assert stage.weather.is_spare(removed)


def test_the_log_is_shown_as_it_was_until_the_machine_hears_that_a_snapshot_has_taken_its_place():
    disk = SnDisk(Random(1), lambda *_: None)
    first = entry(1, 1, b"", b"first")
    disk.submit(Append(1, 1, "sn-1", 0, (first,)))
    disk.submit(Snapshot(5, 1, bytes(32), ("sn-1",), b"", ""))
    disk.submit(Append(2, 2, "sn-2", 0, ()))
    assert disk.begin() > 0.0
    shown = [(type(done), disk.last_index, disk.first_index) for done in disk.end()]
    assert shown == [(Stored, 1, 1), (Installed, 5, 6), (Stored, 5, 6)]
