"""Threads for work that blocks, kept for a while and used again: to start one costs as much as a small transfer.

Used by the exchange of a round, which needs several anew each round. Guarantee: a job begins at once, whatever else is
under way; what it raises is dropped, as nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


def begin(job: Callable[[], None], name: str) -> None:
    """From any thread, in a loop or not."""
    trio.lowlevel.start_thread_soon(job, lambda outcome: None, name)
