"""Contributing: what a member offers to a round for its program, by where that stands and what its change has become.

Used by `core/member`. Guarantees: an offer names the weights that will be served for it, and counts less the later
they come.
"""

from __future__ import annotations

from typing import Any

from swarm.core.contract import Contract
from swarm.core.lineage import Lineage
from swarm.core.member_steps import Asked, Source


def source(ask: Asked, lineage: Lineage, checkin: str, *, has_model: bool) -> Source:
    """``checkin``: what a program that has ended gives: "snapshot" its own weights, "active" the merged ones."""
    ended = ask.kind == "end" and has_model
    if ended and (checkin == "active" or lineage.given_up):
        return "base"
    if ended and checkin == "inactive":
        return "own"
    return "rebased" if lineage.late or lineage.moved else "own"


def offer(ask: Asked, contract: Contract, lineage: Lineage, checkin: str) -> dict[str, Any]:
    """The body of an Offer to the round under way."""
    ended = ask.kind == "end"
    once = contract.options.asyncGoal > 0 and lineage.counted  # rounds are not the same for all: a change counts in one
    what = source(ask, lineage, checkin, has_model=contract.has_model)
    body = {
        "contract": contract.name,
        "round": contract.round,
        "base": contract.base,
        "digest": {"own": ask.digest, "base": contract.base, "rebased": lineage.on_base}[what],
        "inactive": ended and (checkin == "inactive" or lineage.given_up or once),
        "stop": ended,
        "counters": {"batches": ask.batches, "epochs": ask.epochs},
    }
    return {**body, "weight_permille": lineage.permille} if lineage.permille < 1000 else body
