"""docs/BENCHMARKS.md: what is measured goes into its place, and the page has a place and a command for everything."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.quality.experiment import ACCURACY, Measure, Row
from benchmarks.quality.running import EXPERIMENTS, Result
from benchmarks.quality.tables import cell, tables
from swarm.errors import BadInput, CheckFailed

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "BENCHMARKS.md").read_text(encoding="utf-8")
ALONE = EXPERIMENTS["alone"]
ROWS = [
    Row({"skew": skew, "who": who}, {"accuracy": values})
    for skew, who, values in (
        ("a", "alone", [0.5, 0.7]), ("a", "swarm", [0.9, 0.9]), ("b", "alone", [0.25, 0.25]), ("b", "swarm", [0.8, 1.0])
    )
]  # fmt: skip


@pytest.fixture
def page():
    """The module, which needs matplotlib: the extra `bench`, a part of `dev`."""
    pytest.importorskip("matplotlib")
    from benchmarks import page

    return page


def test_tables_say_mean_and_deviation_and_how_many_seeds_got_there() -> None:
    assert tables(ALONE, ROWS).splitlines() == [
        "| skew | alone | swarm |",
        "| --- | ---: | ---: |",
        "| a | 60.0 ± 14.1 | 90.0 |",
        "| b | 25.0 | 90.0 ± 14.1 |",
    ]
    kilobytes = Measure("kb", "KB", digits=0)
    assert cell(kilobytes, [1000.0, None, 3000.0]) == "2,000 ± 1,414 (2 of 3)"
    assert cell(ACCURACY, [None, None]) == "never"


def test_a_section_replaces_what_stood_in_its_place_and_nothing_else(page, tmp_path) -> None:
    file = tmp_path / "BENCHMARKS.md"
    file.write_text("before\n<!-- begin alone -->\nold\nlines\n<!-- end alone -->\nafter\n")
    text = page.section(ALONE, Result(ROWS, 1797, "digits", 12.3), file)
    page.write(file, "alone", text)
    page.write(file, "alone", text)
    written = file.read_text()
    assert written.startswith("before\n<!-- begin alone -->\n`python -m benchmarks.quality alone`, 20")
    assert written.endswith("\n<!-- end alone -->\nafter\n")
    assert "old" not in written
    assert tables(ALONE, ROWS) in written
    assert re.search(r"commit [0-9a-f]{10}", written)
    picture = tmp_path / "benchmarks" / "alone.svg"
    first = picture.read_bytes()
    page.section(ALONE, Result(ROWS, 1797, "digits", 12.3), file)
    assert picture.read_bytes() == first
    assert b"swarm" in first


def test_a_section_that_cannot_be_measured_leaves_the_others_to_be_and_the_command_says_which(
    page, tmp_path, monkeypatch, capsys
) -> None:
    def refused(of: Path) -> str:
        raise BadInput("links are made by root only")

    file = tmp_path / "BENCHMARKS.md"
    file.write_text("".join(f"<!-- begin {name} -->\nold\n<!-- end {name} -->\n" for name in "abc"))
    monkeypatch.setattr(page, "PAGE", file)
    monkeypatch.setattr(page, "SECTIONS", {"a": lambda of: "new a", "b": refused, "c": lambda of: "new c"})
    monkeypatch.setattr("sys.argv", ["page"])
    assert page.main() == BadInput.code
    said = capsys.readouterr()
    assert said.out.splitlines() == ["a: written to BENCHMARKS.md", "c: written to BENCHMARKS.md"]
    assert said.err.splitlines() == [
        "b: links are made by root only",
        "error: not renewed in BENCHMARKS.md: b, for the reasons above",
    ]
    assert [line for line in file.read_text().splitlines() if not line.startswith("<")] == ["new a", "old", "new c"]
    monkeypatch.setattr("sys.argv", ["page", "c"])
    assert page.main() == 0


def test_a_row_of_merge_rounds_is_a_run_of_the_command_with_where_its_time_goes(page, tmp_path, monkeypatch) -> None:
    from benchmarks import merges

    phases = {phase: number / 1000 for number, phase in enumerate(merges.PHASES)}
    run = {
        "ok": True, "median_s": 2.5, "p10_s": 2.0, "p90_s": 3.0, "ratio": 9.0, "ratio_to_link_optimum": None,
        "bytes_per_peer": 37_600_000, "bytes_optimal": 37_500_000, "rss_peak_mb": {"sl": 196.4}, "cpu_s": {"sl": 1.25},
        "phases_s": phases,
    }  # fmt: skip
    answers = [run, {**run, "ratio_to_link_optimum": 1.2345}]
    asked = []

    def answer(command, **_):
        asked.append(command[1:])
        return subprocess.CompletedProcess(command, 0, json.dumps(answers[len(asked) - 1]))

    monkeypatch.setattr(merges, "RUNS", {"links": ("--peers 4 --mb 25", "--peers 4 --mb 25 --link 1gbit")})
    monkeypatch.setattr(merges.subprocess, "run", answer)
    text = merges.section("links", "today", tmp_path / "BENCHMARKS.md")
    how = ["bench", "merge", "--peers", "4", "--mb", "25"]
    assert asked == [[*how, "--json"], [*how, "--link", "1gbit", "--json"]]
    assert "| `--peers 4 --mb 25` | 2.500 | 2.000 – 3.000 | 9.00 | – | 37.6 | 1.003 | 196 | 1.25 |" in text
    assert "| `--peers 4 --mb 25 --link 1gbit` | 2.500 | 2.000 – 3.000 | – | 1.23 | 37.6 | 1.003 | 196 | 1.25 |" in text
    assert "| `--peers 4 --mb 25` | 0.000 | 0.001 | 0.002 | 0.003 | 0.004 | 0.005 | 0.006 | 0.007 |" in text
    assert (tmp_path / "benchmarks" / "links.svg").exists()
    answers[:] = [{"ok": False, "error": {"message": "no root", "hint": ""}}]
    asked.clear()
    with pytest.raises(CheckFailed, match="bench merge --peers 4 --mb 25 --json failed: no root"):
        merges.section("links", "today", tmp_path / "BENCHMARKS.md")


def test_a_page_without_a_place_for_it_is_said_so(page, tmp_path) -> None:
    file = tmp_path / "BENCHMARKS.md"
    file.write_text("nothing\n")
    with pytest.raises(BadInput, match='has 0 places for "alone", expected one'):
        page.write(file, "alone", "text")


def test_points_are_drawn_against_bytes(page, tmp_path) -> None:
    experiment = EXPERIMENTS["bytes"]
    rows = [
        Row({"outer": "plain", "batches a round": every, "wire": "int8"}, {"accuracy": [0.9, 0.8], "kb": [kb, kb]})
        for every, kb in (("1", 100.0), ("10", 10.0))
    ]
    from benchmarks.quality.plots import draw

    draw(experiment, rows, tmp_path / "plots" / "bytes.svg")
    assert "batches a round" in (tmp_path / "plots" / "bytes.svg").read_text()


def test_the_page_has_a_place_for_every_section_and_names_no_command_that_is_not_there(page) -> None:
    for name in page.SECTIONS:
        assert len(re.findall(f"<!-- begin {name} -->\n.*?<!-- end {name} -->", TEXT, re.DOTALL)) == 1, name
    assert set(re.findall(r"python -m benchmarks\.quality (\w+)", TEXT)) <= set(EXPERIMENTS)
    scripts = re.findall(r"python (benchmarks/\w+\.py)", TEXT)
    for script in scripts:
        assert (ROOT / script).exists(), script
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in [*scripts, "swarm bench stream", "swarm bench merge --peers 2 --mb 1", "-m benchmarks.page"]:
        assert command in makefile, command
