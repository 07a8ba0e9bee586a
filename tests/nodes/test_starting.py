"""A SIGTERM ends a node whenever it comes: before its loop listens, and when the loop is about to end by itself."""

import signal
import sys
from unittest.mock import Mock

import pytest

from swarm.nodes import starting


@pytest.fixture
def launchers_handler():
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    yield
    signal.signal(signal.SIGTERM, before)


async def signalled_at_its_end(_):
    signal.raise_signal(signal.SIGTERM)
    return 5


@pytest.mark.usefixtures("launchers_handler")
def test_one_that_comes_as_the_loop_ends_is_no_error():
    assert starting.run_node(signalled_at_its_end, None) in (5, None)
    with pytest.raises(SystemExit):  # the launcher's handler is there again
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("launchers_handler")
def test_one_that_comes_before_the_loop_listens_ends_it(monkeypatch):
    listen = starting.trio.open_signal_receiver

    def late(*numbers):
        signal.raise_signal(signal.SIGTERM)
        return listen(*numbers)

    monkeypatch.setattr(starting.trio, "open_signal_receiver", late)
    node = Mock()
    assert starting.run_node(node, None) is None
    node.assert_not_called()
