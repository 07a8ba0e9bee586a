"""How often one address may come in: a rate with a burst, counted before any handshake is paid for.

Used by `runtime/mesh` and `runtime/data_server` for each connection that they accept. Guarantee: one that connects
again and again costs this node no more than `PER_S` handshakes a second, however often it tries; others do not wait
for it. The rule is the generic cell rate algorithm (ITU-T I.371, annex A) with one virtual clock an address.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

PER_S = 25
BURST = 100
"""So many at once: a host whose fifty peers start together waits for nothing."""
WAITING_MAX = 16
_KEPT = 4096


class Turnstile:
    """Not for several threads at once."""

    def __init__(self, now_s: Callable[[], float] = monotonic) -> None:
        self._now_s = now_s
        self._due_s: dict[str, float] = {}
        """By address: when all that it has been let in for is paid off."""

    def wait_s(self, address: str) -> float | None:
        """How long this connection has to wait for its turn; None: too many of its address wait, so it is closed."""
        now_s = self._now_s()
        due_s = max(self._due_s.get(address, 0.0), now_s)
        wait_s = max(0.0, due_s - now_s - (BURST - 1) / PER_S)
        if round(wait_s * PER_S) > WAITING_MAX:
            return None
        self._due_s[address] = due_s + 1 / PER_S
        if len(self._due_s) > _KEPT:
            self._due_s = {one: until_s for one, until_s in self._due_s.items() if until_s > now_s}
        return wait_s
