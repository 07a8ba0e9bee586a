"""Participants: a slot is bound to key and certificate, joined again with both, and never by anybody else."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from swarm.core import joining
from swarm.core.events import Outcome
from swarm.core.jobslot import JobSlot
from swarm.core.roles import Role, fault
from swarm.core.rolesrun import RolesRun
from swarm.core.tally import Tally
from tests.core.rolescene import RoleScene, states, submitted
from tests.core.scene import Actor, restored

KEY, OTHER = b"k" * 32, b"o" * 32
FLAME = (
    Role("trainer", owner="participant", low=2, high=3, start=2, cpu=0, contract="digits"),
    Role("aggregator", needs=("trainer",), contract="digits"),
)


class JoinScene(RoleScene):
    """One in which alice and bob, of organisations a and b, take part in a task with two trainers."""

    def __init__(self) -> None:
        super().__init__(2)
        self.alice, self.bob, self.carol = (self.person(*who) for who in (("alice", "a"), ("bob", "b"), ("carol", "a")))
        self.run_of_roles = self.play(*FLAME, name="digits")

    def person(self, name: str, organisation: str) -> Actor:
        actor = Actor("sl", name, organisation)
        assert self.join(actor).accepted
        return actor

    def takes(self, who: Actor, key: bytes = KEY, role: str = "trainer", task: str = "digits") -> Outcome:
        return self.say(who, "SlotJoined", {"task": task, "role": role, "key": key, "proof": bytes(64)})

    def takes_one_of(self, who: Actor, *indices: int) -> Outcome:
        body = {"task": "digits", "role": "trainer", "key": who.node_key, "proof": bytes(64), "indices": list(indices)}
        return self.say(who, "SlotJoined", body)

    def has(self, who: Actor, key: bytes = KEY) -> JobSlot:
        outcome = self.takes(who, key)
        assert outcome.accepted, outcome.reason
        return self.run_of_roles.slots[outcome.result["slot"]]

    def tells(self, who: Actor, slot: JobSlot, state: str, **more: Any) -> Outcome:
        return self.say(who, "SlotTold", {"slot": slot.id, "fence": slot.fence, "state": state, "reason": "", **more})


@pytest.fixture
def scene() -> JoinScene:
    return JoinScene()


def trainers(run: RolesRun) -> list[str]:
    return [slot.state for slot in run.slots_of("trainer")]


def test_participants_take_slots_that_no_operator_is_given_and_the_task_is_done_with_all(scene):
    run = scene.run_of_roles
    assert states(run) == {"trainer 0": "waiting", "trainer 1": "waiting", "aggregator 0": "waiting"}
    first, second = scene.has(scene.alice), scene.has(scene.bob, OTHER)
    assert (first.index, second.index, first.swop, second.anchor != first.anchor) == (0, 1, scene.alice.uid, True)
    for who, slot in ((scene.alice, first), (scene.bob, second)):
        assert scene.tells(who, slot, "running").accepted
    (aggregator,) = run.slots_of("aggregator")
    assert aggregator.state == "assigned", "its trainers run"
    scene.ends(aggregator)
    for who, slot in ((scene.alice, first), (scene.bob, second)):
        assert run.state == "running"
        assert scene.tells(who, slot, "done", exit_code=0).accepted
    assert (run.state, trainers(run)) == ("done", ["done", "done"])
    assert "nobody can join it any more" in scene.takes(scene.carol).reason


def test_a_participant_may_say_in_which_of_the_slots_its_group_is(scene):
    assert scene.takes_one_of(scene.alice, 1, 3).result["index"] == 1
    refused = scene.takes_one_of(scene.bob, 1, 3)
    assert "all 1 slots of trainer of task digits of this group are taken: by alice (a)" in refused.reason
    again = scene.takes_one_of(scene.alice, 0).result
    assert (again["index"], again["attempt"], again["again"]) == (1, 2, True), "its slot is its own, whatever it says"
    assert "there is no slot of trainer of task digits in this group" in scene.takes_one_of(scene.carol, 5, 7).reason
    assert scene.takes_one_of(scene.bob, 0, 2).result["index"] == 0


def test_whom_a_participant_waits_for_is_named(scene):
    run = scene.run_of_roles
    trainer, aggregator = (run.role_named(name) for name in ("trainer", "aggregator"))
    scene.has(scene.alice)
    assert joining.waits_for(run, trainer) == "1 more trainer (1 of 2 joined)"
    assert joining.waits_for(run, aggregator) == "2 more trainer (0 of 2 run)"
    scene.has(scene.bob, OTHER)
    assert joining.waits_for(run, trainer) == ""


@pytest.mark.parametrize(("ends", "state"), [("kill", "lost"), ("lost", "lost"), ("left", "lost"), ("fail", "failed")])
def test_the_same_key_and_certificate_join_again_under_a_new_fence(scene, ends, state):
    slot = scene.has(scene.alice)
    scene.has(scene.bob, OTHER)
    before = slot.fence
    assert scene.tells(scene.alice, slot, "running").accepted
    match ends:
        case "kill":
            scene.alice.restart()
            assert scene.join(scene.alice).accepted
        case "lost":
            scene.lose(scene.alice)
        case "left":
            assert scene.say(scene.alice, "NodeLeft", {}).accepted
            assert scene.join(scene.alice).accepted
        case "fail":
            scene.run_of_roles.roles = tuple(Role(**{**each.said(), "low": 1}) for each in scene.run_of_roles.roles)
            assert scene.tells(scene.alice, slot, "failed").accepted
    assert slot.state == state
    assert ends == "fail" or slot.reason.startswith("its participant")
    again = scene.takes(scene.alice)
    assert again.result == {"slot": slot.id, "index": 0, "fence": slot.fence, "attempt": 2, "again": True}
    assert (slot.state, slot.leased, slot.fence > before) == ("assigned", True, True)
    old = {"slot": slot.id, "fence": before, "state": "done", "reason": ""}
    assert "is old" in scene.say(scene.alice, "SlotTold", old).reason


def test_another_process_of_the_same_person_takes_over_once_the_first_is_lost(scene):
    slot = scene.has(scene.alice)
    elsewhere = Actor("sl", "elsewhere", "a")
    elsewhere.identity = scene.alice.identity
    assert scene.join(elsewhere).accepted
    assert "is run by another process" in scene.takes(elsewhere).reason
    scene.lose(scene.alice)
    assert scene.takes(elsewhere).accepted
    assert slot.swop == elsewhere.uid
    assert scene.join(scene.alice).accepted
    assert "is not leased to" in scene.tells(scene.alice, slot, "running").reason


def test_everybody_else_is_refused_and_nothing_changes(scene):
    scene.has(scene.alice)
    before = msgpack.packb(scene.ledger.board.to_state())
    assert "trainer 0 of task digits is alice (a)'s under another key" in scene.takes(scene.alice, OTHER).reason
    assert "is another certificate" in scene.takes(scene.carol, KEY).reason
    assert "is run by operators" in scene.takes(scene.carol, OTHER, "aggregator").reason
    assert "has no role coach" in scene.takes(scene.carol, OTHER, "coach").reason
    assert "there is no task mnist with roles" in scene.takes(scene.carol, OTHER, task="mnist").reason
    scene.submit("job")
    assert "there is no task job with roles" in scene.takes(scene.carol, OTHER, task="job").reason
    assert msgpack.packb({**scene.ledger.board.to_state(), "jobs": 0}) == msgpack.packb(
        {**msgpack.unpackb(before), "jobs": 0, "tasks": scene.ledger.board.to_state()["tasks"]}
    )


def test_a_full_role_says_who_has_it_and_how_to_make_room(scene):
    scene.has(scene.alice)
    scene.has(scene.bob, OTHER)
    outcome = scene.takes(scene.carol, b"c" * 32)
    assert "all 2 slots of trainer of task digits are taken: by alice (a), bob (b)" in outcome.reason
    assert outcome.hint == "swarm scale digits trainer=+1"
    assert scene.say(scene.swci, "RolesScaled", {"task": "digits", "role": "trainer", "by": 1}).accepted
    assert scene.has(scene.carol, b"c" * 32).index == 2


def test_who_has_joined_comes_back_from_a_snapshot_and_goes_with_the_task(scene):
    slot = scene.has(scene.alice)
    assert restored(scene.ledger).board.joining.bindings == scene.ledger.board.joining.bindings
    assert scene.stop("digits").accepted
    assert scene.tells(scene.alice, slot, "stopped").accepted
    assert scene.delete("digits").accepted
    assert scene.ledger.board.joining.bindings == {}


def test_who_joins_anew_is_no_last_one_to_leave(scene):
    """Between its leases nothing runs, and every minimum is done: the task ends with neither, and with no lease."""
    run = scene.run_of_roles = scene.play(Role("trainer", owner="participant", high=2, start=2, cpu=0), name="two")
    first = run.slots[scene.takes(scene.alice, KEY, task="two").result["slot"]]
    second = run.slots[scene.takes(scene.bob, OTHER, task="two").result["slot"]]
    for state in ("running", "done"):
        assert scene.tells(scene.alice, first, state).accepted
    assert scene.takes(scene.bob, OTHER, task="two").result["again"]
    assert (run.over, second.leased, second.attempt) == (False, True, 2)
    assert scene.tells(scene.bob, second, "done").accepted
    assert run.state == "done"


def test_no_single_other_organisation_makes_a_task_fail_and_what_it_failed_is_free_for_others(scene):
    """Its author is of organisation a, alice and carol too; bob is a stranger who joins only to fail."""
    run = scene.run_of_roles
    first = scene.has(scene.alice)
    for _ in range(3):
        slot = scene.has(scene.bob, OTHER)
        assert scene.tells(scene.bob, slot, "running").accepted
        assert scene.tells(scene.bob, slot, "failed").accepted
        assert (run.over, slot.index) == (False, 1)
    assert run.lacking().startswith("waits for 2 more participant as trainer (0 of 2 run)")
    assert scene.has(scene.carol, b"c" * 32) is slot, "anybody may take what has failed"
    assert "all 2 slots" in scene.takes(scene.bob, OTHER).reason
    assert scene.tells(scene.carol, slot, "failed").accepted
    assert run.ending.startswith("1 of the 2 trainer slots"), "the author's own failure counts"
    assert scene.tells(scene.alice, first, "stopped").accepted
    assert run.state == "failed"


def test_two_organisations_that_fail_a_role_end_its_task():
    tally = Tally(FLAME, author=b"a")
    slots = [JobSlot(f"9.{n}", 9, "tr", "digits", "", "", bytes([98 + n]), n, 9, 0, "failed") for n in range(2)]
    for slot, able in zip(slots, (1, 0), strict=True):
        slot.role, slot.leased = "trainer", False
        tally.add(slot)
        assert tally.able("trainer") == able
    tally.add(slots[1], -1)
    slots[1].anchor = b"a"
    tally.add(slots[1])
    assert tally.able("trainer") == 0
    tally.add(slots[0], -1)
    assert tally.able("trainer") == 0, "its author's own slot alone"


def test_a_role_is_for_the_organisations_that_it_names():
    scene = JoinScene()
    hospital = Role("trainer", owner="participant", cpu=0, organisations=("b",))
    run = scene.run_of_roles = scene.play(hospital, name="named")
    (key,) = run.roles[0].organisations
    assert key == f"sha256:{scene.bob.identity.anchor.hex()}"
    said = scene.takes(scene.alice, task="named").reason
    assert said == "swarm://a/sl/alice cannot join trainer of task named: it is for participants of b"
    assert scene.takes(scene.bob, task="named").accepted
    unknown = submitted(Role("trainer", owner="participant", cpu=0, organisations=("z",)), name="unknown")
    assert "no organisation 'z' is admitted" in scene.say(scene.swci, "RolesSubmitted", unknown).reason
    assert "only participants' roles do" in fault([Role("trainer", organisations=("b",))])


def test_a_slot_that_was_removed_is_anybodys_when_it_is_added_again(scene):
    for who, key in ((scene.alice, KEY), (scene.bob, OTHER)):
        scene.has(who, key)
    scale = {"task": "digits", "role": "trainer"}
    assert scene.say(scene.swci, "RolesScaled", {**scale, "to": 3}).accepted
    third = scene.has(scene.carol, b"c" * 32)
    assert scene.say(scene.swci, "RolesScaled", {**scale, "to": 2}).accepted
    assert scene.tells(scene.carol, third, "stopped").accepted
    assert scene.say(scene.swci, "RolesScaled", {**scale, "to": 3}).accepted
    assert scene.has(scene.person("dave", "b"), b"d" * 32) is third


def test_no_task_with_roles_is_named_as_if_it_were_an_id(scene):
    """Who asks for task 7 means the seventh, and not what somebody else has named so before."""
    body = submitted(*FLAME, name="7")
    assert "not of digits alone" in scene.say(scene.swci, "RolesSubmitted", body).reason
