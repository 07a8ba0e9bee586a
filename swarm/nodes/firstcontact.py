"""First contact: what a node says that has never reached its network, and for how long it tries.

Used by `nodes/ledgerlink` and `nodes/sn_links`, at every try that came to nothing. Guarantees: each cause is said with
the address and when the next try comes, at once and then every ``SAY_EVERY_S``; after ``FIRST_CONTACT_S`` the node
gives up in one sentence.
"""

from __future__ import annotations

import logging

import trio

from swarm.errors import SwarmError, Unreachable
from swarm.runtime.tls import address_text

FIRST_CONTACT_S = 60.0
SAY_EVERY_S = 10.0


class FirstContact:
    """``flags``: those by which the node was told where to look."""

    def __init__(self, log: logging.Logger, flags: str) -> None:
        self._log, self._flags = log, flags
        self._tries, self._begun_s = 0, trio.current_time()
        self._said_s: dict[tuple[tuple[str, int], str], float] = {}
        """By address and cause: when it was said last."""

    def failed(self, address: tuple[str, int], error: SwarmError, pause_s: float) -> None:
        """``pause_s`` from now the next try is made; raises Unreachable when it is not."""
        self._tries += 1
        now_s = trio.current_time()
        waited_s = now_s - self._begun_s
        if waited_s < FIRST_CONTACT_S:
            cause = (address, error.message)
            if cause not in self._said_s or now_s - self._said_s[cause] >= SAY_EVERY_S:
                self._said_s[cause] = now_s
                self._log.warning("no network node yet: %s; next try in %g s", error.message, pause_s)
            return
        tried = f"in {self._tries} tries over {waited_s:.0f} s"
        raise Unreachable(
            f"no network node answered at {address_text(*address)} {tried}: {error.message}",
            hint=f"is it started, is {self._flags}, does a firewall drop the port?",
        ) from error
