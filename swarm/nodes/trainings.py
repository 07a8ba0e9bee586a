"""How the programs of a network train, as they say it themselves: for people who look, in memory only.

A program tells its learning node (`messages.Report`), that tells its network node (`told`), and network nodes tell each
other, so any of them answers ``PERFDATA`` and ``swarm status`` for all. None of it is in the ledger: figures stay with
their nodes. Guarantees: one report a learning node that the ledger knows, of a checked form; nothing waits for anybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from swarm.core.fields import COUNT_MAX, printable
from swarm.core.ledger import Ledger
from swarm.errors import BadInput
from swarm.runtime.control import Link, Listener
from swarm.wire.messages import Report

NAME_MAX = 160
_COUNTS = ("batches", "completed_epochs", "total_epochs")
_MEASURES = ("loss", "metric")


def told(contract: str, report: Report) -> dict[str, Any]:
    """What a learning node says of its program: HPE's loss, first metric and epochs. ``total_epochs`` 0: not said.

    Figures on validation data (``val_…``, of the last merged model) come before those of the batches.
    """
    metrics = report.metrics
    loss = next((name for name in ("val_loss", "loss") if name in metrics), "")
    others = [name for name in metrics if name not in ("val_loss", "loss")]
    metric = next((name for name in [*(one for one in others if one.startswith("val_")), *others]), "")
    figures = {"loss": metrics.get(loss), "metric": metrics.get(metric)}
    return {
        "contract": contract[:NAME_MAX],
        "batches": report.batches,
        "completed_epochs": report.epochs,
        "total_epochs": report.total_epochs,
        **{name: value for name, value in figures.items() if value is not None and math.isfinite(value)},
        **({"metric_name": _shown(metric)} if metric else {}),
    }


def _shown(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name[:NAME_MAX])


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """The same, from whoever sent it; raises BadInput."""
    counts = {name: body.get(name) for name in _COUNTS}
    measures = {name: body[name] for name in _MEASURES if name in body}
    names: dict[str, Any] = {name: body[name] for name in ("contract", "metric_name") if name in body}
    fits = (
        "contract" in names
        and all(map(printable(0, NAME_MAX), names.values()))
        and all(type(value) is int and 0 <= value < COUNT_MAX for value in counts.values())
        and all((type(value) is int and abs(value) < COUNT_MAX) or _is_finite(value) for value in measures.values())
    )
    if not fits:
        raise BadInput("a report on a training has another form than this release knows")
    return {**names, **counts, **measures}


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


class Trainings:
    """Of a network node. ``others``: its links to other network nodes."""

    def __init__(self, ledger: Callable[[], Ledger], others: Callable[[], Iterable[Link]]) -> None:
        self._ledger, self._others = ledger, others
        self._newest: dict[str, dict[str, Any]] = {}

    def listeners(self) -> dict[str, Listener]:
        return {"training": self._of_its_own, "training_elsewhere": self._of_another}

    def of(self, contract: str, uid: str) -> dict[str, Any] | None:
        """What this node's program said last, if that is of this contract."""
        newest = self._newest.get(uid)
        if newest is None or newest["contract"] != contract:
            return None
        return {name: value for name, value in newest.items() if name != "contract"}

    def _of_its_own(self, link: Link, body: dict[str, Any]) -> None:
        """A learning node that follows the ledger here."""
        said = checked(body)
        self._keep(link.peer.uid, said)
        for other in self._others():
            other.tell("training_elsewhere", {"uid": link.peer.uid, **said})

    def _of_another(self, link: Link, body: dict[str, Any]) -> None:
        uid = body.get("uid")
        if not isinstance(uid, str):
            raise BadInput("a report on a training elsewhere names no node")
        self._keep(uid, checked(body))

    def _keep(self, uid: str, said: dict[str, Any]) -> None:
        node = self._ledger().nodes.get(uid)
        if node is not None and node.identity.role == "sl":
            self._newest[uid] = said
