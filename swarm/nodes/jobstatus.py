"""What an SN says of tasks of jobs, as plain data for `swarm status ID`, `swarm task` and tests.

Used by `nodes/sn`, for the verbs ``jobs`` and ``job``. Guarantees: every answer fits into one message, however many
slots there are; a name or id that nobody has is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgpack

from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.ledger import Ledger
from swarm.core.placing import Free
from swarm.core.rolesrun import RolesRun
from swarm.core.slot import ENDED
from swarm.core.sweeps import Sweep
from swarm.core.task import UNBEGUN, Task
from swarm.errors import BadInput
from swarm.wire.foreach import values_of
from swarm.wire.jobsfile import body_of

PAGE_BYTES = 768 * 1024
"""Of the rows of one answer: a message takes 1 MiB, and a task's body comes with them."""
MADE_MAX = 100
SAID_MAX = 100


def jobs(ledger: Ledger, after: int) -> dict[str, Any]:
    """The tasks whose id is above ``after``, in the order in which they were submitted; ``more``: others follow."""
    rows, more = page(task_rows(ledger, after))
    return {"tasks": rows, "more": more}


def task_rows(ledger: Ledger, after: int = 0) -> Iterator[dict[str, Any]]:
    """All of them, one by one."""
    queue = ledger.board.jobs
    positions, free = queue.positions(), queue.placing.free()
    named: list[JobRun | Sweep] = [*queue.sweeps.by_name.values()]
    named += (run for run in queue.runs.values() if not (isinstance(run, RolesRun) and run.variant))
    named = sorted((each for each in named if each.id > after), key=lambda each: each.id)
    for each in named:
        if isinstance(each, Sweep):
            yield _sweep_row(ledger, each, free)
        else:
            yield _row(ledger, each, positions.get(each.number), free)


def job(ledger: Ledger, name: str, first: int) -> dict[str, Any]:
    """One task by its name or id, with its slots from the ``first`` on; ``more`` says whether others follow."""
    queue = ledger.board.jobs
    run = queue.named(name)
    if run is None:
        raise BadInput(f"task {name[:160]!r} not found", hint="swarm task ls shows all of them")
    if isinstance(run, Sweep):
        return _sweep(ledger, run, first)
    task = ledger.tasks[run.task]
    inputs = inputs_of(ledger, task)
    slots, more = page(slot_row(run, slot, inputs) for slot in islice(run.slots.values(), first, None))
    said = {"Name": task.name, "TaskType": task.type, "Author": task.author, "Body": task.body}
    said |= {"Outcome": task.outcome} if task.outcome != task.name else {}
    made = _made(ledger, run)
    row = _row(ledger, run, queue.position(run), queue.placing.free())
    return {**row, "task": said, "artifacts": made, "slots": slots, "more": more}


def _sweep(ledger: Ledger, sweep: Sweep, first: int) -> dict[str, Any]:
    """A sweep of swarms as one task, with the slots of all of them."""
    head = next(iter(sweep.runs.values()))
    task = ledger.tasks[head.task]
    every = ((run, slot) for run in sweep.runs.values() for slot in run.slots.values())
    slots, more = page(
        (slot_row(run, slot, ()) | {"input": run.variant.value if run.variant else None}
         for run, slot in islice(every, first, None)),
        PAGE_BYTES // 2,
    )  # fmt: skip
    said = {"Name": sweep.name, "TaskType": task.type, "Author": task.author, "Body": task.body}
    answer = {"task": said, "artifacts": [], "swarms": [_swarm(run) for run in sweep.runs.values()]}
    row = _sweep_row(ledger, sweep, ledger.board.jobs.placing.free())
    return {**row, **answer, "slots": slots, "more": more}


def _swarm(run: RolesRun) -> dict[str, Any]:
    """One of a sweep's: so few words that a thousand of them fit into one answer."""
    assert run.variant is not None
    which = {"index": run.variant.index, "id": run.id, "name": run.task, "input": run.variant.value}
    return {**which, "state": run.state, "message": run.reason[:SAID_MAX]}


