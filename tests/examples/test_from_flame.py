"""Flame's tutorial of participants who bring their own data, replayed as people would: by its script, row by row."""

import pytest

from tests.examples.replay import replayed, rows

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ROWS = {f"A-{number:02}" for number in (*range(1, 15), 16, 17, 18, 21, 42)}


def test_the_tutorial_of_flame_is_replayed(tmp_path):
    assert rows(replayed("from_flame", tmp_path)) >= ROWS
