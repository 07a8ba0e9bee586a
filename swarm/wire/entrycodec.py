"""The codec that network nodes give their orderer: entries as `wire/signed` writes them, claims as it verifies them."""

from __future__ import annotations

import msgpack

from swarm.core.claims import Claim, EntryHeader
from swarm.core.ledger import Ledger
from swarm.core.ordering import LogEntry
from swarm.wire.order import log_entry
from swarm.wire.signed import make_entry, verify_proposal


class SignedCodec:
    def make(self, index: int, term: int, time: int, prev_hash: bytes, proposal: bytes) -> LogEntry:
        return log_entry(make_entry(index, term, time, prev_hash, proposal))

    def read(self, entry: LogEntry) -> tuple[EntryHeader, bytes]:
        """Of an entry from this node's own log, where only decoded ones are."""
        _, index, term, time, prev_hash, proposal = msgpack.unpackb(entry.raw)
        return EntryHeader(index, term, time, prev_hash, entry.hash), proposal

    def claim(self, header: EntryHeader, proposal: bytes, ledger: Ledger) -> Claim:
        return verify_proposal(proposal, ledger, header.time)
