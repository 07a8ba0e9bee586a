"""What a network node says of tasks of jobs: all of it, in answers that fit into messages."""

from dataclasses import replace

import msgpack
import pytest

from swarm.core.role_kinds import SWARMS_MAX, VALUE_MAX
from swarm.core.roles import Role
from swarm.errors import BadInput
from swarm.nodes import jobstatus
from swarm.nodes.holdings import Holdings
from swarm.nodes.jobbing import Jobbing
from swarm.nodes.secrets import Secrets
from swarm.wire.frame import CAP
from tests.core.jobscene import JobScene, slots
from tests.core.rolescene import RoleScene, submitted
from tests.core.test_datasets import MNIST, DataScene
from tests.core.test_sweeps import SweepScene

LINES = ["x" * 300] * 20


def test_slots_with_long_lines_come_in_pages_that_a_message_takes():
    scene = JobScene(400)
    run = scene.submit(slots=400)
    for slot in slots(run):
        body = {"slot": slot.id, "fence": slot.fence, "state": "failed", "reason": "r" * 500, "lines": LINES}
        assert scene.say(scene.operators[0], "SlotReported", body).accepted
    pages = []
    found: dict = {"more": True}
    while found["more"]:
        found = jobstatus.job(scene.ledger, "job", sum(map(len, pages)))
        assert len(msgpack.packb(found)) < CAP - 64 * 1024
        pages.append(found["slots"])
    assert len(pages) > 1
    assert [slot["index"] for page in pages for slot in page] == list(range(400))
    assert pages[0][0]["lines"] == LINES


def test_all_tasks_are_listed_page_by_page_each_with_its_position():
    scene = JobScene(1)
    for number in range(40):
        scene.submit(f"{number:02}" + "n" * 150)
    whole = jobstatus.jobs(scene.ledger, 0)
    assert not whole["more"]
    assert [row["position"] for row in whole["tasks"]] == [None, *range(39)]
    assert scene.stop("05" + "n" * 150).accepted
    assert scene.delete("05" + "n" * 150).accepted
    rest = jobstatus.jobs(scene.ledger, whole["tasks"][29]["id"])
    names = [row["name"] for row in rest["tasks"]]
    assert names == [row["name"] for row in whole["tasks"][30:]], "whatever goes away between two pages"


def test_a_job_says_which_file_it_is_about():
    scene = JobScene(1)
    said = {"Exec": "x %IN", "ForEach": {"%IN": {"Directory": "/configs", "Files": ["a.json", "b.json"]}}}
    for name, body in (("cv", said), ("odd", {**said, "ForEach": 3})):
        run = scene.submit(name, slots=2)
        scene.ledger.tasks[run.task].body = body
    assert [slot["input"] for slot in jobstatus.job(scene.ledger, "cv", 0)["slots"]] == ["a.json", "b.json"]
    assert [slot["input"] for slot in jobstatus.job(scene.ledger, "odd", 0)["slots"]] == [None, None]


def test_a_job_is_about_a_file_of_the_version_that_its_task_was_submitted_for(tmp_path):
    scene = DataScene(1)
    scene.add(**{"b.json": "b", "a.json": "a"})
    version = scene.registry.version(MNIST)
    assert scene.use("cv", (MNIST, [1])).accepted
    run, task = scene.ledger.board.jobs.of("cv"), scene.ledger.tasks["cv"]
    task.body = {"Exec": "x %IN", "ForEach": {"%IN": version.reference}}
    scene.commit(**{"0.json": "later"})
    found = jobstatus.job(scene.ledger, "cv", 0)["slots"]
    assert [slot["input"] for slot in found] == ["a.json"]
    jobbing = Jobbing(tmp_path, Secrets(None), Holdings(tmp_path))
    (own,) = jobbing.data(task, run, found[0]["id"], scene.registry).values()
    assert [placed.file.name for placed in own.files] == ["a.json"]
    task.body = {"Exec": "x %IN", "ForEach": {"%IN": scene.registry.version(MNIST).reference}}
    with pytest.raises(BadInput, match="was not submitted for it"):
        jobbing.data(task, run, found[0]["id"], scene.registry)


def test_a_sweep_of_swarms_is_one_task_with_the_slots_of_all_of_them():
    scene = SweepScene(3)
    scene.submit("job")
    scene.sweep(3)
    rows = jobstatus.jobs(scene.ledger, 0)["tasks"]
    assert [(row["id"], row["name"], row["state"]) for row in rows] == [(1, "job", "running"), (2, "cv", "running")]
    assert rows[1]["counts"] == {"assigned": 2, "waiting": 4}
    found = jobstatus.job(scene.ledger, "2", 0)
    assert [(row["id"], row["name"], row["input"], row["state"]) for row in found["swarms"]] == [
        (3, "cv.0", "0.0", "running"),
        (4, "cv.1", "0.1", "queued"),
        (5, "cv.2", "0.2", "queued"),
    ]
    assert [slot["name"] for slot in found["slots"]][::3] == ["swarm-cv.0-learner-0", "swarm-cv.1-learner-1"]
    assert [slot["input"] for slot in jobstatus.job(scene.ledger, "cv", 4)["slots"]] == ["0.2", "0.2"]
    assert (found["state"], found["message"], found["more"]) == ("running", "0 of 3 swarms are done", False)
    assert jobstatus.job(scene.ledger, "cv.2", 0)["message"] == (
        "1 task ahead; needs 2 cpu at once: operators have 0 of 3 cpu free"
    )


def test_what_comes_of_a_task_with_roles_is_called_as_its_file_says():
    scene = RoleScene(3)
    assert scene.say(scene.swci, "RolesSubmitted", {**submitted(Role("x"), name="a"), "outcome": "a model"}).accepted
    scene.play(Role("x"), name="b")
    assert [jobstatus.job(scene.ledger, name, 0)["task"].get("Outcome") for name in "ab"] == ["a model", None]


def test_the_largest_sweep_fits_into_messages():
    scene = SweepScene(1)
    count, value = SWARMS_MAX, "v" * VALUE_MAX
    scene.sweep(1, of="s" * 150)
    (sweep,) = scene.ledger.board.jobs.sweeps.by_name.values()
    run = sweep.runs[0]
    run.variant, run.reason = replace(run.variant, value=value), "r" * 500
    sweep.runs.update(dict.fromkeys(range(count), run))
    assert len(msgpack.packb(jobstatus.job(scene.ledger, sweep.name, 0))) < CAP - 64 * 1024
