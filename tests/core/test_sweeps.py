"""Sweeps of swarms: each begins with all of its slots or with none, and they are one thing to people."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.core.events import TaskGone
from swarm.core.jobrun import JobRun
from swarm.core.roles import Role
from swarm.core.rolesrun import RolesRun
from swarm.core.sweeps import Sweep
from swarm.core.timekeeper import Tick, Timekeeper
from swarm.errors import Refused
from tests.core.rolescene import RoleScene, submitted
from tests.core.rolescene import held as of_lease
from tests.core.scene import Actor, restored

WIDE = Role("learner", low=0, high=1000, start=0)
LEARNERS = Role("learner", low=2, high=2, start=2, contract="digits")


def member(index: int, count: int = 3, of: str = "cv", *roles: Role, **changed: Any) -> dict[str, Any]:
    """The body of a RolesSubmitted for one swarm of a sweep."""
    body = submitted(*(roles or (LEARNERS,)), name=changed.pop("name", f"{of}.{index}"))
    return {**body, "variant": {"of": of, "index": index, "count": count, "value": f"0.{index}", **changed}}


class SweepScene(RoleScene):
    def sweep(self, count: int = 3, *roles: Role, of: str = "cv", **terms: Any) -> Sweep:
        for index in range(count):
            outcome = self.say(self.swci, "RolesSubmitted", {**member(index, count, of, *roles), **terms})
            assert outcome.accepted, outcome.reason
        return self.ledger.board.jobs.sweeps.by_name[of]

    def done(self, run: RolesRun, state: str = "done") -> None:
        for slot in [slot for slot in run.slots.values() if slot.leased]:
            self.ends(slot, "running")
        for slot in [slot for slot in run.slots.values() if slot.leased]:
            self.ends(slot, state, "" if state == "done" else "exit code 1")


def states(sweep: Sweep) -> list[str]:
    return [run.state for run in sweep.runs.values()]


def held(run: JobRun) -> int:
    return sum(slot.leased for slot in run.slots.values())


def leased(sweep: Sweep) -> list[int]:
    return [held(run) for run in sweep.runs.values()]


def test_none_begins_before_all_are_there_and_then_as_many_as_there_is_room_for():
    scene = SweepScene(3, 2)
    jobs = scene.ledger.board.jobs
    first = scene.say(scene.swci, "RolesSubmitted", member(0)).result
    assert first == {"id": 2, "run": scene.ledger.head_index, "state": "queued", "sweep": 1}
    assert scene.say(scene.swci, "RolesSubmitted", member(1)).accepted
    sweep = jobs.sweeps.by_name["cv"]
    assert (sweep.id, leased(sweep), sweep.state) == (1, [0, 0], "queued")
    assert sweep.reason == "2 of its 3 swarms were submitted"
    assert scene.say(scene.swci, "RolesSubmitted", member(2)).accepted
    assert (leased(sweep), states(sweep), sweep.state) == ([2, 2, 0], ["running", "running", "queued"], "running")
    said = "0 tasks ahead; needs 2 cpu at once: operators have 1 of 5 cpu free"
    assert jobs.placing.waits_for(sweep.runs[2], 0) == said
    assert sweep.counts == {"assigned": 4, "waiting": 2}
    scene.done(sweep.runs[1])
    assert leased(sweep) == [2, 0, 2]
    for run in list(sweep.runs.values()):
        scene.done(run)
    assert (sweep.state, sweep.reason, sweep.over) == ("done", "3 of 3 swarms are done", True)


def test_what_a_swarm_waits_for_is_kept_for_it_and_what_never_fits_keeps_nothing():
    scene = SweepScene(3)
    first = scene.submit("first", cpu=2)
    sweep = scene.sweep(1)
    small = scene.submit("small")
    assert (leased(sweep), held(small)) == ([0], 0), "the free CPU is the swarm's"
    (slot,) = first.slots.values()
    scene.ends(slot)
    assert (leased(sweep), held(small)) == ([2], 1)
    wide = scene.sweep(1, Role("learner", low=4, high=4, start=4), of="wide")
    said = scene.ledger.board.jobs.placing.waits_for(wide.runs[0], 0)
    assert said == "no operators have room for the 4 slots at once that it begins with"
    scene.done(sweep.runs[0])
    assert held(scene.submit("other")) == 1


def test_the_whole_is_partial_failed_or_stopped_as_its_swarms_are():
    scene = SweepScene(6)
    sweep = scene.sweep(3)
    scene.done(sweep.runs[0])
    scene.done(sweep.runs[1], "failed")
    assert sweep.state == "running"
    scene.done(sweep.runs[2], "failed")
    assert sweep.state == "partial"
    assert sweep.reason.startswith("1 of 3 swarms are done; cv.1 failed: ")
    assert scene.retry("cv").result == {"state": "running"}
    assert states(sweep) == ["done", "running", "running"]
    assert "is running" in scene.retry("cv").reason
    assert scene.stop("cv", kill=True).result == {"state": "running"}, "until their operators say that they have ended"
    for run in list(sweep.runs.values())[1:]:
        scene.done(run, "stopped")
    assert (sweep.state, states(sweep)) == ("partial", ["done", "stopped", "stopped"])
    assert scene.stop("cv").reason == "task cv.0 is done: there is nothing to stop"


def test_stopping_ends_what_waits_and_what_runs_and_one_may_be_stopped_alone():
    scene = SweepScene(2)
    sweep = scene.sweep(3)
    assert scene.stop("cv.1").accepted
    assert (states(sweep), sweep.state) == (["running", "stopped", "queued"], "running")
    assert scene.stop("1").accepted
    scene.done(sweep.runs[0], "stopped")
    assert (states(sweep), sweep.state) == (["stopped"] * 3, "stopped")


def test_they_are_deleted_together_and_their_names_are_free_again():
    scene = SweepScene(6)
    sweep = scene.sweep(2)
    assert scene.delete("cv").reason == "task cv.0 is running: it cannot be deleted"
    for run in sweep.runs.values():
        scene.done(run)
    assert scene.delete("cv.0").reason == "task cv.0 is one of the swarms of cv: it is deleted with them"
    taken = scene.take(scene.claim(scene.swci, "JobsDeleted", {"task": "cv", "outputs": True}))
    assert [event.task for event in taken.events if isinstance(event, TaskGone)] == ["cv.0", "cv.1"]
    assert not scene.ledger.board.jobs.sweeps.by_name
    assert scene.sweep(2).id == 4


def test_a_sweep_has_so_many_slots_at_most_since_one_entry_ends_all_of_them():
    scene, before = SweepScene(1), SweepScene(1, rules=3)
    refused = scene.say(scene.swci, "RolesSubmitted", member(0, 11, "cv", WIDE))
    assert refused.reason == "the swarms of sweep cv may have 11000 slots, expected at most 10000 together"
    assert scene.say(scene.swci, "RolesSubmitted", member(0, 10, "cv", WIDE)).accepted
    assert before.say(before.swci, "RolesSubmitted", member(0, 11, "cv", WIDE)).accepted, "as these rules have it"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (member(3), "a sweep of 3 swarms has no number 3: they are counted from 0"),
        (member(1, name="cv.2"), "swarm 1 of sweep cv has the name cv.1, not cv.2"),
        (member(1, 4), "sweep cv has 3 swarms, not 4"),
        (member(0), "there is a task cv.0 already"),
        (submitted(LEARNERS, name="cv"), "there is a task cv already"),
        (member(0, of="job"), "there is a task job already"),
    ],
)
def test_what_does_not_fit_to_the_others_is_refused(body, said):
    scene = SweepScene(2)
    assert scene.say(scene.swci, "RolesSubmitted", member(0)).accepted
    scene.submit("job")
    assert scene.say(scene.swci, "RolesSubmitted", body).reason == said
    assert len(scene.ledger.tasks) == 3, "ROOTTASK, cv.0 and job"


def test_another_organisation_adds_nothing_and_ends_nothing():
    scene = SweepScene(2)
    assert scene.say(scene.swci, "RolesSubmitted", member(0)).accepted
    other = scene.other_swci
    assert scene.say(other, "RolesSubmitted", member(1)).reason == (
        "sweep cv is another organisation's: swarm://b/swci/swci-1 adds no swarm to it"
    )
    assert "only the organisation that submitted it may" in scene.say(other, "JobsStopped", {"task": "cv"}).reason


def test_a_sweep_comes_back_from_a_snapshot():
    scene = SweepScene(2)
    scene.sweep(3)
    (sweep,) = restored(scene.ledger).board.jobs.sweeps.by_name.values()
    assert (sweep.id, sweep.of, leased(sweep), sweep.runs[2].variant.value) == (1, 3, [2, 0, 0], "0.2")


def test_no_swarm_merges_in_anothers_contract():
    scene = SweepScene(4)
    slot = next(iter(scene.sweep(2).runs[1].slots.values()))
    learner = Actor("sl", "sl-1", "a")
    assert scene.join(learner).accepted
    body = {"slot": slot.id, "fence": slot.fence}
    board = scene.ledger.board
    for contract in ("digits.1", "digits.1-eu"):
        assert board.slot_of({**body, "contract": contract}, learner.identity) is slot
    for contract in ("digits", "digits.0", "digits.10"):
        with pytest.raises(Refused, match=f"its program names {contract}$"):
            board.slot_of({**body, "contract": contract}, learner.identity)


def test_a_swarm_of_a_sweep_has_no_participants_who_would_begin_it_before_the_others_are_there():
    scene = SweepScene(2)
    hospital = Role("hospital", owner="participant", cpu=0)
    refused = scene.say(scene.swci, "RolesSubmitted", member(0, 2, "cv", LEARNERS, hospital))
    assert refused.reason == (
        "the role hospital of task cv.0 is of participants, who join one swarm: none of a sweep's"
    )
    assert scene.ledger.board.jobs.sweeps.by_name == {}


LEAD = Role("lead", lead=True)
OTHER = Role("other", needs=("lead",))


def test_each_swarm_may_run_as_long_as_the_task_says_from_when_its_own_slots_were_dealt():
    scene = SweepScene(2)
    sweep = scene.sweep(2, longest_s=60)
    first, second = sweep.runs.values()
    keeper = Timekeeper(scene.ledger, scene.sn.uid, 0.0)
    assert lapsed(scene, keeper, range(60)) == []
    (asked,) = lapsed(scene, keeper, [60.5])
    assert asked == {"run": first.number}, "the other has not begun"
    assert scene.say(scene.sn, "RunLapsed", asked).accepted
    assert {slot.ending for slot in first.slots.values()} == {"its MaxRunTime of 60 s is over"}
    scene.done(first, "stopped")
    assert (first.state, leased(sweep)) == ("stopped", [0, 2])
    assert lapsed(scene, keeper, range(61, 121)) == []
    (asked,) = lapsed(scene, keeper, [122])
    assert asked == {"run": second.number}
    assert scene.say(scene.sn, "RunLapsed", asked).accepted
    scene.done(second, "stopped")
    assert (sweep.state, sweep.over) == ("stopped", True)
    assert "cv.0 stopped: its MaxRunTime of 60 s is over" in sweep.reason


def lapsed(scene: SweepScene, keeper: Timekeeper, seconds: Any) -> list[Any]:
    """What the leader would say in these seconds of runs that have run for too long; its nodes all live."""
    said = []
    for second in seconds:
        for node in scene.ledger.nodes:
            keeper.alive(node, float(second))
        said += [each.body for each in keeper.handle(Tick(float(second))) if each.kind == "RunLapsed"]
    return said


@pytest.mark.parametrize("clean", [True, False])
def test_what_still_runs_of_a_swarm_is_ended_with_it_or_goes_on_and_the_others_hear_nothing(clean: bool):
    scene = SweepScene(4)
    sweep = scene.sweep(2, LEAD, OTHER, clean=clean)
    first, second = sweep.runs.values()
    for run in (first, second):
        scene.all_run(run)
    lead, other = first.slots.values()
    scene.ends(lead)
    assert other.ending == ("lead is done" if clean else "")
    assert not any(slot.ending for slot in second.slots.values())
    assert states(sweep) == ["running", "running"], "while something of it runs"
    scene.ends(other, "stopped" if clean else "failed", "" if clean else "exit code 1")
    assert (states(sweep), sweep.state) == (["done", "running"], "running")
    scene.ends(next(iter(second.slots.values())))
    scene.done(second, "stopped")
    assert (sweep.state, sweep.over) == ("done", True)


def test_a_swarm_that_has_reached_the_goal_ends_alone_and_makes_room_for_the_next():
    scene = SweepScene(2)
    sweep = scene.sweep(3)
    reason = "accuracy is 0.96, StopOn asks for 0.95"
    for index, run in sweep.runs.items():
        assert leased(sweep) == [2 * (index == other) for other in range(3)]
        scene.all_run(run)
        learner = next(iter(run.slots.values()))
        goal = {**of_lease(learner), "reason": reason}
        assert scene.say(scene.holder(learner), "GoalReached", goal).accepted
        assert {slot.ending for slot in run.slots.values()} == {f"learner 0: {reason}"}
        assert "it ends already" in scene.say(scene.holder(learner), "GoalReached", goal).reason
        for slot in list(run.slots.values()):
            scene.ends(slot, "stopped", slot.ending)
        assert (run.state, run.reason) == ("done", f"learner 0: {reason}")
    assert (sweep.state, sweep.reason) == ("done", "3 of 3 swarms are done")
