"""``swarm join --json``: one object on stdout, whatever came of it."""

from __future__ import annotations

import json

import pytest

from swarm.cli import join
from swarm.cli.ending import run
from swarm.errors import WorkerFailed
from swarm.nodes.participant import Ended


def test_what_stands_against_joining_is_said_in_the_object_too(tmp_path, capsys: pytest.CaptureFixture[str]):
    files = [word for flag in ("--key", "--cert", "--capath") for word in (flag, str(tmp_path / "none"))]
    data = str(tmp_path / "my.npz")
    assert run(join.command, ["digits", "--role", "trainer", "--data", data, "--json", *files]) == 2
    said, printed = capsys.readouterr()
    answer = json.loads(said)
    assert answer["ok"] is False
    assert answer["error"]["message"] == f"the data {data} are not there"
    assert f"error: the data {data} are not there" in printed


def test_a_program_that_ended_badly_is_a_failure_with_its_slot_and_its_code():
    assert Ended(0, {"slot": "5.0"}).failure() is None
    failure = Ended(3, {"slot": "5.0", "exit_code": 3}).failure()
    assert isinstance(failure, WorkerFailed)
    assert failure.message == "the training program ended with exit code 3"
