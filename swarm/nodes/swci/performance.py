"""``PERFDATA``: how the peers of a training contract fare, one row each, comma-separated as ``LIST NODES`` is.

What members said of the newest model that they evaluated comes from the network node; who they are, from the ledger.
HPE's column SL ADMIN tells who merges: here every member that takes part does.
"""

from __future__ import annotations

from typing import Any

from swarm.nodes.swci import contracts
from swarm.nodes.swci.session import Session

COLUMNS = ("SL UID", "SL NAME", "SL ADMIN", "MODEL LOSS", "MODEL METRIC", "TOTAL EPOCHS", "COMPLETED EPOCHS")
MEASURES = ("loss", "metric", "total_epochs", "completed_epochs")
UNKNOWN = "-"


async def show(session: Session, contract: str) -> None:
    found = await contracts.opened(session, contract)
    status = await (await session.network()).status()
    told = {row["uid"]: row for one in status["contracts"] if one["name"] == contract for row in one["members"]}
    session.say(", ".join(COLUMNS))
    for uid, member in found.members.items() if found else ():
        merges = found is not None and found.state_of(uid) == "live" and not found.finished
        session.say(", ".join([uid, str(member), str(merges), *_measures(told.get(uid, {}))]))


def _measures(row: dict[str, Any]) -> list[str]:
    """``total_epochs`` 0: the program has not said how many it will train."""
    training = row.get("training") or {}
    told = {**training, "total_epochs": training.get("total_epochs") or None}
    return [_shown(told.get(name)) for name in MEASURES]


def _shown(value: Any) -> str:
    """A number as people read it; what nobody told is not known."""
    return UNKNOWN if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
