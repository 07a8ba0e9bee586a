"""Runs: who gets which slots, exactly once; when a task is done, when it cannot be any more; reset and retry."""

import pytest

from swarm.core.events import SlotAssigned, TaskrunnerCleared
from swarm.core.task import WORDS
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.scene import Actor
from tests.core.tasks import TASK, TaskScene


def running(operators=2, peers=1, needed=2):
    scene = TaskScene(operators, peers)
    scene.final()
    assert scene.assign(needed).result["state"] == "running"
    return scene


# ---- who gets slots


def test_every_learning_node_of_every_operator_gets_one_slot():
    scene = running(2, peers=2, needed=3)
    number = scene.run.number
    one, two = scene.operators
    assert [(slot.id, slot.swop, slot.index, slot.fence, slot.attempt) for slot in scene.run.slots.values()] == [
        (f"{number}.0", one.uid, 0, number, 1),
        (f"{number}.1", one.uid, 1, number, 1),
        (f"{number}.2", two.uid, 0, number, 1),
        (f"{number}.3", two.uid, 1, number, 1),
    ]
    assigned = [event for event in scene.events if isinstance(event, SlotAssigned)]
    assert assigned == [slot.assigned() for slot in scene.run.slots.values()]
    assert (scene.run.active, scene.run.completed, scene.run.failed, scene.run.peer_type) == (4, 0, 0, "SL")


def test_tasks_that_prepare_hosts_get_one_slot_an_operator():
    scene = TaskScene(2, peers=4)
    scene.final(type="MAKE_USER_CONTAINER")
    assert scene.assign("all").result["peers"] == 2
    assert len(scene.run.slots) == 2
    assert scene.run.peer_type == "SWOP"


def test_all_peers_are_those_that_listen_by_now():
    scene = TaskScene(2, peers=3)
    scene.final()
    assert scene.assign("all").result["peers"] == 6
    nobody = TaskScene()
    nobody.final()
    assert "nobody listens on taskrunner" in nobody.assign("all").reason
    assert nobody.taskrunner.current is None


def test_a_task_waits_for_its_peers_and_begins_once_with_them():
    scene = TaskScene(1)
    scene.final()
    outcome = scene.assign(2)
    assert outcome.result["state"] == "queued"
    assert (scene.run.word, scene.run.reason) == ("RUNNING", "waits for 1 more of the 2 SL peers asked for")
    assert scene.ledger.tasks[TASK].state == "queued"
    scene.operator(2)
    assert scene.run.state == "running"
    assert {slot.fence for slot in scene.run.slots.values()} == {scene.ledger.head_index}
    assert len(scene.run.slots) == 2
    scene.operator(3)
    scene.listen(scene.operators[0])
    assert len(scene.run.slots) == 2


def test_a_queued_task_says_when_one_that_it_counted_on_is_gone():
    scene = TaskScene(1)
    scene.final()
    scene.assign(2)
    scene.lose(scene.operators[0])
    assert scene.run.reason == "waits for 2 more of the 2 SL peers asked for"
    scene.operator(2)
    assert scene.run.state == "queued"
    scene.join(scene.operators[0])
    assert scene.run.state == "running"


def test_an_operator_that_restarted_takes_part_once_it_listens_again():
    scene = TaskScene(1)
    scene.final()
    (swop,) = scene.operators
    swop.restart()
    scene.join(swop)
    assert scene.assign(1).result["state"] == "queued"
    scene.lose(swop)
    scene.join(swop)
    assert scene.run.state == "queued"
    scene.listen(swop)
    assert scene.run.state == "running"


def test_an_operator_listens_on_one_taskrunner():
    scene = TaskScene(1)
    (swop,) = scene.operators
    assert "there is no taskrunner other" in scene.listen(swop, taskrunner="other").reason
    scene.say(scene.swci, "TaskrunnerCreated", {"name": "other"})
    assert scene.listen(swop, taskrunner="other").accepted
    assert list(scene.ledger.taskrunners["other"].listeners) == [swop.uid]
    assert not scene.taskrunner.listeners


def test_r079_an_assign_storm_makes_one_run():
    scene = running()
    before = scene.ledger.board.to_state()
    for _ in range(20):
        outcome = scene.assign(2)
        assert f"has task {TASK} (running): it takes one at a time" in outcome.reason
    assert scene.ledger.board.to_state() == before


