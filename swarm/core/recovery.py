"""Whether a ForcedRecovery may make this network node decide alone, before consensus hears of it.

Used by the orderer. The right to it is the ledger's to judge (`Ledger.must_take_recovery`); here: whether it is meant
for this node, and for the log that this node has now.
"""

from __future__ import annotations

from swarm.core.claims import Claim, Unverified, Verified
from swarm.core.ordering import epoch_of
from swarm.errors import BadInput, IdentityError, Refused


def recoverable(claim: Claim, uid: str, last_index: int, term: int, *, may: bool) -> Verified:
    """The claim, if node ``uid``, whose log ends with ``last_index``, is to take it and may do so now. Raises
    SwarmError."""
    if isinstance(claim, Unverified):
        raise IdentityError(claim.reason, hint=claim.hint)
    if not isinstance(claim, Verified) or claim.kind != "ForcedRecovery":
        raise BadInput("a proposal that is no ForcedRecovery")
    if claim.body["uid"] != uid or not may:
        raise Refused("this ForcedRecovery is for another node, or this one may not take it")
    if claim.body["lost_after"] != last_index:
        raise Refused(
            f"this ForcedRecovery takes over entry {claim.body['lost_after']}, "
            f"this node's ledger ends with entry {last_index}",
            hint="ask again",
        )
    if (epoch := claim.body["epoch"]) <= epoch_of(term):
        raise Refused(
            f"this ForcedRecovery begins epoch {epoch}, and this node is in epoch {epoch_of(term)} already",
            hint="ask again",
        )
    return claim
