"""Turns at dialling: how many handshakes this process begins at the same time.

Used by the asking end of the data plane, from its threads. A handshake costs both sides milliseconds of processor:
fifty peers on one host that all shake hands with eight others at once finish none of them in time. Guarantee: a process
that gets its turns late (`core/lateness`) begins no more than ``WHEN_LATE`` at once, so that each is soon over, and
nobody waits for longer than ``LONGEST_S`` behind some that are not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from time import monotonic

from swarm.core.lateness import Turns

WHEN_LATE = 2
LOOK_S = 0.25
LONGEST_S = 3.0
"""Less than what a member is given whose bytes do not come: it is not to blame for the handshakes of others."""


class Dialling:
    def __init__(self, lateness: Turns) -> None:
        self._lateness = lateness
        self._changed = threading.Condition()
        self._under_way = 0

    @contextlib.contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """Wait for one; ``check`` is called meanwhile, and raises to give it up."""
        end_s = monotonic() + LONGEST_S
        with self._changed:
            while self._lateness.late_s and self._under_way >= WHEN_LATE and monotonic() < end_s:
                self._changed.wait(LOOK_S)
                check()
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()
