"""Slots and the queue as people see them, and a task that is submitted again: by a client of a ledger made by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.core.roles import Role
from swarm.errors import BadInput, Unreachable
from swarm.nodes import jobstatus, slotlist, submitting
from swarm.nodes.client import Client
from tests.core.jobscene import JobScene
from tests.core.rolescene import RoleScene, submitted
from tests.core.test_datasets import MNIST, DataScene
from tests.core.test_sweeps import SweepScene


class Person(Client):
    """What a client does for these, on a scene."""

    def __init__(self, scene: JobScene) -> None:
        self.scene = scene
        self.local = self
        self.credentials = scene.swci

    async def ledger(self) -> Any:
        return self.scene.ledger

    async def ask(self, verb: str, body: dict[str, Any]) -> Any:
        assert verb == "job"
        return jobstatus.job(self.scene.ledger, body["task"], body["first"])

    async def propose(self, kind: str, body: dict[str, Any]) -> Any:
        outcome = self.scene.say(self.scene.swci, kind, body)
        assert outcome.accepted, outcome.reason
        return outcome

    def does(self, work: Any) -> Any:
        return trio.run(work, self)


def test_all_slots_of_a_task_are_shown_however_many_pages_they_take(monkeypatch):
    monkeypatch.setattr(jobstatus, "page", partial(jobstatus.page, left=1000))
    scene = JobScene(1)
    scene.submit(slots=40)
    assert jobstatus.job(scene.ledger, "job", 0)["more"]
    whole = Person(scene).does(submitting.shown("job"))
    assert [slot["index"] for slot in whole["slots"]] == list(range(40))
    assert "more" not in whole


def test_slots_are_told_with_owner_holder_and_lease():
    scene = SweepScene(3)
    (run,) = (scene.submit(),)
    scene.sweep(2)
    person = Person(scene)
    rows = person.does(slotlist.slots(None))["slots"]
    assert [(row["task"], row["leased"], row["fence"] is not None) for row in rows] == [
        ("job", True, True), ("cv.0", True, True), ("cv.0", True, True), ("cv.1", False, False), ("cv.1", False, False),
    ]  # fmt: skip
    assert person.does(slotlist.slots("cv"))["slots"] == rows[1:]
    first = person.does(slotlist.slot(rows[0]["id"]))
    assert first == rows[0]
    told = (first["owner"], first["swop"], first["state"], first["attempt"], first["log"])
    assert told == ("swop", "swop-1 (a)", "assigned", 1, first["id"])
    for slot in run.slots.values():
        scene.ends(slot)
    assert [row["task"] for row in person.does(slotlist.slots(None))["slots"]] == ["cv.0"] * 2 + ["cv.1"] * 2
    for work, said in ((slotlist.slots("no"), "task 'no' not found"), (slotlist.slot("9.9"), "slot '9.9' not found")):
        with pytest.raises(BadInput, match=said):
            person.does(work)


def test_a_slot_names_the_learning_node_beside_its_program():
    scene = RoleScene(1)
    run = scene.play(Role("learner", contract="param"))
    (slot,) = run.slots.values()
    person = Person(scene)
    assert person.does(slotlist.slot(slot.id))["learning_node"] is None
    scene.report(scene.holder(slot), slot, "running", sl_uid=scene.sn.uid)
    assert person.does(slotlist.slot(slot.id))["learning_node"] == scene.sn.uid


def test_the_queue_is_what_waits_in_its_order_and_what_room_there_is():
    scene = JobScene(2, 1, gpu=1)
    for name in ("first", "second", "third"):
        scene.submit(name, cpu=2)
    found = Person(scene).does(slotlist.queue)
    assert [(row["position"], row["name"]) for row in found["tasks"]] == [(0, "second"), (1, "third")]
    room = "needs 2 cpu: swop-1 (a) has 0 of 2 cpu free"
    assert [row["message"] for row in found["tasks"]] == [f"0 tasks ahead; {room}", f"1 task ahead; {room}"]
    assert sorted((row["name"], row["cpu"], row["free_cpu"], row["free_gpu"]) for row in found["operators"]) == [
        ("swop-1", 2, 0, 1),
        ("swop-2", 1, 1, 1),
    ]


def test_a_task_is_submitted_again_with_other_data():
    scene = DataScene(1)
    scene.add(**{"a.csv": "a"})
    version = scene.registry.version(MNIST)
    assert scene.use("job", (MNIST, [1])).accepted
    scene.ledger.tasks["job"].body = {"Exec": "ls %DATA", "Data": {"%DATA": version.reference}}
    scene.commit(**{"b.csv": "later"})
    person = Person(scene)
    same = person.does(submitting.cloned("job", "same", {}))
    assert (same["name"], same["jobs"]) == ("same", 1)
    assert scene.ledger.tasks["same"].body == scene.ledger.tasks["job"].body
    person.does(submitting.cloned(str(same["id"]), "more", {"%DATA": MNIST}))
    more = scene.ledger.tasks["more"].body["Data"]["%DATA"]
    assert more == scene.registry.version(MNIST).reference != version.reference
    with pytest.raises(BadInput, match="task job has no %MORE in its Data: there is %DATA"):
        person.does(submitting.cloned("job", "again", {"%MORE": MNIST}))


def test_a_sweep_of_swarms_is_not_cloned():
    scene = SweepScene(3)
    scene.sweep(2)
    with pytest.raises(BadInput, match="task cv is a sweep of swarms, of which the ledger holds each by itself"):
        Person(scene).does(submitting.cloned("cv", "again", {}))


def test_nothing_of_this_host_is_taken_for_code_of_which_the_task_says_no_hash():
    """A client that checks nothing may name any directory: of whoever clones it, that would be published."""
    scene = SweepScene(3)
    participants = Role("trainer", owner="participant", cpu=0)
    assert scene.say(scene.swci, "RolesSubmitted", submitted(participants, name="theirs")).accepted
    scene.ledger.tasks["theirs"].body = {"Roles": [{"Name": "trainer", "Owner": "participant"}], "Code": "/home/me"}
    with pytest.raises(BadInput, match="task theirs says Code /home/me and not of which hash"):
        Person(scene).does(submitting.cloned("theirs", "again", {}))


@pytest.mark.parametrize(
    ("heard", "said"), [(1, "none of them begins"), (2, "all begin if the last one was taken, too")]
)
def test_who_is_not_answered_is_told_what_may_come_of_the_sweep(heard, said):
    person = Person(SweepScene(3))
    person.call = None  # there is no code to publish
    answered = []

    async def propose(kind, body):
        if len(answered) == heard:
            raise Unreachable("nobody answers")
        answered.append(await Person.propose(person, kind, body))
        return answered[-1]

    person.propose = propose
    roles = [{"Name": "learner", "Command": ["learn", "%RATE"], "Merge": "lr"}]
    document = {"Name": "lr", "TaskType": "RUN_SWARM", "Body": {"ForEach": {"%RATE": [1, 2, 3]}, "Roles": roles}}
    with pytest.raises(Unreachable, match=f"{heard} of the 3 swarms of lr are there, and {said}$"):
        person.does(submitting.given(document, Path.cwd()))
