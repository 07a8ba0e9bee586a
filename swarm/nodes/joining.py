"""Joining: how a node that only follows the ledger becomes one that it knows.

Used by ``nodes/sl`` and ``nodes/client``, when they begin and whenever the ledger has let go of them since. Guarantee:
who reads the ledger more slowly than others come and go is not refused for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarm.core.events import Outcome
from swarm.nodes.ledgerlink import LedgerLink
from swarm.runtime.introduction import introduction


async def join(link: LedgerLink, addresses: Sequence[str] = ()) -> Outcome:
    """How the ledger decided, once nothing has to be read before it can."""
    role = link.local.credentials.identity.role
    while True:
        body = introduction(link.local, role, addresses, read=link.ledger)
        outcome = await link.propose("NodeJoined", body, joining=True)
        if outcome.accepted or body.get("after", 0) >= link.ledger.departed.before:
            return outcome
        # Rows went meanwhile: its answer has been waited for here, so that is read now, too.


def is_known(link: LedgerLink) -> bool:
    """Whether it still has a row: of who was lost for very long it goes."""
    return link.state.uid in link.ledger.nodes
