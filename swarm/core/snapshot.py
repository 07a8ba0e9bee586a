"""A snapshot: the ledger's whole state after one entry, as bytes that equal states share.

Made by the orderer every so many entries, kept by the store, given to nodes that need entries from before it.
Guarantees: `restored` yields a ledger only from the bytes that the digest names, and only the state that the snapshot
says it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgpack

from swarm.core.ledger import Ledger
from swarm.errors import BadInput, Outdated, SwarmError

Point = tuple[int, int, bytes, str]
"""Index, term and hash of an entry, and the digest of the state after it: what nodes sign."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    index: int
    term: int
    hash: bytes
    """Of the entry at `index`, and so of all entries up to it."""
    voters: tuple[str, ...]
    """Who decides behind it."""
    state: bytes
    digest: str

    @property
    def point(self) -> Point:
        return self.index, self.term, self.hash, self.digest


def digest_of(state: bytes) -> str:
    return "sha256:" + hashlib.sha256(state).hexdigest()


def taken(ledger: Ledger, term: int, voters: tuple[str, ...]) -> Snapshot:
    state = bytes(msgpack.packb(ledger.snapshot(), use_bin_type=True))
    return Snapshot(ledger.head_index, term, ledger.head_hash, voters, state, digest_of(state))


def restored(snapshot: Snapshot) -> Ledger:
    """The ledger that the snapshot holds; raises BadInput when it holds another, or none."""
    if digest_of(snapshot.state) != snapshot.digest:
        raise BadInput(f"the snapshot at entry {snapshot.index} is damaged: its bytes do not have its digest")
    try:
        ledger = Ledger.restore(_plain(snapshot.state))
        voters, digest = ledger.voters, ledger.digest()
    except Outdated:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError, SwarmError) as error:
        raise BadInput(f"the snapshot at entry {snapshot.index} is of another version: {error!r}") from error
    if (ledger.head_index, ledger.head_hash) != (snapshot.index, snapshot.hash):
        raise BadInput(f"the snapshot at entry {snapshot.index} holds the state at entry {ledger.head_index}")
    if voters != snapshot.voters:
        raise BadInput(f"the snapshot at entry {snapshot.index} names other voters than the state in it")
    if digest != snapshot.digest:
        raise BadInput(f"the snapshot at entry {snapshot.index} is of another version: it cannot be restored as it was")
    return ledger


def _plain(state: bytes) -> dict[str, Any]:
    # Nobody has looked at its signatures yet, and numbers for keys could take hours (`wire/frame`).
    plain: dict[str, Any] = msgpack.unpackb(state, raw=False, strict_map_key=True)
    return plain
