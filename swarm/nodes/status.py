"""What an SN says of itself and of the ledger, as plain data for ``swarm status``, the demo's view and tests.

Used by ``nodes/sn``. Guarantees: nothing in it that members of the network may not see; names whom every contract waits
for.
"""

from __future__ import annotations

from typing import Any

from swarm.core.contract import Contract
from swarm.core.ledger import Ledger
from swarm.runtime.driver import Driver
from swarm.runtime.tls import Local


def ledger_status(driver: Driver, local: Local) -> dict[str, Any]:
    identity = local.credentials.identity
    ledger = driver.ledger
    return {
        "node": {
            "name": identity.name,
            "organisation": identity.organisation,
            "uid": local.state.uid,
            "role": identity.role,
        },
        "role": driver.role,
        "leader": driver.leader_uid,
        "one_copy": driver.one_copy,
        "notes": driver.notes(),
        "head": ledger.head_index,
        "network_id": ledger.network_id.hex(),
        "nodes": [_node(ledger, uid) for uid in sorted(ledger.nodes)],
        "contracts": [_contract(ledger.contracts[name]) for name in sorted(ledger.contracts)],
    }


def _node(ledger: Ledger, uid: str) -> dict[str, Any]:
    node = ledger.nodes[uid]
    return {
        "name": node.identity.name,
        "organisation": node.identity.organisation,
        "role": node.identity.role,
        "uid": uid,
        "state": node.state,
        "address": node.addresses[0] if node.addresses else "",
    }


def _contract(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "round": contract.round,
        "base": contract.base,
        "finished": contract.finished,
        "members": [
            {"uid": uid, "name": member.name, "organisation": member.organisation, "state": member.state}
            for uid, member in contract.members.items()
        ],
        "phase": contract.phase,
        "waiting_for": [str(contract.members[uid]) for uid in contract.waiting_for()],
        "min_peers": contract.options.minPeers,
        "commits": contract.commits,
    }
