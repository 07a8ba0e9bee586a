"""Submitting and scaling a task with roles: the client's side of `core/rolesboard`.

Used by `swarm run -f` (through `nodes/submitting`) and `swarm scale`. Guarantee: one proposal makes the whole task, or
nothing; a change of scale is made once, or refused with the reason.
"""

from __future__ import annotations

import re
from typing import Any

from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import BadInput
from swarm.nodes.client import Client, Work
from swarm.nodes.publishing import Publishing
from swarm.wire import rolesfile

_CHANGE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=([+-]?)([0-9]{1,4})")


def submit(task: rolesfile.RolesFile, published: Publishing) -> Work:
    """Its code comes first: who is asked to run it can have it."""

    async def work(client: Client) -> dict[str, Any]:
        await published.publish(client.call)
        body = {
            "taskrunner": DEFAULT_NAME,
            "name": task.name,
            "author": task.author or client.local.credentials.identity.name,
            "roles": [role.said() for role in task.body.roles()],
            "within_s": task.body.StartWithin,
            **({"longest_s": task.body.MaxRunTime} if task.body.MaxRunTime else {}),
            "clean": task.body.Clean != "none",
            "body": rolesfile.to_wire(task.body),
        }
        outcome = await client.propose("RolesSubmitted", body)
        return {"id": outcome.result["id"], "name": task.name, "state": outcome.result["state"]}

    return work


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
