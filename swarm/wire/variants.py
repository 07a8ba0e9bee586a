"""The swarms of a sweep: what each value of a task's ForEach makes of its roles.

Used by `nodes/playing`, where such a task is submitted. Guarantees: every swarm differs by its value and by the names
of its contracts only, so that no two of them merge with each other; a value stays one word of a command, whatever is in
it.
"""

from __future__ import annotations

from dataclasses import replace

from swarm.core.fields import CONTRACT
from swarm.core.role_kinds import SWARMS_MAX, VALUE_MAX
from swarm.core.roles import TASK_SLOTS_MAX
from swarm.errors import BadInput
from swarm.wire import tags
from swarm.wire.channels import Channel
from swarm.wire.foreach import Files, values_of
from swarm.wire.rolesfile import RoleBody, RolesBody, RolesFile


def variants(task: RolesFile) -> list[tuple[str, RolesBody]]:
    """By what people tell it apart (a value, or the name of a file), the body of each swarm; none: it is no sweep.

    Raises BadInput for more swarms or slots than a sweep has, and for contracts whose names leave no room for a number.
    """
    values = values_of(task.body.ForEach)
    if len(values) > SWARMS_MAX:
        raise BadInput(f"ForEach of task {task.name} makes {len(values)} swarms, expected at most {SWARMS_MAX}")
    slots = len(values) * sum(role.high for role in task.body.roles())
    if slots > TASK_SLOTS_MAX:
        raise BadInput(
            f"ForEach of task {task.name} makes {len(values)} swarms with {slots} slots, "
            f"expected at most {TASK_SLOTS_MAX}",
            hint="list fewer values, or let Replicas have a smaller max",
        )
    return [(_shown(task.body, value), _with(task, value, index)) for index, value in enumerate(values)]


def _shown(body: RolesBody, value: str) -> str:
    listing = next(iter((body.ForEach or {}).values()))
    name = value.rpartition("/")[2] if isinstance(listing, Files) else value
    return "".join(each if each.isprintable() else "?" for each in name)[:VALUE_MAX]


def _with(task: RolesFile, value: str, index: int) -> RolesBody:
    body = task.body
    values = dict.fromkeys(body.ForEach or (), value)
    return replace(
        body,
        ForEach=None,
        Envvars=_filled(body.Envvars, values),
        Channels=tuple(replace(each, Name=_channel(each, index, task.name)) for each in body.Channels),
        Roles=tuple(_role(role, values, index, task.name) for role in body.Roles),
    )


def _role(role: RoleBody, values: dict[str, str], index: int, task: str) -> RoleBody:
    return replace(
        role,
        Command=tuple(tags.fill(word, values) for word in role.Command),
        Envvars=_filled(role.Envvars, values),
        Merge=_own(role.Merge, index, task) if role.Merge else None,
    )


def _filled(said: dict[str, str], values: dict[str, str]) -> dict[str, str]:
    return {name: tags.fill(text, values) for name, text in said.items()}


def _channel(channel: Channel, index: int, task: str) -> str:
    """The name of the channel in one swarm; each of its groups has a contract of that, too."""
    own = _own(channel.Name, index, task)
    for group in channel.GroupBy:
        _must_fit(f"{own}-{group}", index, task)
    return own


def _own(contract: str, index: int, task: str) -> str:
    """The contract of one swarm."""
    return _must_fit(f"{contract}.{index}", index, task)


def _must_fit(contract: str, index: int, task: str) -> str:
    if not CONTRACT.fits(contract):
        raise BadInput(f"swarm {index} of task {task} would merge in {contract}, expected {CONTRACT.expected}")
    return contract
