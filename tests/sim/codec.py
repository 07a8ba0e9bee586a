"""Cheap bytes in the place of signed ones: an entry is named by its hash, a proposal by a number.

Who has the name of a proposal cannot change what it says, and nobody can make one for another: that is what signatures
are for, and they are `wire/signed`'s business, not this simulator's. Hashes chain the entries as they do there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from swarm.core.claims import Anchored, Blank, Claim, EntryHeader, Unverified, Verified
from swarm.core.fields import FIRST_RULES
from swarm.core.ledger import Ledger
from swarm.core.names import Identity
from swarm.core.ordering import LogEntry
from tests.sim.history import History

INTRODUCTIONS = ("Genesis", "NodeJoined", "ForcedRecovery")
ORGANISATIONS = ("a", "b", "c")


def anchored(organisation: str) -> Anchored:
    return Anchored(f"CA of {organisation}".encode(), hashlib.sha256(organisation.encode()).digest(), organisation)


def identity(role: str, name: str, organisation: str) -> Identity:
    return Identity(organisation, anchored(organisation).spki_sha256, role, name)


@dataclass
class Codec:
    history: History
    proposals: dict[bytes, Verified] = field(default_factory=dict)
    entries: dict[bytes, tuple[EntryHeader, bytes]] = field(default_factory=dict)
    signed: set[bytes] = field(default_factory=set)
    """What owners have signed for their shards, where a contract makes them answer for it."""

    def propose(
        self,
        author: Identity,
        node_key: bytes,
        *,
        network_id: bytes,
        uid: str,
        incarnation: bytes,
        seq: int,
        kind: str,
        body: dict[str, Any],
    ) -> bytes:
        raw = b"proposal %d" % len(self.proposals)
        introduces = kind in INTRODUCTIONS
        claim = Verified(
            uid, incarnation, seq, kind, body, network_id, raw,
            author if introduces else None, node_key if introduces else b"",
            tuple(map(anchored, ORGANISATIONS)) if kind == "Genesis" else (),
        )  # fmt: skip
        self.proposals[raw] = claim
        return raw

    def forget(self) -> None:
        self.proposals.clear()
        self.entries.clear()
        self.signed.clear()

    def sign(self, shard: dict[str, Any], digest: bytes) -> None:
        """By its owner, who is the only one that calls this."""
        self.signed.add(signature(shard, digest))

    # ---- what the orderer asks for

    def make(self, index: int, term: int, time: int, prev_hash: bytes, proposal: bytes) -> LogEntry:
        said = b"%d %d %d " % (index, term, time)
        raw = hashlib.sha256(prev_hash + said + proposal).digest()
        self.entries[raw] = (EntryHeader(index, term, time, prev_hash, raw), proposal)
        claim = self.proposals.get(proposal)
        self.history.entry(raw, prev_hash, index, term, proposal, claim)
        return LogEntry(index, term, raw, raw, self._voters(claim) if claim else None)

    def _voters(self, claim: Verified) -> tuple[str, ...] | None:
        match claim.kind:
            case "Genesis":
                return (claim.uid,)
            case "Configuration":
                return tuple(claim.body["voters"])
            case "ForcedRecovery":
                return (claim.body["uid"],)
        return None

    def read(self, entry: LogEntry) -> tuple[EntryHeader, bytes]:
        return self.entries[entry.raw]

    def chain(self, last: bytes) -> list[bytes]:
        """All entries up to this one, as other nodes have them."""
        chain = []
        while any(last):
            chain.append(last)
            last = self.entries[last][0].prev_hash
        return chain[::-1]

    def claim(self, header: EntryHeader, proposal: bytes, ledger: Ledger) -> Claim:
        """What `wire.signed.verify` would find out: a function of the proposal and the ledger alone."""
        if not proposal:
            return Blank()
        claim = self.proposals[proposal]
        if claim.kind == "Evidence" and not self._shows(claim.body):
            return Unverified(f"this Evidence shows a shard that {claim.body['uid']} never signed")
        if claim.kind in INTRODUCTIONS or claim.uid in ledger.nodes:
            return claim
        return Unverified(f"{claim.uid} proposes {claim.kind} and has not joined this network")

    def _shows(self, body: dict[str, Any]) -> bool:
        shown = [body[name] for name in ("first", "second") if name in body]
        good = {signature(body, each["digest"]) for each in shown} & self.signed
        return good == {each["signature"] for each in shown}


SHARD = ("contract", "round", "attempt", "snap", "shard", "uid")


def signature(shard: dict[str, Any], digest: bytes) -> bytes:
    """What its owner signs under a shard with this digest."""
    return hashlib.sha512(repr([*(shard[name] for name in SHARD), digest]).encode()).digest()


def joined(role: str, node_key: bytes, incarnation: bytes, rules: int) -> dict[str, Any]:
    """The body of a NodeJoined, by a release that knows this version of the rules."""
    return {
        "chain": [b"certificate"], "node_key": node_key, "role": role, "addresses": [], "incarnation": incarnation,
        **({"rules": rules} if rules > FIRST_RULES else {}),
    }  # fmt: skip