@pytest.mark.parametrize(
    "asked", [{}, {"peers": 1, "target": "x" * 36}, {"peers": 0}, {"peers": 1001}, {"peers": "ALL"}]
)
def test_who_is_meant_is_said_in_exactly_one_way(asked):
    scene = TaskScene(1)
    scene.final()
    target = {"target": scene.operators[0].uid} if "target" in asked else {}
    assert (
        scene.say(scene.swci, "TaskAssigned", {"taskrunner": DEFAULT_NAME, "task": TASK, **asked, **target}).code == 2
    )


# ---- done, and failed


def test_a_task_is_done_when_as_many_peers_are_as_were_asked_for():
    scene = running(3, needed=2)
    slots = list(scene.run.slots.values())
    scene.report(scene.operators[0], slots[0], "done", exit_code=0)
    assert scene.run.state == "running"
    scene.report(scene.operators[1], slots[1], "done", exit_code=0)
    assert (scene.run.state, scene.run.word, scene.run.reason) == ("done", "COMPLETE", "2 of 2 peers completed")
    scene.report(scene.operators[2], slots[2], "failed", "exit code 3")
    assert scene.run.state == "done"
    assert scene.ledger.tasks[TASK].state == "done"
    assert (scene.run.active, scene.run.completed, scene.run.failed) == (0, 2, 1)


def test_a_task_goes_on_while_enough_can_complete_and_fails_as_soon_as_they_cannot():
    scene = running(3, needed=2)
    slots = list(scene.run.slots.values())
    scene.report(scene.operators[0], slots[0], "failed", "exit code 1")
    assert scene.run.state == "running"
    scene.report(scene.operators[1], slots[1], "failed", "exit code 3: ValueError: no data", exit_code=3)
    assert (scene.run.state, scene.run.word) == ("failed", "ERROR")
    assert scene.run.reason == (
        f"1 of the 2 peers asked for can still complete: slot {slots[1].id} of swop-2 (b) failed: "
        "exit code 3: ValueError: no data"
    )
    assert slots[2].leased, "the others are left alone until the taskrunner is reset"


def test_r077_a_declined_task_fails_with_the_reason_and_the_way_out():
    scene = running(2, peers=2, needed=4)
    hint = "run-swop --accept-org a"
    body = {"run": scene.run.number, "reason": "organisation a is not accepted here", "hint": hint}
    assert scene.say(scene.operators[1], "TaskDeclined", body).accepted
    assert {slot.state for slot in scene.slots(scene.operators[1])} == {"failed"}
    assert {slot.state for slot in scene.slots(scene.operators[0])} == {"assigned"}
    assert scene.run.state == "failed"
    said = f"declined by swarm://b/swop/swop-2: organisation a is not accepted here ({hint})"
    assert scene.run.reason.endswith(said)
    assert "has no slot of run" in scene.say(scene.operators[1], "TaskDeclined", body).reason


def test_what_runs_already_cannot_be_declined():
    scene = running()
    (slot,) = scene.slots(scene.operators[0])
    scene.report(scene.operators[0], slot, "running")
    body = {"run": scene.run.number, "reason": "", "hint": ""}
    assert not scene.say(scene.operators[0], "TaskDeclined", body).accepted
    assert slot.state == "running"


# ---- reset


def test_a_reset_lets_a_worker_finish_saving_and_stops_what_has_not_started():
    scene = running()
    run, (early, late) = scene.run, scene.run.slots.values()
    one, _ = scene.operators
    scene.report(one, early, "running")
    events = scene.told(scene.swci, "TaskrunnerReset", {"taskrunner": DEFAULT_NAME})
    assert events[0] == TaskrunnerCleared(DEFAULT_NAME, run.number, "swarm://a/swci/swci-1")
    assert (early.state, early.leased) == ("running", True)
    assert (late.state, late.leased, late.reason) == (
        "stopped",
        False,
        "the taskrunner was reset before it started",
    )
    assert scene.ledger.tasks[TASK].state == "stopped"
    assert scene.taskrunner.word == "IDLE"
    assert scene.taskrunner.leaving == [run]
    assert scene.report(one, early, "done", exit_code=0).result == {"state": "done", "cleared": True}
    assert scene.taskrunner.leaving == []
    assert "its slots have ended" in scene.report(one, early, "done").reason
    assert scene.ledger.tasks[TASK].state == "stopped"


