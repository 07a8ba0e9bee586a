"""What a slot's directory says: the intent before, the verdict after."""

from __future__ import annotations

import json
import os

import pytest

from swarm.core.events import SlotAssigned
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory

LEASE = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)
NEVER = "its program ended with exit code 0 and never enrolled in a contract"


@pytest.fixture
def directories(tmp_path):
    (tmp_path / "slots").mkdir()
    return SlotDirectories(tmp_path / "slots", SlotDirectory)


@pytest.fixture
def directory(directories):
    directory = directories.of(LEASE)
    directory.intend()
    (directory.path / "sl").mkdir()
    return directory


def said(directory, *events):
    lines = [json.dumps({"event": event, **fields}) for event, fields in events]
    (directory.path / "sl" / "report.jsonl").write_text("".join(f"{line}\n" for line in lines))


STARTED = ("program_started", {"pid": 1})
FINISHED = ("finished", {"digest": "blake3:0"})


def ended(code):
    return ("program_ended", {"exit_code": code})


@pytest.mark.parametrize(
    ("events", "node_code", "verdict"),
    [
        ([STARTED, ended(0), FINISHED], 0, ("done", "", 0)),
        ([STARTED, ended(0), FINISHED], 137, ("done", "", 0)),
        ([STARTED, ended(0), FINISHED], None, ("done", "", 0)),
        ([STARTED, ended(0)], 0, ("failed", NEVER, 0)),
        ([STARTED, ended(3)], 3, ("failed", "its program ended with exit code 3", 3)),
        ([STARTED, ended(-9)], 6, ("failed", "its program was killed by SIGKILL", 137)),
        ([STARTED, ("program_ended", {"exit_code": -9, "note": ", perhaps for lack of memory"})], 6,
         ("failed", "its program was killed by SIGKILL, perhaps for lack of memory", 137)),
        ([STARTED, ended(-11)], None, ("failed", "its program was killed by SIGSEGV", 139)),
        ([STARTED], 137, ("failed", "its learning node was killed by SIGKILL while its program ran", 137)),
        ([], 3, ("failed", "its learning node ended with exit code 3 before it had joined the network", 3)),
        ([STARTED], None,
         ("failed", "its learning node ended while its program ran, and no operator was there to see how", None)),
    ],
)  # fmt: skip
def test_the_verdict_follows_from_what_was_said_and_the_exit_code(directory, events, node_code, verdict):
    said(directory, *events)
    found = directory.verdict(node_code, alone=False)
    assert (found.state, found.reason, found.exit_code) == verdict


def test_a_learning_node_whose_ledger_was_given_up_is_started_again(directory):
    told = ("given_up", {"reason": "it has read what was given up"})
    said(directory, STARTED, told)
    found = directory.verdict(5, alone=False)
    assert (found.state, found.reason, found.died) == ("failed", "it has read what was given up", True)
    said(directory, STARTED, told, ("node_started", {}), STARTED, ended(3))
    assert not directory.verdict(3, alone=False).died


def test_the_conclusion_is_there_for_whoever_watches(directory):
    said(directory, STARTED, ended(3))
    assert directory.conclusion() is None
    directory.conclude(directory.verdict(6, alone=False), 6)
    verdict, node_code = directory.conclusion()
    assert (verdict.state, verdict.exit_code, node_code) == ("failed", 3, 6)


def test_what_a_learning_node_said_before_it_was_started_again_does_not_count(directory):
    said(directory, STARTED, ("node_started", {}))
    verdict = directory.verdict(137, alone=False)
    assert verdict.reason == "its learning node was killed by SIGKILL before it had joined the network"
    assert verdict.died


@pytest.mark.parametrize(
    ("events", "node_code", "died"),
    [([STARTED], 137, True), ([STARTED], None, True), ([STARTED], 4, False), ([STARTED, ended(-9)], None, False)],
)
def test_a_learning_node_died_when_a_signal_ended_it_or_nobody_saw_what(directory, events, node_code, died):
    said(directory, *events)
    assert directory.verdict(node_code, alone=False).died == died


@pytest.mark.parametrize(("code", "state"), [(0, "done"), (1, "failed")])
def test_a_program_that_trains_alone_need_not_enrol(directory, code, state):
    said(directory, STARTED, ended(code))
    assert directory.verdict(code, alone=True).state == state


def test_the_intent_is_found_again(directories, directory):
    (found,) = directories.kept()
    assert (found.path, found.lease) == (directory.path, LEASE)
    assert not found.touched


def test_what_no_operator_of_this_version_wrote_is_left_alone(directories, directory):
    (directory.path / "slot.json").write_text("{}")
    assert list(directories.kept()) == []


def test_the_last_lines_are_printable_and_few(directory):
    said(directory, STARTED)
    directory.look()
    log = [f"line {number}" for number in range(50)] + ["\x1b[2J cleared", "", "x" * 1000]
    (directory.path / "ml.log").write_text("\n".join(log))
    lines = directory.last_lines()
    assert len(lines) == 12
    assert lines[-2:] == [" [2J cleared", "x" * 300]
    assert all(line.isprintable() for line in lines)


def test_an_endless_line_is_read_from_its_end_only(directory):
    said(directory, STARTED)
    directory.look()
    with (directory.path / "ml.log").open("wb") as file:
        file.truncate(2**31)  # sparse: nothing is on disk
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    assert directory.last_lines()[-1] == "the end"


def test_before_the_program_started_the_learning_nodes_lines_count(directory):
    (directory.path / "sl.log").write_text("error: certificate expired\n")
    assert directory.last_lines() == ["error: certificate expired"]


def test_clearing_keeps_the_logs_and_old_ones_are_forgotten(directories, directory):
    (directory.path / "root").mkdir()
    (directory.path / "root" / "link").symlink_to(directories.path.parent)
    (directory.path / "ml.json").write_text("{}")
    (directory.path / "ml.log").write_text("said")
    directory.clear()
    assert sorted(path.name for path in directory.path.iterdir()) == ["ml.log", "slot.json"]
    assert directories.path.parent.exists()
    directories.prune(1)
    assert directory.path.exists()
    (directories.path / "note").write_text("somebody's")
    directories.prune(0)
    assert not directory.path.exists()
    assert (directories.path / "note").exists()
    directory.clear()
