"""The commands about tasks: from a file to a finalized task in the ledger, and what the ledger says of it."""

from __future__ import annotations

import yaml

from swarm.core.task import Task
from swarm.nodes.swci import facts
from swarm.nodes.swci.session import Session
from swarm.wire import taskfile

BATCH_LINES = 4
"""HPE's SWCI sends so many lines of a task's body at a time, and says so; here the body goes as a whole."""


async def create_from(session: Session, file: str) -> None:
    parsed = taskfile.parse(session.directory.read(file), file)
    for warning in parsed.warnings:
        session.say(f"WARNING - {warning}")
    session.say("Task definition is valid")
    await session.propose("TaskCreated", **parsed.to_wire())
    session.say(f"Task Registered : {parsed.name}\nAppending Task Body")
    count = len(body_lines((await session.ledger()).tasks[parsed.name]))
    for first in range(0, count, BATCH_LINES):
        session.say(f"batch start : {first + 1} , len : {min(BATCH_LINES, count - first)} Successful")


async def finalize(session: Session, task: str) -> None:
    await _task(session, task)
    await session.propose("TaskFinalized", task=task)
    session.say(f"Task Finalized : {task}")


async def delete(session: Session, task: str) -> None:
    await _task(session, task)
    await session.propose("TaskDeleted", task=task)
    session.say(f"Task Deleted : {task}")


async def info(session: Session, task: str) -> None:
    found = await _task(session, task)
    creator = (await session.ledger()).nodes.get(found.creator)
    shown = {
        "TASK NAME": found.name,
        "TASK TYPE": found.type,
        "AUTHOR": found.author,
        "PREREQ": found.prereq,
        "OUTCOME": found.outcome,
        "FINALIZED": found.final,
        "STATE": found.state,
        "REASON": found.reason,
        "CREATED BY": creator.identity if creator else None,
        "CREATED": facts.moment(found.created_ms),
        "DIGEST": found.digest,
    }
    session.say(facts.lines(shown))


async def body(session: Session, task: str) -> None:
    lines = ["---", *body_lines(await _task(session, task))]
    session.say("\n".join(f"{number:04}: {line}" for number, line in enumerate(lines)))


async def names(session: Session) -> None:
    session.say("\n".join((await session.ledger()).tasks))


def body_lines(task: Task) -> list[str]:
    """The body as YAML, line by line; of a draft that is written by hand, what there is of it."""
    if task.body:
        text: str = yaml.safe_dump(task.body, sort_keys=False, allow_unicode=True, width=10_000)
        return text.splitlines()
    return [task.lines.get(number, "") for number in range(1, max(task.lines, default=0) + 1)]


async def _task(session: Session, name: str) -> Task:
    return facts.known((await session.ledger()).tasks, "task", name)
