"""Acquainting: what the ledger says of nodes holds in handshakes, too.

Called by whoever applies entries: ``nodes/sn`` and ``nodes/ledgerlink``. Guarantee: after it, the doors of this node go
by what the ledger says of each node's key, of ended incarnations, and of the rules; what the ledger has let go of is
not known there either.
"""

from __future__ import annotations

from swarm.core.events import Applied, NodeGone, NodeKnown
from swarm.core.ledger import Ledger
from swarm.runtime.tls import Local


def acquaint(local: Local, ledger: Ledger, applied: Applied) -> None:
    """What the ledger says of nodes holds in handshakes too: whose a node key is, which incarnations have ended."""
    for event in applied.events:
        if isinstance(event, NodeKnown):
            node = ledger.nodes[event.uid]
            local.acquaintances.learn(node.node_key, node.identity, node.incarnation)
        elif isinstance(event, NodeGone) and ledger.nodes[event.uid].state == "removed":
            local.acquaintances.removed.add(ledger.nodes[event.uid].node_key)
    _go_by(local, ledger)


def acquaint_all(local: Local, ledger: Ledger) -> None:
    """The same of a ledger whose entries were applied elsewhere."""
    for node in ledger.nodes.values():
        local.acquaintances.learn(node.node_key, node.identity, node.incarnation)
        if node.state == "removed":
            local.acquaintances.removed.add(node.node_key)
    _go_by(local, ledger)


def _go_by(local: Local, ledger: Ledger) -> None:
    local.acquaintances.rules = ledger.rules.active
    if ledger.departed.before > local.acquaintances.departed:
        local.acquaintances.departed = ledger.departed.before
        local.acquaintances.keep_only({node.node_key for node in ledger.nodes.values()})
