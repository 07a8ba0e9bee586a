"""Slots: one holder, one current fence, leases that end for good, and operators that come back in time or not."""

import pytest

from swarm.core.events import SlotChanged, TaskChanged
from swarm.core.slot import ENDED, SLOT
from tests.core.scene import CONTRACT, INITIAL, SMALL, Actor
from tests.core.tasks import TaskScene


@pytest.fixture
def scene():
    """One task on two operators, both needed, both running."""
    scene = TaskScene(2)
    scene.final()
    scene.assign(2)
    for swop in scene.operators:
        scene.report(swop, scene.slots(swop)[0], "starting")
        scene.report(swop, scene.slots(swop)[0], "running")
    return scene


# ---- reports


def test_a_report_tells_state_reason_exit_code_and_last_lines(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    fields = {"exit_code": 3, "description": "Merge Successful at sync id : 1", "lines": ["Traceback", "ValueError"]}
    scene.report(swop, slot, "failed", "exit code 3", **fields)
    assert SlotChanged(slot.id, swop.uid, slot.fence, "failed", "exit code 3", False) in scene.events
    assert (slot.exit_code, slot.description, slot.lines) == (3, fields["description"], ("Traceback", "ValueError"))
    assert isinstance(scene.events[-1], TaskChanged)


def test_only_the_holder_is_heard_and_only_with_the_current_fence(scene):
    one, two = scene.operators
    (slot,) = scene.slots(one)
    assert "is not leased to" in scene.report(two, slot, "done").reason
    body = {"slot": slot.id, "fence": slot.fence - 1, "state": "done", "reason": ""}
    assert "is old: its lease has fence" in scene.say(one, "SlotReported", body).reason
    assert "only the role swop may" in scene.report(scene.swci, slot, "done").reason
    assert "there is no slot" in scene.say(one, "SlotReported", {**body, "slot": f"{slot.run}.99"}).reason
    assert "there is no run 7" in scene.say(one, "SlotReported", {**body, "slot": "7.0"}).reason
    assert slot.state == "running"


def test_the_last_word_again_is_taken_and_another_is_refused(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    scene.report(swop, slot, "done", exit_code=0)
    count = len(scene.events)
    assert scene.report(swop, slot, "done", exit_code=0).accepted
    assert len(scene.events) == count
    for state in ("starting", "running", "failed", "stopped"):
        assert "its lease with fence" in scene.report(swop, slot, state).reason
    assert slot.state == "done"


def test_no_slot_goes_back(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    assert scene.report(swop, slot, "starting").reason.endswith("is running: it cannot be starting")


def test_news_of_a_running_slot_are_told_and_repetitions_are_not(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    count = len(scene.events)
    scene.report(swop, slot, "running", description="Created containers to match profile : 1")
    scene.report(swop, slot, "running", description="Created containers to match profile : 1")
    assert len(scene.events) == count + 1


# ---- lost, back, and lost for good


def test_a_lost_operator_that_is_back_in_time_keeps_its_slots_under_the_same_fence(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    fence = slot.fence
    scene.lose(swop)
    assert (slot.state, slot.leased, slot.reason) == (
        "lost",
        True,
        "its operator was lost: no sign of life for 10 s",
    )
    assert scene.run.state == "running"
    scene.join(swop)
    assert (slot.state, slot.leased, slot.fence) == ("running", True, fence)
    assert scene.report(swop, slot, "done").accepted


def test_r015_an_operator_that_restarted_keeps_its_slots_and_adopts_its_workers(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    fence = slot.fence
    swop.restart()
    scene.join(swop)
    assert (slot.state, slot.leased, slot.fence) == ("running", True, fence)
    assert scene.report(swop, slot, "running", "adopted").accepted
    scene.lose(swop)
    swop.restart()
    scene.join(swop)
    assert (slot.state, slot.leased, slot.fence) == ("running", True, fence)
    assert scene.report(swop, slot, "done").accepted


def test_the_report_of_a_lost_operator_brings_it_back(scene):
    one, _ = scene.operators
    (slot,) = scene.slots(one)
    scene.lose(one)
    assert scene.report(one, slot, "done").accepted
    assert (slot.state, scene.ledger.nodes[one.uid].state) == ("done", "live")
    assert scene.taskrunner.listeners[one.uid].live


def test_r016_a_lease_that_ended_is_over_and_the_task_fails_with_the_reason(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    scene.lose(swop)
    assert scene.end_lease(slot).accepted
    assert (slot.state, slot.leased) == ("lost", False)
    assert scene.run.state == "failed"
    assert scene.run.reason.startswith(
        f"1 of the 2 peers asked for can still complete: slot {slot.id} of swop-1 (a) lost"
    )
    assert not scene.end_lease(slot).accepted
    scene.join(swop)
    assert (slot.state, slot.leased) == ("lost", False)
    for state in ("running", "done"):
        assert "its lease with fence" in scene.report(swop, slot, state).reason


def test_the_lease_of_an_operator_that_was_heard_meanwhile_goes_on(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    assert "cannot end: it is running" in scene.end_lease(slot).reason
    scene.lose(swop)
    scene.join(swop)
    assert "cannot end: it is running" in scene.end_lease(slot).reason
    assert slot.leased


def test_r016_only_a_new_lease_with_a_new_fence_begins_again(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    old = slot.fence
    scene.lose(swop)
    scene.end_lease(slot)
    assert "does not listen" in scene.target(swop).reason
    scene.join(swop)
    assert scene.target(swop).accepted
    assert (slot.state, slot.attempt, scene.run.state) == ("assigned", 2, "running")
    assert slot.fence > old
    assert f"with fence {old} cannot end: it is assigned" in scene.end_lease(slot, old).reason
    assert slot.leased


def test_an_operator_that_leaves_gives_its_leases_back(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    scene.say(swop, "NodeLeft")
    assert (slot.state, slot.leased, slot.reason) == ("lost", False, "its operator: its node left")
    assert scene.run.state == "failed"
    assert swop.uid not in scene.taskrunner.listeners


def test_a_slot_that_is_done_stays_done(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    scene.report(swop, slot, "done")
    scene.lose(swop)
    assert not scene.end_lease(slot).accepted
    swop.restart()
    scene.join(swop)
    scene.say(swop, "NodeLeft")
    assert slot.state == "done"


def test_a_lost_operator_of_a_reset_taskrunner_finds_what_had_not_started_stopped():
    scene = TaskScene(1)
    scene.final()
    scene.assign(1)
    (swop,) = scene.operators
    (slot,) = scene.slots(swop)
    scene.lose(swop)
    scene.reset()
    assert (slot.state, slot.leased) == ("lost", True)
    scene.join(swop)
    assert slot.state == "stopped"
    assert scene.taskrunner.leaving == []


# ---- the learning node of a slot


def enrol(scene, learner, slot, fence=None):
    body = {
        "contract": CONTRACT, "schema": SMALL.to_wire(), "hash": "blake3", "initial_base": INITIAL,
        "options": {"minPeers": 1}, "weight": 1, "syncFrequency": 10, "data_address": "127.0.0.1:3001",
        "slot": slot.id, "fence": fence or slot.fence,
    }  # fmt: skip
    return scene.say(learner, "Enrolled", body)


def learner_of(scene, organisation="a", name="sl-1"):
    learner = Actor("sl", name, organisation)
    assert scene.join(learner).accepted
    return learner


def test_the_learning_node_that_enrols_for_a_slot_is_known_with_it(scene):
    (slot,) = scene.slots(scene.operators[0])
    learner = learner_of(scene)
    assert enrol(scene, learner, slot).accepted
    assert slot.sl_uid == learner.uid


def test_nobody_enrols_for_the_slot_of_another_organisation_or_with_another_fence(scene):
    (slot,) = scene.slots(scene.operators[0])
    assert "its operator is of another organisation" in enrol(scene, learner_of(scene, "b"), slot).reason
    assert "is old: its lease has fence" in enrol(scene, learner_of(scene), slot, slot.fence - 1).reason
    assert CONTRACT not in scene.ledger.contracts


def test_r016_contributions_of_a_worker_whose_slot_was_leased_anew_are_refused(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    learner = learner_of(scene)
    enrol(scene, learner, slot)
    old = slot.fence
    scene.lose(swop)
    scene.end_lease(slot)
    assert scene.contract.members[learner.uid].state == "live", "it goes on while nobody took its place"
    scene.join(swop)
    scene.target(swop)
    assert scene.contract.members[learner.uid].state == "left"
    assert "has to enrol again" in scene.offer(learner).reason
    assert "is old" in enrol(scene, learner, slot, old).reason
    newer = learner_of(scene, name="sl-2")
    assert enrol(scene, newer, slot).accepted


def test_a_new_lease_touches_no_learning_node_of_another_organisation(scene):
    swop, _ = scene.operators
    (slot,) = scene.slots(swop)
    victim = learner_of(scene, "b")
    enrol(scene, victim, scene.slots(scene.operators[1])[0])
    scene.report(swop, slot, "failed", "", sl_uid=victim.uid)
    scene.target(swop)
    assert slot.attempt == 2
    assert scene.contract.members[victim.uid].state == "live"


def test_ended_slots_are_left_by_a_new_lease_only():
    for (before, happened), after in SLOT.items():
        if before in ENDED:
            assert (happened, after) == ("leased", "assigned"), before
    assert ("done", "leased") not in SLOT
