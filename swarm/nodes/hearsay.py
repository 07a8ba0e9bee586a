"""Hearsay: what a network node answers a node that is none is the word of one, and another may have a better one.

Used by ``nodes/ledgerlink`` and ``nodes/client``. Guarantee: whatever a network node says to what it is asked here, or
raises, is an answer that was read, or Unreachable: no network node ends another organisation's node by what it sends.
Most of them do, if they all say that it must not take part, or refuse the certificate with which it asks to join.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from swarm.core.election import majority
from swarm.core.events import Outcome
from swarm.core.ledger import Ledger
from swarm.errors import Doubled, IdentityError, Outdated, SwarmError, Unreachable, told
from swarm.runtime.control import Link
from swarm.runtime.statedir import StateDirectory

T = TypeVar("T")


class TurnedAway:
    """Which network nodes have said, since one last let this node in, that it is one too many, or too old."""

    def __init__(self) -> None:
        self._said_by: dict[type[SwarmError], set[str]] = {Doubled: set(), Outdated: set()}

    def let_in(self) -> None:
        for uids in self._said_by.values():
            uids.clear()

    def heard(self, error: SwarmError, ledger: Ledger) -> bool:
        """Whether most of the ledger's network nodes say so by now, each having shown that it is that node."""
        for kind, uids in self._said_by.items():
            if isinstance(error, Doubled | Outdated) and isinstance(error, kind) and error.said_by:
                uids.add(error.said_by)
                known = {uid for uid, _ in ledger.sns()}
                return len(uids & known) >= majority(known)
        return False


class NotAdmitted:
    """What network nodes have said against a node that asks to join."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._said_by, self._said = log, set[str](), ""

    def heard(self, answer: Unreachable, link: Link, ledger: Ledger) -> None:
        """Raises the sentence of the last one once most of the ledger's network nodes have refused its certificate."""
        error = answer.__cause__
        if not isinstance(error, SwarmError):
            return
        if isinstance(error, IdentityError):
            self._said_by.add(link.peer.uid)
            known = {uid for uid, _ in ledger.sns()}
            if len(self._said_by & known) >= majority(known):
                raise error
        if error.message != self._said:
            self._said = error.message
            hint = f" ({told(error.hint)})" if error.hint else ""
            self._log.warning("%s does not let this node join: %s%s", link.peer.identity, told(error.message), hint)


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


def pause_of(status: Any) -> str:
    """Why the ledger pauses, as this status says; nothing where it says nothing of it."""
    match status:
        case {"notes": [*notes]}:
            return next((told(note) for note in notes if str(note).startswith("ledger pauses")), "")
    return ""


def borne_out(ledger: Ledger, state: StateDirectory, seq: int, outcome: Outcome) -> Outcome:
    """What the own copy of the ledger says of the own proposal counts, not what was answered; some refusals leave no
    record. Raises Unreachable where it was accepted by a ledger that a forced recovery has given up."""
    recorded = ledger.outcome_of(state.uid, state.incarnation, seq)
    if recorded is None and outcome.accepted and ledger.lacks(state.uid, state.incarnation, seq):
        raise Unreachable("it was acknowledged, and the ledger that goes on does not have it")
    return recorded or outcome
