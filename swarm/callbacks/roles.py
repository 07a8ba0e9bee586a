"""``swarm.scale`` and ``swarm.peers``: what the program of a role's slot asks about its own task.

Called by programs that `swarm run -f` runs in roles. Guarantees: a call answers when the ledger has decided, or raises
what stands against it; nothing is asked for another task.
"""

from __future__ import annotations

from typing import Any

from swarm.callbacks.desk import ask
from swarm.errors import BadInput


def scale(role: str, to: int | None = None, *, by: int | None = None) -> dict[str, Any]:
    """Have ``to`` slots of this role of one's own task, or ``by`` more (negative: fewer).

    Answers ``{"task", "role", "slots", "added", "removed"}``; the last two are lists of ``{"id", "role", "index"}``.
    Raises Refused for what the role's bounds forbid, Unreachable when the operator ended before it answered: ``by`` may
    have taken effect then, see `peers`.
    """
    if (to is None) == (by is None):
        raise BadInput("swarm.scale takes either how many slots there are to be, or by=how many more or fewer")
    return ask("scale", once=by is not None, role=role, to=to, by=by)


def peers(role: str) -> list[dict[str, Any]]:
    """The slots of a role of one's own task, by index: ``{"index", "state", "address"}``; no address yet: None."""
    found: list[dict[str, Any]] = ask("peers", role=role)["peers"]
    return found
