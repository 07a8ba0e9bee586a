"""Hearsay: what a network node answers a node that is none is the word of one, and another may have a better one.

Used by ``nodes/ledgerlink``. Guarantee: whatever a network node says to what it is asked here, or raises, is an answer
that was read, or Unreachable: no network node ends another organisation's node by what it sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from swarm.errors import SwarmError, Unreachable
from swarm.runtime.control import Link

T = TypeVar("T")


async def asked(link: Link, verb: str, body: dict[str, Any], deadline_s: float, read: Callable[[Any], T]) -> T:
    """Raises Unreachable, also where it would be another error."""
    try:
        return read(await link.call(verb, body, deadline_s=deadline_s))
    except Unreachable:
        raise
    except (SwarmError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unreachable(f"{link.peer.identity} does not answer '{verb}': {error}") from error


def head_of(reply: Any) -> tuple[int, bool]:
    """How far the ledger goes there, and whether it goes on where the one here ends."""
    match reply:
        case {"head": int(head)}:
            return head, reply.get("goes_on") is not False
    raise Unreachable("the network node does not say how far its ledger goes")
