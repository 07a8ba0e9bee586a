"""Roles: who starts when, what a slot's end means for the task, scaling, and that the minimums are kept."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from swarm.core import rolesrun
from swarm.core.roles import Role, fault, surplus
from swarm.core.rolesrun import RolesRun
from swarm.core.rules import KNOWN
from swarm.core.timekeeper import Propose, Tick, Timekeeper
from tests.core.rolescene import CARTPOLE, RoleScene, held, states, submitted
from tests.core.scene import Actor, restored

WIDE = tuple(Role(f"r{number}", high=1000) for number in range(11))


def of(run: RolesRun, role: str) -> Any:
    return run.slots_of(role)


def test_roles_come_up_in_the_order_of_their_needs_and_it_is_said_who_is_missing():
    scene = RoleScene(8)
    jobs, run = scene.ledger.board.jobs, scene.play()
    assert states(run) == {
        "coordinator 0": "assigned",
        **dict.fromkeys(("learner 0", "learner 1", "collector 0", "collector 1"), "waiting"),
    }
    assert jobs.placing.waits_for(run, jobs.position(run)) == (
        "waits for 1 more coordinator (0 of 1 run); "
        "waits for 1 more learner (0 of 1 run, held back until coordinator runs); "
        "waits for 1 more collector (0 of 1 run, held back until coordinator and learner runs)"
    )
    scene.runs(of(run, "coordinator")[0])
    assert [slot.state for slot in of(run, "learner")] == ["assigned"] * 2
    assert [slot.state for slot in of(run, "collector")] == ["waiting"] * 2
    scene.runs(of(run, "learner")[1])
    assert [slot.state for slot in of(run, "collector")] == ["assigned"] * 2, "one learner is the minimum"
    assert not run.met
    scene.all_run(run)
    assert (run.met, run.state, jobs.placing.waits_for(run, jobs.position(run))) == (True, "running", "")


def test_a_role_without_room_keeps_nobody_else_from_it_and_says_so():
    scene = RoleScene(4, gpu=0)
    run = scene.play(Role("learner", gpu=1), Role("collector"))
    assert states(run) == {"learner 0": "waiting", "collector 0": "assigned"}
    said = scene.ledger.board.jobs.placing.waits_for(run, None)
    assert said.startswith("waits for 1 more learner (0 of 1 run); waits for 1 more collector")
    assert said.endswith("no operator has room for 1 cpu and 1 gpu at once: the largest has 4 and 0")


def test_a_role_that_waits_for_room_which_others_have_says_what_it_needs_and_what_is_free():
    scene = RoleScene(1)
    run = scene.play(Role("learner"), Role("collector"))
    assert states(run) == {"learner 0": "assigned", "collector 0": "waiting"}
    scene.runs(of(run, "learner")[0])
    assert scene.ledger.board.jobs.placing.waits_for(run, None) == (
        "waits for 1 more collector (0 of 1 run); needs 1 cpu: swop-1 (a) has 0 of 1 cpu free"
    )


def test_the_task_ends_well_with_its_lead_and_what_still_runs_is_ended():
    scene = RoleScene(8)
    run = scene.play()
    scene.all_run(run)
    scene.ends(of(run, "coordinator")[0])
    rest = [slot for slot in run.slots.values() if slot.role != "coordinator"]
    assert all(slot.ending == "coordinator is done" for slot in rest)
    assert run.state == "running", "while something of it runs"
    for slot in rest:
        scene.ends(slot, "stopped", slot.ending)
    assert (run.state, run.reason) == ("done", "coordinator is done")
    assert scene.ledger.tasks["cartpole"].state == "done"


def test_what_still_runs_may_go_on_without_the_lead():
    scene = RoleScene(8)
    run = scene.play(clean=False)
    scene.all_run(run)
    scene.ends(of(run, "coordinator")[0])
    assert not any(slot.ending for slot in run.slots.values())
    for slot in [*of(run, "learner"), *of(run, "collector")]:
        assert run.state == "running"
        scene.ends(slot, "failed", "its program ended with exit code 1")
    assert run.state == "done"


def test_without_a_lead_every_role_has_to_have_its_minimum_done():
    scene = RoleScene(8)
    run = scene.play(Role("peer", low=2, high=3, start=3))
    scene.all_run(run)
    first, second, third = of(run, "peer")
    scene.ends(first, "failed", "exit code 1")
    assert run.state == "running", "two can still"
    scene.ends(second)
    scene.ends(third)
    assert (run.state, run.reason) == ("done", "every role is done")


def test_it_fails_as_soon_as_a_role_can_no_longer_have_its_minimum():
    scene = RoleScene(8)
    run = scene.play()
    scene.all_run(run)
    coordinator = of(run, "coordinator")[0]
    scene.ends(coordinator, "failed", "exit code 1")
    assert (coordinator.state, coordinator.failures) == ("assigned", 1), "it is tried again, in its place"
    scene.ends(coordinator, "failed", "exit code 3")
    for slot in [*of(run, "learner"), *of(run, "collector")]:
        scene.ends(slot, "stopped")
    assert (run.state, run.reason) == ("failed", "coordinator failed: exit code 3")
    assert scene.retry("cartpole").accepted
    assert states(run)["coordinator 0"] == "assigned"
    assert states(run)["learner 0"] == "waiting"


def test_a_lost_slot_keeps_its_index_wherever_it_runs_next():
    scene = RoleScene(1, 1)
    run = scene.play(Role("collector", low=1, high=2, start=2))
    scene.all_run(run)
    slot = of(run, "collector")[1]
    lost, fence = scene.holder(slot), slot.fence
    scene.lose(lost)
    scene.operators.append(Actor("swop", "swop-3", "a"))
    assert scene.join(scene.operators[-1]).accepted
    scene.offer_room(scene.operators[-1], 1)
    assert scene.end_lease(slot).accepted
    assert (slot.index, slot.state, slot.swop) == (1, "assigned", scene.operators[-1].uid)
    late = scene.say(lost, "SlotReported", {"slot": slot.id, "fence": fence, "state": "done", "reason": ""})
    assert "is not leased to" in late.reason


def test_what_a_running_task_has_lost_of_its_minimum_comes_before_all_that_waits():
    """Or the gang would wait for the worker, the worker for the lead, and the lead behind the gang."""
    scene = RoleScene(3)
    gang = scene.submit("gang", slots=3, gang=True)
    for slot in list(gang.slots.values()):
        scene.ends(slot, "failed", "exit code 1")
    run = scene.play(Role("lead", lead=True, restart=1), Role("worker", high=2, restart=1))
    scene.all_run(run)
    assert scene.retry("gang").accepted
    assert [slot.state for slot in gang.slots.values()] == ["waiting"] * 3
    assert scene.scale("worker", to=2).accepted
    assert states(run)["worker 1"] == "waiting", "more than the minimum has its turn behind the gang"
    scene.ends(of(run, "lead")[0], "failed", "exit code 1")
    assert states(run) == {"lead 0": "assigned", "worker 0": "running", "worker 1": "waiting"}


def test_scaling_adds_and_removes_slots_of_one_role_and_leaves_the_others_alone():
    scene = RoleScene(8)
    run = scene.play()
    scene.all_run(run)
    fences = {slot.id: slot.fence for slot in run.slots.values()}
    more = scene.scale("collector", more=1)
    assert more.result["added"] == [{"id": f"{run.number}.5", "role": "collector", "index": 2}]
    assert (run.state, of(run, "collector")[2].state) == ("scaling", "assigned")
    scene.all_run(run)
    assert run.state == "running"
    fewer = scene.scale("collector", to=1)
    assert [each["index"] for each in fewer.result["removed"]] == [2, 1]
    assert {slot.id: slot.fence for slot in run.slots.values() if slot.id in fences} == fences
    gone = [slot for slot in run.slots.values() if slot.id in run.removed]
    assert {slot.ending for slot in gone} == {f"removed by {scene.ledger.nodes[scene.swci.uid].identity}"}
    for slot in gone:
        scene.ends(slot, "stopped", slot.ending)
    assert run.state == "running"
    again = scene.scale("collector", to=2)
    assert again.result["added"] == [{"id": f"{run.number}.4", "role": "collector", "index": 1}], "the lowest is back"


def test_what_still_ends_is_added_again_so_there_are_never_more_than_the_maximum():
    """However often somebody scales down and up again before what was removed has ended."""
    scene = RoleScene(20)
    run = scene.play()
    scene.scale("collector", to=8)
    scene.all_run(run)
    for _ in range(5):
        assert len(scene.scale("collector", to=1).result["removed"]) == 7
        added = scene.scale("collector", to=8).result["added"]
        assert [each["index"] for each in added] == [1, 2, 3, 4, 5, 6, 7]
        assert sum(slot.leased for slot in run.slots.values() if slot.role == "collector") == 8
    slot = of(run, "collector")[3]
    assert (slot.state, slot.ending[:10], slot.attempt) == ("running", "removed by", 1)
    scene.ends(slot, "stopped", slot.ending)
    assert (slot.state, slot.ending, slot.attempt) == ("assigned", "", 2), "it is there to run again"


@pytest.mark.parametrize(("rules", "then"), [(3, "assigned"), (KNOWN, "failed")])
def test_a_slot_that_was_removed_and_is_declined_is_dealt_to_nobody(rules: int, then: str):
    """Before the fourth version of the rules it was: ledgers of then mean what they meant."""
    scene = RoleScene(2, 2, rules=rules)
    run = scene.play(Role("lead"), Role("worker", low=0))
    (worker,) = of(run, "worker")
    assert scene.scale("worker", to=0).accepted
    if rules < KNOWN:
        scene.ledger.check = lambda: None  # type: ignore[method-assign]
    assert scene.say(scene.holder(worker), "TaskDeclined", {"run": run.number, "reason": "no", "hint": ""}).accepted
    assert (worker.state, worker.leased) == (then, rules < KNOWN)


@pytest.mark.parametrize(("rules", "then"), [(3, "waiting"), (KNOWN, "stopped")])
def test_the_last_word_of_a_slot_that_was_removed_changes_nothing_when_it_is_said_again(rules: int, then: str):
    """As above."""
    scene = RoleScene(2, 2, rules=rules)
    run = scene.play(Role("lead"), Role("worker", low=0))
    (worker,) = of(run, "worker")
    for operator in (scene.holder(worker), *(each for each in scene.operators if each.uid != worker.swop)):
        scene.say(operator, "TaskDeclined", {"run": run.number, "reason": "no", "hint": ""})
    assert worker.state == "waiting"
    assert scene.scale("worker", to=0).accepted
    before = scene.ledger.board.to_state()
    if rules < KNOWN:
        scene.ledger.check = lambda: None  # type: ignore[method-assign]
    assert scene.report(scene.holder(worker), worker, "stopped").result == {"state": "stopped"}
    assert (worker.state, scene.ledger.board.to_state() == before) == (then, rules == KNOWN)


def test_a_task_that_has_no_slots_yet_is_scaled_like_any_other():
    """Were anything raised but a refusal, no network node would ever apply another entry."""
    scene = RoleScene(1)
    run = scene.play(Role("peer", low=0, start=0))
    for count in ({"by": 0}, {"to": 0}):
        told = scene.say(scene.swci, "RolesScaled", {"task": "cartpole", "role": "peer", **count})
        assert told.result == {"task": "cartpole", "role": "peer", "slots": 0, "added": [], "removed": []}
    assert (run.state, run.slots) == ("queued", {})
    assert scene.scale("peer", to=1).accepted
    assert states(run) == {"peer 0": "assigned"}


@pytest.mark.parametrize(
    ("role", "count", "said"),
    [
        ("collector", {"to": 9}, "has 1 to 8 slots, asked for 9; it has 2"),
        ("collector", {"by": -2}, "has 1 to 8 slots, asked for 0; it has 2"),
        ("actor", {"to": 1}, "has no role actor"),
        ("collector", {}, "either how many slots there are to be, or how many more or fewer"),
        ("collector", {"to": 1, "by": 1}, "either how many"),
    ],
)
def test_scaling_that_cannot_be_is_refused_in_one_sentence_and_changes_nothing(role: str, count: Any, said: str):
    scene = RoleScene(8)
    run = scene.play()
    before = run.to_state()
    assert said in scene.say(scene.swci, "RolesScaled", {"task": "cartpole", "role": role, **count}).reason
    assert run.to_state() == before


def test_a_slot_scales_its_own_task_and_no_other_organisation_does():
    scene = RoleScene(8)
    run = scene.play()
    scene.all_run(run)
    coordinator = of(run, "coordinator")[0]
    operator, ask = scene.holder(coordinator), {"task": "cartpole", "role": "collector", "by": 1}
    assert scene.say(operator, "RolesScaled", {**ask, **held(coordinator)}).accepted
    assert (
        "a slot scales its own task"
        in scene.say(operator, "RolesScaled", {**ask, **held(coordinator), "task": "other"}).reason
    )
    assert "scales for no slot" in scene.say(operator, "RolesScaled", ask).reason
    stale = {**held(coordinator), "fence": coordinator.fence + 1}
    assert "is not leased to" in scene.say(operator, "RolesScaled", {**ask, **stale}).reason
    assert "only the organisation that submitted it" in scene.say(scene.other_swci, "RolesScaled", ask).reason


def test_a_goal_that_is_reached_ends_every_role_well():
    scene = RoleScene(8)
    run = scene.play()
    scene.all_run(run)
    learner = of(run, "learner")[0]
    goal = {**held(learner), "reason": "reward is 196.5, StopOn asks for 195"}
    assert scene.say(scene.holder(learner), "GoalReached", goal).accepted
    for slot in list(run.slots.values()):
        assert slot.ending == "learner 0: reward is 196.5, StopOn asks for 195"
        scene.ends(slot, "stopped", slot.ending)
    assert (run.state, run.reason) == ("done", "learner 0: reward is 196.5, StopOn asks for 195")


def test_minimums_that_do_not_run_in_time_end_the_task():
    scene = RoleScene(8)
    keeper = Timekeeper(scene.ledger, scene.sn.uid, 0.0)
    run = scene.play(within_s=60)
    keeper.handle(Tick(1.0))
    for second in range(2, 61):
        assert [each for each in keeper.handle(Tick(float(second))) if each.kind == "StartLapsed"] == []
        for node in scene.ledger.nodes:
            keeper.alive(node, float(second))
    asked = [each for each in keeper.handle(Tick(61.5)) if each.kind == "StartLapsed"]
    assert asked == [Propose("StartLapsed", {"run": run.number})]
    assert scene.say(scene.sn, "StartLapsed", {"run": run.number}).accepted
    scene.ends(of(run, "coordinator")[0], "stopped")
    assert run.state == "failed"
    assert run.reason.startswith("gave up after 60 s: it waits for 1 more coordinator")
    met = scene.play(Role("peer"), name="other")
    scene.all_run(met)
    assert "does not wait for its minimums" in scene.say(scene.sn, "StartLapsed", {"run": met.number}).reason


def test_the_slots_of_participants_wait_for_people():
    scene = RoleScene(8)
    run = scene.play(Role("trainer", owner="participant", low=1, high=4, start=2), Role("aggregator"))
    scene.all_run(run)
    assert states(run) == {"trainer 0": "waiting", "trainer 1": "waiting", "aggregator 0": "running"}
    assert not run.starting, "nobody gives up on people"
    said = scene.ledger.board.jobs.placing.waits_for(run, None)
    assert said == "waits for 1 more participant as trainer (0 of 1 run)"


def test_a_new_attempt_of_a_merging_slot_replaces_the_learning_node_of_the_one_before():
    scene = RoleScene(8)
    run = scene.play(Role("learner", contract="param", restart=1))
    (slot,) = of(run, "learner")
    scene.report(scene.holder(slot), slot, "running", sl_uid=scene.sn.uid)
    assert run.merges(slot)
    told = scene.told(scene.holder(slot), "SlotReported", {**held(slot), "state": "failed", "reason": "exit code 1"})
    assert [event.replaces for event in told if hasattr(event, "replaces")] == [scene.sn.uid]
    assert slot.sl_uid == ""


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ((Role("a"), Role("a")), "two roles have the name a"),
        ((Role("a", low=2, high=3),), "role a starts with 1 slots, expected 2 to 3"),
        ((Role("a", needs=("b",)),), "role a needs b, which is no role of this task: there are a"),
        ((Role("a", needs=("b",)), Role("b", needs=("a",))), "none of them could start: a -> b -> a"),
        ((Role("a"), Role("b", needs=("a", "a"))), "role b needs a more than once"),
        (WIDE, "the roles may have 11000 slots, expected at most 10000 together"),
        ((Role("a", lead=True), Role("b", lead=True)), "a and b are both to lead"),
        (CARTPOLE, ""),
    ],
)
def test_roles_that_do_not_fit_together_are_refused(roles: tuple[Role, ...], said: str):
    assert said in (fault(roles) or surplus(roles))
    scene = RoleScene(1)
    assert scene.say(scene.swci, "RolesSubmitted", submitted(*roles)).accepted == (not said)


def test_before_the_fourth_rules_a_role_could_need_another_several_times_over_and_a_task_have_any_number_of_slots():
    scene = RoleScene(2, rules=3)
    run = scene.play(Role("a"), Role("b", needs=("a", "a")))
    assert run.role_named("b").needs == ("a", "a")
    assert scene.play(*WIDE, name="wide").terms.slots == 11_000


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_the_minimums_the_counts_and_the_indices_hold(seed: int):
    """The observer of the scene has the ledger check itself after every entry."""
    chance = random.Random(seed)
    scene = RoleScene(3, 3)
    run = scene.play(clean=chance.random() < 0.7)
    for _ in range(120):
        slots = [slot for slot in run.slots.values() if slot.leased]
        match chance.randrange(10):
            case 0:
                scene.scale(chance.choice(["learner", "collector"]), to=chance.randint(1, 6))
            case 1 if slots:
                scene.lose(scene.holder(chance.choice(slots)))
            case 2 if slots:
                scene.end_lease(chance.choice(slots))
            case 3:
                scene.offer_room(chance.choice(scene.operators), chance.randint(0, 5))
            case 4 if run.over:
                scene.retry("cartpole")
            case 5 if slots and chance.random() < 0.1:
                no = {"run": run.number, "reason": "no", "hint": ""}
                scene.say(scene.holder(chance.choice(slots)), "TaskDeclined", no)
            case 6 if ended := [slot for slot in run.slots.values() if slot.swop and not slot.leased]:
                slot = chance.choice(ended)
                scene.report(scene.holder(slot), slot, slot.state, "once more")
            case _ if slots:
                slot = chance.choice(slots)
                state = chance.choice(["starting", "running", "running", "running", "done", "failed", "stopped"])
                scene.report(scene.holder(slot), slot, state, "by chance")
        if run.met and not run.ending and not run.over:
            assert all(len(run.slots_of(role.name)) >= role.low for role in run.roles)
    restored(scene.ledger)


def test_a_task_that_has_run_as_long_as_it_may_is_stopped():
    scene = RoleScene(8)
    said = {**submitted(Role("learner"), name="short"), "longest_s": 60}
    assert scene.say(scene.swci, "RolesSubmitted", said).accepted
    (run,) = scene.ledger.board.jobs.with_roles.values()
    keeper = Timekeeper(scene.ledger, scene.sn.uid, 0.0)
    scene.all_run(run)
    for second in range(60):
        assert [each for each in keeper.handle(Tick(float(second))) if each.kind == "RunLapsed"] == []
        for node in scene.ledger.nodes:
            keeper.alive(node, float(second))
    (asked,) = [each for each in keeper.handle(Tick(60.5)) if each.kind == "RunLapsed"]
    assert scene.say(scene.sn, asked.kind, asked.body).accepted
    (slot,) = of(run, "learner")
    assert slot.ending == "its MaxRunTime of 60 s is over"
    restored = RolesRun.from_state(msgpack.unpackb(msgpack.packb(run.to_state())))
    assert (restored.longest_s, restored.limited) == (60, False)
    scene.ends(slot, "stopped")
    assert (run.state, run.reason) == ("stopped", "its MaxRunTime of 60 s is over")
    assert "its time does not run" in scene.say(scene.sn, asked.kind, asked.body).reason


def test_dealing_looks_at_all_slots_of_a_task_as_often_as_it_begins_and_not_for_each_lease(monkeypatch):
    """One entry may deal thousands, and every network node waits until it has: what an operator says it has room for
    is only its word."""
    scene, looks = RoleScene(1), []
    run = scene.play(Role("a", high=90, start=90), Role("b", high=90, start=90, needs=("a",)), name="wide")
    waits = scene.play(Role("a", high=90, start=90, cpu=4000), name="waits")
    scene.runs(run.slots[f"{run.number}.0"])
    whole = rolesrun.Startable
    monkeypatch.setattr(rolesrun, "Startable", lambda *given: looks.append(given) or whole(*given))
    scene.offer_room(scene.operators[0], 121)
    assert [len([slot for slot in run.slots_of(role) if slot.leased]) for role in "ab"] == [90, 31]
    assert 0 < len(looks) < 8
    assert not waits.leased
