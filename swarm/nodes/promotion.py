"""Promoting a network node by force: a person's decision, signed, and handed to the node that it makes decide alone.

Used by `swarm sn promote --force`. Guarantee: what is signed names what the node itself says of its ledger, so nothing
is recovered behind anybody's back: a ledger that has gone on meanwhile refuses it.
"""

from __future__ import annotations

from typing import Any

from swarm.core.events import Outcome
from swarm.core.ordering import epoch_of
from swarm.errors import Refused
from swarm.nodes.client import Client
from swarm.wire.signed import sign_proposal

REASON = "the voters before will not come back"


def must_be_meant(force: bool) -> None:
    """Before anything else is looked at: whoever has not said so is told what it means."""
    if not force:
        raise Refused(
            "promoting a network node gives up what the lost ones acknowledged without it, for good",
            hint="if they will not come back, say so: --force",
        )


async def promote(client: Client, reason: str) -> dict[str, Any]:
    """Let the node that the client asks decide alone; what its status says afterwards. Raises what it refuses."""
    status = await client.status()
    state, credentials = client.local.state, client.local.credentials
    proposal = sign_proposal(
        state.node_key,
        network_id=bytes.fromhex(status["network_id"]),
        uid=state.uid,
        incarnation=state.incarnation,
        seq=1,
        kind="ForcedRecovery",
        body={
            "chain": credentials.chain,
            "node_key": state.node_public,
            "incarnation": state.incarnation,
            "epoch": max(status["epoch"], epoch_of(status["term"])) + 1,  # it may know of a later one than its ledger
            "uid": status["node"]["uid"],
            "reason": reason,
            "lost_after": status["last"],
        },
        certificate_key=credentials.private_key,
    )
    outcome = Outcome.from_wire(await client.ask("recover", {"proposal": proposal}))
    if (error := outcome.error()) is not None:
        raise error
    return await client.status()
