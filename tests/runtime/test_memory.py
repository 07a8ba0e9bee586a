"""A death by SIGKILL is explained by what the kernel counts, and by no more."""

from __future__ import annotations

import sys

import pytest

from swarm.runtime.memory import ended_by_kernel, explained


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (3, 3, ""),
        (3, 4, ", probably for lack of memory: the kernel ended a process of this host for that meanwhile"),
        (3, 6, ", probably for lack of memory: the kernel ended 3 processes of this host for that meanwhile"),
        (None, 4, ", perhaps for lack of memory"),
        (3, None, ", perhaps for lack of memory"),
    ],
)
def test_nothing_is_said_that_the_count_does_not_say(before, now, said):
    assert explained(before, now) == said


def test_the_count_is_read_where_there_is_one(tmp_path):
    file = tmp_path / "vmstat"
    for text, count in [("nr_free 5\noom_kill 7\n", 7), ("nr_free 5\n", None), ("oom_kill x\n", None), ("", None)]:
        file.write_text(text)
        assert ended_by_kernel(file) == count
    assert ended_by_kernel(tmp_path / "nowhere") is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts them")
def test_this_kernel_counts_them():
    assert ended_by_kernel() is not None
