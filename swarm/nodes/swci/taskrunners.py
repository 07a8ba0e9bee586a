"""The commands about taskrunners: what each runs, on which operators' peers, and how these fare."""

from __future__ import annotations

from collections.abc import Iterator

from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.core.taskrunner import Taskrunner
from swarm.errors import BadInput
from swarm.nodes.swci import arguments, facts
from swarm.nodes.swci.session import Session

PEERS_MAX = 1000
SLOT_WORDS = {
    "assigned": "IDLE",
    "starting": "RUNNING",
    "running": "RUNNING",
    "done": "COMPLETE",
    "failed": "ERROR",
    "stopped": "ERROR",
    "lost": "ERROR",
}
"""The states of slots in the words of HPE's peers."""


async def create(session: Session, taskrunner: str) -> None:
    outcome = await session.propose("TaskrunnerCreated", name=taskrunner)
    known = " (known already)" if outcome.result["known"] else ""
    session.say(f"TASKRUNNER CREATED : {taskrunner}{known}")


async def names(session: Session) -> None:
    session.say("\n".join((await session.ledger()).taskrunners))


async def reset(session: Session, taskrunner: str) -> None:
    await _taskrunner(session, taskrunner)
    await session.propose("TaskrunnerReset", taskrunner=taskrunner)
    session.say(f"TASKRUNNER RESET : {taskrunner}")


# ---- assigning


async def assign_with_peers(session: Session, task: str, taskrunner: str, n: str) -> None:
    peers = arguments.whole("the number of peers", n, 1, PEERS_MAX)
    await _assign(session, task, taskrunner, f"WITH {peers} PEERS", peers=peers)


async def assign_with_all_peers(session: Session, task: str, taskrunner: str) -> None:
    await _assign(session, task, taskrunner, "WITH ALL PEERS", peers="all")


async def assign_to_target(session: Session, task: str, taskrunner: str, swop_uid: str) -> None:
    await _assign(session, task, taskrunner, f"TARGET {swop_uid}", target=swop_uid)


async def _assign(session: Session, task: str, taskrunner: str, how: str, **whom: int | str) -> None:
    await _taskrunner(session, taskrunner)
    facts.known((await session.ledger()).tasks, "task", task)
    await session.propose("TaskAssigned", taskrunner=taskrunner, task=task, **whom)
    session.say(f"TASK ASSIGNED : {task} TO {taskrunner} {how}")
    run = (await _taskrunner(session, taskrunner)).current
    if run is not None and run.state == "queued":
        session.say(f"it {run.reason}")


# ---- showing


async def info(session: Session, taskrunner: str) -> None:
    found = await _taskrunner(session, taskrunner)
    creator = (await session.ledger()).nodes.get(found.creator)
    shown = {
        "TASKRUNNER NAME": found.name,
        "CREATED BY": creator.identity if creator else "the network",
        "STATE": found.word,
        "ENROLLED SWOPS": len(operators(found)),
        "SL PEERS OF THEM": found.peers("SL"),
    }
    session.say(facts.lines(shown))


async def status(session: Session, taskrunner: str) -> None:
    session.say(facts.lines(_status(await _taskrunner(session, taskrunner))))


def _status(taskrunner: Taskrunner) -> dict[str, object]:
    """TASK_STATE is the line that programs read."""
    run = taskrunner.current
    if run is None:
        return {"TASK NAME": "Empty", "TASK_STATE": taskrunner.word}
    return {
        "TASK NAME": run.task,
        "PEER TYPE": run.peer_type,
        "TASK_STATE": run.word,
        "REASON": run.reason,
        "PEERS NEEDED": run.needed,
        "ACTIVE PEERS": run.active,
        "COMPLETED PEERS": run.completed,
        "FAILED PEERS": run.failed,
        "ASSIGNED": facts.moment(run.assigned_ms),
        "STARTED": facts.moment(run.started_ms),
        "ENDED": facts.moment(run.ended_ms),
    }


async def peers(session: Session, taskrunner: str) -> None:
    found = await _taskrunner(session, taskrunner)
    rows = []
    for index, (uid, name) in enumerate(operators(found).items()):
        listener = found.listeners.get(uid)
        offers = f"{listener.peers} SL peers, {listener.state}" if listener else "no longer listening"
        rows.append(f"{index} : {uid} : {name} : {offers}")
    session.say("\n".join(rows) or "Empty")


async def peer_status(session: Session, taskrunner: str, swop: str) -> None:
    found = await _taskrunner(session, taskrunner)
    uid = _operator(found, swop)
    run = found.current
    slots = run.of(uid) if run else []
    shown: dict[str, object] = {"SWOP UID": uid, "SWOP NAME": operators(found)[uid]}
    if run is None or run.peer_type == "SL":
        shown["NUMBER OF SL PEERS"] = len(slots)
    session.say(facts.lines(shown))
    for slot in slots:
        session.say("\n".join(_slot(slot, run)))


def _slot(slot: Slot, run: Run | None) -> Iterator[str]:
    if run is not None and run.peer_type == "SL":
        yield f"SL UID : {slot.sl_uid or '-'}"
    yield f"STATUS : {SLOT_WORDS[slot.state]}"
    yield f"STATE : {slot.state}"
    if reason := slot.reason or slot.description:
        yield f"DESCRIPTION : {reason}"
    if slot.description and slot.reason:
        yield f"PROGRESS : {slot.description}"
    if slot.exit_code is not None:
        yield f"EXIT CODE : {slot.exit_code}"
    for line in slot.lines:
        yield f"  | {line}"


def operators(taskrunner: Taskrunner) -> dict[str, str]:
    """Who takes part or took part in the current task, by uid; their places are HPE's indices."""
    found = {uid: str(listener) for uid, listener in taskrunner.listeners.items()}
    slots = taskrunner.current.slots.values() if taskrunner.current else ()
    return found | {slot.swop: slot.operator for slot in slots if slot.swop not in found}


def _operator(taskrunner: Taskrunner, text: str) -> str:
    """The uid that an index or a uid means."""
    enrolled = list(operators(taskrunner))
    if text.isdecimal() and len(text) <= arguments.DIGITS_MAX and int(text) < len(enrolled):
        return enrolled[int(text)]
    if text in enrolled:
        return text
    have = f"{len(enrolled)} SWOPs are enrolled, expected an index from 0 to {len(enrolled) - 1} or a uid"
    raise BadInput(
        f"taskrunner {taskrunner.name} has no SWOP {text[:80]}: {have if enrolled else 'none is enrolled'}",
        hint=f"LIST TASKRUNNER PEERS {taskrunner.name}",
    )


async def _taskrunner(session: Session, name: str) -> Taskrunner:
    return facts.known((await session.ledger()).taskrunners, "taskrunner", name)
