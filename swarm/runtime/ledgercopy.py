"""What a node that follows the ledger has made of its entries, kept in its state directory: it goes on from there.

Written and read by `nodes/ledgerlink`; an operator gives its own to the learning nodes that it starts. Guarantees: it
is a state that this host came to by entries that it verified itself, as far as this user's files are its own; one that
is damaged, of another network or of another release of swarm counts as none, and then the ledger is read from its first
entry: losing it costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

import swarm
from swarm.core.fields import is_address
from swarm.core.snapshot import Snapshot, restored
from swarm.errors import SwarmError
from swarm.runtime.replica import Replica
from swarm.runtime.statedir import StateDirectory

NAME = "ledger-copy"
REMEMBERED = "network-nodes.json"
"""Where network nodes were."""
RECOVERY = "recovery"
"""The entry that begins the epoch which this node was shown, as `nodes/givenup` has it."""
EVERY = 1000
"""Entries that may have to be read again."""
_HASH_BYTES = 32


@dataclass(slots=True)
class LedgerCopy:
    """The file of one node. ``index`` is the last entry that it knows."""

    state: StateDirectory
    index: int = 0
    leases: dict[str, list[Any]] = field(default_factory=dict)
    """What an operator has of those entries besides that state, as `nodes/leases` has it; kept with it."""

    def read(self) -> Replica | None:
        try:
            found = unpacked((self.state.path / NAME).read_bytes())
            if found is None:
                return None
            replica, leases = found
            self.state.set_network_id(replica.ledger.network_id)
        except (OSError, SwarmError, ValueError, LookupError, TypeError, AttributeError):
            return None
        self.index, self.leases = replica.head_index, leases
        return replica

    def keep(self, replica: Replica) -> None:
        """If there is enough in it that is not on disk. Raises SwarmError when it cannot be written."""
        if replica.head_index >= self.index + EVERY:
            self.index = replica.head_index  # once, whether it can be written or not
            self.state.write_atomic(NAME, packed(replica, self.leases), fsync=False)

    def give(self, directory: Path) -> None:
        """To a node that is about to begin in this directory, which is made if need be: also where network nodes were,
        since the one that it is told may be lost for good, and what may not be followed."""
        for name in (NAME, REMEMBERED, RECOVERY):
            with contextlib.suppress(OSError):
                directory.mkdir(mode=0o700, exist_ok=True)
                os.link(self.state.path / name, directory / name)  # each only ever replaces its own

    def network_nodes(self) -> list[str]:
        """Where they were. A hint, and no more than that: whatever is not as it was written counts as nothing."""
        try:
            said = json.loads((self.state.path / REMEMBERED).read_bytes())["network_nodes"]
            return [text for text in said if is_address(text)]
        except (OSError, ValueError, LookupError, TypeError):
            return []

    def keep_network_nodes(self, addresses: list[str]) -> None:
        with contextlib.suppress(SwarmError):  # no room for it: the next one will have
            self.state.write_json(REMEMBERED, {"network_nodes": addresses})

    def forget(self) -> None:
        self.index = 0
        with contextlib.suppress(OSError):  # then the next one finds out again
            (self.state.path / NAME).unlink()


def packed(replica: Replica, leases: dict[str, list[Any]]) -> bytes:
    taken = replica.taken()
    fields = [taken.index, taken.term, taken.hash, list(taken.voters), taken.state, taken.digest]
    data: bytes = msgpack.packb([swarm.__version__, fields, replica.chains, leases], use_bin_type=True)
    return hashlib.sha256(data).digest() + data


def unpacked(data: bytes) -> tuple[Replica, dict[str, list[Any]]] | None:
    """None for another release's, which may have made another state of the same entries. Raises whatever is wrong."""
    if hashlib.sha256(data[_HASH_BYTES:]).digest() != data[:_HASH_BYTES]:
        raise ValueError("damaged")
    content: list[Any] = msgpack.unpackb(data[_HASH_BYTES:])
    version, (index, term, hash_, voters, state, digest), chains, leases = content
    if version != swarm.__version__:
        return None
    snapshot = Snapshot(index, term, hash_, tuple(voters), state, digest)
    replica = Replica.begun(restored(snapshot), term, {uid: tuple(chain) for uid, chain in chains.items()})
    return replica, dict(leases)
