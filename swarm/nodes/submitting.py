"""Submitting a task of jobs or roles, and what people ask of one afterwards: the client's side of `nodes/jobstatus`.

Used by `swarm run -f`, `swarm status ID` and `swarm task`. Guarantees: a file is read, checked and complete before
anything is proposed, and one proposal makes the whole task, or nothing. A task that is made as a draft does not begin
before it is finalized and started (`core/drafts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from swarm.core.events import TaskState
from swarm.core.ledger import Ledger
from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import BadInput, Unreachable, WorkerFailed
from swarm.nodes import code, datause, inputs, playing, publishing
from swarm.nodes.client import Client, Work
from swarm.wire import documents, jobsfile, rolesfile

ENDED_S = 60.0
"""So long a killed task may take to have ended: longer than the lease of a lost operator."""
ENDED = "ended"


def submitted(path: Path, *, draft: bool = False) -> Work:
    """Have the task in this file taken; the answer holds its id and state."""
    return _submitted(_read(path), path.parent, draft=draft)


def _read(path: Path) -> documents.Document:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"the task {path} cannot be read: {error.strerror}") from None
    return documents.read(data, str(path))


def given(said: Mapping[str, Any], base: Path, *, draft: bool = False) -> Work:
    """The same of what such a file says; it names files as seen from ``base``."""
    return _submitted(documents.given(dict(said), "the task"), base, draft=draft)


def checked(path: Path) -> dict[str, Any]:
    """What `submitted` says of this file before a network is asked; datasets that it names are not looked up."""
    document = _read(path)
    _submitted(document, path.parent, draft=False)
    return {"name": document.value["Name"], "type": document.value["TaskType"]}


def _submitted(document: documents.Document, base: Path, *, draft: bool) -> Work:
    if rolesfile.is_meant(document):
        roles = rolesfile.of_document(document)
        said = replace(roles.body, ForEach=inputs.listed(roles.body.ForEach, base))
        published = publishing.prepared(said, base)
        return playing.submit(replace(roles, body=published.body), published, draft=draft)
    task = jobsfile.of_document(document)
    return submit(replace(task, body=inputs.complete(_with_code(task.body, base), base)), draft=draft)


def _with_code(body: jobsfile.RunJobs, base: Path) -> jobsfile.RunJobs:
    """What the task says of its code, as operators can find and check it."""
    if body.Code is None:
        return body
    directory = (base / body.Code).resolve()
    digest = code.digest_of(directory)
    if body.CodeHash not in (None, digest):
        raise BadInput(f"the code {directory} has the hash {digest}, and the task says CodeHash {body.CodeHash}")
    return replace(body, Code=str(directory), CodeHash=digest)


def _makes(body: jobsfile.RunJobs) -> dict[str, str]:
    """What comes of it, and of which code, for the ledger."""
    if body.Output is None:
        return {}
    return {"output": body.Output, **({"code": body.CodeHash} if body.CodeHash else {})}


def submit(task: jobsfile.JobsFile, *, draft: bool = False) -> Work:
    async def work(client: Client) -> dict[str, Any]:
        said, versions = await datause.pinned(task.body, client)
        each = datause.each_of(said, versions)
        terms = said.terms(len(each.files) if each else 0)
        body = {
            "taskrunner": DEFAULT_NAME,
            "name": task.name,
            "author": task.author or client.local.credentials.identity.name,
            "terms": asdict(terms),
            "body": jobsfile.to_wire(said),
            **datause.to_wire(versions),
            **_makes(said),
            **({"draft": True} if draft else {}),
        }
        outcome = await client.propose("JobsSubmitted", body)
        counts = {"jobs": terms.slots, "testers": terms.probe}
        return {"id": outcome.result["id"], "name": task.name, "state": outcome.result["state"], **counts}

    return work


def shown(task: str) -> Work:
    """All of one task."""

    async def work(client: Client) -> dict[str, Any]:
        return await client.ask_all("job", {"task": task}, "slots")

    return work


def awaited(task: str, deadline_s: float, until: str = ENDED) -> Work:
    """All of a task once it has ended (or, ``until`` a state, when it is in it); Unreachable when the time is over.

    WorkerFailed when it ended in another way than what is waited for: as done, or in that state. BadInput, at once, for
    what is no state of a task, and for less than no time.
    """
    states = (ENDED, *get_args(TaskState))
    if until not in states:
        raise BadInput(f"a task is never {until[:80]!r}, expected one of {', '.join(states)}")
    if deadline_s < 0:
        raise BadInput(f"a task cannot be waited for {deadline_s:g} s, expected 0 or more")

    async def work(client: Client) -> dict[str, Any]:
        def come(ledger: Ledger) -> bool | None:
            run = ledger.board.jobs.named(task)
            return True if run is None or run.over or run.state == until else None

        met = await client.until(come, deadline_s)
        found = await shown(task)(client)
        said = f"task {found['name']} is {found['state']}" + (f": {found['message']}" if found["message"] else "")
        if met is None:
            raise Unreachable(f"{deadline_s:g} s were not enough for task {task} to be {until}: {said}")
        if found["state"] not in ("done", until):
            raise WorkerFailed(said, hint=where_to_look(found))
        return found

    return work


def where_to_look(found: Mapping[str, Any]) -> str:
    """Where the last lines of what failed are, in a task as `shown` has it; nothing where no slot has failed."""
    failed = next((slot["id"] for slot in found["slots"] if slot["state"] == "failed"), "")
    return f"swarm slots show {failed} says what its program said last" if failed else ""


def cloned(task: str, name: str, data: Mapping[str, str]) -> Work:
    """Submit once more what this task says, as a task `name`; ``data``: what tags of its Data stand for now.

    Raises BadInput where the ledger does not hold all of it, or a tag is none of its own.
    """

    async def work(client: Client) -> dict[str, Any]:
        found = await shown(task)(client)
        if "swarms" in found:
            raise BadInput(
                f"task {found['name']} is a sweep of swarms, of which the ledger holds each by itself",
                hint="submit its file again under another Name, or clone one of its swarms",
            )
        body = found["task"]["Body"]
        if "Code" in body and "CodeHash" not in body:
            raise BadInput(
                f"task {found['name']} says Code {str(body['Code'])[:160]} and not of which hash: what is there on "
                "this host need not be what is meant",
                hint="submit a file of your own",
            )
        if unknown := [tag for tag in data if tag not in body.get("Data", {})]:
            there = ", ".join(body.get("Data", {})) or "none"
            raise BadInput(f"task {found['name']} has no {unknown[0][:80]} in its Data: there is {there}")
        said = {**body, "Data": {**body["Data"], **data}} if data else body
        again = given({"Name": name, "TaskType": found["task"]["TaskType"], "Body": said}, Path.cwd())
        return await again(client)

    return work


async def listed(client: Client) -> dict[str, Any]:
    """A row for each task."""
    tasks: list[dict[str, Any]] = []
    more = True
    while more:
        page = await client.ask("jobs", {"after": tasks[-1]["id"] if tasks else 0})
        tasks, more = [*tasks, *page["tasks"]], page["more"]
    return {"tasks": tasks}


def asked(kind: str, task: str, **more: bool) -> Work:
    """Finalize, start, stop, retry or delete it."""

    async def work(client: Client) -> dict[str, Any]:
        outcome = await client.propose(kind, {"task": task, **more})
        return {"task": task, **outcome.result}

    return work


def deleted(task: str, *, force: bool, outputs: bool) -> Work:
    """Have it forgotten; with ``force`` it is killed first if it has not ended."""
    more = {"outputs": True} if outputs else {}

    async def work(client: Client) -> dict[str, Any]:
        run = (await client.ledger()).board.jobs.named(task)
        if force and run is not None and not run.over and run.state != "draft":
            await client.propose("JobsStopped", {"task": task, "kill": True})
            if await client.until(lambda ledger: _ended(ledger, task), ENDED_S) is None:
                raise Unreachable(
                    f"task {task} was killed, and after {ENDED_S:g} s {_still_there(client, task)} had not said so",
                    hint="ask again once its operator is back, or its lease is over",
                )
        return await asked("JobsDeleted", task, **more)(client)

    return work


def _ended(ledger: Ledger, task: str) -> bool | None:
    run = ledger.board.jobs.named(task)
    return True if run is None or run.over else None


def _still_there(client: Client, task: str) -> str:
    run = client.link.ledger.board.jobs.named(task)
    slots = run.slots.values() if run is not None else ()
    return ", ".join(sorted({slot.operator for slot in slots if slot.leased})) or "nobody"
