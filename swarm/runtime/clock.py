"""The two clocks of a node: one that people set, one that only goes forward.

Used by what drives the pure machines; tests put their own in its place. The wall clock stamps entries, by which
certificates are judged; every duration is measured on the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    wall_ms: Callable[[], int] = _wall_ms
    now_s: Callable[[], float] = trio.current_time
