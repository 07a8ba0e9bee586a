"""Whether a forced recovery gave up what a node that follows the ledger has read, and what it ends with then.

Used by ``nodes/ledgerlink`` with what a network node answers who follows it. Guarantee: only a forced recovery that
somebody with the right to it has signed, by the ledger that this node has read, ends anything; no network node's word
does.
"""

from __future__ import annotations

from typing import Any

from swarm.core.ledger import Ledger
from swarm.errors import GivenUp, SwarmError, Unreachable
from swarm.nodes.sn_recovery import judged
from swarm.runtime.founding import node_name

ANEW = "start this node again: it reads the ledger anew"


def must_go_on(reply: Any, ledger: Ledger, who: str) -> None:
    """Raise GivenUp if ``who`` shows that this ledger was given up, and Unreachable if what it shows proves nothing."""
    match reply:
        case {"recovery": bytes(raw)}:
            pass
        case _:
            return
    try:
        recovery = judged(raw, ledger, who)
    except SwarmError as error:
        raise Unreachable(f"{error.message}, by the ledger as this node has it; if it is right, {ANEW}") from error
    if recovery.index <= ledger.head_index and recovery.epoch > ledger.epoch:
        decides = node_name(ledger, recovery.uid)
        raise GivenUp(
            f"this node has read entry {ledger.head_index} of a ledger that was given up by force: {decides} decides "
            f"since entry {recovery.index}, by the word of {recovery.author}",
            hint=f"{ANEW}; what was acknowledged to it since entry {recovery.index} may have to be done again",
        )


def ahead(index: int) -> Unreachable:
    """Of a network node that is behind, or has lost entries; whoever has a forced recovery shows it."""
    return Unreachable(
        f"its ledger ended before entry {index}, which this node has; if that lasts, see its 'swarm status' and {ANEW}"
    )
