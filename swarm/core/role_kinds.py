"""The kinds of proposals about tasks with roles, and the fields of their bodies: rows of `core/kinds`.

    kind            who                                      what it does (accepted); derived events
    RolesSubmitted  swci                                     the task is known and queued, and slots are dealt
    RolesScaled     swci, task's organisation; swop, holder  a role has more or fewer slots from now on
    GoalReached     swop, holder of the lease                what the task was to reach is reached: it ends well
    StartLapsed     sn, voter                                a minimum did not run in time: the task fails
    RunLapsed       sn, voter                                the task has run as long as it may: it is ended

All of them came with the third version of the rules.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from swarm.core.fields import CONTRACT, REASON, Field, is_map, matching, optional, whole
from swarm.core.roles import ROLES_MAX, SLOTS_MAX, Role, fault
from swarm.core.task_kinds import BODY, INDEX, ROOM_MAX, SLOT, TASK_NAME, TEXT

START_S_MAX = 7 * 24 * 3600
RUN_S_MAX = 30 * 24 * 3600
ROLE_NAME = Field(
    "the name of a role: 1 to 32 letters, digits, _ and -, a letter first",
    matching(re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")),
)
_COUNTS = {"low": SLOTS_MAX, "high": SLOTS_MAX, "start": SLOTS_MAX, "restart": 100, "cpu": ROOM_MAX, "gpu": ROOM_MAX}


def _is_role(value: Any) -> bool:
    if not is_map(value) or set(value) != {each.name for each in fields(Role)}:
        return False
    fits = ROLE_NAME.fits(value["name"]) and value["owner"] in ("swop", "participant")
    fits = fits and all(whole(0, most)(value[name]) for name, most in _COUNTS.items()) and value["high"] > 0
    fits = fits and isinstance(value["lead"], bool) and (value["contract"] == "" or CONTRACT.fits(value["contract"]))
    fits = fits and (value["owner"] == "participant" or value["cpu"] + value["gpu"] > 0)
    return fits and isinstance(value["needs"], list | tuple) and all(map(ROLE_NAME.fits, value["needs"]))


def _are_roles(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= ROLES_MAX or not all(map(_is_role, value)):
        return False
    return not fault([Role.of(role) for role in value])


ROLE_FIELDS: dict[str, dict[str, Field]] = {
    "RolesSubmitted": {
        "taskrunner": TASK_NAME,
        "name": TASK_NAME,
        "author": TEXT,
        "roles": Field("a list of roles, as core/roles has them, that fit together", _are_roles),
        "within_s": Field("a number of seconds from 1 to 604800", whole(1, START_S_MAX)),
        "longest_s": Field("a number of seconds from 1 to 2592000", whole(1, RUN_S_MAX), required=False),
        "clean": Field("whether what runs is ended with the task", lambda value: isinstance(value, bool)),
        "body": BODY,
    },
    "RolesScaled": {
        "task": TASK_NAME,
        "role": ROLE_NAME,
        "to": Field("a number of slots from 0 to 1000", whole(0, SLOTS_MAX), required=False),
        "by": Field("a number of slots from -1000 to 1000", whole(-SLOTS_MAX, SLOTS_MAX), required=False),
        "slot": optional(SLOT),
        "fence": optional(INDEX),
    },
    "GoalReached": {"slot": SLOT, "fence": INDEX, "reason": REASON},
    "StartLapsed": {"run": INDEX},
    "RunLapsed": {"run": INDEX},
}
