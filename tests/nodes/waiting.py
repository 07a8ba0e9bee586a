"""Waiting for what other processes do."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

PATIENCE_S = 120.0


def eventually(what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The condition's first true value; polled, because it is another process that makes it true."""
    until = monotonic() + patience_s
    while not (value := condition()):
        assert monotonic() < until, f"{what} did not come to be within {patience_s:g} s"
        sleep(0.02)
    return value
