"""Slots and the queue for people: who holds what under which lease, what waits, and what room there is.

Used by `swarm slots` and `swarm queue`. All of it is read from this client's own copy of the ledger, verified here.
"""

from __future__ import annotations

from typing import Any

from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.ledger import Ledger
from swarm.core.sweeps import Sweep
from swarm.errors import BadInput
from swarm.nodes.client import Client, Work
from swarm.nodes.jobstatus import inputs_of, slot_row, task_rows


def slots(task: str | None) -> Work:
    """Those of a task, by its id or name; without one those of all tasks that have not ended."""

    async def work(client: Client) -> dict[str, Any]:
        return {"slots": rows(await client.ledger(), task)}

    return work


def rows(ledger: Ledger, task: str | None) -> list[dict[str, Any]]:
    """The same of a ledger that is at hand."""
    return [row for run in _runs(ledger, task) for row in _rows(ledger, run)]


def goes_on(ledger: Ledger, task: str | None = None) -> bool:
    """Whether the task has not ended; without one whether any has not."""
    return any(not run.over for run in _runs(ledger, task))


def slot(id_: str) -> Work:
    """One of them, by its id."""

    async def work(client: Client) -> dict[str, Any]:
        ledger = await client.ledger()
        for run in ledger.board.jobs.runs.values():
            if id_ in run.slots:
                return next(row for row in _rows(ledger, run) if row["id"] == id_)
        raise BadInput(
            f"slot {id_[:80]!r} not found", hint="swarm slots ls shows those of the tasks that have not ended"
        )

    return work


async def queue(client: Client) -> dict[str, Any]:
    """The tasks that wait, the next one first, and what room each operator has and has left."""
    ledger = await client.ledger()
    waiting = [row for row in task_rows(ledger) if row["position"] is not None]
    placing = ledger.board.jobs.placing
    operators = []
    for uid, free in placing.free().items():
        room, node = ledger.board.jobs.rooms[uid], ledger.nodes[uid]
        told = {
            "name": node.identity.name,
            "organisation": node.identity.organisation,
            "cpu": room.cpu,
            "gpu": room.gpu,
        }
        operators.append({**told, "free_cpu": free.cpu, "free_gpu": len(free.gpus)})
    return {"tasks": sorted(waiting, key=lambda row: int(row["position"])), "operators": operators}


def _runs(ledger: Ledger, task: str | None) -> list[JobRun]:
    jobs = ledger.board.jobs
    if task is None:
        return [run for run in jobs.runs.values() if not run.over]
    named = jobs.named(task)
    if named is None:
        raise BadInput(f"task {task[:160]!r} not found", hint="swarm task ls shows all of them")
    return [*named.runs.values()] if isinstance(named, Sweep) else [named]


def _rows(ledger: Ledger, run: JobRun) -> list[dict[str, Any]]:
    inputs = inputs_of(ledger, ledger.tasks[run.task])
    return [{"task": run.task, **slot_row(run, each, inputs), **_lease(each)} for each in run.slots.values()]


def _lease(slot: JobSlot) -> dict[str, Any]:
    """``fence``: of the lease that it has, the number by which its holder is told from those before; ``log``: by which
    `swarm logs` finds what its program has written, on the host of its holder; ``learning_node``: the uid of the one
    beside its program, by which several of one name are told apart."""
    lease = {"leased": slot.leased, "fence": slot.fence if slot.leased else None}
    return {**lease, "log": slot.id, "learning_node": slot.sl_uid or None}