def _sweep_row(ledger: Ledger, sweep: Sweep, free: Mapping[str, Free]) -> dict[str, Any]:
    runs = list(sweep.runs.values())
    queue, waiting = ledger.board.jobs, next((run for run in runs if run.state == "queued"), runs[0])
    position = queue.position(runs[0]) if sweep.state == "queued" else None
    waits = queue.placing.waits_for(waiting, queue.position(waiting), free) if sweep.complete else ""
    started, ended = [run.started_ms for run in runs if run.started_ms], [run.ended_ms for run in runs]
    return {
        "id": sweep.id,
        "name": sweep.name,
        "user": runs[0].user,
        "state": sweep.state,
        "position": position,
        "message": waits if sweep.state in UNBEGUN and waits else sweep.reason,
        "counts": sweep.counts,
        "created": time_text(runs[0].submitted_ms),
        "started": time_text(min(started, default=0)),
        "ended": time_text(max(ended) if sweep.over else 0),
    }


def _made(ledger: Ledger, run: JobRun) -> list[dict[str, Any]]:
    """The newest versions of its artifact that the task has made."""
    artifact = ledger.board.artifacts.by_name.get(run.output)
    made = [one for one in artifact.versions if one.id == run.id] if artifact else []
    return [
        {"name": run.output, "number": one.version, "slot": one.slot, "hash": one.hash, "bytes": one.bytes}
        for one in made[-MADE_MAX:]
    ]


def page(rows: Iterator[dict[str, Any]], left: int = PAGE_BYTES) -> tuple[list[dict[str, Any]], bool]:
    """As many of them as fit into one answer, and whether any are left."""
    page: list[dict[str, Any]] = []
    for row in rows:
        left -= len(msgpack.packb(row))
        if left < 0 and page:
            return page, True
        page.append(row)
    return page, False


def inputs_of(ledger: Ledger, task: Task) -> tuple[str, ...]:
    """What each of its jobs is about, where they differ by that."""
    if "ForEach" not in task.body:
        return ()
    try:
        body = body_of(task.body, task.name)
        each = next((text for tag, text in body.datasets.items() if tag in (body.ForEach or {})), None)
        if each is None:
            return values_of(body.ForEach)
        return tuple(placed.file.name for placed in ledger.board.datasets.version(each).files)
    except BadInput:  # its author's client has not checked it: no operator takes it
        return ()


def _row(ledger: Ledger, run: JobRun, position: int | None, free: Mapping[str, Free]) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.task,
        "user": run.user,
        "state": run.state,
        "position": position,
        "message": ledger.board.jobs.placing.waits_for(run, position, free) or run.reason,
        "counts": run.counts,
        "created": time_text(run.submitted_ms),
        "started": time_text(run.started_ms),
        "ended": time_text(run.ended_ms),
    }


def slot_row(run: JobRun, slot: JobSlot, inputs: Sequence[str]) -> dict[str, Any]:
    return {
        "id": slot.id,
        "name": f"swarm-{run.task}-{slot.role}-{slot.index}",
        "role": slot.role,
        "index": slot.index,
        "input": inputs[slot.index].rpartition("/")[2] if slot.index < len(inputs) else None,
        "state": slot.state,
        "reason": slot.reason,
        "attempt": slot.attempt,
        "owner": run.role(slot).owner if isinstance(run, RolesRun) else "swop",
        "swop": slot.operator or None,
        "address": run.addresses.get(slot.id) if isinstance(run, RolesRun) else None,
        "started": time_text(slot.started_ms),
        "ended": time_text(slot.ended_ms if slot.state in ENDED else 0),
        "exit_code": slot.exit_code,
        "lines": list(slot.lines),
    }


def time_text(ms: int) -> str | None:
    """ISO 8601 in UTC; None for a time that has not come."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z" if ms else None
