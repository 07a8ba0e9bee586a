"""Where a job begins and where its output goes: the code it was submitted with, and only what counts."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

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
    with pytest.raises(BadInput, match="holds 'etc', which is neither a file nor a directory"):
        digest_of(code)


@pytest.mark.parametrize("name", [f"a\n{'0' * 64} 4 main.py", "\x1b]0;owned\x07.py", os.fsdecode(b"\xff.py")])
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_name_of_code_is_one_printable_line(code, name, kind):
    """With others two trees could have one hash, and a terminal that shows them do what they say."""
    {"file": Path.touch, "directory": Path.mkdir, "link": lambda path: path.symlink_to("train.py")}[kind](code / name)
    with pytest.raises(BadInput, match="has characters that names of code may not have") as refused:
        digest_of(code)
    assert refused.value.message.isprintable()


def test_code_is_no_deeper_than_can_be_copied_and_removed_again(code):
    (code / ("d/" * 63)).mkdir(parents=True)
    assert digest_of(code)
    (code / ("d/" * 64) / "e").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"holds '(d/)+', a path of more than 64 parts"):
        digest_of(code)


def test_a_job_begins_in_a_copy_of_its_code_and_not_of_another(code, directory):
    (code / ".git").write_text("gitdir: elsewhere")  # as in a worktree of git
    meant = digest_of(code)
    directory.prepare(code, meant)
    assert (directory.work / "part" / "model.py").read_text() == "x = 1"
    (code / "train.py").write_text("print(2)")
    with pytest.raises(BadInput, match="has changed: its hash is"):
        directory.prepare(code, meant)


def test_a_job_begins_in_what_a_zip_holds_and_in_nothing_that_its_hash_does_not_say(code, directory, tmp_path):
    meant = digest_of(code)
    (code / "__pycache__").mkdir()
    (code / "__pycache__" / "train.pyc").write_text("another program")
    archive = Path(shutil.make_archive(str(tmp_path / "code"), "zip", code))
    directory.prepare(archive, meant)
    assert (directory.work / "part" / "model.py").read_text() == "x = 1"
    assert sorted(path.name for path in directory.work.iterdir()) == ["part", "train.py"]
    (code / "train.py").write_text("print(2)")
    shutil.make_archive(str(tmp_path / "code"), "zip", code)
    with pytest.raises(BadInput, match=r"code\.zip has changed: its hash is"):
        directory.prepare(archive, meant)


def test_a_zip_is_unpacked_on_the_disk_of_the_slot_and_nothing_of_that_stays(code, directory, tmp_path, monkeypatch):
    """The one of temporary files may be small, or memory."""
    meant, archive = digest_of(code), Path(shutil.make_archive(str(tmp_path / "code"), "zip", code))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    before = set(directory.path.iterdir())
    directory.prepare(archive, meant)
    assert set(directory.path.iterdir()) - before == {directory.work, directory.output}
    shutil.rmtree(directory.work)
    shutil.rmtree(directory.output)
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("train.py/too", "")
    with pytest.raises(BadInput, match="cannot be unpacked"):
        directory.prepare(archive, meant)
    assert set(directory.path.iterdir()) - before == {directory.output}


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("../train.py", 0o100644, "leads out of where it is unpacked"),
        ("/train.py", 0o100644, "leads out of where it is unpacked"),
        ("train.py", 0o120777, "holds 'train.py', which is neither a file nor a directory"),
    ],
)
def test_a_zip_that_was_put_in_the_place_of_the_code_leads_nowhere(name, kind, why, directory, tmp_path):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, kind << 16
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr(member, "part")
    with pytest.raises(BadInput, match=why):
        directory.prepare(tmp_path / "code.zip", "sha256:" + "0" * 64)
    assert not (directory.path / "train.py").exists()


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


def deep(place):
    """A tree that goes further down than Python's stack."""
    at = os.open(place, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=at)
        above, at = at, os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(above)
    os.close(at)


def test_what_a_program_leaves_ends_no_operator_however_deep_it_is(directory):
    directory.outputs.claim()
    directory.prepare(None, None)
    deep(directory.work)
    directory.prepare(None, None)
    assert not list(directory.work.iterdir())
    deep(directory.work)
    deep(directory.output)
    done = directory.publish()
    assert directory.summed_up(done).state in ("done", "failed"), "some releases of Python go all the way down"
    directory.clear()
    assert not directory.work.exists()
    directory.outputs.discard(all_of_it=True)
    assert not directory.outputs.path.exists()


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
