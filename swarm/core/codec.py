"""What the orderer needs to know of how entries are written.

Network nodes give it `wire/entrycodec`, the simulator one of its own.
"""

from __future__ import annotations

from typing import Protocol

from swarm.core.claims import Claim, EntryHeader
from swarm.core.ledger import Ledger
from swarm.core.ordering import LogEntry


class Codec(Protocol):
    """How entries are written, and whose proposals they hold: pure."""

    def make(self, index: int, term: int, time: int, prev_hash: bytes, proposal: bytes) -> LogEntry: ...

    def read(self, entry: LogEntry) -> tuple[EntryHeader, bytes]: ...

    def claim(self, header: EntryHeader, proposal: bytes, ledger: Ledger) -> Claim: ...
