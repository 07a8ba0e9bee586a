"""What `python -m benchmarks.peers` says of other systems: no figure stands for a result that was not the mean."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import beside, environment, measuring, running
from benchmarks.peers.participant import PLACE, Participant, Plan, prepare, said
from benchmarks.peers.rows import row
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.table import markdown
from swarm.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent.parent
PLAN = Plan(peers=3, mb=1, warm_ups=1, rounds=2)


def merged(participants, round_):
    own = [np.concatenate(each.arrays(round_)) for each in participants]
    return (sum(own[1:], start=own[0]) / len(own)).astype(np.float32)


def run_in(place, monkeypatch, plan, wrong=lambda merge, round_: merge):
    """All rounds of participants that merge in one place; what they have said."""
    monkeypatch.setenv(PLACE, str(place))
    prepare(place, plan)
    everybody = [Participant(peer) for peer in range(plan.peers)]
    for round_ in range(plan.all_rounds):
        for each in everybody:
            each.gives(round_)
        for each in everybody:
            each.had(round_, [wrong(merged(everybody, round_), round_)])
    return [said(place, peer) for peer in range(plan.peers)]


def test_a_row_has_figures_when_every_result_was_the_mean(tmp_path, monkeypatch):
    found = row(PLAN, run_in(tmp_path, monkeypatch, PLAN), None)
    assert (found["verified"], found["void"], found["killed"]) == (True, None, None)
    assert len(found["rounds_s"]) == 2
    assert min(found["rounds_s"]) <= found["median_s"] <= max(found["rounds_s"])
    assert found["deviation"] < 1e-6


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda merge, round_: merge + np.float32(1e-3) * (np.arange(len(merge)) == 77), "the mean, it is 0.001 away"),
        (lambda merge, round_: np.where(np.arange(len(merge)) == 3, np.float32(np.nan), merge), "is not the mean"),
        (lambda merge, round_: merge[:-1], "is not the mean"),
        (lambda merge, round_: merge.astype(np.float64), "is not the mean"),
        (lambda merge, round_: merge - np.float32(round_ == 0), "round 0 is not the mean"),
        (lambda merge, round_: merge - np.float32(round_ == 2), "round 2 is not the mean"),
    ],
)
def test_one_wrong_element_voids_the_row_and_takes_its_figures_away(wrong, why, tmp_path, monkeypatch):
    found = row(PLAN, run_in(tmp_path, monkeypatch, PLAN, wrong), None)
    assert (found["verified"], found["median_s"], found["rounds_s"]) == (False, None, [])
    assert found["void"].startswith("what peer 0 had in round")
    assert why in found["void"]


def lines(*rounds, mean_of=3):
    """Of one peer: (gave, had) of each round; None for what it never said."""
    told = []
    for round_, (gave, had) in enumerate(rounds):
        told += [{"round": round_, "gave": gave}] if gave is not None else []
        told += [{"round": round_, "had": had, "mean_of": mean_of, "deviation": 0.0}] if had is not None else []
    return told


def test_a_mean_of_fewer_and_a_result_that_never_came_void_the_row():
    whole = lines((0, 1), (2, 3), (4, 5))
    assert row(PLAN, [whole] * 3, None)["median_s"] == 1
    fewer = row(PLAN, [whole, lines((0, 1), (2, 3), (4, 5), mean_of=2), whole], None)
    assert fewer["void"] == "peer 1 had the mean of 2 in round 0, not of 3"
    late = [whole, whole, lines((0, 1), (2, 3), (4, None))]
    assert row(PLAN, late, "no result of round 2 at peer 2 within 420 s")["void"].startswith("no result of round 2")
    assert row(PLAN, late, None)["void"] == "1 of 2 rounds had a result everywhere"


def test_a_round_counts_from_the_last_to_give_to_the_last_to_have():
    told = [lines((0, 1), (10, 17), (20, 21)), lines((0, 1), (12, 15), (20, 22)), lines((0, 1), (11, 16), (20, 21))]
    assert row(PLAN, told, None)["rounds_s"] == [5, 2]


def killed(*others, at):
    plan = replace(PLAN, rounds=3, killed_round=2)
    return row(plan, [*others, [*lines((0, 1), (2, 3)), {"round": 2, "gave": 4, "killed": at}]], None)


def test_what_a_kill_costs_the_others_is_told_apart_from_the_rounds_before_and_after():
    dies, lives = {"at": 4.1}, lines((0, 1), (2, 3))
    after = [*lives, *({"round": r, "gave": g} for r, g in ((2, 4), (3, 12)))]
    had = [{"round": round_, "had": when, "mean_of": 2, "deviation": 0.0} for round_, when in ((2, 10), (3, 14))]
    found = killed(after + had, after + had, **dies)
    assert (found["median_s"], found["void"]) == (1, None)
    assert found["killed"] == {"others_s": 6, "mean_of": [2], "later_s": 2, "never": None}
    failed = [*lives, {"round": 2, "gave": 4}, {"round": 2, "failed": 5, "error": "RuntimeError: gone"}]
    never = killed(failed, failed, **dies)
    assert never["median_s"] == 1
    assert (never["killed"]["others_s"], never["killed"]["never"]) == (None, "RuntimeError: gone")
    wrong = [{**line, "deviation": 0.3} for line in had]
    split = killed(after + had, after + wrong, **dies)["killed"]
    assert (split["others_s"], split["never"]) == (None, "what peer 1 had in round 2 is not the mean, it is 0.3 away")


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch):
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as refused:
        environment.python_of(SYSTEMS["gloo"], tmp_path / "cache")
    message = refused.value.message
    assert message.startswith("gloo cannot be installed here: pip ended with 1: No matching distribution found for ")
    assert "\n" not in message
    assert not list(tmp_path.glob("cache/*/complete"))


def test_environments_never_lie_in_the_repository():
    with pytest.raises(BadInput, match="lies in the repository"):
        environment.python_of(SYSTEMS["gloo"], ROOT / "build")


@pytest.fixture
def answered(monkeypatch, capsys):
    """What the command answers when no environment can be made and swarm's own rounds take 0.5 s."""

    def nothing(system, place=None):
        raise BadInput(f"{system.name} cannot be installed here: pip ended with 1: no network")

    monkeypatch.setattr(measuring, "python_of", nothing)
    monkeypatch.setattr(beside, "swarm", lambda plan: beside.Own(0.5, [0.4, 0.6], 0.9 if plan.killed_round else None))

    def ask(*arguments):
        code = command.main(arguments)
        return code, capsys.readouterr()

    return ask


