"""``swarm audit``: one object, one sentence, and the exit code that a script looks at."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from swarm.cli.ending import run as run_command
from swarm.cli.main import command
from tests.runtime.sns import World, renew, run


@pytest.fixture
def state(tmp_path: Path) -> Path:
    world = World(tmp_path)

    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 5)

    run(scenario)
    return tmp_path / "s"


def test_a_ledger_that_holds(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command, ["audit", "--json", str(state)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert (said["entries"], said["last"], said["bad_index"], said["missing"]) == (6, 6, None, [])
    assert said["voters"] == ["sn-1 (org-a)"]
    assert run_command(command, ["audit", str(state)]) == 0
    text = capsys.readouterr().out
    assert "every entry holds" in text
    assert said["digest"] in text


def test_one_that_does_not_ends_with_1_and_the_index(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(state / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entries SET raw = zeroblob(80) WHERE idx = 4")
    assert run_command(command, ["audit", "--json", str(state)]) == 1
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert (said["ok"], said["bad_index"], said["last"]) == (False, 4, 3)
    assert "the ledger does not hold at entry 4" in said["error"]["message"]
    assert run_command(command, ["audit", str(state)]) == 1
    captured = capsys.readouterr()
    assert "every entry holds" not in captured.out
    assert captured.err.startswith("error: the ledger does not hold at entry 4")


def test_what_is_no_state_directory_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(command, ["audit", str(tmp_path)]) == 2
    assert "is no state directory of a network node" in capsys.readouterr().err
