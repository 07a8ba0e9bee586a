"""``swarm.scale`` and ``swarm.peers``: what the program of a role's slot asks about its own task.

Called by programs that `swarm run -f` runs in roles. Guarantees: a call answers when the ledger has decided, or raises
what stands against it; nothing is asked for another task.
"""

from __future__ import annotations

import time
from typing import Any

from swarm.callbacks.desk import LOOK_S, MARGIN_S, ask
from swarm.errors import BadInput, Unreachable


def scale(role: str, to: int | None = None, *, by: int | None = None) -> dict[str, Any]:
    """Have ``to`` slots of this role of one's own task, or ``by`` more (negative: fewer).

    Answers ``{"task", "role", "slots", "added", "removed"}``; the last two are lists of ``{"id", "role", "index"}``.
    Raises Refused for what the role's bounds forbid, Unreachable when the operator ended before it answered: ``by`` may
    have taken effect then, see `peers`.
    """
    if (to is None) == (by is None):
        raise BadInput("swarm.scale takes either how many slots there are to be, or by=how many more or fewer")
    return ask("scale", once=by is not None, role=role, to=to, by=by)


def peers(role: str, *, until: str | None = None, patience_s: float = 600.0) -> list[dict[str, Any]]:
    """The slots of a role of one's own task, by index: ``{"index", "state", "address"}``; no address yet: None.

    ``until``: a state (``"running"``, ``"done"`` …), in which all of them are to be. Raises Unreachable, which names
    one that is in another, when that has not come about within ``patience_s`` seconds.
    """
    if until is None:
        return _peers(role)
    deadline_s = time.monotonic() + patience_s
    while True:
        wait_s = min(max(deadline_s - time.monotonic(), 0.0), LOOK_S)
        found = _peers(role, until=until, wait_s=wait_s, patience_s=wait_s + MARGIN_S)
        others = [slot for slot in found if slot["state"] != until]
        if not others:
            return found
        if time.monotonic() >= deadline_s:
            one = f"{role} {others[0]['index']} is {others[0]['state']}"
            raise Unreachable(
                f"{len(others)} of {len(found)} slots of {role} are not {until} after {patience_s:g} s: {one}",
                hint="give swarm.peers more patience_s, or look with swarm slots ls at what they wait for",
            )


def _peers(role: str, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask("peers", role=role, **fields)["peers"]
    return found
