"""Artifacts: versions that count up, each of an attempt that counts, with what it came from."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.core import artifacts
from swarm.core.taskrunner import DEFAULT_NAME
from tests.core.jobscene import slots
from tests.core.scene import restored
from tests.core.test_datasets import MNIST, DataScene

CODE = "sha256:" + "c" * 64


def output(letter: str) -> dict[str, Any]:
    return {"hash": "sha256:" + letter * 64, "bytes": 7, "files": 2}


class MakingScene(DataScene):
    def make(self, job: str = "job", *, by: Any = None, name: str = "model", **terms: Any) -> Any:
        asked = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0, **terms}
        body = {"taskrunner": DEFAULT_NAME, "name": job, "author": "alice", "terms": asked, "body": {"Command": ["x"]}}
        data = [{"name": MNIST, "commits": [1]}] if MNIST in self.registry.by_name else []
        said = {**body, "output": name, "code": CODE, **({"data": data} if data else {})}
        outcome = self.say(by or self.swci, "JobsSubmitted", said)
        return self.ledger.board.jobs.runs[outcome.result["run"]] if outcome.accepted else outcome

    def puts_out(self, slot: Any, letter: str, state: str = "done") -> None:
        operator = next(each for each in self.operators if each.uid == slot.swop)
        outcome = self.report(operator, slot, state, "", output=output(letter))
        assert outcome.accepted, outcome.reason

    @property
    def made(self) -> list[tuple[int, str, str, int, int]]:
        """Of each version its number, its hash's letter, its task, its slot's index, its attempt."""
        versions = self.ledger.board.artifacts.by_name["model"].versions
        return [(each.version, each.hash[7], each.task, each.index, each.attempt) for each in versions]


def test_a_version_says_what_it_came_from():
    scene = MakingScene(2)
    data = scene.add().result["hash"]
    run = scene.make()
    scene.puts_out(slots(run)[0], "a")
    (made,) = scene.ledger.board.artifacts.by_name["model"].versions
    assert (made.version, made.id, made.slot, made.operator) == (1, run.id, f"{run.number}.0", "swop-1 (a)")
    assert (made.data, made.code, made.bytes, made.files) == (((MNIST, data),), CODE, 7, 2)
    scene.puts_out(slots(run)[0], "b")
    assert len(scene.made) == 1, "its last word again changes nothing"
    scene.puts_out(slots(scene.make("again"))[0], "b")
    assert scene.made == [(1, "a", "job", 0, 1), (2, "b", "again", 0, 1)]


def test_of_a_gang_nothing_is_a_version_before_all_of_it_is_done_and_an_attempt_that_failed_makes_none():
    scene = MakingScene(2)
    run = scene.make(slots=2, gang=True, restart=1)
    scene.puts_out(slots(run)[0], "a")
    assert not scene.made
    scene.ends(slots(run)[1], "failed")
    assert not scene.made
    assert [slot.attempt for slot in slots(run)] == [2, 2]
    scene.puts_out(slots(run)[1], "b")
    restored(scene.ledger)
    scene.ends(slots(run)[0])
    assert scene.made == [(1, "b", "job", 1, 2)]


def test_each_job_of_many_makes_a_version_when_it_is_done_and_a_failed_one_none():
    scene = MakingScene(3)
    run = scene.make(slots=3)
    scene.puts_out(slots(run)[1], "a")
    assert scene.made == [(1, "a", "job", 1, 1)]
    scene.puts_out(slots(run)[0], "b", "failed")
    scene.ends(slots(run)[2])
    assert scene.made == [(1, "a", "job", 1, 1)]


def test_a_name_is_one_organisations_and_free_when_nothing_was_made_under_it():
    scene = MakingScene(1)
    run = scene.make()
    refused = scene.make("theirs", by=scene.other_swci)
    assert refused.reason == "the artifact model is made by tasks of a"
    assert "theirs" not in scene.ledger.tasks
    scene.ends(slots(run)[0], "failed")
    assert scene.delete().accepted
    assert "model" not in scene.ledger.board.artifacts.by_name
    scene.puts_out(slots(scene.make("second"))[0], "a")
    assert scene.delete("second").accepted
    assert scene.made == [(1, "a", "second", 0, 1)], "what was made is known when its task is not any more"


def test_the_oldest_versions_are_forgotten_and_the_numbers_go_on(monkeypatch):
    monkeypatch.setattr(artifacts, "VERSIONS_MAX", 2)
    scene = MakingScene(3)
    run = scene.make(slots=3)
    for slot in slots(run):
        scene.puts_out(slot, "a")
    assert [version for version, *_ in scene.made] == [2, 3]
    monkeypatch.setattr(artifacts, "NAMES_MAX", 1)
    assert scene.make("more", name="other").reason == "a has 1 artifacts in the ledger, and may have no more"


@pytest.mark.parametrize("said", [{}, {**output("a"), "files": 0}, {**output("a"), "hash": "sha256:x"}])
def test_what_is_no_output_is_refused(said):
    scene = MakingScene(1)
    run = scene.make()
    outcome = scene.report(scene.operators[0], slots(run)[0], "done", output=said)
    assert "the field 'output' has to be of files" in outcome.reason
    assert slots(run)[0].state == "assigned"


def test_a_network_without_artifacts_has_the_state_that_it_had_before_there_were_any():
    scene = MakingScene(1)
    scene.submit()
    assert "artifacts" not in scene.ledger.board.to_state()
