"""What an SN says of itself and of the ledger, as plain data for ``swarm status``, the demo's view and tests.

Used by ``nodes/sn``. Guarantees: nothing in it that members of the network may not see; names whom every contract waits
for; fits into a message, however much there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgpack

import swarm
from swarm.core import awaited
from swarm.core.contract import Contract
from swarm.core.ledger import Ledger
from swarm.core.organisations import label
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.core.task import WORDS, Task
from swarm.core.taskrunner import Listener, Taskrunner
from swarm.runtime.driver import Driver
from swarm.runtime.tls import Local

NAMED_MAX = 5
KIB = 1024
ROWS_KIB = {"nodes": 256, "contracts": 256, "tasks": 128, "taskrunners": 192, "organisations": 64}
"""Of each list: a message takes 1 MiB."""
PART_KIB = 64
"""Of the members of a contract, and of the slots of a run: no row leaves the others no room."""
NAMES_KIB = 16
OTHERS_MAX = 50
"""Lost nodes, and members that are gone, that are named: the newest."""


Training = Callable[[str, str], dict[str, Any] | None]
"""Of a contract and a member's uid: how its program trains, as far as it has said so."""
Rows = list[dict[str, Any]]
T = TypeVar("T")


def ledger_status(
    driver: Driver,
    local: Local,
    heard_ms: Mapping[str, int],
    silent: Container[str],
    notes: Sequence[str],
    training: Training,
    *,
    leader: str | None,
) -> dict[str, Any]:
    """``heard_ms``: when this node heard of others last; ``silent``: network nodes that it hears no longer; ``notes``:
    what must be said, a sentence each; ``leader``: who leads, if anybody does.

    Nodes that have left or were removed are not listed; of all others as many as a message takes, who lives and what is
    under way first. ``unlisted`` counts those that are not.
    """
    identity = local.credentials.identity
    ledger, voters = driver.ledger, driver.voters
    rows = {
        "organisations": _organisations(ledger, silent),
        "nodes": _nodes(ledger, heard_ms, silent),
        "contracts": (_contract(contract, training) for contract in _by_need(ledger)),
        "tasks": (_task(task) for task in sorted(ledger.tasks.values(), key=_needed_task)),
        "taskrunners": (_taskrunner(runner) for runner in ledger.taskrunners.values()),
    }
    listed = {name: list(fitting(each, ROWS_KIB[name])) for name, each in rows.items()}
    listed["nodes"].sort(key=lambda row: str(row["uid"]))
    listed["contracts"].sort(key=lambda row: str(row["name"]))
    listed["tasks"].sort(key=lambda row: ledger.tasks[row["name"]].created_ms)
    there = {
        "organisations": len(ledger.anchors),
        "nodes": sum(not node.gone for node in ledger.nodes.values()),
        "contracts": len(ledger.contracts),
        "tasks": len(ledger.tasks),
        "taskrunners": len(ledger.taskrunners),
    }
    return {
        "version": swarm.__version__,
        "node": {
            "name": identity.name,
            "organisation": identity.organisation,
            "uid": local.state.uid,
            "role": identity.role,
        },
        "role": driver.role,
        "leader": leader,
        "voters": list(voters),
        "learners": list(fitting((uid for uid, _ in ledger.sns() if uid not in voters), NAMES_KIB)),
        "rules": {"active": ledger.rules.active, "known": ledger.rules.known},
        "epoch": ledger.epoch,
        "term": driver.term,
        "one_copy": driver.one_copy,
        "notes": list(notes),
        "head": ledger.head_index,
        "last": driver.last_index,
        "network_id": ledger.network_id.hex(),
        **listed,
        "unlisted": {name: there[name] - len(listed[name]) for name in there},
    }


def fitting(rows: Iterable[T], most_kib: int) -> Iterator[T]:
    """As many of them as there is room for, the first first."""
    left = most_kib * KIB
    for row in rows:
        if (size := len(msgpack.packb(row))) <= left:
            left -= size
            yield row


def rules_note(ledger: Ledger) -> str:
    """Whom newer rules wait for, while some nodes know them and others do not."""
    coming = ledger.rules.coming()
    if coming <= ledger.rules.active or not (lacking := ledger.rules.lacking(coming)):
        return ""
    names = ", ".join(f"{node.identity.name} ({node.identity.organisation})" for node in lacking[:NAMED_MAX])
    more = f" and {len(lacking) - NAMED_MAX} more" if len(lacking) > NAMED_MAX else ""
    return f"rules version {coming} is activated once these nodes are upgraded, too: {names}{more}"


