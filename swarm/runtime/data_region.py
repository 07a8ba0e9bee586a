"""Regions: bytes that are served while they are still being made.

Written by whoever fills the buffer (a merge, a transfer), read by the data server's threads. Guarantees: nothing above
the watermark is read; a reader never blocks a writer; after `fail` nobody begins to read from the buffer again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from swarm.errors import Refused


class NotYet(Refused):
    """What is wanted may come: the asking peer's view of the ledger can be ahead of this node's."""


class Stranger(NotYet):
    """The same, of who is no member of the contract by this node's ledger: of anybody with a certificate, that is."""


class Region:
    """Bytes ``start`` to ``stop`` of a model's canonical bytes, of which those below a watermark are final.

    ``finish`` adds the trailer: what can be said about the bytes only when all of them are there (a signature).
    ``even_s``: how long to take over what somebody asks for of it (`runtime/pacing`); 0.0: no longer than it takes.
    """

    def __init__(self, buffer: memoryview, start: int = 0) -> None:
        self._buffer = buffer.toreadonly().cast("B")
        self.start = start
        self.stop = start + len(self._buffer)
        self.even_s = 0.0
        self._upto = start
        self._trailer: bytes | None = None
        self._failure: str | None = None
        self._changed = threading.Condition()

    @classmethod
    def complete(cls, buffer: memoryview, start: int = 0) -> Region:
        region = cls(buffer, start)
        region.finish()
        return region

    def advance(self, upto: int) -> None:
        """Bytes below ``upto`` are final."""
        with self._changed:
            assert self._upto <= upto <= self.stop, (self._upto, upto, self.stop)
            self._upto = upto
            self._changed.notify_all()

    def finish(self, trailer: bytes = b"") -> None:
        with self._changed:
            self._upto, self._trailer = self.stop, trailer
            self._changed.notify_all()

    def fail(self, reason: str) -> None:
        """Readers are told the reason; also the way to take the buffer back."""
        with self._changed:
            self._failure = self._failure or reason
            self._changed.notify_all()

    def check(self) -> None:
        """Raises Refused when the region has failed."""
        if self._failure is not None:
            raise Refused(self._failure)

    def piece(self, at: int, stop: int, timeout_s: float) -> memoryview:
        """Final bytes from ``at``, not beyond ``stop``; empty when none became final in time."""
        with self._changed:
            self._wait(lambda: self._upto > at, timeout_s)
            return self._buffer[at - self.start : max(min(self._upto, stop), at) - self.start]

    def trailer(self, timeout_s: float) -> bytes | None:
        with self._changed:
            self._wait(lambda: self._trailer is not None, timeout_s)
            return self._trailer

    def _wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = monotonic() + timeout_s
        while True:
            self.check()
            left = deadline - monotonic()
            if ready() or left <= 0:
                return
            self._changed.wait(left)
