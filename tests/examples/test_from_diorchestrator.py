"""The tutorial of DI-orchestrator, replayed as people would: by its script, row by row, with a CartPole that learns."""

import pytest

from tests.examples.replay import replayed, rows

pytestmark = [pytest.mark.slow, pytest.mark.alone]
ROWS = {f"D-{number:02}" for number in (*range(1, 19), 22, 23, 25)}


def test_the_elastic_roles_of_di_orchestrator_are_replayed(tmp_path):
    assert rows(replayed("from_diorchestrator", tmp_path)) >= ROWS
