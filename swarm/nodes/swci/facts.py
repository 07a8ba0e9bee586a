"""How commands show facts: one a line with its name in capitals; times; and names that nobody knows.

Pure; used by the commands of this room.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from swarm.errors import BadInput

T = TypeVar("T")


def lines(facts: Mapping[str, Any]) -> str:
    """``NAME : value`` a line; what has no value is left out."""
    shown = {name: str(value) for name, value in facts.items() if value is not None}
    return "\n".join(f"{name} : {value}" for name, value in shown.items() if value)


def moment(ms: int) -> str:
    """A time of the ledger, in UTC; empty for one that has not come."""
    if not ms:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def known(all_: Mapping[str, T], what: str, name: str) -> T:
    """The one of this name; raises BadInput that names the nearest."""
    if name in all_:
        return all_[name]
    near = difflib.get_close_matches(name, all_, n=1)
    hint = f"did you mean {near[0]}?" if near else f"LIST {what.upper()}S shows those there are"
    raise BadInput(f"there is no {what} {name[:160]}", hint=hint)
