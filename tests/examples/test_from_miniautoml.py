"""The tutorial of MiniAutoML's training service, replayed as people would: by its script, row by row."""

import pytest

from tests.examples.replay import replayed, rows

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ROWS = {f"B-{number:02}" for number in (1, 2, *range(4, 14), 15, 17, 18, 19, *range(21, 27))}


def test_the_training_service_of_miniautoml_is_replayed(tmp_path):
    assert rows(replayed("from_miniautoml", tmp_path)) >= ROWS
