"""The log of a node: HPE's line, the level's three sources, files that rotate."""

import logging
import re

import pytest

from swarm.errors import BadInput
from swarm.runtime import report


@pytest.fixture(autouse=True)
def _quiet_again():
    yield
    report.start(None)


@pytest.fixture(autouse=True)
def _no_levels(monkeypatch):
    monkeypatch.delenv("SWARM_LOG_LEVEL", raising=False)
    monkeypatch.delenv("SL_LOG_LEVEL", raising=False)


def test_lines_have_hpes_form_on_stderr_and_in_the_state_directory(tmp_path, capsys):
    report.start(tmp_path, name="sn-1")
    logging.getLogger("swarm.blCnt").info("Starting SWARM-API-SERVER on port: 30304")
    out, err = capsys.readouterr()
    assert out == ""
    form = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} : swarm\.blCnt : INFO : Starting SWARM-API-SERVER on port: 30304\n"
    assert re.fullmatch(form, err)
    assert report.log_file() == tmp_path / "logs/sn-1.log"
    assert report.log_file().read_text() == err


@pytest.mark.parametrize(
    ("flag", "swarm_level", "sl_level", "expected"),
    [
        (None, None, None, logging.INFO),
        (None, None, "debug", logging.DEBUG),
        (None, "WARNING", "DEBUG", logging.WARNING),
        ("error", "WARNING", "DEBUG", logging.ERROR),
    ],
)
def test_the_flag_comes_before_our_variable_and_that_before_hpes(flag, swarm_level, sl_level, expected, monkeypatch):
    for name, value in (("SWARM_LOG_LEVEL", swarm_level), ("SL_LOG_LEVEL", sl_level)):
        if value:
            monkeypatch.setenv(name, value)
    report.start(None, flag)
    assert logging.getLogger("swarm").level == expected


def test_text_of_others_forges_no_line_and_moves_no_cursor(tmp_path, capsys):
    report.start(tmp_path)
    logging.getLogger("swarm").warning("refused: %s", "a\n2026-01-01 : swarm : INFO : forged\r\x1b[2J")
    _, err = capsys.readouterr()
    first, second = err.splitlines()
    assert first.endswith("WARNING : refused: a")
    assert second == "  2026-01-01 : swarm : INFO : forged??[2J"
    assert report.log_file().read_text() == err


def test_an_unknown_level_names_the_near_one():
    with pytest.raises(BadInput, match="--log-level is 'INF', expected one of DEBUG INFO") as caught:
        report.start(None, "INF")
    assert caught.value.hint == "did you mean INFO?"


def test_files_rotate_and_old_ones_go(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "_FILE_BYTES", 1000)
    report.start(tmp_path)
    for _ in range(200):
        logging.getLogger("swarm").info("x" * 100)
    files = list((tmp_path / "logs").iterdir())
    assert len(files) == 6
    assert sum(file.stat().st_size for file in files) <= 6000


def test_starting_again_leaves_one_handler_of_each_kind(tmp_path, capsys):
    report.start(tmp_path)
    report.start(tmp_path)
    logging.getLogger("swarm").info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_a_file_that_cannot_be_written_is_said_once_and_the_node_goes_on(tmp_path, capsys):
    report.start(tmp_path)
    report._file.stream.close()
    for number in range(3):
        logging.getLogger("swarm").info("line %d", number)
    err = capsys.readouterr().err
    assert err.count("cannot be written") == 1
    assert err.count(" : swarm : INFO : line") == 3
