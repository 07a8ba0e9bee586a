"""What the simulator does to the product could happen to it: no more than is promised against, and in an order that the
product's own surroundings keep. Worlds that got stuck over less are no finding."""

from __future__ import annotations

import pytest

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
