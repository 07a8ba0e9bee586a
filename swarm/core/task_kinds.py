"""The kinds of proposals about tasks, taskrunners and slots, and the fields of their bodies: rows of `core/kinds`.

    kind               who                             what it does (accepted); derived events
    TaskCreated        swci                            a draft; TaskKnown
    TaskBodyAppended   swci, task's organisation       sets one line of the body of a draft that has no body yet
    TaskFinalized      swci, task's organisation       the task is immutable from now on; TaskFinal
    TaskDeleted        swci, task's organisation       the draft is gone, its name is free; TaskGone
    TaskrunnerCreated  swci                            TaskrunnerKnown
    ContractCreated    swci                            the first Enrolled may open this name; ContractReserved
    SwopListening      swop                            takes part in the taskrunner's next tasks; SwopKnown, and what
                                                       waited for its peers begins: TaskChanged, SlotAssigned
    TaskAssigned       swci                            TaskChanged (queued or running), SlotAssigned
    TaskDeclined       swop, its own slots             its policy says no; SlotChanged, TaskChanged
    SlotReported       swop, holder of the lease       SlotChanged, TaskChanged (done, failed)
    LeaseEnded         sn, voter                       no sign of life of the holder; SlotChanged, TaskChanged
    TaskrunnerReset    swci, taskrunner's organisation TaskrunnerCleared, TaskChanged, SlotChanged
    JobsSubmitted, JobsStopped, JobsRetried, JobsDeleted    as `core/jobs` says
    JobsFinalized, JobsStarted                              as `core/drafts` says

A text that people gave (names, reasons, descriptions) is printable, so that no terminal is told anything by it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from swarm.core.datasets import USED
from swarm.core.fields import (
    ADDRESS,
    CONTRACT,
    COUNT_MAX,
    FLAG,
    REASON,
    UID,
    Field,
    is_map,
    list_of,
    matching,
    optional,
    printable,
    whole,
)
from swarm.core.filelist import HASH, SUMMARY

TASK_TYPES = ("RUN_SWARM", "MAKE_USER_CONTAINER", "PULL_IMAGE", "MAKE_SWARM_USER_CONTENT")
PEERS_MAX = 1000
JOBS_MAX = 10_000
ROOM_MAX = 4096
_TERMS = {
    "slots": (1, JOBS_MAX), "probe": (0, JOBS_MAX), "restart": (0, 100), "cpu": (0, ROOM_MAX), "gpu": (0, ROOM_MAX),
}  # fmt: skip
BODY_BYTES = 64 * 1024
_BODY_DEPTH = 8
_TASK_NAME = re.compile(r"[A-Za-z0-9_][!-.0-\[\]-~]{0,159}")
_SLOT = re.compile(r"[0-9]{1,16}\.[0-9]{1,6}")
_REPORTS = ("starting", "running", "done", "failed", "stopped")


def _size(value: Any, depth: int = 0) -> int:
    """Roughly the bytes of plain data; more than any limit for what is not plain, or too deep."""
    if value is None or isinstance(value, bool | float):
        return 8
    if isinstance(value, int):
        return 8 if abs(value) <= COUNT_MAX else BODY_BYTES + 1
    if isinstance(value, str):
        return len(value.encode(errors="replace")) + 1
    if depth >= _BODY_DEPTH:
        return BODY_BYTES + 1
    if isinstance(value, list | tuple):
        return 8 + sum(_size(item, depth + 1) for item in value)
    if is_map(value):
        return 8 + sum(_size(key) + _size(item, depth + 1) for key, item in value.items())
    return BODY_BYTES + 1


def _are_terms(value: Any) -> bool:
    if not is_map(value) or set(value) != {*_TERMS, "gang"} or not isinstance(value["gang"], bool):
        return False
    fits = all(whole(*bounds)(value[name]) for name, bounds in _TERMS.items())
    fits = fits and value["cpu"] + value["gpu"] > 0  # what needs nothing would have no end at any operator
    return fits and value["probe"] <= value["slots"] and not (value["gang"] and value["probe"])


TASK_NAME = Field(
    "a name of 1 to 160 printable ASCII characters, without blanks and slashes, that begins with a letter, digit or _",
    matching(_TASK_NAME),
)
JOBS_NAME = Field(
    f"{TASK_NAME.expected}, and not of digits alone: that is an id",
    lambda value: TASK_NAME.fits(value) and not value.isdecimal(),
    since=3,
    before=TASK_NAME,
)
ARTIFACT_NAME = Field(
    f"{TASK_NAME.expected}, without @ and not of digits alone",
    lambda value: JOBS_NAME.fits(value) and "@" not in value,
    required=False,
    since=3,
)
TEXT = Field("a printable text of 1 to 160 characters", printable(1, 160))
BODY = Field(
    "a map of plain values, at most 64 KiB and 8 levels deep",
    lambda value: is_map(value) and _size(value) <= BODY_BYTES,
)
SLOT = Field("the id of a slot (digits.digits)", matching(_SLOT))
TERMS = Field("the terms of jobs: slots, gang, probe, restart, cpu and gpu, each within its bounds", _are_terms)
INDEX = Field("the index of an entry", whole(1, COUNT_MAX))
PEERS = Field(
    'a number of peers from 1 to 1000, or "all"',
    lambda value: value == "all" or whole(1, PEERS_MAX)(value),
    required=False,
)

TASK_FIELDS: dict[str, dict[str, Field]] = {
    "TaskCreated": {
        "name": TASK_NAME,
        "type": Field("a type of task: " + ", ".join(TASK_TYPES), lambda value: value in TASK_TYPES),
        "author": TEXT,
        "prereq": TASK_NAME,
        "outcome": TEXT,
        "body": BODY,
    },
    "TaskBodyAppended": {
        "task": TASK_NAME,
        "index": Field("the number of a line from 1 to 1000", whole(1, 1000)),
        "line": Field("a printable text of at most 200 characters", printable(0, 200)),
    },
    "TaskFinalized": {"task": TASK_NAME, "body": optional(BODY)},
    "TaskDeleted": {"task": TASK_NAME},
    "TaskrunnerCreated": {"name": TASK_NAME},
    "ContractCreated": {"contract": CONTRACT},
    "SwopListening": {
        "taskrunner": TASK_NAME,
        "group": TEXT,
        "peers": Field("a number of learning nodes from 1 to 1000", whole(1, PEERS_MAX)),
        "cpu": Field("a number of CPUs for jobs from 0 to 4096", whole(0, ROOM_MAX), required=False, since=2),
        "gpu": Field("a number of GPUs for jobs from 0 to 4096", whole(0, ROOM_MAX), required=False, since=2),
    },
    "TaskAssigned": {"taskrunner": TASK_NAME, "task": TASK_NAME, "peers": PEERS, "target": optional(UID)},
    "TaskDeclined": {"run": INDEX, "reason": REASON, "hint": REASON},
    "SlotReported": {
        "slot": SLOT,
        "fence": INDEX,
        "state": Field("one of " + ", ".join(_REPORTS), lambda value: value in _REPORTS),
        "reason": REASON,
        "exit_code": Field("an exit code from -64 to 255", whole(-64, 255), required=False),
        "sl_uid": optional(UID),
        "description": optional(REASON),
        "lines": Field(
            "a list of at most 20 printable lines of at most 300 characters",
            list_of(printable(0, 300), 0, 20),
            required=False,
        ),
        "address": Field(ADDRESS.expected, ADDRESS.fits, required=False, since=3),
        "output": replace(SUMMARY, required=False, since=3),
    },
    "LeaseEnded": {"slot": SLOT, "fence": INDEX, "reason": REASON},
    "TaskrunnerReset": {"taskrunner": TASK_NAME},
    "JobsSubmitted": {
        "taskrunner": TASK_NAME,
        "name": JOBS_NAME,
        "author": TEXT,
        "terms": TERMS,
        "body": BODY,
        "data": USED,
        "output": ARTIFACT_NAME,
        "code": replace(HASH, required=False, since=3),
        "draft": replace(FLAG, since=4),
    },
    "JobsFinalized": {"task": TASK_NAME},
    "JobsStarted": {"task": TASK_NAME},
    "JobsStopped": {"task": TASK_NAME, "kill": replace(FLAG, since=3)},
    "JobsRetried": {"task": TASK_NAME},
    "JobsDeleted": {"task": TASK_NAME, "outputs": replace(FLAG, since=3)},
}
