"""How a network begins, and whether a state directory may go on with its part in one.

Used by the driver when it starts. Guarantees: only a sentinel with an unused directory makes a genesis; a directory
whose ledger is gone or is another role's is refused in one sentence.
"""

from __future__ import annotations

from typing import Any

from swarm.core.ledger import Ledger
from swarm.core.rules import KNOWN
from swarm.errors import BadInput, SwarmError
from swarm.runtime.introduction import introduction
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from swarm.wire.signed import sign_proposal

FORK_HINT = "put back the newest copy of the sentinel's state directory; what only the others hold is not given up"


def check_directory(state: StateDirectory, ledger: Ledger, *, sentinel: bool) -> None:
    """``ledger`` is what the directory's store holds."""
    if sentinel and state.network_id and not ledger.head_index:
        raise BadInput(
            f"state directory {state.path} belongs to network {state.network_id.hex()[:16]}, but its ledger is gone: "
            "a sentinel does not begin the same network twice",
            hint="put back the newest copy of the directory, or begin another network with a new --state DIR",
        )
    if sentinel and ledger.head_index and ledger.sentinel != state.uid:
        raise BadInput(
            f"state directory {state.path} is that of a peer of the sentinel {node_name(ledger, ledger.sentinel)}",
            hint="start it with --sentinel-ip instead of --sentinel",
        )


def lives_on(state: StateDirectory, called: SwarmError) -> str:
    """For a sentinel alone in its network: a network node of another one takes it for its own sentinel."""
    return (
        f"this sentinel began a network of its own in {state.path}, and a network node of another one takes it for its "
        f"sentinel: {called.message}; if that network was here before, put back the newest copy of the sentinel's "
        "directory, or let this node join the others as a new one: with an empty --state DIR and --sentinel-ip of that "
        "network node"
    )


def genesis(local: Local, addresses: list[str], created_ms: int) -> bytes:
    """The first proposal: the organisations of this sentinel's capath, and the sentinel itself."""
    state, credentials = local.state, local.credentials
    joined = introduction(local, "sn", addresses)
    anchors = [anchor.certificate for anchor in credentials.anchors]
    return sign_proposal(
        state.node_key,
        network_id=b"",
        uid=state.uid,
        incarnation=state.incarnation,
        seq=1,
        kind="Genesis",
        body={"rules": KNOWN, "anchors": anchors, "joined": joined, "created": created_ms},
        certificate_key=credentials.private_key,
    )


def sign_own(state: StateDirectory, network_id: bytes, kind: str, body: dict[str, Any], seq: int) -> bytes:
    """What this process proposes by itself."""
    return sign_proposal(
        state.node_key,
        network_id=network_id,
        uid=state.uid,
        incarnation=state.incarnation,
        seq=seq,
        kind=kind,
        body=body,
    )


def node_name(ledger: Ledger, uid: str | None) -> str:
    """A node as people are told of it."""
    node = ledger.nodes.get(uid or "")
    return f"{node.identity.name} ({node.identity.organisation})" if node else uid or "(not known yet)"
