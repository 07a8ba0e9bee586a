"""A sweep before it is submitted: which jobs there are, what each would run, and what is refused without a network."""

import pytest

from swarm.errors import BadInput
from swarm.nodes import inputs
from swarm.nodes.sweeping import Sweep, plan
from swarm.wire import jobsfile

LINE = "python tune.py -d %DATA -c %IN -o %OUT"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "configs" / "below").mkdir(parents=True)
    for number in range(12):
        (tmp_path / "configs" / f"c-{number:02}.json").write_text(str(number))
    (tmp_path / "configs" / ".hidden").write_text("")
    (tmp_path / "my data.npz").write_text("")
    return tmp_path


def task(place, **said):
    return Sweep(**{"name": "cv", "data": "my data.npz", "configs": "configs", "line": LINE, **said}).task(place)


def refused(place, **said):
    with pytest.raises(BadInput) as caught:
        task(place, **said)
    return caught.value.message


def test_there_is_a_job_for_each_file_and_ten_of_them_are_testers(place):
    twelve = plan(task(place), {})
    assert (twelve["testers"], len(twelve["jobs"])) == (10, 12)
    assert twelve["jobs"][11] == {
        "index": 11,
        "input": "c-11.json",
        "command": f"python tune.py -d '{place}/my data.npz' -c {place}/configs/c-11.json -o runs/cv/11",
    }
    for path in list((place / "configs").glob("c-*"))[3:]:
        path.unlink()
    three = plan(task(place), {})
    assert three["testers"] == len(three["jobs"]) == 3


def test_testers_may_be_fewer_and_a_shell_has_its_values_quoted(place):
    assert (task(place, probe=0).body.Probe, task(place, probe=3).body.Probe) == (0, 3)
    (first, *_) = plan(task(place, line=f". /env.sh && {LINE} && after", shell=True), {})["jobs"]
    assert first["command"].startswith(f". /env.sh && python tune.py -d '{place}/my data.npz' -c ")


def test_what_is_wrong_is_said_in_one_sentence(place):
    for tag in ("%DATA", "%IN", "%OUT"):
        assert refused(place, line=LINE.replace(tag, "x")).startswith(f"--exec does not name {tag}, which stands for ")
    assert refused(place, data="nix") == f"there is no file or directory {place}/nix, %DATA of Data"
    assert refused(place, configs="nix") == f"there is no file or directory {place}/nix, %IN of ForEach"
    assert refused(place, configs="my data.npz").endswith("cannot be read as a directory: Not a directory")
    assert refused(place, configs="configs/below").startswith("there are no files in ")
    (place / "configs" / "line\nbreak").write_text("")
    assert "characters that cannot be printed" in refused(place)


def test_more_names_than_a_task_takes_are_refused(place):
    for number in range(250):
        (place / "configs" / f"{number:0200}").write_text("")
    assert "a task takes 10000 jobs and 49152 bytes of names" in refused(place)


def test_a_job_whose_file_is_gone_is_not_started(place):
    body = jobsfile.body_of(jobsfile.to_wire(task(place).body), "cv")
    assert inputs.of_job(body, 1, {}) == {
        "%DATA": f"{place}/my data.npz",
        "%IN": f"{place}/configs/c-01.json",
    }
    (place / "configs" / "c-01.json").unlink()
    with pytest.raises(BadInput, match=r"c-01\.json, %IN of job 1, is not on this host"):
        inputs.of_job(body, 1, {})


def test_what_no_client_has_checked_is_refused_by_the_operator_and_does_not_end_it(place):
    """Jobs that ForEach has no value for, and a path that no file can have."""
    body = jobsfile.body_of({"Command": ["x", "%LR"], "ForEach": {"%LR": ["1", "2"]}}, "cv")
    with pytest.raises(BadInput, match="the task has a job 2, and ForEach has 2 values for %LR"):
        inputs.of_job(body, 2, {})
    body = jobsfile.body_of({"Command": ["%DATA"], "Data": {"%DATA": "/" + "a" * 300}}, "cv")
    with pytest.raises(BadInput, match="%DATA of job 0, is not on this host"):
        inputs.of_job(body, 0, {})
