"""Running a node's trio loop in a process: signals end it, and one plain error comes out.

Used by the launchers, and by client commands and `swarm.Client`, from whatever thread. Guarantees: SIGTERM and Ctrl-C
cancel everything and end within seconds; of several errors that tasks raised at once, a person gets the first
SwarmError.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from swarm.errors import Interrupted, SwarmError
from swarm.runtime.started import TaskStatus

LAST_WORDS_S = 0.5

S = TypeVar("S")
T = TypeVar("T")


class _Signalled(Exception):
    def __init__(self, number: int) -> None:
        self.number = number


def run_node(node: Callable[[S], Awaitable[T]], settings: S) -> T | None:
    """Run ``node(settings)`` until it returns or a signal ends it. None after SIGTERM.

    Raises Interrupted on Ctrl-C, and the first SwarmError of an exception group.
    """
    try:
        with _kept_from_raising() as early:
            result: T = trio.run(_until_signalled, node, settings, early)
        return result
    except BaseException as error:
        flat = list(_leaves(error))
        for one in flat:
            if isinstance(one, SwarmError):
                raise one from None
        for one in flat:
            if isinstance(one, _Signalled):
                if one.number == signal.SIGTERM:
                    return None
                raise Interrupted("interrupted") from None
        raise


@contextmanager
def _kept_from_raising() -> Iterator[list[int]]:
    """A SIGTERM that comes as the loop begins is kept in this list; as it ends, there is nothing left to end.

    trio hands what its receiver has not read to the handler that was there before, from a task of its own: one that
    raises there, as a launcher's does, is an internal error of trio's.
    """
    early: list[int] = []
    if not _hears_signals():
        yield early
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: early.append(number))
    try:
        yield early
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _hears_signals() -> bool:
    """Python hands signals to no other thread."""
    return threading.current_thread() is threading.main_thread()


async def _until_signalled(node: Callable[[S], Awaitable[T]], settings: S, early: list[int]) -> T:
    async with trio.open_nursery() as nursery:
        if _hears_signals():
            await nursery.start(_watch_signals, early)
        result = await node(settings)
        nursery.cancel_scope.cancel()
    return result


async def _watch_signals(early: list[int], *, task_status: TaskStatus) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        if early:
            raise _Signalled(early[0])
        task_status.started()
        async for number in signals:
            raise _Signalled(number)


async def with_last_words(life: Callable[[], Awaitable[T]], last_words: Callable[[], Awaitable[None]]) -> T:
    """Live; and when that is cancelled, first have the last words said, which are given ``LAST_WORDS_S``."""
    over = False

    async def say_at_the_end(lives: trio.CancelScope) -> None:
        try:
            await trio.sleep_forever()
        finally:
            try:
                if not over:
                    with trio.CancelScope(shield=True), trio.move_on_after(LAST_WORDS_S):
                        await last_words()
            finally:
                lives.cancel()

    async with trio.open_nursery() as nursery:
        with trio.CancelScope(shield=True) as lives:
            nursery.start_soon(say_at_the_end, lives)
            try:
                result = await life()
            finally:
                over = True
                nursery.cancel_scope.cancel()
    if lives.cancelled_caught:
        await trio.sleep_forever()  # the cancellation from outside goes on
    return result


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]
