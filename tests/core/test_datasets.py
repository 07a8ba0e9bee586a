"""Datasets: whose a name is, that a version is named by what its files hold, and that what a task uses stays."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from swarm.core import dataset, datasets
from swarm.core.dataset import reference
from swarm.core.task_kinds import TASK_FIELDS
from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import BadInput
from tests.core.jobscene import JobScene, slots, states
from tests.core.scene import restored

MNIST = "user.swci-1.mnist"


def columns(**files: str) -> dict[str, Any]:
    """Files by name, each with a text and as many examples as it has characters."""
    names = list(files)
    return {
        "names": names,
        "hashes": b"".join(hashlib.sha256(text.encode()).digest() for text in files.values()),
        "sizes": [len(text) for text in files.values()],
        "examples": [len(text) for text in files.values()],
    }


class DataScene(JobScene):
    def register(
        self, kind: str, name: str, tags: list[str], files: dict[str, str], by: Any = None, **more: Any
    ) -> Any:
        body = {"name": name, "message": "m", "tags": tags, "root": "/data", "alone": False, "files": columns(**files)}
        return self.say(by or self.swci, kind, {**body, **more})

    def add(self, name: str = MNIST, *tags: str, by: Any = None, **files: str) -> Any:
        return self.register("DatasetAdded", name, list(tags), files or {"a": "1"}, by)

    def commit(self, *tags: str, by: Any = None, **files: str) -> Any:
        return self.register("DatasetCommitted", MNIST, list(tags), files, by)

    def use(self, job: str, *uses: tuple[str, list[int]], by: Any = None) -> Any:
        terms = {"slots": 1, "gang": False, "probe": 0, "restart": 0, "cpu": 1, "gpu": 0}
        body = {"taskrunner": DEFAULT_NAME, "name": job, "author": "alice", "terms": terms, "body": {"Command": ["x"]}}
        data = [{"name": name, "commits": commits} for name, commits in uses]
        return self.say(by or self.swci, "JobsSubmitted", {**body, "data": data})

    @property
    def registry(self) -> datasets.Datasets:
        return self.ledger.board.datasets


def test_a_name_begins_with_its_users_own_prefix_and_is_one_datasets():
    scene = DataScene(1)
    refused = scene.add("user.bob.mnist")
    assert refused.code == 5
    assert refused.reason.endswith("cannot add a dataset user.bob.mnist: names of its datasets begin with user.swci-1.")
    assert not scene.add("user.swci-1.").accepted
    assert scene.add().accepted
    assert scene.add().reason == f"there is a dataset {MNIST} already, of a"
    assert list(scene.registry.by_name) == [MNIST]


def test_only_the_owners_organisation_adds_tags_and_removes():
    scene = DataScene(1)
    scene.add()
    for kind, body in (
        ("DatasetTagged", {"name": MNIST, "commit": 1, "tag": "gold"}),
        ("DatasetRemoved", {"name": MNIST}),
    ):
        assert "only the organisation that has its files may" in scene.say(scene.other_swci, kind, body).reason
        assert scene.say(scene.swci, kind, body).accepted
    assert scene.say(scene.swci, "DatasetRemoved", {"name": MNIST}).reason == f"dataset '{MNIST}' not found"
    assert scene.commit(b="2").code == 2


def test_the_same_selection_is_the_same_version_whatever_came_later():
    scene = DataScene(1)
    first = scene.add(MNIST, "clean", a="11", b="2").result
    assert scene.commit("gold", b="33", c="4").result["commit"] == 2
    version = scene.registry.version
    assert (
        version(f"{MNIST}@1").hash
        == first["hash"]
        == version(f"{MNIST}@clean").hash
        == version(f"{MNIST}@1,clean").hash
    )
    whole = version(MNIST)
    assert [(each.file.name, each.commit) for each in whole.files] == [("a", 1), ("b", 2), ("c", 2)]
    assert (whole.bytes, whole.examples, whole.labels) == (5, 5, None)
    assert version(f"{MNIST}@gold").hash not in (whole.hash, first["hash"])
    assert version(whole.reference[:-50]).hash == whole.hash, "a beginning of the hash is enough"
    scene.commit(a="11", b="2", c="4")
    assert version(f"{MNIST}@2").hash == whole.hash
    copy = DataScene(1)
    copy.add(MNIST, a="11", b="2")
    assert copy.registry.version(MNIST).hash == first["hash"], "content names it, not who added it or when"


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("3", "has no commit 3: it has 2"),
        ("0", "has no commit 0: it has 2"),
        ("bronze", "has no commit that bronze selects"),
        ("1,gold", "has no commit that 1,gold selects"),
        ("sha256:00000000", "has no version whose hash begins with sha256:00000000"),
    ],
)
def test_what_there_is_not_is_named(selection, said):
    scene = DataScene(1)
    scene.add()
    scene.commit("gold", b="2")
    with pytest.raises(BadInput, match=said):
        scene.registry.version(f"{MNIST}@{selection}")


@pytest.mark.parametrize("text", ["", "@1", "x@", "x@1,", "x@,", "x@a b", "x@-1", "x@sha256:12", "x@1@2", "x" * 400])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(BadInput, match="names no dataset"):
        reference(text)


def test_jobs_go_where_their_data_are_and_say_so_when_nobody_has_them():
    scene = DataScene(2)
    theirs = "user.swci-1.theirs"
    assert scene.add(theirs, by=scene.other_swci).accepted
    outcome = scene.use("job", (theirs, [1]), by=scene.other_swci)
    run = scene.ledger.board.jobs.runs[outcome.result["run"]]
    assert states(run) == ["waiting"], "the operator is of the other organisation"
    said = scene.ledger.board.jobs.placing.waits_for(run, 0)
    assert said == f"no operator that listens holds {theirs}: its files are with b"
    operator = scene.operator(2)
    scene.offer_room(operator, 1)
    assert (states(run), slots(run)[0].swop) == (["assigned"], operator.uid)


def test_data_of_two_organisations_are_with_no_operator():
    scene = DataScene(1)
    scene.add()
    scene.add("user.swci-1.theirs", by=scene.other_swci)
    refused = scene.use("job", (MNIST, [1]), ("user.swci-1.theirs", [1]))
    assert refused.reason == (f"no operator has both {MNIST} and user.swci-1.theirs: their files are with a and with b")
    assert not scene.ledger.board.jobs.runs


@pytest.mark.parametrize("commits", [[2], [1, 1], [2, 1]])
def test_a_task_uses_commits_that_there_are(commits):
    scene = DataScene(1)
    scene.add()
    assert "has no such commits" in scene.use("job", (MNIST, commits)).reason


def test_what_a_task_uses_stays_until_the_task_is_forgotten():
    scene = DataScene(1)
    scene.add()
    run = scene.ledger.board.jobs.runs[scene.use("job", (MNIST, [1])).result["run"]]
    scene.ends(slots(run)[0])
    assert scene.say(scene.swci, "DatasetRemoved", {"name": MNIST}).reason.endswith(
        "is used by task job: it cannot be removed"
    )
    used = scene.registry.by_name[MNIST].versions
    assert list(used.values()) == [(1,)]
    assert scene.delete().accepted
    assert not used
    assert scene.say(scene.swci, "DatasetRemoved", {"name": MNIST}).accepted


def test_no_other_organisations_task_keeps_a_dataset_from_being_removed():
    scene = DataScene(1)
    scene.add()
    run = scene.ledger.board.jobs.runs[scene.use("theirs", (MNIST, [1]), by=scene.other_swci).result["run"]]
    assert scene.say(scene.swci, "DatasetRemoved", {"name": MNIST}).accepted
    assert scene.add(b="2").accepted, "the name is free"
    scene.ends(slots(run)[0], "failed")
    assert scene.say(scene.other_swci, "JobsDeleted", {"task": "theirs"}).accepted
    scene.ledger.check()


def test_what_commits_amount_to_is_hashed_once_however_many_tags_select_it(monkeypatch):
    scene, hashed = DataScene(1), []
    whole = dataset.filelist.digest
    monkeypatch.setattr(dataset.filelist, "digest", lambda files: hashed.append(1) or whole(files))
    assert scene.add(MNIST, *"abcdefgh").accepted
    assert len(hashed) == 1
    assert scene.commit("a", "b", b="2").accepted
    assert len(hashed) == 2


def test_a_snapshot_holds_datasets_and_who_uses_them():
    scene = DataScene(1)
    before = scene.ledger.board.to_state()
    assert "datasets" not in before, "a network without datasets has the state that it had before there were any"
    scene.register("DatasetAdded", MNIST, ["t"], {"a": "1"}, labels=[b"12345678"])
    scene.use("job", (MNIST, [1]))
    again = restored(scene.ledger)
    assert again.board.datasets.version(MNIST) == scene.registry.version(MNIST)
    assert again.board.jobs.user_of(MNIST, scene.swci.identity.anchor) == "job"


def test_an_organisation_keeps_so_many_files_in_the_ledger(monkeypatch):
    monkeypatch.setattr(datasets, "KEPT_MAX", 2)
    scene = DataScene(1)
    scene.add(a="1", b="2")
    assert scene.commit(c="3").reason == "a has 2 files in the ledger, and 1 more are over 2"
    assert scene.add("user.swci-1.x", by=scene.other_swci).accepted


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/..", "", "a\nb", "a/", "x" * 241])
def test_a_file_lies_below_its_directory(name):
    files = {"names": [name], "hashes": bytes(32), "sizes": [0], "examples": [-1]}
    assert not datasets.DATASET_FIELDS["DatasetAdded"]["files"].fits(files)
    assert datasets.DATASET_FIELDS["DatasetAdded"]["files"].fits({**files, "names": ["a/b c.txt"]})


def test_before_the_third_version_of_the_rules_there_are_no_datasets():
    data = TASK_FIELDS["JobsSubmitted"]["data"]
    assert data.at(2) is None
    assert data.at(3) is not None


def test_a_task_asks_for_the_same_files_once():
    for rules, taken in ((3, True), (4, False)):
        scene = DataScene(1, rules=rules)
        scene.add(a="1")
        scene.commit(b="2")
        assert scene.use("job", (MNIST, [1]), (MNIST, [1])).accepted == taken, "under the third rules it could"
        assert scene.use("two", (MNIST, [1]), (MNIST, [1, 2])).accepted, "another selection is something else"


def test_nothing_is_hashed_of_what_is_refused(monkeypatch):
    scene, hashed = DataScene(1), []
    scene.add(a="1")
    scene.commit(b="2")
    scene.add("user.swci-1.theirs", by=scene.other_swci)
    whole = dataset.filelist.digest
    monkeypatch.setattr(dataset.filelist, "digest", lambda files: hashed.append(1) or whole(files))
    assert not scene.use("none", (MNIST, [2]), (MNIST, [3])).accepted
    assert not scene.use("none", (MNIST, [2]), ("user.swci-1.theirs", [1])).accepted
    assert not hashed
    assert scene.use("known", (MNIST, [1, 2]), (MNIST, [1])).accepted
    assert not hashed, "nor of what has a name"
    assert scene.use("some", (MNIST, [2])).accepted
    assert len(hashed) == 1
    assert scene.commit(a="4").accepted
    assert scene.use("others", (MNIST, [1, 3]), (MNIST, [2, 3])).accepted
    found = scene.registry.by_name[MNIST]
    for hash_, commits in found.versions.items():
        assert found.version(commits).hash == hash_ == whole(each.file for each in found.version(commits).files)


def test_who_used_nothing_is_forgotten_without_a_look_at_the_others():
    def others():
        raise AssertionError
        yield

    DataScene(1).registry.release(datasets.Uses(), others())


def test_a_task_makes_no_network_node_hash_without_end(monkeypatch):
    """One dataset may be asked for many times over, each time with other commits."""
    monkeypatch.setattr(datasets, "USED_FILES_MAX", 3)
    scene = DataScene(1)
    scene.add(a="1")
    scene.commit(b="2")
    assert scene.use("job", (MNIST, [1, 2]), (MNIST, [1])).accepted
    refused = scene.use("more", (MNIST, [1, 2]), (MNIST, [2]), (MNIST, [1]))
    assert refused.reason == "the datasets of one task list over 3 files, commit by commit"
