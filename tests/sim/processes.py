"""The processes of a run: each takes the next piece of work, and all of them end at once when somebody wants that.

Used by the command. Guarantees: what was done by then counts, what is under way is broken off; nothing runs any longer
when `results` is over, the children in which bugs are planted included.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context
from typing import Any

Work = Callable[[Any], Any]
Piece = tuple[Work, list[Any]]
"""What is done with each of what."""
LOOK_S = 0.25
"""How often the processes are told that it is to end: one that has just begun may not have heard it."""


class Ended(BaseException):
    """No Exception: a world would take it for its own."""


class Going:
    """Whether to go on, in this process: until somebody wants the run to end (SIGTERM, Ctrl-C)."""

    def __init__(self) -> None:
        self.on = True
        self._at_work = False
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, self._end)

    def _end(self, *_: Any) -> None:
        self.on = False
        if self._at_work:
            self._at_work = False
            raise Ended

    def do(self, work: Work, over: Iterable[Any]) -> Iterator[Any]:
        """What came of each, as far as it got."""
        for each in over:
            try:
                try:
                    self._at_work = True
                    if not self.on:
                        return
                    result = work(each)
                finally:
                    self._at_work = False
            except Ended:
                return
            yield result


def results(jobs: int, pieces: Iterable[Piece], going: Going) -> Iterator[Any]:
    """What came of all pieces, as it comes."""
    todo = iter(pieces)
    if jobs == 1:
        for work, over in todo:
            yield from going.do(work, over)
        return
    with ProcessPoolExecutor(jobs, get_context("fork"), _begin) as pool:
        pending: set[Future[list[Any]]] = set()
        while True:
            while len(pending) < 2 * jobs and going.on and (piece := next(todo, None)):
                pending.add(pool.submit(_do, *piece))
            if not pending:
                return
            done, pending = wait(pending, LOOK_S, FIRST_COMPLETED)
            for each in done:
                yield from each.result()
            if not going.on:
                for process in active_children():
                    process.terminate()


_GOING: Going
"""That of a process which is given work."""


def _begin() -> None:
    global _GOING
    _GOING = Going()


def _do(work: Work, over: list[Any]) -> list[Any]:
    return list(_GOING.do(work, over))
