"""How a process introduces itself to the ledger: the body of its NodeJoined.

Used by every node when it joins, and for the genesis. Guarantee: it says of this process what the handshake proves of
it, the newest version of the ledger's rules that this release knows, and how far this process has read the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm.core.departed import SINCE
from swarm.core.ledger import Ledger
from swarm.core.rules import statement
from swarm.runtime.tls import Local


def introduction(
    local: Local, role: str, addresses: Sequence[str] = (), *, read: Ledger | None = None
) -> dict[str, Any]:
    """``read``: the own copy of the ledger; who founds or orders it has none to show."""
    return {
        "chain": local.credentials.chain,
        "node_key": local.state.node_public,
        "role": role,
        "addresses": list(addresses),
        "incarnation": local.state.incarnation,
        **statement(),
        **({"after": read.head_index} if read and read.rules.active >= SINCE else {}),
    }
