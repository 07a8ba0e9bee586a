"""Contributing: what a member offers to a round, by where its program stands and what its change has become.

Used by `core/member`. Guarantees: an offer names the weights that will be served for it, and counts less the later
they come; in a group that takes what comes from above (`core/level`) its leader offers that, and nobody else's counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.core.contract import Contract
from swarm.core.lineage import Lineage
from swarm.core.member_steps import Asked, Lifted, Source


@dataclass(frozen=True)
class Given:
    """What a member has given to a round. ``down``: that round is for what comes from above."""

    round: int = 0
    down: bool = False
    digest: str = ""
    """Of what it has offered; "": nothing so far."""
    changes: bool = False
    """The program's change is in that; else it says only that the member is there, or brings what is from above."""


def nothing(contract: Contract) -> Given:
    """So far, to the round under way."""
    return Given(contract.round, down(contract))


def down(contract: Contract) -> bool:
    """Whether the round under way is for what comes from above."""
    return contract.level.stage == "down" and not contract.finished


def source(ask: Asked, contract: Contract, lineage: Lineage, checkin: str) -> Source:
    """``checkin``: what a program that has ended gives: "snapshot" its own weights, "active" the merged ones."""
    ended = ask.kind == "end" and contract.has_model
    group = bool(contract.options.upper)  # its rounds go on until the leader ends them: there have to be weights
    if ended and (checkin == "active" or lineage.given_up or (group and checkin == "inactive")):
        return "base"
    if ended and checkin == "inactive":
        return "own"
    return "rebased" if lineage.late or lineage.moved else "own"


def offer(
    ask: Asked, contract: Contract, lineage: Lineage, checkin: str, *, uid: str, lifted: Lifted | None
) -> dict[str, Any]:
    """The body of the member's Offer to the round under way."""
    if down(contract):
        return _handed_down(ask, contract, lifted if contract.members[uid].leads else None)
    ended = ask.kind == "end"
    digests = {"own": ask.digest, "base": contract.base, "rebased": lineage.on_base}
    once = contract.options.asyncGoal > 0 and lineage.counted  # rounds are not the same for all: a change counts in one
    unused = ended and (checkin == "inactive" or lineage.given_up or once) and not contract.options.upper
    body = {
        **_head(ask, contract),
        "digest": digests[source(ask, contract, lineage, checkin)],
        "inactive": unused,
        "stop": ended,
    }
    return {**body, "weight_permille": lineage.permille} if lineage.permille < 1000 else body


def _handed_down(ask: Asked, contract: Contract, lifted: Lifted | None) -> dict[str, Any]:
    """The leader's offer is what it has brought; the others say with theirs that they are there."""
    if lifted is None:
        return {**_head(ask, contract), "digest": contract.base, "inactive": True, "stop": False}
    return {**_head(ask, contract), "digest": lifted.digest, "inactive": False, "stop": lifted.over}


def _head(ask: Asked, contract: Contract) -> dict[str, Any]:
    return {
        "contract": contract.name,
        "round": contract.round,
        "base": contract.base,
        "counters": {"batches": ask.batches, "epochs": ask.epochs},
    }
