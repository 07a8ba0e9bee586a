"""Drafts: what is submitted as one begins when a person starts it, and not an entry sooner."""

from __future__ import annotations

import pytest

from swarm.core import joining
from swarm.core.events import Outcome, TaskChanged
from swarm.core.jobslot import JobSlot
from swarm.core.roles import Role
from swarm.core.task import TASK
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.jobscene import JobScene
from tests.core.rolescene import RoleScene, held, states, submitted
from tests.core.scene import Actor, restored
from tests.core.test_joining import FLAME, KEY
from tests.core.test_sweeps import SweepScene, member


def test_a_draft_has_no_slots_a_final_task_has_them_and_one_that_was_started_is_dealt():
    scene = JobScene(2)
    run = scene.submit(slots=2, draft=True)
    waits_for = scene.ledger.board.jobs.placing.waits_for
    assert (run.state, run.slots, scene.ledger.tasks["job"].final) == ("draft", {}, False)
    assert waits_for(run, None) == "waits to be finalized"
    assert restored(scene.ledger).board.jobs.runs[run.number] == run
    assert scene.finalize().result == {"id": 1, "state": TASK["draft", "finalized"]}
    assert ([slot.state for slot in run.slots.values()], run.counts) == (["waiting"] * 2, {"waiting": 2})
    assert waits_for(run, None) == "ready: waits to be started"
    scene.offer_room(scene.operators[0], 5)
    assert not list(scene.ledger.board.jobs.leases()), "whatever room there is"
    assert restored(scene.ledger).board.jobs.runs[run.number] == run
    later = scene.submit("later")
    assert later.state == "running", "nobody waits behind it"
    assert scene.start().result == {"id": 1, "state": "running"}
    assert [slot.state for slot in run.slots.values()] == ["assigned"] * 2
    assert scene.ledger.tasks["job"].finalizer == scene.swci.uid


def test_it_waits_for_room_behind_whatever_waited_when_it_was_started():
    """Or who submits many drafts early would go before everybody."""
    scene = JobScene(1)
    draft = scene.submit("draft", draft=True)
    assert scene.finalize("draft").accepted
    scene.submit("first")
    second = scene.submit("second")
    jobs = scene.ledger.board.jobs
    assert (jobs.position(draft), jobs.position(second)) == (None, 0)
    assert scene.start("draft").result == {"id": 1, "state": "queued"}
    assert (jobs.position(draft), jobs.position(second)) == (1, 0)
    assert jobs.positions() == {second.number: 0, draft.number: 1}
    scene.ledger = restored(scene.ledger)
    jobs, (first, *_) = scene.ledger.board.jobs, scene.ledger.board.jobs.leases()
    assert jobs.position(jobs.runs[draft.number]) == 1
    scene.ends(first)
    assert [slot.task for slot in jobs.leases()] == ["second"]


@pytest.mark.parametrize(
    ("state", "done", "said"),
    [
        ("draft", "start", "task job is a draft: only a final task can be started"),
        ("draft", "stop", "task job is draft: there is nothing to stop"),
        ("draft", "retry", "task job is draft: only one that is partial, failed or stopped can be retried"),
        ("final", "finalize", "task job is final already: only a draft can be finalized"),
        ("final", "delete", "task job is final: it cannot be deleted"),
        ("running", "finalize", "task job is running already: only a draft can be finalized"),
        ("running", "start", "task job is running: it was started already"),
        ("stopped", "start", "task job is stopped: it has ended"),
    ],
)
def test_what_is_said_of_it_at_the_wrong_time_is_refused_and_changes_nothing(state: str, done: str, said: str):
    scene = JobScene(1)
    scene.submit(draft=True)
    for step in {"draft": [], "final": ["finalize"], "running": ["finalize", "start"], "stopped": ["finalize", "stop"]}[
        state
    ]:
        assert getattr(scene, step)().accepted
    before = scene.ledger.board.to_state()
    assert getattr(scene, done)().reason == said
    assert scene.ledger.board.to_state() == before


