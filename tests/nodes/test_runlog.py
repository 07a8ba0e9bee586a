"""What is read of the metrics that jobs have logged: nothing that a job could not have logged."""

import json
import os

import pytest

from swarm.nodes import runlog
from swarm.nodes.runlog import of_slots


@pytest.fixture
def logged(tmp_path):
    """What `of_slots` finds of a job whose file of metrics is made by the given function."""

    def find(make):
        job = tmp_path / "swop-1" / "jobs" / "one"
        job.mkdir(parents=True)
        (tmp_path / "swop-1" / "node.key").touch()
        lease = {"slot": "7.0", "attempt": 1, "task": "digits", "index": 0}
        (job / "slot.json").write_text(json.dumps(lease))
        make(job / "metrics.jsonl")
        slot = {"id": "7.0", "name": "digits-0", "index": 0, "input": None, "state": "done", "attempt": 1}
        (row,) = of_slots(tmp_path, [slot])
        return row["metrics"]

    return find


GOOD = {"time": 1.0, "epoch": None, "rank": 0, "metrics": {"loss": 0.5}}


@pytest.mark.parametrize(
    "line",
    [
        {**GOOD, "metrics": {"loss": "low"}},
        {**GOOD, "metrics": {"loss": [1]}},
        {**GOOD, "metrics": {"loss\x1b[2J": 0.5}},
        {**GOOD, "metrics": {"n" * 300: 0.5}},
        {**GOOD, "metrics": {"loss": float("inf")}},
        {**GOOD, "epoch": "1"},
        {**GOOD, "rank": None},
        {"metrics": {"loss": 0.5}},
        [1],
    ],
)
def test_a_line_that_no_job_logs_counts_as_nothing(line, logged):
    text = "\n".join(json.dumps(each) for each in (GOOD, line, GOOD))
    assert logged(lambda path: path.write_text(text)) == [GOOD, GOOD]


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir(), lambda path: None],
    ids=["pipe", "link", "directory", "nothing"],
)
def test_what_is_no_plain_file_is_not_read(make, logged):
    assert logged(make) == []


def test_no_more_is_read_than_metrics_take(logged, monkeypatch):
    monkeypatch.setattr(runlog, "BYTES_MAX", 200)
    assert len(logged(lambda path: path.write_text((json.dumps(GOOD) + "\n") * 50))) < 4


def test_of_a_sweep_each_swarm_is_a_row_with_the_mean_of_its_slots():
    def slot(swarm: str, index: int, loss: float, state: str = "done") -> dict:
        told = {"id": f"7.{index}", "name": f"swarm-{swarm}-learner-{index}", "index": index, "input": "x"}
        return {**told, "state": state, "output": None, "metrics": [{**GOOD, "metrics": {"loss": loss}}]}

    swarms = [{"id": 2 + index, "name": f"cv.{index}", "index": index, "input": f"0.{index}"} for index in range(12)]
    rows = [slot("cv.0", 0, 1.0), slot("cv.0", 1, 2.0), slot("cv.1", 0, 0.5), slot("cv.1", 1, 9.0, "failed")]
    rows.append(slot("cv.11", 0, 4.0))
    found = runlog.best(rows, "loss", lowest=True, swarms=swarms)
    assert [(row["name"], row["input"], row["value"], row["slots"]) for row in found] == [
        ("cv.1", "0.1", 0.5, 1),
        ("cv.0", "0.0", 1.5, 2),
        ("cv.11", "0.11", 4.0, 1),
    ]
