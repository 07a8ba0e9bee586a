"""A SIGTERM ends a node whenever it comes: before its loop listens, and when the loop is about to end by itself."""

import signal
import sys
from unittest.mock import Mock

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from swarm.errors import BadInput
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


def told(life, *, words=None):
    """What happened, in order, to a node of this life that is cancelled once it waits."""
    said = []

    async def last_words():
        said.append("last words")
        if words is not None:
            await words()

    async def main():
        async with trio.open_nursery() as nursery:

            async def node():
                try:
                    said.append(await starting.with_last_words(lambda: life(said), last_words))
                finally:
                    said.append("over")

            nursery.start_soon(node)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return said


async def waits(said):
    try:
        await trio.sleep_forever()
    finally:
        said.append("ends")


def test_a_node_that_is_ended_has_its_last_words_while_all_of_it_lives():
    assert told(waits) == ["last words", "ends", "over"]


def test_last_words_that_nobody_hears_do_not_hold_up_the_end():
    assert told(waits, words=trio.sleep_forever) == ["last words", "ends", "over"]


def test_last_words_that_fail_do_not_keep_it_from_ending():
    async def fails():
        raise RuntimeError("a test")

    with pytest.raises(ExceptionGroup):
        told(waits, words=fails)


def test_a_node_that_ends_by_itself_has_no_last_words():
    async def ends(said):
        return 7

    assert told(ends) == [7, "over"]

    async def fails(said):
        raise BadInput("a test")

    with pytest.raises(ExceptionGroup):
        told(fails)
