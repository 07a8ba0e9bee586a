"""A sweep as on orchestra's cluster, replayed as people would: by its script, row by row."""

import pytest

from tests.examples.replay import replayed, rows

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ROWS = {f"C-{number:02}" for number in (*range(1, 6), *range(7, 11), *range(13, 23), 27, 29, 35)}


def test_a_sweep_of_orchestra_is_replayed(tmp_path):
    done = rows(replayed("from_orchestra", tmp_path))
    assert done >= ROWS
    assert "A-30" in done, "Flame's same graph once for each group: a sweep of swarms"