def test_a_draft_is_its_organisations_and_no_draft_of_lines():
    scene = JobScene(1)
    scene.submit(draft=True)
    before = scene.ledger.board.to_state()
    for kind in ("JobsFinalized", "JobsStarted"):
        assert "only the organisation that submitted it" in scene.say(scene.other_swci, kind, {"task": "job"}).reason
        assert "there is no task of jobs none" in scene.say(scene.swci, kind, {"task": "none"}).reason
    for kind, more in (("TaskFinalized", {}), ("TaskDeleted", {}), ("TaskBodyAppended", {"index": 1, "line": "x"})):
        refused = scene.say(scene.swci, kind, {"task": "job", **more})
        assert "task job was submitted whole: it cannot be" in refused.reason
        assert refused.hint == "swarm task finalize job, or swarm task rm job"
    assert scene.ledger.board.to_state() == before


def test_hints_of_the_other_kind_of_drafts_lead_on():
    scene = JobScene(1)
    scene.submit(draft=True)
    assert scene.create("job").hint == "choose another name, or swarm task rm job first"
    assert scene.create("after", prereq="job").accepted
    assert scene.say(scene.swci, "TaskFinalized", {"task": "after"}).accepted

    def assigned(name: str) -> str:
        return str(scene.say(scene.swci, "TaskAssigned", {"task": name, "taskrunner": DEFAULT_NAME, "peers": 1}).hint)

    assert [assigned("after"), assigned("job")] == ["swarm task finalize job"] * 2
    assert scene.finalize().accepted
    assert assigned("job") == "swarm task start job"
    assert scene.start().accepted
    assert assigned("job") == "swarm task retry job runs it again"


def test_a_draft_can_be_deleted_and_a_final_task_that_was_stopped():
    scene = JobScene(1)
    scene.submit(draft=True)
    assert scene.delete().accepted
    assert "job" not in scene.ledger.tasks
    run = scene.submit(draft=True)
    assert scene.finalize().accepted
    assert scene.stop().result == {"state": "stopped"}
    assert [slot.state for slot in run.slots.values()] == ["stopped"]
    assert scene.delete().accepted


def test_participants_join_a_final_task_and_wait_for_its_start():
    scene = RoleScene(2)
    alice, bob = Actor("sl", "alice", "a"), Actor("sl", "bob", "b")
    for who in (alice, bob):
        assert scene.join(who).accepted
    run = scene.play(*FLAME, name="digits", draft=True)
    trainer = run.role_named("trainer")

    def joins(who: Actor, key: bytes):
        body = {"task": "digits", "role": "trainer", "key": key, "proof": bytes(64)}
        return scene.say(who, "SlotJoined", body)

    early = joins(alice, KEY)
    assert early.reason == "task digits is a draft: nobody can join it yet"
    scaled = scene.say(scene.swci, "RolesScaled", {"task": "digits", "role": "trainer", "by": 1})
    assert scaled.reason == "task digits is a draft: it cannot be scaled"
    assert restored(scene.ledger).board.jobs.runs[run.number].state == run.state
    assert scene.finalize("digits").accepted
    for who, key in ((alice, KEY), (bob, b"o" * 32)):
        assert joins(who, key).accepted
    assert states(run) == {"trainer 0": "assigned", "trainer 1": "assigned", "aggregator 0": "waiting"}
    assert (run.state, run.started_ms) == ("final", 0)
    assert joining.waits_for(run, trainer) == "its start (swarm task start digits)"
    assert restored(scene.ledger).board.jobs.runs[run.number].state == run.state
    told = scene.told(scene.swci, "JobsStarted", {"task": "digits"})
    assert [event.state for event in told if isinstance(event, TaskChanged)] == ["running"]
    assert joining.waits_for(run, trainer) == ""
    assert run.started_ms > 0


