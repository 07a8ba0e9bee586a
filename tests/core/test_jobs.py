"""Jobs: what is submitted is leased and ends, whoever is lost meanwhile; whose it is, and when it may be forgotten."""

from __future__ import annotations

import random

import pytest

from swarm.core import jobs
from swarm.core.jobrun import JobRun
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.jobscene import JobScene, slots
from tests.core.scene import restored


def test_a_job_is_leased_by_the_entry_that_submits_it_and_done_by_the_last_report():
    scene = JobScene(1)
    run = scene.submit()
    (slot,) = slots(run)
    assert (slot.state, slot.fence, slot.attempt, run.state) == ("assigned", scene.ledger.head_index, 1, "running")
    for state in ("starting", "running", "done"):
        scene.ends(slot, state)
        assert slot.state == state
    assert run.state == scene.ledger.tasks["job"].state == "done"
    assert 0 < slot.started_ms < slot.ended_ms == run.ended_ms


def test_the_next_waits_for_room_and_knows_how_many_are_before_it():
    scene = JobScene(1)
    jobs = scene.ledger.board.jobs
    first, second, third = (scene.submit(name) for name in ("a", "b", "c"))
    assert [run.state for run in (first, second, third)] == ["running", "queued", "queued"]
    assert [jobs.position(run) for run in (first, second, third)] == [None, 0, 1]
    assert jobs.positions() == {second.number: 0, third.number: 1}
    assert jobs.placing.waits_for(second, 0) == "0 tasks ahead; needs 1 cpu: swop-1 (a) has 0 of 1 cpu free"
    assert jobs.placing.waits_for(third, 1) == "1 task ahead; needs 1 cpu: swop-1 (a) has 0 of 1 cpu free"
    scene.ends(*slots(first))
    assert (second.state, jobs.position(third)) == ("running", 0)


def test_what_waits_for_room_says_what_it_needs_and_who_has_most_of_it():
    scene = JobScene(2, 4, gpu=1)
    placing = scene.ledger.board.jobs.placing
    scene.submit(slots=3)
    assert [(each.cpu, each.gpus) for each in placing.free().values()] in ([(0, [0]), (3, [0])], [(1, [0]), (2, [0])])
    gang = scene.submit("gang", slots=4, gang=True)
    said = placing.waits_for(gang, 0)
    assert said.startswith("0 tasks ahead; needs 4 cpu at once: swop-2 (a) has "), "swop-1 has not so many in all"
    assert said.endswith(" of 4 cpu free")
    scene.stop("gang")
    scene.submit("gpus", slots=2, gpu=1)
    last = scene.submit("last", gpu=1)
    free = placing.free()
    assert placing.waits_for(last, 0, free) == placing.waits_for(last, 0)
    assert placing.waits_for(last, 0).endswith(" cpu and 0 of 1 gpu free, the most of 2 operators")
    for operator in scene.operators:
        scene.offer_room(operator, 1, 1)  # less than it has given away
    assert placing.waits_for(last, 0).startswith("0 tasks ahead; needs 1 cpu and 1 gpu: ")
    assert " has 0 of 1 cpu and 0 of 1 gpu free" in placing.waits_for(last, 0)


def test_an_operator_that_is_lost_loses_its_slots_when_their_leases_end():
    scene = JobScene(1, 1)
    run = scene.submit(slots=2)
    (slot,) = (slot for slot in slots(run) if slot.swop == scene.operators[0].uid)
    lost = {"uid": scene.operators[0].uid, "incarnation": scene.operators[0].incarnation, "reason": "silent"}
    assert scene.say(scene.sn, "NodeLost", lost).accepted
    assert (slot.state, slot.leased) == ("lost", True)
    fence = slot.fence
    assert scene.end_lease(slot).accepted
    assert (slot.state, slot.reason[:14]) == ("waiting", "attempt 1 lost")
    old = scene.report(scene.operators[0], slot, "done")
    assert not old.accepted, "nobody takes a result of a lease that is over"
    scene.ends(next(other for other in slots(run) if other is not slot))
    assert (slot.swop, slot.attempt) == (scene.operators[1].uid, 2)
    assert slot.fence > fence
    scene.ends(slot)
    assert run.state == "done"


def test_which_task_needs_it_is_said_alike_by_a_restored_ledger():
    scene = JobScene(1)
    run = scene.submit()
    for name in ("z", "a"):
        assert scene.create(name, prereq="job").accepted
    scene.ends(*slots(run))
    said = "task job is the prerequisite of z: it cannot be deleted"
    assert scene.delete().reason == said
    scene.ledger = restored(scene.ledger)
    assert scene.delete().reason == said


def test_only_the_organisation_that_submitted_a_task_ends_or_deletes_it():
    scene = JobScene(1)
    run = scene.submit()
    for kind in ("JobsStopped", "JobsRetried", "JobsDeleted"):
        outcome = scene.say(scene.other_swci, kind, {"task": "job"})
        assert "only the organisation that submitted it may" in outcome.reason
    assert scene.delete().reason == "task job is running: it cannot be deleted"
    assert scene.say(scene.swci, "JobsStopped", {"task": "jib"}).reason == (
        "there is no task of jobs jib: it cannot be stopped"
    )
    scene.ends(*slots(run))
    assert scene.delete().accepted
    assert scene.submit().id == 2, "its name is free, its id is not given again"


