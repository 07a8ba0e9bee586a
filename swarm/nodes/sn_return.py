"""How a network node that may not go on as it was comes back: under a new node key, as a learner.

Used by ``nodes/sn`` between two lives of the node, and by ``run-sn --rejoin``, when nothing of it runs. Guarantees: a
directory that is an old copy, or that a forced recovery went past, is set aside whole, nothing of it is deleted, and
its vote is not used again; what it acknowledged alone is listed in a file beside it.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from swarm.core.ledger import Ledger
from swarm.errors import Refused
from swarm.nodes.ledgerlink import Address, parse_address
from swarm.runtime.founding import node_name
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.store import Store
from swarm.wire.signed import decode_entry, proposal_header

ASIDE = ("ledger.db*", "archive", "heads", "recovery")
READY = "ready.json"
PLACE = ("host", "api_port", "p2p_port")
"""What is left of what a node wrote when it was ready: where it will be again. Without a process, as it is not yet."""
RETURNED = "returned.json"
LOST = "lost.json"
TOLD_MAX = 20
"""Lost entries that are told one by one; the file has them all."""

log = logging.getLogger("swarm.SN")


class ComeBack(Refused):
    """This node may not go on with this directory. ``common``: the last entry that it shares with the others, 0 if
    nobody has asked."""

    def __init__(self, why: str, *, common: int = 0) -> None:
        super().__init__(why, hint="it comes back as a learner")
        self.common = common


def come_back(state: StateDirectory, back: ComeBack, ledger: Ledger) -> str:
    """Set the directory's node aside and be a new one; what a status has to say of it.

    ``ledger`` is the one that ends here: it knows where the other network nodes are.
    """
    others = [ledger.nodes[uid] for uid, _ in ledger.sns() if uid != state.uid]
    addresses = [node.addresses[0] for node in others if node.addresses]
    if not addresses:
        raise Refused(
            f"{back.message}; it knows no other network node to come back to",
            hint="start it with a new state directory (--state) and --sentinel-ip of any network node",
        )
    state.write_json(RETURNED, {"entrances": addresses})
    lost = _acknowledged_alone(state, ledger, back.common) if back.common else []
    aside = set_aside(state)
    text = f"this node came back as a learner: {back.message}; its former ledger is kept in {aside}"
    if lost:
        (aside / LOST).write_text(json.dumps(lost, indent=1) + "\n")
        text += f", and what it acknowledged alone is lost: {len(lost)} entries, listed in {aside / LOST}"
    log.error("%s", text)
    for each in lost[:TOLD_MAX]:
        log.error("lost: entry %d, %s of %s", each["index"], each["kind"], each["author"])
    return text


def set_aside(state: StateDirectory) -> Path:
    """Have another node begin in this directory, at the place of the one that was here; where its files are now."""
    ready = state.path / READY
    try:
        said = json.loads(ready.read_bytes())
        place = {name: said[name] for name in PLACE}
    except (OSError, ValueError, LookupError, TypeError):
        place = {}
    aside = state.set_aside((*ASIDE, READY))
    if place:
        state.write_json(READY, place)
    return aside


def begin_anew(state: StateDirectory) -> None:
    """Begin anew in this directory, as a person has asked; nothing of what it holds is deleted."""
    former = state.uid
    aside = set_aside(state)
    log.warning(
        "this node begins anew, its former node key and ledger are kept in %s; the network counts the former node "
        "until it is removed: swarm sn remove %s",
        aside,
        former,
    )


def entrances(state: StateDirectory) -> list[Address]:
    """Where a node that once came back as a learner finds the others, whatever its command line says."""
    path = state.path / RETURNED
    return [parse_address(text) for text in json.loads(path.read_bytes())["entrances"]] if path.exists() else []


def _acknowledged_alone(state: StateDirectory, ledger: Ledger, common: int) -> list[dict[str, Any]]:
    lost = []
    with Store(state.path / "ledger.db") as store:
        # All that it had stored: it may have acknowledged more than it knew of when it was killed.
        for entry in store.read(common, store.last_index, sys.maxsize):
            proposal = decode_entry(entry.raw).proposal
            if proposal:
                said = proposal_header(proposal)
                author = node_name(ledger, said.uid)
                lost.append({"index": entry.index, "kind": said.kind, "author": author, "seq": said.seq})
    return lost
