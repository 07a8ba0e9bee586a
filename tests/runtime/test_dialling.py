"""How many handshakes a process begins at once: as many as are asked for, and few once it gets its turns late."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from swarm.core.lateness import Turns
from swarm.runtime.dialling import WHEN_LATE, Dialling


class GivenUp(Exception):
    pass


def give_up() -> None:
    raise GivenUp


def test_a_process_that_gets_its_turns_dials_as_many_at_once_as_it_wants() -> None:
    dialling = Dialling(Turns())
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(dialling.turn(give_up))


def test_one_that_does_not_begins_a_few_and_the_next_when_one_of_them_is_over() -> None:
    lateness = Turns()
    lateness.came(1.0)
    dialling, begun = Dialling(lateness), threading.Event()

    def next_one() -> None:
        with dialling.turn(lambda: None):
            begun.set()

    with ExitStack() as stack:
        for _ in range(WHEN_LATE):
            stack.enter_context(dialling.turn(give_up))
        with pytest.raises(GivenUp), dialling.turn(give_up):
            raise AssertionError("one too many")
        thread = threading.Thread(target=next_one)
        thread.start()
        assert not begun.is_set()
    thread.join()
    assert begun.is_set()
