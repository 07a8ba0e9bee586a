"""Whether a ForcedRecovery may make this network node decide alone, before consensus hears of it.

Used by the orderer. The right to it is the ledger's to judge (`Ledger.must_take_recovery`), as it will be when all that
this node has stored is applied; here: whether it is meant for this node, and for the log that this node has now.
"""

from __future__ import annotations

from swarm.core.claims import Claim, Unverified, Verified
from swarm.core.codec import Codec
from swarm.core.consensus import Consensus
from swarm.core.ledger import Ledger
from swarm.core.ordering import epoch_of
from swarm.core.snapshot import restored, taken
from swarm.errors import BadInput, IdentityError, Refused


def taken_over(ledger: Ledger, now: Consensus, codec: Codec) -> Ledger:
    """The ledger with the entries behind its head, which are stored and not known to be decided: a recovery decides
    them. That this node has joined may stand there."""
    ahead = ledger
    for index in range(ledger.head_index + 1, now.last_index + 1):
        ahead = restored(taken(ledger, 0, ledger.voters)) if ahead is ledger else ahead
        header, proposal = codec.read(now.entry(index))
        ahead.apply(header, codec.claim(header, proposal, ahead))
    return ahead


def recoverable(claim: Claim, now: Consensus) -> Verified:
    """The claim, if the node with this part in the order is to take it and may do so now. Raises SwarmError."""
    if isinstance(claim, Unverified):
        raise IdentityError(claim.reason, hint=claim.hint)
    if not isinstance(claim, Verified) or claim.kind != "ForcedRecovery":
        raise BadInput("a proposal that is no ForcedRecovery")
    if claim.body["uid"] != now.uid or now.ended or now.fetching:
        raise Refused("this ForcedRecovery is for another node, or this one may not take it")
    if claim.body["lost_after"] != now.last_index:
        raise Refused(
            f"this ForcedRecovery takes over entry {claim.body['lost_after']}, "
            f"this node's ledger ends with entry {now.last_index}",
            hint="ask again",
        )
    if (epoch := claim.body["epoch"]) <= epoch_of(now.term):
        raise Refused(
            f"this ForcedRecovery begins epoch {epoch}, and this node is in epoch {epoch_of(now.term)} already",
            hint="ask again",
        )
    return claim