def _organisations(ledger: Ledger, silent: Container[str]) -> Rows:
    nodes = ledger.nodes.items()
    live = Counter(node.identity.anchor for uid, node in nodes if node.state == "live" and uid not in silent)
    return [
        {"name": label(ledger.anchors, anchor), "key": f"sha256:{anchor.hex()}", "live_nodes": live[anchor]}
        for anchor in sorted(ledger.anchors)
    ]


def _nodes(ledger: Ledger, heard_ms: Mapping[str, int], silent: Container[str]) -> Iterator[dict[str, Any]]:
    """Network nodes, who lives, and those of the lost that came last."""
    here = {uid: node for uid, node in sorted(ledger.nodes.items()) if not node.gone}
    sns = [uid for uid, node in here.items() if node.identity.role == "sn"]
    live = [uid for uid, node in here.items() if node.identity.role != "sn" and node.state == "live"]
    lost = [uid for uid, node in here.items() if node.identity.role != "sn" and node.state != "live"]
    lost = sorted(lost, key=lambda uid: here[uid].joined)[-OTHERS_MAX:]
    own = {here[uid].identity.anchor: uid for uid in reversed(sns)}
    started_by = {slot.sl_uid: slot.swop for slot in ledger.board.slots.values() if slot.sl_uid}
    for uid in [*sns, *live, *reversed(lost)]:
        node = here[uid]
        yield {
            "name": node.identity.name,
            "organisation": node.identity.organisation,
            "role": node.identity.role,
            "uid": uid,
            "state": "silent" if uid in silent else node.state,
            "rules": node.rules,
            "address": node.addresses[0] if node.addresses else "",
            "sentinel": uid == ledger.sentinel,
            "parent": _parent(ledger, uid, started_by, own),
            "heard_ms": heard_ms.get(uid, 0),
        }


def _parent(ledger: Ledger, uid: str, started_by: Mapping[str, str], own: Mapping[bytes, str]) -> str:
    """Whom the node belongs to: a learning node to the operator that started it, others to an SN, best their own."""
    if uid == ledger.sentinel:
        return ""
    identity = ledger.nodes[uid].identity
    if identity.role == "sn":
        return ledger.sentinel
    return started_by.get(uid) or own.get(identity.anchor, ledger.sentinel)


def _by_need(ledger: Ledger) -> list[Contract]:
    """Those that train come before those that are over or wait."""
    contracts = ledger.contracts.values()
    return sorted(contracts, key=lambda contract: (contract.finished, not contract.live(), contract.name))


def _needed_task(task: Task) -> tuple[bool, int]:
    """What is under way or waits comes first, then what came last."""
    return WORDS[task.state] in ("COMPLETE", "ERROR"), -task.created_ms


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
        "operators": list(fitting(map(_operator, taskrunner.listeners.values()), NAMES_KIB)),
        "runs": [_run(run) for run in taskrunner.runs],
    }


def _operator(listener: Listener) -> dict[str, Any]:
    return {
        "uid": listener.uid,
        "name": listener.name,
        "organisation": listener.organisation,
        "group": listener.group,
        "peers": listener.peers,
        "state": listener.state,
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
        "slots": list(fitting(map(_slot, run.slots.values()), PART_KIB)),
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
        "enrolled": len(contract.members),
        "members": list(fitting(_members(contract, training), PART_KIB)),
        "phase": contract.phase,
        "waiting_for": list(fitting(awaited.lacking(contract), NAMES_KIB)),
        "absent": awaited.absent(contract),
        "min_peers": contract.options.minPeers,
        "commits": contract.commits,
    }


def _members(contract: Contract, training: Training) -> Iterator[dict[str, Any]]:
    """Who is waited for or may come back at any time, and those of the others that came last."""
    here = {uid for uid, member in contract.members.items() if member.state in ("live", "dropped")}
    others = sorted(contract.members.keys() - here, key=lambda uid: contract.members[uid].ordinal)[-OTHERS_MAX:]
    shown = here.union(others)
    for uid, member in contract.members.items():
        if uid in shown:
            yield {
                "uid": uid,
                "name": member.name,
                "organisation": member.organisation,
                "state": contract.state_of(uid),
                "training": training(contract.name, uid),
            }
