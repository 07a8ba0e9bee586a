"""What an SN says of tasks of jobs, as plain data for `swarm status ID`, `swarm task` and tests.

Used by `nodes/sn`, for the verbs ``jobs`` and ``job``. Guarantees: every answer fits into one message, however many
slots there are; a name or id that nobody has is refused in one sentence.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from swarm.core.jobrun import JobRun
from swarm.core.jobslot import JobSlot
from swarm.core.ledger import Ledger
from swarm.core.slot import ENDED
from swarm.errors import BadInput

SLOTS_MAX = 1000
"""Of one answer."""
TASKS_MAX = 1000


def jobs(ledger: Ledger) -> dict[str, Any]:
    """The newest tasks, in the order in which they were submitted."""
    runs = list(ledger.board.jobs.runs.values())[-TASKS_MAX:]
    return {"tasks": [_row(ledger, run) for run in runs]}


def job(ledger: Ledger, name: str, first: int) -> dict[str, Any]:
    """One task by its name or id, with its slots from the ``first`` on; ``more`` says whether others follow."""
    run = ledger.board.jobs.of(name)
    if run is None:
        raise BadInput(f"task {name[:160]!r} not found", hint="swarm task ls shows all of them")
    task = ledger.tasks[run.task]
    slots = list(run.slots.values())[first : first + SLOTS_MAX]
    said = {"Name": task.name, "TaskType": task.type, "Author": task.author, "Body": task.body}
    return {
        **_row(ledger, run),
        "task": said,
        "slots": [_slot(run, slot) for slot in slots],
        "more": first + len(slots) < len(run.slots),
    }


def _row(ledger: Ledger, run: JobRun) -> dict[str, Any]:
    queue = ledger.board.jobs
    return {
        "id": run.id,
        "name": run.task,
        "user": run.user,
        "state": run.state,
        "position": queue.position(run),
        "message": queue.waits_for(run) or run.reason,
        "counts": run.counts,
        "created": time_text(run.submitted_ms),
        "started": time_text(run.started_ms),
        "ended": time_text(run.ended_ms),
    }


def _slot(run: JobRun, slot: JobSlot) -> dict[str, Any]:
    return {
        "id": slot.id,
        "name": f"swarm-{run.task}-{slot.role}-{slot.index}",
        "role": slot.role,
        "index": slot.index,
        "state": slot.state,
        "reason": slot.reason,
        "attempt": slot.attempt,
        "swop": slot.operator or None,
        "address": None,
        "started": time_text(slot.started_ms),
        "ended": time_text(slot.ended_ms if slot.state in ENDED else 0),
        "exit_code": slot.exit_code,
        "lines": list(slot.lines),
    }


def time_text(ms: int) -> str | None:
    """ISO 8601 in UTC; None for a time that has not come."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z" if ms else None
