"""The kinds of proposals about tasks with roles, and the fields of their bodies: rows of `core/kinds`.

    kind            who                                      what it does (accepted); derived events
    RolesSubmitted  swci                                     the task is known and queued, and slots are dealt
    RolesScaled     swci, task's organisation; swop, holder  a role has more or fewer slots from now on
    GoalReached     swop, holder of the lease                what the task was to reach is reached: it ends well
    StartLapsed     sn, voter                                a minimum did not run in time: the task fails
    RunLapsed       sn, voter                                the task has run as long as it may: it is ended
    WorkPut         swop, holder of the lease                items of work wait from now on, as far as they are new
    WorkTaken       swop, holder of the lease                the slot holds the item that waits longest
    WorkDone        swop, holder of the lease                the item has this result
    WorkForgotten   swop, holder of the lease                items that have ended are let go of
    WorkLapsed      sn, voter                                the item's holder took too long: it waits again

All of them came with the third version of the rules, drafts with the fourth.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

from swarm.core.fields import CONTRACT, FLAG, REASON, Field, is_map, list_of, matching, optional, printable, whole
from swarm.core.roles import ORGANISATIONS_MAX, ROLES_MAX, SLOTS_MAX, Role, fault, surplus
from swarm.core.task_kinds import BODY, INDEX, JOBS_NAME, ROOM_MAX, SLOT, TASK_NAME, TEXT

START_S_MAX = 7 * 24 * 3600
RUN_S_MAX = 30 * 24 * 3600
SWARMS_MAX = 1000
"""Of one sweep."""
VALUE_MAX = 200
"""Characters of what a swarm of a sweep is told apart by."""
ROLE_NAME = Field(
    "the name of a role: 1 to 32 letters, digits, _ and -, a letter first",
    matching(re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")),
)
ORGANISATION = Field("the name of an organisation, or sha256: and its key's hash", printable(1, 160))
_COUNTS = {"low": SLOTS_MAX, "high": SLOTS_MAX, "start": SLOTS_MAX, "restart": 100, "cpu": ROOM_MAX, "gpu": ROOM_MAX}


def _is_role(value: Any) -> bool:
    if not is_map(value) or set(value) != {each.name for each in fields(Role)}:
        return False
    fits = ROLE_NAME.fits(value["name"]) and value["owner"] in ("swop", "participant")
    fits = fits and all(whole(0, most)(value[name]) for name, most in _COUNTS.items()) and value["high"] > 0
    fits = fits and isinstance(value["lead"], bool) and (value["contract"] == "" or CONTRACT.fits(value["contract"]))
    fits = fits and (value["owner"] == "participant" or value["cpu"] + value["gpu"] > 0)
    fits = fits and list_of(ORGANISATION.fits, 0, ORGANISATIONS_MAX)(value["organisations"])
    return fits and isinstance(value["needs"], list | tuple) and all(map(ROLE_NAME.fits, value["needs"]))


def _are_roles(value: Any) -> bool:
    return _were_roles(value) and not surplus([Role.of(role) for role in value])


def _were_roles(value: Any) -> bool:
    """As before the fourth version of the rules."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= ROLES_MAX or not all(map(_is_role, value)):
        return False
    return not fault([Role.of(role) for role in value])


def _is_variant(value: Any) -> bool:
    if not is_map(value) or set(value) != {"of", "index", "count", "value"}:
        return False
    fits = JOBS_NAME.fits(value["of"]) and whole(0, SWARMS_MAX - 1)(value["index"])
    return fits and whole(1, SWARMS_MAX)(value["count"]) and printable(0, VALUE_MAX)(value["value"])


KEY = Field("the key of an item: 1 to 100 printable characters", printable(1, 100))
ITEM_TEXT = Field("a printable text of at most 16384 characters", printable(0, 16 * 1024))
KEYS = Field("a list of 1 to 1000 keys of items", list_of(KEY.fits, 1, 1000))
NONCE = Field("a printable text of 1 to 32 characters", printable(1, 32))
LEASE = Field("a number of times from 1 to 1000", whole(1, 1000))


def _are_items(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 1000:
        return False
    pairs = all(isinstance(each, list | tuple) and len(each) == 2 for each in value)
    if not pairs or not all(KEY.fits(key) and ITEM_TEXT.fits(text) for key, text in value):
        return False
    return sum(len(text.encode()) for _, text in value) <= 256 * 1024


_ROLES = Field("a list of roles, as core/roles has them, that fit together", _were_roles)
ROLE_FIELDS: dict[str, dict[str, Field]] = {
    "RolesSubmitted": {
        "taskrunner": TASK_NAME,
        "name": JOBS_NAME,
        "author": TEXT,
        "roles": replace(_ROLES, fits=_are_roles, since=4, before=_ROLES),
        "within_s": Field("a number of seconds from 1 to 604800", whole(1, START_S_MAX)),
        "longest_s": Field("a number of seconds from 1 to 2592000", whole(1, RUN_S_MAX), required=False),
        "outcome": replace(TEXT, required=False),
        "variant": Field(
            "which of the swarms of a sweep it is: of, index, count and value", _is_variant, required=False
        ),
        "clean": Field("whether what runs is ended with the task", lambda value: isinstance(value, bool)),
        "body": BODY,
        "draft": replace(FLAG, since=4),
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
    "WorkPut": {
        "slot": SLOT,
        "fence": INDEX,
        "items": Field("a list of 1 to 1000 pairs of a key and a text, of at most 256 KiB together", _are_items),
        "within_s": Field("a number of seconds from 1 to 604800", whole(1, START_S_MAX)),
    },
    "WorkTaken": {"slot": SLOT, "fence": INDEX, "nonce": NONCE},
    "WorkDone": {"slot": SLOT, "fence": INDEX, "key": KEY, "lease": LEASE, "result": ITEM_TEXT},
    "WorkForgotten": {"slot": SLOT, "fence": INDEX, "keys": KEYS},
    "WorkLapsed": {"run": INDEX, "key": KEY, "lease": LEASE},
}
