"""The two clocks of a node: one that people set, one that only goes forward.

Used by what drives the pure machines; tests put their own in its place. The wall clock stamps entries, by which
certificates are judged in the ledger; every duration is measured on the other. `CertificateClock` is what certificates
are judged by on this host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from swarm.core.walltime import WallTime


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def wall() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    wall_ms: Callable[[], int] = _wall_ms
    now_s: Callable[[], float] = trio.current_time


class CertificateClock:
    """Safe to use from threads: the data plane has many."""

    def __init__(self) -> None:
        self._time, self._lock = WallTime(), threading.Lock()

    def read(self) -> tuple[datetime, datetime]:
        """By when a certificate must not have expired, and by when it has to have begun."""
        with self._lock:
            now = wall()
            reached_ms = self._time.reached_ms(int(now.timestamp() * 1000), int(time.monotonic() * 1000))
        return now, max(now, datetime.fromtimestamp(reached_ms / 1000, UTC))
