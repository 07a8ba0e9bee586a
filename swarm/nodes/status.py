"""What an SN says of itself and of the ledger, as plain data for ``swarm status``, the demo's view and tests.

Used by ``nodes/sn``. Guarantees: nothing in it that members of the network may not see; names whom every contract waits
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import swarm
from swarm.core.contract import Contract
from swarm.core.ledger import Ledger
from swarm.core.organisations import label
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.core.task import Task
from swarm.core.taskrunner import Taskrunner
from swarm.runtime.driver import Driver
from swarm.runtime.tls import Local

NAMED_MAX = 5


Training = Callable[[str, str], dict[str, Any] | None]
"""Of a contract and a member's uid: how its program trains, as far as it has said so."""


def ledger_status(
    driver: Driver, local: Local, heard_ms: Mapping[str, int], notes: Sequence[str], training: Training
) -> dict[str, Any]:
    """``heard_ms``: when this node heard of others last; ``notes``: what must be said, a sentence each.

    Nodes that have left or were removed are not listed.
    """
    identity = local.credentials.identity
    ledger, voters = driver.ledger, driver.voters
    here = [uid for uid, node in sorted(ledger.nodes.items()) if not node.gone]
    return {
        "version": swarm.__version__,
        "node": {
            "name": identity.name,
            "organisation": identity.organisation,
            "uid": local.state.uid,
            "role": identity.role,
        },
        "role": driver.role,
        "leader": driver.leader_uid,
        "voters": list(voters),
        "learners": [uid for uid, _ in ledger.sns() if uid not in voters],
        "rules": {"active": ledger.rules.active, "known": ledger.rules.known},
        "epoch": ledger.epoch,
        "term": driver.term,
        "one_copy": driver.one_copy,
        "notes": list(notes),
        "head": ledger.head_index,
        "last": driver.last_index,
        "network_id": ledger.network_id.hex(),
        "organisations": [_organisation(ledger, anchor) for anchor in sorted(ledger.anchors)],
        "nodes": [{**_node(ledger, uid), "heard_ms": heard_ms.get(uid, 0)} for uid in here],
        "contracts": [_contract(ledger.contracts[name], training) for name in sorted(ledger.contracts)],
        "tasks": [_task(task) for task in ledger.tasks.values()],
        "taskrunners": [_taskrunner(runner) for runner in ledger.taskrunners.values()],
    }


def rules_note(ledger: Ledger) -> str:
    """Whom newer rules wait for, while some nodes know them and others do not."""
    coming = ledger.rules.coming()
    if coming <= ledger.rules.active or not (lacking := ledger.rules.lacking(coming)):
        return ""
    names = ", ".join(f"{node.identity.name} ({node.identity.organisation})" for node in lacking[:NAMED_MAX])
    more = f" and {len(lacking) - NAMED_MAX} more" if len(lacking) > NAMED_MAX else ""
    return f"rules version {coming} is activated once these nodes are upgraded, too: {names}{more}"


def _organisation(ledger: Ledger, anchor: bytes) -> dict[str, Any]:
    nodes = [node for node in ledger.nodes.values() if node.identity.anchor == anchor and node.state == "live"]
    return {"name": label(ledger.anchors, anchor), "key": f"sha256:{anchor.hex()}", "live_nodes": len(nodes)}


def _node(ledger: Ledger, uid: str) -> dict[str, Any]:
    node = ledger.nodes[uid]
    return {
        "name": node.identity.name,
        "organisation": node.identity.organisation,
        "role": node.identity.role,
        "uid": uid,
        "state": node.state,
        "rules": node.rules,
        "address": node.addresses[0] if node.addresses else "",
        "sentinel": uid == ledger.sentinel,
        "parent": _parent(ledger, uid),
    }


def _parent(ledger: Ledger, uid: str) -> str:
    """Whom the node belongs to: a learning node to the operator that started it, others to an SN, best their own."""
    if uid == ledger.sentinel:
        return ""
    node = ledger.nodes[uid]
    if node.identity.role == "sn":
        return ledger.sentinel
    started_by = [slot.swop for slot in ledger.board.slots.values() if slot.sl_uid == uid]
    own = [
        other
        for other, each in sorted(ledger.nodes.items())
        if each.identity.role == "sn" and each.identity.anchor == node.identity.anchor
    ]
    return next(iter([*started_by, *own, ledger.sentinel]))


def _task(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "type": task.type,
        "author": task.author,
        "prereq": task.prereq,
        "outcome": task.outcome,
        "state": task.state,
        "reason": task.reason,
    }


def _taskrunner(taskrunner: Taskrunner) -> dict[str, Any]:
    return {
        "name": taskrunner.name,
        "state": taskrunner.current.state if taskrunner.current else "free",
        "operators": [
            {
                "uid": listener.uid,
                "name": listener.name,
                "organisation": listener.organisation,
                "group": listener.group,
                "peers": listener.peers,
                "state": listener.state,
            }
            for listener in taskrunner.listeners.values()
        ],
        "runs": [_run(run) for run in taskrunner.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "number": run.number,
        "task": run.task,
        "state": run.state,
        "reason": run.reason,
        "cleared": run.cleared,
        "peer_type": run.peer_type,
        "needed": run.needed,
        "active": run.active,
        "completed": run.completed,
        "failed": run.failed,
        "slots": [_slot(slot) for slot in run.slots.values()],
    }


def _slot(slot: Slot) -> dict[str, Any]:
    return {
        "id": slot.id,
        "operator": slot.operator,
        "swop": slot.swop,
        "index": slot.index,
        "state": slot.state,
        "reason": slot.reason,
        "description": slot.description,
        "attempt": slot.attempt,
        "exit_code": slot.exit_code,
        "sl_uid": slot.sl_uid,
    }


def _contract(contract: Contract, training: Training) -> dict[str, Any]:
    return {
        "name": contract.name,
        "round": contract.round,
        "base": contract.base,
        "finished": contract.finished,
        "members": [
            {
                "uid": uid,
                "name": member.name,
                "organisation": member.organisation,
                "state": contract.state_of(uid),
                "training": training(contract.name, uid),
            }
            for uid, member in contract.members.items()
        ],
        "phase": contract.phase,
        "waiting_for": [str(contract.members[uid]) for uid in contract.waiting_for()],
        "min_peers": contract.options.minPeers,
        "commits": contract.commits,
    }
