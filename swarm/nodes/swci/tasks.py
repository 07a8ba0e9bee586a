"""The commands about tasks: from a file to a finalized task in the ledger, and what the ledger says of it."""

from __future__ import annotations

import yaml

from swarm.core.task import Task
from swarm.nodes.swci import facts
from swarm.nodes.swci.session import Session


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
