"""The run of a task of jobs: what an attempt's end means for the slot, its gang, the testers and the task."""

from __future__ import annotations

import msgpack

from swarm.core.events import TaskGone
from swarm.core.jobrun import JobRun
from tests.core.jobscene import JobScene, slots, states


def test_a_gang_fails_with_any_of_its_ranks_and_the_others_are_ended_first():
    scene = JobScene(3)
    gang = scene.submit(slots=3, gang=True)
    for slot in slots(gang):
        scene.ends(slot, "running")
    scene.ends(slots(gang)[2], "failed", "its program was killed by SIGKILL")
    assert states(gang) == ["running", "running", "failed"]
    assert gang.state == "running", "something of it still runs"
    why = "rank 2 failed: its program was killed by SIGKILL"
    assert slots(gang)[0].ending == f"{why}; the others were stopped"
    for slot in slots(gang)[:2]:
        scene.ends(slot, "stopped", slot.ending)
    assert (gang.state, gang.reason) == ("failed", why)
    assert states(gang) == ["stopped", "stopped", "failed"]


def test_a_gang_is_tried_again_as_a_whole():
    scene = JobScene(2)
    gang = scene.submit(slots=2, gang=True, restart=1)
    scene.ends(slots(gang)[0], "done")
    scene.ends(slots(gang)[1], "failed", "exit code 3")
    assert states(gang) == ["assigned"] * 2
    assert [slot.attempt for slot in slots(gang)] == [2, 2]
    scene.ends(slots(gang)[0], "failed", "exit code 4")
    scene.ends(slots(gang)[1], "done")
    assert (gang.state, gang.reason) == ("failed", "rank 0 failed: exit code 4")


def test_a_slot_that_failed_is_tried_again_as_often_as_the_task_says():
    scene = JobScene(1)
    run = scene.submit(slots=2, restart=2)
    for _ in range(3):
        scene.ends(slots(run)[0], "failed", "exit code 3")
    assert states(run) == ["failed", "assigned"]
    scene.ends(slots(run)[1])
    assert (run.state, run.reason) == ("partial", "1 of 2 jobs failed; job 0: exit code 3")
    assert slots(run)[0].attempt == 3


def test_testers_come_first_and_when_they_succeed_all_others_do():
    scene = JobScene(4)
    run = scene.submit(slots=5, probe=2)
    assert (run.state, states(run)) == ("testing", ["assigned"] * 2 + ["waiting"] * 3)
    scene.ends(slots(run)[1])
    assert states(run)[2:] == ["waiting"] * 3
    scene.ends(slots(run)[0])
    assert (run.state, states(run)) == ("running", ["done"] * 2 + ["assigned"] * 3)


def test_when_a_tester_fails_the_rest_never_starts():
    scene = JobScene(4)
    run = scene.submit(slots=5, probe=2)
    scene.ends(slots(run)[0], "failed", "exit code 3")
    assert states(run) == ["failed", "assigned"] + ["stopped"] * 3
    scene.ends(slots(run)[1], "stopped", slots(run)[1].ending)
    assert (run.state, run.reason) == ("failed", "tester 0 failed: exit code 3")


def test_a_stop_ends_what_runs_before_the_task_is_stopped_and_a_retry_leaves_what_is_done():
    scene = JobScene(2)
    run = scene.submit(slots=4)
    scene.ends(slots(run)[0])
    assert scene.stop().accepted
    assert states(run) == ["done", "assigned", "assigned", "stopped"]
    assert run.state == "running"
    for slot in slots(run)[1:3]:
        scene.ends(slot, "stopped", slot.ending)
    assert (run.state, run.reason) == ("stopped", f"stopped by {scene.swci.identity}")
    assert scene.stop().reason == "task job is stopped: there is nothing to stop"
    assert scene.retry().accepted
    assert states(run) == ["done", "assigned", "assigned", "waiting"]
    for number in (1, 2, 3):
        scene.ends(slots(run)[number])
    assert run.state == "done"
    assert [slot.attempt for slot in slots(run)] == [1, 2, 2, 1]


def test_an_operator_that_declines_is_not_asked_again():
    scene = JobScene(1, 1)
    run = scene.submit(slots=2)
    first = scene.operators[0]
    assert scene.say(
        first, "TaskDeclined", {"run": run.number, "reason": "not ours", "hint": "--accept-org b"}
    ).accepted
    assert states(run).count("waiting") == 1
    other = next(slot for slot in slots(run) if slot.state == "assigned")
    scene.ends(other)
    assert {slot.swop for slot in slots(run)} == {scene.operators[1].uid}


def test_a_kill_is_a_stop_without_time_to_end_in_also_behind_a_stop():
    scene = JobScene(2)
    run = scene.submit(slots=3)
    assert scene.stop().accepted
    assert not run.killed
    assert scene.stop(kill=True).accepted
    assert (run.killed, states(run)) == (True, ["assigned", "assigned", "stopped"])
    restored = JobRun.from_state(msgpack.unpackb(msgpack.packb(run.to_state())))
    assert restored.killed
    for slot in slots(run)[:2]:
        scene.ends(slot, "stopped", "killed")
    assert (run.state, run.reason) == ("stopped", f"stopped by {scene.swci.identity}")
    refused = scene.stop(kill=True)
    assert refused.reason == "task job is stopped: there is nothing to kill"
    assert scene.retry().accepted
    assert not run.killed
    assert scene.stop(kill=True).accepted
    for slot in [slot for slot in slots(run) if slot.leased]:
        scene.ends(slot, "stopped", "killed")
    assert run.reason.startswith("killed by ")
    assert scene.delete(outputs=True).accepted
    assert scene.events[-1] == TaskGone("job", run.number, True)