class HeldScene(RoleScene):
    """A final task, which nobody has started, with participants of organisations a and b in its slots."""

    def __init__(self, *roles: Role) -> None:
        super().__init__(2)
        self.run_of_roles = self.play(*roles, name="digits", draft=True)
        assert self.finalize("digits").accepted
        self.alice, self.bob = self.person("alice", "a"), self.person("bob", "b")

    def person(self, name: str, organisation: str = "b") -> Actor:
        actor = Actor("sl", name, organisation)
        assert self.join(actor).accepted
        return actor

    def takes(self, who: Actor) -> Outcome:
        body = {"task": "digits", "role": "trainer", "key": who.node_key, "proof": bytes(64)}
        return self.say(who, "SlotJoined", body)

    def has(self, who: Actor) -> JobSlot:
        outcome = self.takes(who)
        assert outcome.accepted, outcome.reason
        return self.run_of_roles.slots[outcome.result["slot"]]

    def tells(self, who: Actor, slot: JobSlot, state: str, reason: str = "") -> Outcome:
        return self.say(who, "SlotTold", {**held(slot), "state": state, "reason": reason})


@pytest.mark.parametrize("state", ["running", "done"])
def test_no_participant_runs_or_is_done_before_the_start(state: str):
    """Else one that leads would end the task well before anybody started it."""
    scene = HeldScene(Role("trainer", owner="participant", lead=True, cpu=0), Role("aggregator"))
    slot = scene.has(scene.bob)
    before = scene.ledger.board.to_state()
    refused = scene.tells(scene.bob, slot, state)
    assert refused.reason == f"trainer 0 of task digits cannot be {state}: nobody has started the task"
    assert refused.hint == "swarm task start digits"
    assert scene.ledger.board.to_state() == before
    assert scene.start("digits").accepted
    assert scene.tells(scene.bob, slot, state).accepted
    assert slot.state == state


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_who_waits_no_longer_for_the_start_gives_its_slot_back_and_may_join_again(state: str):
    scene = HeldScene(*FLAME)
    run = scene.run_of_roles
    for who in (scene.alice, scene.bob):
        assert scene.tells(who, scene.has(who), state, "it did not begin within 600 s").accepted
    slots = run.slots_of("trainer")
    assert [(slot.state, slot.reason) for slot in slots] == [("waiting", "it did not begin within 600 s")] * 2
    assert (run.state, run.ending) == ("final", ""), "nobody has given up"
    assert restored(scene.ledger).board.jobs.runs[run.number].state == "final"
    again = scene.takes(scene.bob).result
    assert (again["slot"], again["again"], again["attempt"]) == (slots[1].id, True, 2)
    assert scene.start("digits").accepted
    assert "alice (a)" in scene.takes(scene.person("carol")).reason, "from now on it is the slot of who had it"
    assert scene.has(scene.alice) is slots[0]
    assert run.state == "running"


def test_a_slot_that_was_given_back_before_the_start_is_anybodys_who_finds_no_other():
    scene = HeldScene(Role("trainer", owner="participant", high=2, start=2, cpu=0))
    first = scene.has(scene.alice)
    assert scene.tells(scene.alice, first, "stopped").accepted
    assert scene.has(scene.bob) is not first, "there is another"
    assert scene.has(scene.person("carol")) is first
    assert "are taken: by carol (b), bob (b)" in scene.takes(scene.alice).reason


def test_nothing_is_decided_of_a_task_that_nobody_has_started():
    """Neither that nothing is left to run, nor that a role is short."""
    scene = HeldScene(Role("trainer", owner="participant", low=0, cpu=0))
    run = scene.run_of_roles
    for count in (0, 1):
        assert scene.say(scene.swci, "RolesScaled", {"task": "digits", "role": "trainer", "to": count}).accepted
        assert (run.state, run.ending, run.met) == ("final", "", False)
    assert scene.start("digits").accepted
    assert states(run) == {"trainer 0": "waiting"}


