"""Tasks: drafts, what is final, whose they are, and what has to be there first."""

import pytest

from swarm.core import bodies
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.core.events import TaskFinal, TaskGone, TaskKnown
from swarm.core.ledger import Ledger
from swarm.core.task import ROOT_NAME, TASK, WORDS
from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import Refused
from tests.core.scene import Actor
from tests.core.tasks import BODY, TaskScene
from tests.core.tasks import TASK as NAME


def test_a_task_is_created_finalized_once_and_named_by_what_it_says():
    scene = TaskScene()
    assert scene.create().result == {"known": False, "state": "draft"}
    assert scene.events[-1] == TaskKnown(NAME, "swarm://a/swci/swci-1")
    task = scene.ledger.tasks[NAME]
    assert (task.final, task.peer_type) == (False, "SL")
    outcome = scene.finalize()
    assert outcome.result == {"known": False, "digest": task.digest}
    assert scene.events[-1] == TaskFinal(NAME, task.digest)
    assert (task.state, task.creator, task.finalizer) == ("final", scene.swci.uid, scene.swci.uid)


def test_the_root_and_the_default_names_are_always_there():
    scene = TaskScene()
    root = scene.ledger.tasks[ROOT_NAME]
    assert (root.type, root.author, root.state) == ("ROOT_TASK", "HPE", "final")
    assert DEFAULT_CONTRACT in scene.ledger.unopened
    scene.operator(1)
    assert "there is nothing to run" in scene.assign(1, task=ROOT_NAME).reason
    for kind in ("TaskFinalized", "TaskDeleted"):
        assert not scene.say(scene.swci, kind, {"task": ROOT_NAME}).accepted


def test_r019_creating_or_finalizing_once_more_is_answered_and_changes_nothing():
    scene = TaskScene()
    scene.create()
    before = scene.ledger.board.to_state()
    assert scene.create().result == {"known": True, "state": "draft"}
    assert scene.ledger.board.to_state() == before
    scene.finalize()
    assert scene.finalize().result["known"]
    assert scene.create().result == {"known": True, "state": "final"}


def test_names_are_unique_and_permanent():
    scene = TaskScene()
    scene.create()
    assert "names of tasks are permanent" in scene.create(author="bob").reason
    assert "names of tasks are permanent" in scene.create(by=scene.other_swci).reason
    assert scene.say(scene.swci, "TaskDeleted", {"task": NAME}).accepted
    assert scene.events[-1] == TaskGone(NAME)
    assert scene.create(author="bob").accepted


ENDLESS = pytest.param("a" * 10**6, id="endless")


@pytest.mark.parametrize(
    "name", ["", "../../etc/cron.d/x", "a\x1b[2J", "a" * 161, "a b", "😀", "a\0", "-x", ".x", "ü", ENDLESS]
)
def test_r074_what_is_no_name_is_refused(name):
    scene = TaskScene()
    assert "the field 'name' has to be a name" in scene.create(name).reason
    assert not scene.say(scene.swci, "TaskrunnerCreated", {"name": name}).accepted


@pytest.mark.parametrize("name", ["swarm_mnist_task", "user-env-tf2.16.1-swop", "0", "x" * 160, "a:b@c"])
def test_hpes_names_are_names(name):
    assert TaskScene().create(name).accepted


def test_r045_another_organisations_draft_is_not_theirs_to_finalize_change_or_delete():
    scene = TaskScene()
    assert scene.create(by=scene.other_swci, body={}).accepted
    before = scene.ledger.board.to_state()
    for kind, fields in [("TaskFinalized", {"body": BODY}), ("TaskDeleted", {}), ("TaskBodyAppended", LINE)]:
        outcome = scene.say(scene.swci, kind, {"task": NAME, **fields})
        assert (outcome.accepted, outcome.code) == (False, 5)
        assert "only the organisation that created it may" in outcome.reason
    assert scene.ledger.board.to_state() == before
    colleague = Actor("swci", "swci-2", "b")
    scene.join(colleague)
    assert scene.finalize(by=colleague, body=BODY).accepted


