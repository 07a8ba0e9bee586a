"""The commands about tasks: from a file to a finalized task in the ledger, and what the ledger says of it."""

from __future__ import annotations

import difflib
import re
from typing import Any

import yaml

from swarm.core.task import Task
from swarm.errors import BadInput
from swarm.nodes.swci import arguments, facts
from swarm.nodes.swci.session import Session
from swarm.wire import taskfile

BATCH_LINES = 4
"""HPE's SWCI sends so many lines of a task's body at a time, and says so; here the body goes as a whole."""
LINES_MAX = 1000
_QUOTED = re.compile(r"""(["'])([^"']*)\1""")


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


async def create(session: Session, task_type: str, task: str, author: str, prereq: str, outcome: str) -> None:
    """A draft without a body: its lines come by APPEND TASK BODY."""
    kind = task_type.upper()
    if kind not in taskfile.BODIES:
        near = difflib.get_close_matches(kind, taskfile.BODIES, n=1)
        expected = f"there is no type of task {task_type[:80]!r}, expected one of {', '.join(taskfile.BODIES)}"
        raise BadInput(expected, hint=f"did you mean {near[0]}?" if near else "")
    said = {"name": task, "type": kind, "author": author, "prereq": prereq, "outcome": outcome, "body": {}}
    await session.propose("TaskCreated", **said)
    session.say(f"Task Registered : {task}")


async def append(session: Session, task: str, index: str, line: str = "") -> None:
    """Set one line of the body. Quotes around the whole line are not a part of it."""
    number = arguments.whole("the number of the line", index, 1, LINES_MAX)
    await _task(session, task)
    whole = _QUOTED.fullmatch(line.strip())
    await session.propose("TaskBodyAppended", task=task, index=number, line=whole[2] if whole else line.rstrip())
    session.say(f"batch start : {number} , len : 1 Successful")


async def finalize(session: Session, task: str) -> None:
    found = await _task(session, task)
    await session.propose("TaskFinalized", task=task, **_written(session, found))
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


def _written(session: Session, task: Task) -> dict[str, Any]:
    """What the lines of a draft say, checked as that of a file is; nothing for one that has its body."""
    if task.final or task.body or not task.lines:
        return {}
    body, warnings = taskfile.parse_body(task.type, body_lines(task), f"the body of task {task.name}")
    for warning in warnings:
        session.say(f"WARNING - {warning}")
    return {"body": taskfile.body_to_wire(body)}


async def _task(session: Session, name: str) -> Task:
    return facts.known((await session.ledger()).tasks, "task", name)
