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
