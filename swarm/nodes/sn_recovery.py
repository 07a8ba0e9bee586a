"""Forced recoveries that other network nodes show: judged before any word of the epoch that they begin is believed.

Used by ``nodes/sn_heads``. Guarantees: what ``judged`` returns was signed by somebody who had the right to it, by the
ledger that it is given; ``ledger_before`` makes that of the own ledger and of entries that it verifies, so that a node
that is behind can judge what only later entries allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import trio

from swarm.core.claims import Verified
from swarm.core.ledger import Ledger
from swarm.core.ordering import epoch_of
from swarm.core.snapshot import restored, taken
from swarm.core.voters import SKIPS
from swarm.errors import BadInput
from swarm.runtime.control import Link
from swarm.runtime.replica import Replica
from swarm.wire.signed import decode_entry, verify_proposal

ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Recovery:
    raw: bytes
    epoch: int
    index: int
    uid: str
    """Who decides from there on."""
    author: str


def judged(raw: bytes, ledger: Ledger, who: str) -> Recovery:
    """The forced recovery that ``who`` shows. Raises SwarmError when nobody with the right to it can have signed it, as
    far as this ledger knows."""
    entry = decode_entry(raw)
    claim = verify_proposal(entry.proposal, ledger, entry.time)
    if not isinstance(claim, Verified) or claim.kind != "ForcedRecovery" or claim.identity is None:
        raise BadInput(f"{who} shows a forced recovery that nobody can have signed")
    if claim.body["epoch"] != epoch_of(entry.term):  # nobody has signed the term
        raise BadInput(f"{who} shows the forced recovery into epoch {claim.body['epoch']} as a later one")
    if claim.body["epoch"] - ledger.epoch > SKIPS + 1:
        raise BadInput(f"{who} shows a forced recovery from epoch {ledger.epoch} into epoch {claim.body['epoch']}")
    ledger.must_take_recovery(replace(claim, body={**claim.body, "epoch": ledger.epoch + 1}))
    return Recovery(raw, claim.body["epoch"], entry.index, claim.body["uid"], str(claim.identity))


async def ledger_before(index: int, own: Ledger, link: Link) -> Ledger:
    """The ledger as it was before this entry: the own one, and what the other side has behind it. Raises SwarmError."""
    replica = Replica.begun(restored(taken(own, 0, own.voters)), 0, {})
    while replica.head_index < index - 1:
        match await link.call("snapshot", {"after": replica.head_index}, deadline_s=ANSWER_S):
            case {"entries": [_, *_] as raws} if all(isinstance(raw, bytes) for raw in raws):
                pass
            case _:
                raise BadInput(f"the entries of {link.peer} cannot be read")
        for raw in raws[: index - 1 - replica.head_index]:
            replica.take(raw)
            await trio.lowlevel.checkpoint()
    return replica.ledger