def test_r044_operators_and_learners_author_no_tasks():
    scene = TaskScene(1)
    for kind, body in [("TaskFinalized", {"task": NAME}), ("TaskrunnerReset", {"taskrunner": "x"})]:
        assert "only the role swci may" in scene.say(scene.operators[0], kind, body).reason


LINE = {"index": 1, "line": "Command: train.py"}


def test_r078_a_final_task_is_immutable():
    scene = TaskScene()
    scene.final()
    before = scene.ledger.board.to_state()
    assert "it cannot be deleted" in scene.say(scene.swci, "TaskDeleted", {"task": NAME}).reason
    assert "it cannot be changed" in scene.say(scene.swci, "TaskBodyAppended", {"task": NAME, **LINE}).reason
    assert "names of tasks are permanent" in scene.create(body={**BODY, "Command": "other.py"}).reason
    assert scene.ledger.board.to_state() == before


def test_a_body_written_by_hand_line_by_line_is_read_when_it_is_finalized():
    scene = TaskScene()
    scene.create(body={})
    assert "has no body" in scene.finalize().reason
    for line in ("Command: tran.py", "Command: train.py"):
        assert scene.say(scene.swci, "TaskBodyAppended", {"task": NAME, "index": 1, "line": line}).accepted
    assert scene.ledger.tasks[NAME].lines == {1: "Command: train.py"}
    assert scene.finalize(body={"Command": "train.py"}).accepted
    assert scene.ledger.tasks[NAME].body == {"Command": "train.py"}


def test_a_task_created_with_its_body_takes_no_lines_and_no_other_body():
    scene = TaskScene()
    scene.create()
    assert "it takes no lines" in scene.say(scene.swci, "TaskBodyAppended", {"task": NAME, **LINE}).reason
    assert "has another body" in scene.finalize(body={"Command": "x"}).reason
    assert scene.finalize(body=dict(reversed(BODY.items()))).accepted


@pytest.mark.parametrize(
    "body", [{"x": "y" * 70_000}, {"x": [[[[[[[[[0]]]]]]]]]}, {1: 2}, {"x": b"1"}, {"x": 2**60}, []]
)
def test_bodies_are_plain_and_bounded(body):
    assert "the field 'body' has to be a map of plain values" in TaskScene().create(body=body).reason


def test_r081_a_prerequisite_is_there_before_the_task_and_stays():
    scene = TaskScene(1)
    assert scene.create(prereq="build").reason == f"there is no task build, the prerequisite of {NAME}"
    assert not scene.create(prereq=NAME).accepted
    scene.create("build", type="MAKE_USER_CONTAINER")
    scene.final(prereq="build")
    assert f"it is the prerequisite of {NAME}" in scene.say(scene.swci, "TaskDeleted", {"task": "build"}).reason
    assert scene.assign(1).reason == f"build, the prerequisite of {NAME}, is a draft"
    scene.finalize("build")
    assert scene.assign(1).accepted


def test_r081_a_task_whose_prerequisite_failed_is_not_assigned():
    scene = TaskScene(1)
    (swop,) = scene.operators
    scene.final("build", type="MAKE_USER_CONTAINER")
    scene.final(prereq="build")
    scene.assign(1, task="build")
    scene.report(swop, scene.slots(swop)[0], "failed", "no space left")
    scene.reset()
    assert "has failed: 0 of the 1 peers asked for can still complete" in scene.assign(1).reason
    scene.assign(1, task="build")
    scene.report(swop, scene.slots(swop)[0], "done")
    scene.reset()
    assert scene.assign(1).accepted


def test_a_draft_cannot_be_assigned():
    scene = TaskScene(1)
    scene.create()
    outcome = scene.assign(1)
    assert outcome.reason == f"task {NAME} is a draft: it cannot be assigned"
    assert outcome.hint == f"FINALIZE TASK {NAME}"


def test_contracts_and_taskrunners_are_created_once():
    scene = TaskScene()
    for kind, body in [("ContractCreated", {"contract": "mine"}), ("TaskrunnerCreated", {"name": "mine"})]:
        assert scene.say(scene.swci, kind, body).result == {"known": False}
        assert scene.say(scene.other_swci, kind, body).result == {"known": True}
    assert scene.ledger.unopened["mine"] == 0
    assert "mine" in scene.ledger.taskrunners


