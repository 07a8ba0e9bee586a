"""The kinds of proposals by which participants take slots and say how they do: rows of `core/kinds`.

    kind        who                  what it does (accepted); derived events
    SlotJoined  sl                   a slot of the role (one of `indices`) is leased to it, under its key; SlotAssigned,
                                     TaskChanged
    SlotTold    sl, its own slot     its program runs, or has ended; SlotChanged, TaskChanged

`core/joining` decides on them; they came with the third version of the rules.
"""

from __future__ import annotations

from swarm.core.fields import COUNT_MAX, REASON, Field, bytes_of, list_of, whole
from swarm.core.task_kinds import INDEX, SLOT, TASK_FIELDS, TASK_NAME

_TOLD = ("running", "done", "failed", "stopped")
_REPORTED = TASK_FIELDS["SlotReported"]

JOINING_FIELDS: dict[str, dict[str, Field]] = {
    "SlotJoined": {
        "task": TASK_NAME,
        "role": TASK_NAME,
        "key": Field("the public key of a slot (32 bytes)", bytes_of(32, 32)),
        "proof": Field("a signature with that key (64 bytes)", bytes_of(64, 64)),
        "indices": Field("a list of 1 to 1000 indices of slots", list_of(whole(0, COUNT_MAX), 1, 1000), required=False),
    },
    "SlotTold": {
        "slot": SLOT,
        "fence": INDEX,
        "state": Field("one of " + ", ".join(_TOLD), lambda value: value in _TOLD),
        "reason": REASON,
        "exit_code": _REPORTED["exit_code"],
        "lines": _REPORTED["lines"],
    },
}
