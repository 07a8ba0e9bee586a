"""Where a job begins and where its output goes: the code it was submitted with, and only what counts."""

import os

import pytest

from swarm.core.events import SlotAssigned
from swarm.errors import BadInput
from swarm.nodes.code import digest_of
from swarm.nodes.jobdirectory import JobDirectory
from swarm.nodes.outputs import Outputs

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
    assert directory.publish().state == "done"
    place = tmp_path / "runs" / "digits" / "3"
    assert (place / "model").read_text() == "first"
    directory.prepare(None, None)
    (directory.output / "model").write_text("second")
    verdict = directory.publish()
    assert (verdict.state, verdict.reason) == (
        "failed", f"its output cannot be put in its place, {place}: Directory not empty",
    )  # fmt: skip
    assert (place / "model").read_text() == "first"
    (place.parent / ".run").write_text(str(LEASE.run))
    assert directory.publish().state == "done"
    assert (place / "model").read_text() == "second", "what an attempt has left that did not count"


def test_a_job_that_left_nothing_has_no_output(directory, tmp_path):
    directory.prepare(None, None)
    assert directory.publish().state == "done"
    assert not (tmp_path / "runs").exists()


def test_a_task_does_not_begin_where_an_earlier_one_has_left_something(directory, tmp_path):
    earlier = Outputs(tmp_path / "runs", "digits", 7)
    earlier.claim()
    earlier.claim()
    directory.outputs.claim()
    assert not earlier.ours, "there was nothing in it"
    (directory.published).mkdir()
    with pytest.raises(BadInput, match="there is output already, of an earlier task of this name"):
        earlier.claim()
    for all_of_it in (False, True):
        earlier.discard(all_of_it=all_of_it)
        directory.outputs.discard(all_of_it=False)
        assert directory.published.is_dir(), "of another task, or it was to stay"
    directory.outputs.discard(all_of_it=True)
    assert not earlier.path.exists()
    earlier.claim()
    earlier.discard(all_of_it=False)
    assert not earlier.path.exists()