def test_a_final_task_that_ends_is_not_started_and_is_not_said_to_wait_for_that():
    scene = HeldScene(*FLAME)
    run, slot = scene.run_of_roles, scene.has(scene.bob)
    assert scene.stop("digits").result == {"state": "final"}, "bob is to end first"
    before = scene.ledger.board.to_state()
    refused = scene.start("digits")
    who = scene.ledger.nodes[scene.swci.uid].identity
    assert refused.reason == f"task digits cannot be started: it ends, stopped by {who}"
    assert refused.hint == "swarm task retry digits, once it has ended"
    assert scene.ledger.board.to_state() == before
    assert scene.ledger.board.jobs.placing.waits_for(run, None) == ""
    assert scene.tells(scene.bob, slot, "failed").accepted
    assert (run.state, run.reason, slot.state) == ("stopped", f"stopped by {who}", "failed")


def test_the_swarms_of_a_sweep_are_finalized_and_started_together():
    scene = SweepScene(4)
    sweep = scene.sweep(2, draft=True)
    assert sweep.state == "draft"
    for kind, verb in (("JobsFinalized", "finalize"), ("JobsStarted", "start")):
        refused = scene.say(scene.swci, kind, {"task": "cv.0"})
        assert (refused.hint, refused.accepted) == (f"swarm task {verb} cv", False)
    assert scene.finalize("cv").result == {"id": 1, "state": "final"}
    assert (sweep.state, [run.state for run in sweep.runs.values()]) == ("final", ["final"] * 2)
    assert scene.start("cv").result == {"id": 1, "state": "running"}
    assert [run.leased for run in sweep.runs.values()] == [2, 2]


def test_no_swarm_of_a_sweep_goes_ahead_of_the_others_before_their_start():
    scene = SweepScene(4)
    assert scene.say(scene.swci, "RolesSubmitted", {**member(0, 2), "draft": True}).accepted
    for name in ("cv", "cv.0", "1", "2"):
        assert scene.finalize(name).reason == "task cv cannot be finalized: 1 of its 2 swarms were submitted"
    assert scene.say(scene.swci, "RolesSubmitted", {**member(1, 2), "draft": True}).accepted
    assert scene.stop("cv.0").reason == "task cv.0 is draft: there is nothing to stop"
    assert scene.finalize("cv").accepted
    sweep = scene.ledger.board.jobs.sweeps.by_name["cv"]
    before = scene.ledger.board.to_state()
    for done, hint in ((scene.stop, "swarm task stop cv"), (scene.retry, "swarm task start cv")):
        refused = done("cv.0")
        assert refused.reason.startswith("task cv.0 is one of the swarms of cv: it is ")
        assert refused.hint == hint
    assert scene.ledger.board.to_state() == before
    assert scene.stop("cv").result == {"state": "stopped"}
    assert [run.state for run in sweep.runs.values()] == ["stopped"] * 2
    assert scene.retry("cv").result == {"state": "queued"}
    assert [run.leased for run in sweep.runs.values()] == [2, 2]
    assert scene.stop("cv.0").accepted, "they were started: each may end by itself"


def test_a_sweep_that_is_not_complete_is_not_finalized_and_its_swarms_are_all_drafts():
    scene = SweepScene(4)
    assert scene.say(scene.swci, "RolesSubmitted", {**member(0), "draft": True}).accepted
    assert "1 of its 3 swarms were submitted" in scene.finalize("cv").reason
    assert "its swarms are drafts together" in scene.say(scene.swci, "RolesSubmitted", member(1)).reason
    assert scene.delete("cv").accepted


def test_a_network_that_does_not_follow_the_fourth_rules_yet_knows_no_drafts():
    scene = JobScene(1, rules=3)
    body = submitted(Role("peer"), draft=True)
    assert "unknown field 'draft'" in scene.say(scene.swci, "RolesSubmitted", body).reason
    assert "rules version 3 of the ledger does not have" in scene.say(scene.swci, "JobsStarted", {"task": "x"}).reason
