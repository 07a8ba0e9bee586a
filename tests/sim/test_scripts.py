"""The traces in ``tests/sim/scripts`` say what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim import scripts

FILES = sorted(scripts.FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_trace_is_as_it_is_written(path: Path) -> None:
    """After a change that is meant: ``python -m tests.sim.scripts --rewrite``, and read the difference."""
    assert scripts.run(path.read_text()) == path.read_text()


def test_every_topic_is_there() -> None:
    assert {path.stem for path in FILES} >= {
        "check_quorum", "commit_of_older_terms", "conflict", "disk_full", "elections", "forced_recovery", "learner",
        "lost_log", "membership", "one_way_cut", "persist_before_send", "pipeline", "prevote", "reads", "replication",
        "snapshot", "two_sns",
    }  # fmt: skip


def test_a_difference_is_seen() -> None:
    text = FILES[0].read_text()
    wrong = text.replace("----\n", "----\nsomething else\n")
    assert wrong != text
    assert scripts.run(wrong) == text