def test_a_task_of_jobs_is_assigned_to_no_taskrunner():
    scene = JobScene(1)
    scene.ends(*slots(scene.submit()))
    assert scene.assign(1, task="job").reason == (
        "task job is of jobs: it runs when operators have room, and is assigned to nobody"
    )


def test_names_are_unique_and_a_refusal_leaves_nothing():
    scene = JobScene(1)
    scene.submit()
    before = scene.ledger.board.to_state()
    for fields in ({"name": "job"}, {"taskrunner": "nowhere"}, {"terms": {"slots": 0}}):
        body = {
            "taskrunner": DEFAULT_NAME,
            "name": "other",
            "author": "alice",
            "terms": {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0},
            "body": {},
            **fields,
        }
        assert not scene.say(scene.swci, "JobsSubmitted", body).accepted
    assert scene.ledger.board.to_state() == before


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_every_slot_ends_once_and_nothing_is_held_for_nobody(seed):
    """Operators come, go and lie; in the end every task is over, and no slot was done twice."""
    chance = random.Random(seed)
    scene = JobScene(*(chance.randint(1, 3) for _ in range(3)))
    runs: list[JobRun] = []
    done: set[str] = set()
    for step in range(120):
        board = scene.ledger.board
        leases = list(board.jobs.leases())
        match chance.randrange(8):
            case 0 if len(runs) < 8:
                gang = chance.random() < 0.3
                shape = {"slots": chance.randint(1, 3 if gang else 6), "gang": gang, "restart": chance.randint(0, 2)}
                draft = chance.random() < 0.3
                runs.append(scene.submit(f"t{step}", **shape, probe=0 if gang else chance.randint(0, 1), draft=draft))
            case 1 if runs and chance.random() < 0.3:
                scene.say(scene.swci, chance.choice(["JobsStopped", "JobsRetried"]), {"task": chance.choice(runs).task})
            case 2 if unstarted := [run for run in runs if run.unstarted]:
                scene.say(scene.swci, chance.choice(["JobsFinalized", "JobsStarted"]), {"task": unstarted[0].task})
            case 2:
                scene.offer_room(chance.choice(scene.operators), chance.randint(0, 3))
            case 3:
                who = chance.choice(scene.operators)
                node = scene.ledger.nodes[who.uid]
                lost = {"uid": who.uid, "incarnation": node.incarnation, "reason": "silent"}
                if scene.say(scene.sn, "NodeLost", lost).accepted and chance.random() < 0.6:
                    for slot in board.jobs.leases_of(who.uid):
                        scene.end_lease(slot)
            case _ if leases:
                slot = chance.choice(leases)
                operator = next(each for each in scene.operators if each.uid == slot.swop)
                state = "stopped" if slot.ending else chance.choice(["starting", "running", "done", "done", "failed"])
                gang = board.jobs.runs[slot.run].terms.gang
                said = scene.report(operator, slot, state).accepted
                if said and not slot.leased and slot.state == state:
                    stands = board.jobs.to_state()
                    assert scene.report(operator, slot, state).accepted
                    assert board.jobs.to_state() == stands, "the last word again has changed something"
                if said and state == "done" and not gang:
                    assert slot.id not in done, "done twice"
                    done.add(slot.id)
    restored(scene.ledger)
    for operator in scene.operators:
        scene.offer_room(operator, 9)
    for run in [run for run in runs if run.unstarted]:
        scene.finalize(run.task)
        assert scene.start(run.task).accepted
    while leases := list(scene.ledger.board.jobs.leases()):
        for slot in leases:
            if slot.leased:
                scene.ends(slot, "stopped" if slot.ending else "done")
    assert all(run.over for run in runs), [(run.task, run.state) for run in runs]


def test_jobs_that_need_nothing_of_an_operator_are_refused():
    scene = JobScene(1)
    with pytest.raises(AssertionError, match="the terms of jobs"):
        scene.submit("j", slots=1000, cpu=0)
    assert scene.ledger.board.jobs.runs == {}


def test_an_organisation_has_no_more_jobs_in_the_ledger_than_every_node_can_keep(monkeypatch):
    monkeypatch.setattr(jobs, "KEPT_MAX", 10)
    scene = JobScene(1)
    scene.submit("first", slots=6)
    with pytest.raises(AssertionError, match="has 6 jobs in the ledger, and 5 more are over 10"):
        scene.submit("second", slots=5)
    scene.stop("first")
    for slot in list(scene.ledger.board.jobs.leases()):
        scene.ends(slot, "stopped")
    assert scene.delete("first").accepted
    assert len(scene.submit("second", slots=5).slots) == 5


@pytest.mark.parametrize("rules", [2, 3])
def test_no_task_is_named_like_the_id_of_another(rules: int) -> None:
    scene = JobScene(rules=rules)
    body = {"taskrunner": DEFAULT_NAME, "author": "alice", "body": {"Command": ["x"]}}
    body["terms"] = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0}
    refused = scene.say(scene.swci, "JobsSubmitted", {**body, "name": "2"})
    assert refused.accepted == (rules == 2)
    assert (rules == 2) != ("and not of digits alone: that is an id" in refused.reason)
    assert scene.say(scene.swci, "JobsSubmitted", {**body, "name": "2b"}).accepted