def test_the_next_task_is_assigned_while_workers_of_the_one_before_still_save():
    scene = running()
    one, _ = scene.operators
    (slot,) = scene.slots(one)
    scene.report(one, slot, "running")
    scene.reset()
    assert scene.assign(2).accepted
    assert [each.state for each in scene.slots(one)] == ["running", "assigned"]
    assert scene.ledger.tasks[TASK].state == "running"
    scene.report(one, slot, "stopped", "ended after it had saved")
    assert scene.ledger.tasks[TASK].state == "running"
    assert len(scene.slots(one)) == 1


def test_a_reset_after_the_end_keeps_the_result():
    scene = running(1, needed=1)
    scene.report(scene.operators[0], scene.slots(scene.operators[0])[0], "done")
    scene.reset()
    assert scene.ledger.tasks[TASK].state == "done"
    assert scene.taskrunner.current is None
    assert scene.reset().result == {"run": 0}


def test_a_queued_task_can_be_taken_back():
    scene = TaskScene(1)
    scene.final()
    scene.assign(5)
    scene.reset()
    assert scene.ledger.tasks[TASK].state == "stopped"
    assert scene.assign(1).result["state"] == "running"


def test_another_organisation_without_part_in_the_task_may_not_reset_it():
    scene = TaskScene(1)
    scene.final()
    scene.assign(1)
    assert "neither assigned task" in scene.reset(by=scene.other_swci).reason
    assert scene.run.state == "running"
    scene.operator(2)
    assert scene.reset(by=scene.other_swci).accepted


# ---- an operator as target


def test_an_operator_is_added_to_a_running_task():
    scene = running(1, peers=2, needed=2)
    late = scene.operator(2, peers=2)
    assert len(scene.run.slots) == 2
    assert scene.target(late).accepted
    assert [slot.fence for slot in scene.slots(late)] == [scene.ledger.head_index] * 2
    assert "runs or has completed all its peers" in scene.target(late).reason
    assert scene.run.needed == 2


def test_an_operator_is_added_by_the_organisation_that_assigned_the_task_or_by_its_own():
    scene = running(1, needed=1)
    ours, theirs = scene.operator(3), scene.operator(2)
    assert "which another organisation assigned" in scene.assign(target=ours.uid, by=scene.other_swci).reason
    assert scene.assign(target=theirs.uid, by=scene.other_swci).accepted
    assert scene.target(ours).accepted


def test_a_target_alone_is_asked_for_its_own_peers():
    scene = TaskScene(2, peers=3)
    scene.final()
    assert scene.target(scene.operators[1]).result["peers"] == 3
    assert {slot.swop for slot in scene.run.slots.values()} == {scene.operators[1].uid}


def test_a_retry_leases_only_what_ended_without_success_under_a_new_fence():
    scene = running(1, peers=3, needed=3)
    (swop,) = scene.operators
    done, failed, alive = scene.slots(swop)
    scene.report(swop, done, "done")
    scene.report(swop, failed, "failed", "killed by signal 9", lines=["Killed"])
    assert scene.run.state == "failed"
    old = failed.fence
    assert scene.target(swop).accepted
    assert scene.run.state == "running"
    assert (failed.state, failed.attempt, failed.fence, failed.lines) == ("assigned", 2, scene.ledger.head_index, ())
    assert (done.state, done.attempt, alive.state, alive.attempt) == ("done", 1, "assigned", 1)
    refused = scene.report(swop, failed.id, "running")
    assert refused.accepted
    body = {"slot": failed.id, "fence": old, "state": "done", "reason": ""}
    assert f"fence {old} of slot {failed.id}" in scene.say(swop, "SlotReported", body).reason
    for slot in (failed, alive):
        scene.report(swop, slot, "done")
    assert scene.run.state == "done"


def test_a_target_has_to_listen_and_the_task_to_be_the_one_under_way():
    scene = running()
    stranger = Actor("swop", "swop-9")
    scene.join(stranger)
    outcome = scene.target(stranger)
    assert "does not listen on taskrunner" in outcome.reason
    assert f"swop-1 (a) {scene.operators[0].uid}" in outcome.hint
    scene.final("other")
    assert f"has task {TASK} (running), not other" in scene.target(scene.operators[0], "other").reason
    for swop in scene.operators:
        scene.report(swop, scene.slots(swop)[0], "done")
    assert "is done on taskrunner" in scene.target(scene.operators[0]).reason


def test_every_state_of_a_run_has_hpes_word():
    assert set(WORDS.values()) == {"IDLE", "RUNNING", "COMPLETE", "ERROR"}