ROW = {
    "name", "title", "settings", "tls", "clock", "on_death", "version", "verified", "void", "deviation", "median_s",
    "rounds_s", "killed", "swarm_s", "ratio",
}  # fmt: skip


def test_json_is_one_object_whose_rows_have_the_same_keys(answered):
    code, said = answered("--kill", "--json")
    assert code == 1, "no other system's row stands"
    found = json.loads(said.out)
    head = ["ok", "date", "commit", "command", "machine", "peers", "mb", "rounds", "warm_ups", "kill", "rows"]
    assert list(found) == head
    assert [each["name"] for each in found["rows"]] == [*SYSTEMS, "swarm"]
    assert all(set(each) == ROW for each in found["rows"])
    assert found["command"] == "python -m benchmarks.peers --kill --json"
    assert (found["rows"][0]["void"], found["rows"][0]["median_s"]) == (
        "gloo cannot be installed here: pip ended with 1: no network", None,
    )  # fmt: skip
    assert found["rows"][-1]["killed"]["others_s"] == 0.9
    assert "| void: gloo cannot be installed here: pip ended with 1: no network |" in markdown(found)


def test_markdown_says_date_commit_command_and_machine_and_every_row_has_all_cells(answered):
    text = answered("gloo")[1].out
    for word in ("commit ", "`python -m benchmarks.peers gloo`", " cores, ", "5 rounds after 2"):
        assert word in text
    tables = [block.splitlines() for block in text.split("\n\n")[1:]]
    assert len(tables) == 2
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["glue"], "no system 'glue' is measured here, expected one of gloo"),
        (["--peers", "2", "--kill"], "--peers: expected at least 3, got 2"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
        (["--mb", "0"], "--mb: expected at least 1, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(arguments, sentence, capsys):
    assert command.main(arguments) == 2
    assert f"error: {sentence}" in capsys.readouterr().err


def test_nothing_of_a_run_is_left_and_who_is_waited_for_is_named(tmp_path, monkeypatch):
    """An adapter that starts a session of its own and then nothing: both are ended when its time is up."""
    silent = "import os, signal; os.fork() or os.setsid(); signal.pause()"
    (tmp_path / "silent.py").write_text(silent)
    monkeypatch.setattr(running, "PATIENCE_S", 0.3)
    (place := tmp_path / "run").mkdir()
    started = tmp_path / "python"
    started.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/silent.py\n")
    started.chmod(0o700)
    trouble = running.run(SYSTEMS["gloo"], started, PLAN, place)
    assert trouble == "no result of round 0 at peer 0, 1, 2 within 0.3 s"
    running_now = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path / "silent.py") not in running_now


def test_the_page_shows_each_run_with_its_command_and_draws_who_has_figures(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.peers import section

    def measured(plan, systems, arguments):
        stands = dict.fromkeys(ROW, "") | {"title": "gloo", "median_s": plan.mb / 50, "swarm_s": 1.0, "ratio": 2.0}
        void = dict.fromkeys(ROW, "") | {"title": "Flower", "void": "no network", "median_s": None}
        killed = {"others_s": 3.0, "mean_of": [3], "later_s": 1.0, "never": None} if plan.killed_round else None
        rows = [{**row, "killed": killed} for row in (stands, void)]
        sizes = {"peers": plan.peers, "mb": plan.mb, "rounds": plan.rounds, "warm_ups": plan.warm_ups}
        head = {"date": "2026-01-01", "commit": "c0ffee", "machine": "2 cores", "command": " ".join(arguments)}
        return {**head, **sizes, "kill": plan.killed_round is not None, "rows": rows}

    monkeypatch.setattr(section, "measured", measured)
    text = section.section(tmp_path / "BENCHMARKS.md")
    for title, arguments in section.RUNS.items():
        assert f"#### {title[0].upper()}{title[1:]}" in text
        assert f"`{' '.join(arguments)}`" in text
    assert "| 3.000, the mean of 3 |" in text
    drawn = (tmp_path / "benchmarks" / "peers.svg").read_text()
    assert "gloo" in drawn
    assert "Flower" not in drawn, "a row without figures has no bar"
