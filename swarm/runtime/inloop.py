"""Calls from threads into the trio loop.

Used for what works in threads of its own and has something to tell: a learning node's exchanges, an SN's store.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import trio


def in_loop(function: Callable[..., None]) -> Callable[..., None]:
    """The same call, for any thread: made soon, in the loop that this runs in, and not at all once that has ended."""
    token = trio.lowlevel.current_trio_token()

    def call(*args: Any) -> None:
        with contextlib.suppress(trio.RunFinishedError):  # the node has ended; nobody waits for this any more
            token.run_sync_soon(function, *args)

    return call