def test_a_created_contract_is_opened_by_the_first_that_enrols():
    scene = TaskScene()
    scene.say(scene.swci, "ContractCreated", {"contract": "digits"})
    scene.learners(2)
    assert "digits" not in scene.ledger.unopened
    assert scene.say(scene.swci, "ContractCreated", {"contract": "digits"}).result == {"known": True}


def test_every_state_has_a_word_and_every_state_can_be_reached():
    states = {state for state, _ in TASK} | set(TASK.values())
    assert states <= set(WORDS)
    assert set(TASK.values()) | {"draft"} == states


def test_no_organisation_keeps_another_one_from_deleting_its_task_by_building_on_it():
    scene = TaskScene(rules=3)
    other = scene.other_swci
    assert scene.create("build").accepted
    said = scene.create(by=other, prereq="build").reason
    assert said == f"build cannot be the prerequisite of {NAME}: another organisation may still delete it"
    jobs = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0}
    body = {"taskrunner": DEFAULT_NAME, "name": "job", "author": "alice", "terms": jobs, "body": {"Command": ["x"]}}
    assert scene.say(scene.swci, "JobsSubmitted", body).accepted
    assert "may still delete it" in scene.create(by=other, prereq="job").reason
    assert scene.say(scene.swci, "TaskDeleted", {"task": "build"}).accepted
    scene.final("kept")
    assert scene.create(by=other, prereq="kept").accepted, "what is final for good stays"
    assert scene.create("own", prereq="job").accepted
    before = TaskScene(rules=2)
    assert before.create("build").accepted
    assert before.create(by=before.other_swci, prereq="build").accepted, "as these rules have it"


def test_the_bodies_of_an_organisations_tasks_have_a_bound_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bodies, "BODIES_MAX", 5000)
    scene = TaskScene(rules=3)
    other = scene.other_swci
    large = {"Command": "x" * 4000}
    assert scene.create("first", body=large).accepted
    refused = scene.create("second", body=large).reason
    assert refused == "the tasks of a take 4292 bytes in the ledger, and 4294 more are over 5000"
    assert "second" not in scene.ledger.tasks
    assert scene.create("third", by=other, body=large).accepted, "each organisation for itself"
    assert scene.create("lines", body={}).accepted
    line = {"task": "lines", "line": "x" * 90}
    outcomes = [scene.say(scene.swci, "TaskBodyAppended", {**line, "index": index}) for index in range(1, 9)]
    assert [outcome.accepted for outcome in outcomes] == [True] * 4 + [False] * 4
    assert scene.say(scene.swci, "TaskDeleted", {"task": "first"}).accepted
    assert scene.create("second", body=large).accepted
    terms = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0}
    job = {"taskrunner": DEFAULT_NAME, "name": "job", "author": "alice", "terms": terms, "body": large}
    assert "over 5000" in scene.say(scene.swci, "JobsSubmitted", job).reason
    assert not scene.ledger.board.jobs.runs
    few = TaskScene(rules=3)
    assert sum(few.create(f"empty-{index}", body={}).accepted for index in range(30)) == 17, "each has a name at least"
    before = TaskScene(rules=2)
    assert before.create("first", body=large).accepted
    assert before.create("second", body=large).accepted, "as these rules have it"


def test_what_an_organisation_has_of_the_bound_is_known_to_a_restored_ledger_too():
    scene = TaskScene(rules=3)
    assert scene.create("lines", body={}).accepted
    assert scene.say(scene.swci, "TaskBodyAppended", {"task": "lines", "index": 1, "line": "x" * 90}).accepted
    assert scene.create("gone", body={"Command": "x" * 4000}).accepted
    assert scene.say(scene.swci, "TaskDeleted", {"task": "gone"}).accepted
    restored = Ledger.restore(scene.ledger.snapshot())
    restored.check()
    for ledger in (scene.ledger, restored):
        kept = ledger.tasks["lines"].bytes
        with pytest.raises(Refused, match=f"take {kept} bytes in the ledger"):
            ledger.board.bodies.must_have_room(bodies.BODIES_MAX, scene.swci.identity)
