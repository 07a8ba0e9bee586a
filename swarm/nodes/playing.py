"""Submitting and scaling a task with roles: the client's side of `core/rolesboard`.

Used by `swarm run -f` and `swarm task create` (through `nodes/submitting`), and by `swarm scale`. Guarantees: one
proposal makes the whole task, or nothing; of a sweep of swarms nothing runs before all of it is submitted, and nothing
stays if one is refused; a change of scale is made once, or refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import BadInput, SwarmError, Unreachable
from swarm.nodes.client import Client, Work
from swarm.nodes.publishing import Publishing
from swarm.wire import rolesfile
from swarm.wire.variants import variants

_CHANGE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=([+-]?)([0-9]{1,4})")


def submit(task: rolesfile.RolesFile, published: Publishing, *, draft: bool = False) -> Work:
    """Its code comes first: who is asked to run it can have it."""
    swarms = variants(task)

    async def work(client: Client) -> dict[str, Any]:
        await published.publish(client.call)
        author = task.author or client.local.credentials.identity.name
        if swarms:
            return await _sweep(client, task, author, swarms, draft)
        outcome = await client.propose("RolesSubmitted", _body(task, task.name, author, task.body, draft))
        return {"id": outcome.result["id"], "name": task.name, "state": outcome.result["state"]}

    return work


def _body(task: rolesfile.RolesFile, name: str, author: str, body: rolesfile.RolesBody, draft: bool) -> dict[str, Any]:
    return {
        "taskrunner": DEFAULT_NAME,
        "name": name,
        "author": author,
        "roles": [role.said() for role in body.roles()],
        "within_s": body.StartWithin,
        **({"longest_s": body.MaxRunTime} if body.MaxRunTime else {}),
        "clean": body.Clean != "none",
        **({"outcome": task.outcome} if task.outcome else {}),
        **({"draft": True} if draft else {}),
        "body": rolesfile.to_wire(body),
    }


async def _sweep(
    client: Client,
    task: rolesfile.RolesFile,
    author: str,
    swarms: Sequence[tuple[str, rolesfile.RolesBody]],
    draft: bool,
) -> dict[str, Any]:
    """All swarms, one after the other: none begins before the last is there. If one is refused, none stays."""
    name, count, result = task.name, len(swarms), dict[str, Any]()
    for index, (value, body) in enumerate(swarms):
        said = _body(task, f"{name}.{index}", author, body, draft)
        said["variant"] = {"of": name, "index": index, "count": count, "value": value}
        try:
            result = (await client.propose("RolesSubmitted", said)).result
        except Unreachable as error:
            last = index + 1 == count
            begins = "all begin if the last one was taken, too" if last else "none of them begins"
            raise Unreachable(
                f"{error.message}; {index} of the {count} swarms of {name} are there, and {begins}",
                hint=f"swarm task rm {name} --force forgets them",
            ) from None
        except SwarmError:
            if index and not draft:
                await client.propose("JobsStopped", {"task": name})
            if index:
                await client.propose("JobsDeleted", {"task": name})
            raise
    return {"id": result["sweep"], "name": name, "state": result["state"], "swarms": count}


def scaled(task: str, change: str) -> Work:
    """``change``: ``role=3``, ``role=+1`` or ``role=-1``; raises BadInput for anything else."""
    found = _CHANGE.fullmatch(change)
    if found is None:
        raise BadInput(f"{change[:80]!r} says no change of scale", hint="collector=3, collector=+1 or collector=-1")
    role, sign, number = found.groups()
    count = {"by": int(sign + number)} if sign else {"to": int(number)}

    async def work(client: Client) -> dict[str, Any]:
        outcome = await client.propose("RolesScaled", {"task": task, "role": role, **count})
        return dict(outcome.result)

    return work
