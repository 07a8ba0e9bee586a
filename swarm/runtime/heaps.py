"""What the C library keeps of the memory that this process has used: how many heaps, and what is free in them.

Both are for nodes of every kind. `bound`: glibc gives threads up to eight heaps a core, each of which keeps what it was
at its fullest, and threads come and go with each peer that is killed and started again. `give_back`: connections come
and go for months, and pages that nothing lies on any more are kept as long as anything lies behind them. Guarantees: no
more heaps than cores, and two at least; such pages are kept for a minute at most; elsewhere than with glibc nothing
happens.
"""

from __future__ import annotations

import ctypes
import os

import trio

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""
GIVE_BACK_EVERY_S = 60.0


def bound() -> None:
    """Before threads are started: those that are there keep their heaps."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))


async def give_back() -> None:
    """For ever. It takes about two milliseconds."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await trio.sleep(GIVE_BACK_EVERY_S)
        trim(0)
