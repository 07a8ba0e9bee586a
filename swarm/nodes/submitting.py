"""Submitting a task of jobs or roles, and what people ask of one afterwards: the client's side of `nodes/jobstatus`.

Used by `swarm run -f`, `swarm status ID` and `swarm task`. Guarantees: a file is read, checked and complete before
anything is proposed, and one proposal makes the whole task, or nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import BadInput
from swarm.nodes import code, inputs, playing, publishing
from swarm.nodes.client import Client
from swarm.wire import documents, jobsfile, rolesfile

Work = Callable[[Client], Awaitable[dict[str, Any]]]


def submitted(path: Path) -> Work:
    """Have the task in this file taken; the answer holds its id and state."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"the task {path} cannot be read: {error.strerror}") from None
    document = documents.read(data, str(path))
    if rolesfile.is_meant(document):
        roles = rolesfile.of_document(document)
        published = publishing.prepared(roles.body, path)
        return playing.submit(replace(roles, body=published.body), published)
    task = jobsfile.parse(data, str(path))
    return submit(replace(task, body=inputs.complete(_with_code(task.body, path), path.parent)))


def _with_code(body: jobsfile.RunJobs, path: Path) -> jobsfile.RunJobs:
    """What the file says of its code, as operators can find and check it."""
    if body.Code is None:
        return body
    directory = (path.parent / body.Code).resolve()
    digest = code.digest_of(directory)
    if body.CodeHash not in (None, digest):
        raise BadInput(f"the code {directory} has the hash {digest}, and {path} says CodeHash {body.CodeHash}")
    return replace(body, Code=str(directory), CodeHash=digest)


def submit(task: jobsfile.JobsFile) -> Work:
    async def work(client: Client) -> dict[str, Any]:
        body = {
            "taskrunner": DEFAULT_NAME,
            "name": task.name,
            "author": task.author or client.local.credentials.identity.name,
            "terms": asdict(task.body.terms()),
            "body": jobsfile.to_wire(task.body),
        }
        outcome = await client.propose("JobsSubmitted", body)
        return {"id": outcome.result["id"], "name": task.name, "state": outcome.result["state"]}

    return work


def shown(task: str) -> Work:
    """All of one task."""

    async def work(client: Client) -> dict[str, Any]:
        answer: dict[str, Any] = await client.ask("job", {"task": task, "first": 0})
        while answer.pop("more"):
            rest = await client.ask("job", {"task": task, "first": len(answer["slots"])})
            answer["slots"] += rest["slots"]
            answer["more"] = rest["more"]
        return answer

    return work


async def listed(client: Client) -> dict[str, Any]:
    """A row for each task."""
    tasks: list[dict[str, Any]] = []
    more = True
    while more:
        page = await client.ask("jobs", {"after": tasks[-1]["id"] if tasks else 0})
        tasks, more = [*tasks, *page["tasks"]], page["more"]
    return {"tasks": tasks}


def asked(kind: str, task: str) -> Work:
    """Stop, retry or delete it."""

    async def work(client: Client) -> dict[str, Any]:
        outcome = await client.propose(kind, {"task": task})
        return {"task": task, **outcome.result}

    return work
