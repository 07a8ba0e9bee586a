"""Jobs: who gets which slot when, what an attempt's end means for the task, and that nothing runs twice."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from swarm.core import jobs
from swarm.core.events import TaskGone
from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.ledger import Ledger
from swarm.core.rules import KNOWN
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.scene import Actor
from tests.core.tasks import TaskScene


class JobScene(TaskScene):
    """One with operators that take jobs, ``cpu`` at a time each."""

    def __init__(self, *cpu: int, gpu: int = 0, rules: int = KNOWN) -> None:
        super().__init__(rules=rules)
        self.operators = [Actor("swop", f"swop-{number}", "a") for number in range(1, len(cpu) + 1)]
        for operator, count in zip(self.operators, cpu, strict=True):
            assert self.join(operator).accepted
            self.offer_room(operator, count, gpu)

    def offer_room(self, operator: Actor, cpu: int, gpu: int = 0) -> None:
        body = {"taskrunner": DEFAULT_NAME, "group": "g", "peers": 1, "cpu": cpu, "gpu": gpu}
        assert self.say(operator, "SwopListening", body).accepted

    def submit(self, name: str = "job", *, by: Actor | None = None, draft: bool = False, **terms: Any) -> JobRun:
        asked = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0, **terms}
        body = {"taskrunner": DEFAULT_NAME, "name": name, "author": "alice", "terms": asked, "body": {"Command": ["x"]}}
        outcome = self.say(by or self.swci, "JobsSubmitted", {**body, **({"draft": True} if draft else {})})
        assert outcome.accepted, outcome.reason
        return self.ledger.board.jobs.runs[outcome.result["run"]]

    def ends(self, slot: JobSlot, state: str = "done", reason: str = "") -> None:
        operator = next(each for each in self.operators if each.uid == slot.swop)
        outcome = self.report(operator, slot, state, reason)
        assert outcome.accepted, outcome.reason

    def stop(self, name: str = "job", **more: bool) -> Any:
        return self.say(self.swci, "JobsStopped", {"task": name, **more})

    def retry(self, name: str = "job") -> Any:
        return self.say(self.swci, "JobsRetried", {"task": name})

    def finalize(self, name: str = "job") -> Any:
        return self.say(self.swci, "JobsFinalized", {"task": name})

    def start(self, name: str = "job") -> Any:
        return self.say(self.swci, "JobsStarted", {"task": name})

    def delete(self, name: str = "job", **more: bool) -> Any:
        return self.say(self.swci, "JobsDeleted", {"task": name, **more})


def states(run: JobRun) -> list[str]:
    return [slot.state for slot in run.slots.values()]


def slots(run: JobRun) -> list[JobSlot]:
    return list(run.slots.values())


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
    assert jobs.placing.waits_for(third, 1) == "1 task ahead"
    scene.ends(*slots(first))
    assert (second.state, jobs.position(third)) == ("running", 0)


def test_an_operator_gets_no_more_than_it_offers_and_may_change_its_mind():
    scene = JobScene(2)
    run = scene.submit(slots=5)
    assert states(run) == ["assigned"] * 2 + ["waiting"] * 3
    scene.offer_room(scene.operators[0], 4)
    assert states(run) == ["assigned"] * 4 + ["waiting"]
    scene.offer_room(scene.operators[0], 1)
    for slot in slots(run)[:3]:
        scene.ends(slot)
    assert states(run) == ["done"] * 3 + ["assigned", "waiting"], "what runs goes on, nothing is added"
    scene.ends(slots(run)[3])
    scene.ends(slots(run)[4])
    assert (run.state, run.reason) == ("done", "5 of 5 jobs completed")


def test_a_gpu_is_one_jobs_own_and_a_job_that_nobody_has_room_for_says_so():
    scene = JobScene(4, gpu=2)
    run = scene.submit(slots=3, gpu=1)
    assert [slot.gpus for slot in slots(run)] == [(0,), (1,), ()]
    assert scene.submit("cpu").state == "running", "it does not wait behind those that want a GPU"
    scene.ends(slots(run)[0])
    assert slots(run)[2].gpus == (0,)
    wide = scene.submit("wide", cpu=9)
    said = scene.ledger.board.jobs.placing.waits_for(wide, 0)
    assert said == "no operator has room for 9 cpu and 0 gpu at once: the largest has 4 and 2"


def test_users_have_equal_shares():
    scene = JobScene(1)
    mine = scene.submit("mine", slots=3)
    theirs = scene.submit("theirs", by=scene.other_swci, slots=3)
    order = []
    for _ in range(6):
        (slot,) = scene.ledger.board.jobs.leases()
        order.append(slot.task)
        scene.ends(slot)
    assert (mine.state, theirs.state) == ("done", "done")
    assert sorted(order) == ["mine"] * 3 + ["theirs"] * 3
    two = JobScene(2)
    two.submit("mine", slots=4)
    late = two.submit("theirs", by=two.other_swci, slots=4)
    two.ends(next(iter(two.ledger.board.jobs.leases())))
    assert late.leased == 1, "who has less comes first, whoever was there before"


def test_a_gang_gets_all_its_slots_at_one_operator_or_none():
    scene = JobScene(3, 2)
    first = scene.submit("first", slots=2)
    gang = scene.submit("gang", slots=3, gang=True)
    behind = scene.submit("behind", slots=3)
    assert states(gang) == ["waiting"] * 3
    assert [slot.swop for slot in slots(behind)].count(scene.operators[0].uid) == 0, "its room is kept for the gang"
    for slot in slots(first):
        scene.ends(slot)
    assert states(gang) == ["assigned"] * 3
    assert {slot.swop for slot in slots(gang)} == {scene.operators[0].uid}
    assert len({slot.fence for slot in slots(gang)}) == 1
    assert [slot.role for slot in slots(gang)] == ["master", "worker", "worker"]


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


def test_which_task_needs_it_is_said_alike_by_a_restored_ledger():
    scene = JobScene(1)
    run = scene.submit()
    for name in ("z", "a"):
        assert scene.create(name, prereq="job").accepted
    scene.ends(*slots(run))
    said = "task job is the prerequisite of z: it cannot be deleted"
    assert scene.delete().reason == said
    scene.ledger = Ledger.restore(msgpack.unpackb(msgpack.packb(scene.ledger.snapshot()), strict_map_key=False))
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
            case 2 if held := [run for run in runs if run.held]:
                scene.say(scene.swci, chance.choice(["JobsFinalized", "JobsStarted"]), {"task": held[0].task})
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
                if scene.report(operator, slot, state).accepted and state == "done" and not gang:
                    assert slot.id not in done, "done twice"
                    done.add(slot.id)
    plain = msgpack.unpackb(msgpack.packb(scene.ledger.snapshot(), use_bin_type=True), raw=False, strict_map_key=False)
    assert Ledger.restore(plain).digest() == scene.ledger.digest()
    for operator in scene.operators:
        scene.offer_room(operator, 9)
    for run in [run for run in runs if run.held]:
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


@pytest.mark.parametrize("rules", [2, 3])
def test_no_task_is_named_like_the_id_of_another(rules: int) -> None:
    scene = JobScene(rules=rules)
    body = {"taskrunner": DEFAULT_NAME, "author": "alice", "body": {"Command": ["x"]}}
    body["terms"] = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0}
    refused = scene.say(scene.swci, "JobsSubmitted", {**body, "name": "2"})
    assert refused.accepted == (rules == 2)
    assert (rules == 2) != ("and not of digits alone: that is an id" in refused.reason)
    assert scene.say(scene.swci, "JobsSubmitted", {**body, "name": "2b"}).accepted
