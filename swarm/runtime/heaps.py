"""How many heaps the C library keeps for the threads of this process.

Used by learning nodes. glibc gives threads up to eight heaps a core, each of which keeps what it was at its fullest,
and the many threads of a data plane come and go with each peer that is killed and started again. Guarantee: no more
heaps than cores, and two at least; elsewhere than with glibc nothing happens.
"""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8
"""From glibc's malloc.h."""


def bound() -> None:
    """Before threads are started: those that are there keep their heaps."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))
