"""Where a job begins and where its output goes: the code it was submitted with, and only what counts."""

import os

import pytest

from swarm.core.events import SlotAssigned
from swarm.errors import BadInput
from swarm.nodes.code import digest_of
from swarm.nodes.jobdirectory import JobDirectory

LEASE = SlotAssigned("12.3", "runner", 12, "digits", "uid", 3, 14, 2)


@pytest.fixture
def code(tmp_path):
    directory = tmp_path / "code"
    (directory / "part").mkdir(parents=True)
    (directory / "train.py").write_text("print()")
    (directory / "part" / "model.py").write_text("x = 1")
    return directory


@pytest.fixture
def directory(tmp_path):
    made = JobDirectory(tmp_path / "12.3-14", LEASE, tmp_path / "runs")
    made.intend()
    return made


def test_the_hash_of_code_is_of_names_and_contents_alone(code, tmp_path):
    before = digest_of(code)
    os.utime(code / "train.py", (1, 1))
    (code / "__pycache__").mkdir()
    assert digest_of(code) == before
    (code / "part" / "model.py").rename(code / "part" / "models.py")
    assert digest_of(code) != before


def test_a_link_is_no_code(code, tmp_path):
    (code / "etc").symlink_to("/etc")
    with pytest.raises(BadInput, match="etc is neither a file nor a directory"):
        digest_of(code)


def test_a_job_begins_in_a_copy_of_its_code_and_not_of_another(code, directory):
    meant = digest_of(code)
    directory.prepare(code, meant)
    assert (directory.work / "part" / "model.py").read_text() == "x = 1"
    (code / "train.py").write_text("print(2)")
    with pytest.raises(BadInput, match="has changed: its hash is"):
        directory.prepare(code, meant)


def test_an_output_is_put_in_its_place_whole_and_never_over_another(directory, tmp_path):
    directory.prepare(None, None)
    (directory.output / "model").write_text("first")
    assert directory.publish(again=False).state == "done"
    place = tmp_path / "runs" / "digits" / "3"
    assert (place / "model").read_text() == "first"
    directory.prepare(None, None)
    (directory.output / "model").write_text("second")
    verdict = directory.publish(again=False)
    assert (verdict.state, verdict.reason) == (
        "failed", f"its output cannot be put in its place, {place}: Directory not empty",
    )  # fmt: skip
    assert (place / "model").read_text() == "first"
    assert directory.publish(again=True).state == "done"
    assert (place / "model").read_text() == "second", "of a gang that was tried again"


def test_a_job_that_left_nothing_has_no_output(directory, tmp_path):
    directory.prepare(None, None)
    assert directory.publish(again=False).state == "done"
    assert not (tmp_path / "runs").exists()
