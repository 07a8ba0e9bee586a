"""``WAIT FOR TASKRUNNER``: a progress bar until the current task has ended, and what became of it.

Guarantees: it ends with the task, or when SWCI_RUN_TASK_MAX_WAIT_TIME or SWCI_GENERIC_TASK_MAX_WAIT_TIME (minutes) are
over; it says whom the task waits for; a task that did not complete is an error of the command, with the task's reason.
"""

from __future__ import annotations

import trio

from swarm.core.ledger import Ledger
from swarm.core.run import Run
from swarm.core.taskrunner import Taskrunner
from swarm.errors import Unreachable, WorkerFailed
from swarm.nodes.swci import facts, variables
from swarm.nodes.swci.session import Session
from swarm.nodes.swci.taskrunners import operators

MARK_EVERY_S = 5.0
MINUTE_S = 60.0
UNDECIDED = ("final", "queued", "running")
NAMED_MAX = 5


async def wait_for(session: Session, taskrunner: str) -> None:
    found = facts.known((await session.ledger()).taskrunners, "taskrunner", taskrunner)
    run = found.current
    minutes = _minutes(session, run)
    session.say(f"WAITING FOR TASKRUNNER TO COMPLETE\nMaximum wait time is : {minutes:g} mins")
    if run is None:
        session.say(f"TASK_STATE : {found.word}")
        return
    await _watch(session, run, minutes * MINUTE_S)
    if not _decided(run):
        session.say("WARNING - Maximum configured SWCI wait time is over")
        why = f"task {run.task} on taskrunner {taskrunner} goes on after {minutes:g} minutes: {progress(run)}"
        raise Unreachable(why, hint=f"GET TASKRUNNER STATUS {taskrunner}")
    session.say(f"TASK_STATE : {run.word}")
    if run.state != "done":
        raise WorkerFailed(f"task {run.task} is {run.state}: {run.reason}", hint=_where_to_look(found, run))


def progress(run: Run) -> str:
    """How far it is, and whom it waits for."""
    if run.state != "running":
        return f"{run.state}: {run.reason}"
    waited = [f"{slot} ({slot.state}: {slot.reason})" for slot in run.slots.values() if slot.state == "lost"]
    waited = waited or sorted({slot.operator for slot in run.slots.values() if slot.leased})
    more = [f"{len(waited) - NAMED_MAX} more"] if len(waited) > NAMED_MAX else []
    return f"{run.completed} of {run.needed} peers completed, waits for {', '.join([*waited[:NAMED_MAX], *more])}"


async def _watch(session: Session, run: Run, limit_s: float) -> None:
    """The ledger's own copy of the run changes with the ledger: look at it after every entry."""
    client = await session.network()
    end_s = trio.current_time() + limit_s
    said = ""

    def news(ledger: Ledger) -> str | None:
        now = "" if _decided(run) else progress(run)
        return now if now != said else None

    session.transcript.mark()
    while not _decided(run) and (left_s := end_s - trio.current_time()) > 0:
        told = await client.until(news, min(MARK_EVERY_S, left_s))
        if told is None:
            session.transcript.mark()
        elif told:
            said = told
            session.say(told)


def _where_to_look(taskrunner: Taskrunner, run: Run) -> str:
    """At the operator of a peer that did not complete."""
    ended = [slot.swop for slot in run.slots.values() if not slot.leased and slot.state != "done"]
    for index, uid in enumerate(operators(taskrunner)):
        if uid in ended:
            return f"GET TASKRUNNER PEER STATUS {taskrunner.name} {index}"
    return f"GET TASK INFO {run.task}"


def _decided(run: Run) -> bool:
    return run.state not in UNDECIDED or run.cleared


def _minutes(session: Session, run: Run | None) -> float:
    return variables.minutes(session, of_a_run=run is not None and run.peer_type == "SL")
