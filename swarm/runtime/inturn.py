"""Requests that are handled in the order in which they came: each begins when the one before it has ended.

Used by ``nodes/ledgerlink`` for entries, which may come before the last ones are taken. Tasks of a link run in any
order, so they would not do. Guarantee: one at a time, also if a handler fails; none is left out while the link lives.
"""

from __future__ import annotations

from collections import deque

from swarm.runtime.requests import Request


class InTurn:
    """The requests of one verb, of one link."""

    def __init__(self) -> None:
        self._line: deque[Request] = deque()

    def comes(self, request: Request) -> bool:
        """Whether it has to wait, as a prompt handler tells; else its handler begins."""
        self._line.append(request)
        return len(self._line) > 1

    def ended(self) -> None:
        """The handler of the first has. (Whoever asked before it was admitted stands in no line.)"""
        if self._line:
            self._line.popleft()
        if self._line:
            self._line[0].take_time()
