"""The clocks of a node: one that people set, one that only goes forward, and the latter with the machine's sleep.

Used by what drives the pure machines; tests put their own in its place. Every duration is measured on the second.
`EntryClock` is what a network node stamps entries with, by which certificates are judged in the ledger;
`CertificateClock` is what they are judged by on this host.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from swarm.core.entrytime import OFF_MS, EntryTime
from swarm.core.walltime import WallTime

log = logging.getLogger("swarm.SN")

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # where the former is missing the latter does not sleep


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _boot_ms() -> int:
    return time.clock_gettime_ns(_BOOT) // 1_000_000


def wall() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    wall_ms: Callable[[], int] = _wall_ms
    now_s: Callable[[], float] = trio.current_time
    boot_ms: Callable[[], int] = _boot_ms
    """Goes on while the machine sleeps: else its wall clock would seem to jump when it wakes up."""


class EntryClock:
    """Says in the log that the wall clock has jumped ahead, once each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._time, self._ahead_ms = clock, EntryTime(), 0
        self.now_s = clock.now_s

    def wall_ms(self) -> int:
        """What the next entry is stamped with."""
        wall_ms = self._clock.wall_ms()
        ahead_ms = self._time.ahead_ms(wall_ms, self._clock.boot_ms())
        before, self._ahead_ms = self._ahead_ms, ahead_ms
        if ahead_ms and not before:
            log.error("%s", self._jumped())
        return wall_ms - ahead_ms

    def notes(self, ledger_ms: int) -> list[str]:
        """What a status must say of the clock, and of the ledger's time, a sentence each."""
        notes = [self._jumped()] if self._ahead_ms else []
        off_ms = ledger_ms - self._clock.wall_ms()
        if off_ms > OFF_MS:
            until = datetime.fromtimestamp(ledger_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            notes.append(
                f"the ledger's time, {until}, is {_length(off_ms)} ahead of the clock of this node, and does not go "
                "back: a node whose certificate ends before it cannot join until it has one that lasts longer"
            )
        return notes

    def _jumped(self) -> str:
        return (
            f"the clock of this node has jumped {_length(self._ahead_ms)} ahead: entries bear the time without that "
            "jump until it has lasted an hour; set the clock right, or restart this node if it is right"
        )


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


def _length(ms: int) -> str:
    minutes = ms // 60_000
    for unit, length in (("days", 1440), ("h", 60)):
        if minutes >= 2 * length:
            return f"{minutes // length} {unit}"
    return f"{minutes} min"
