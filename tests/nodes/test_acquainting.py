"""What the ledger says of nodes holds at the door."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from swarm.core.events import Applied, NodeGone, Outcome
from swarm.core.ledger import Ledger
from swarm.core.names import Identity
from swarm.core.node import Node, Outcomes
from swarm.core.rules import KNOWN
from swarm.errors import SwarmError
from swarm.nodes.acquainting import acquaint, acquaint_all
from swarm.runtime.tls import Acquaintances

IDENTITY = Identity("org-a", bytes(32), "sn", "sn-1")


def test_who_was_removed_is_let_in_to_be_told_whatever_its_release() -> None:
    """A ledger that was recovered past it may have gone on to rules that it does not know."""
    ledger, node = Ledger(), Node(IDENTITY, b"k" * 32, (), Outcomes(b"1" * 16))
    ledger.nodes["sn-1"], ledger.rules.active = node, KNOWN
    hello: Any = SimpleNamespace(node_key=b"k" * 32, rules=KNOWN - 1, incarnation=b"1" * 16)
    local: Any = SimpleNamespace(acquaintances=Acquaintances())
    acquaint_all(local, ledger)
    with pytest.raises(SwarmError, match="runs a release that knows rules version"):
        local.acquaintances.admit(IDENTITY, hello, "sn-1")
    node.state = "removed"
    acquaint(local, ledger, Applied(Outcome(1, True), (NodeGone("sn-1", "removed"),)))
    local.acquaintances.admit(IDENTITY, hello, "sn-1")
    began_later: Any = SimpleNamespace(acquaintances=Acquaintances())
    acquaint_all(began_later, ledger)
    began_later.acquaintances.admit(IDENTITY, hello, "sn-1")
