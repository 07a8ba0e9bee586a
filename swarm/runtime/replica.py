"""A node's own copy of the ledger's state, made of entries that it verifies itself.

Used by the driver of an SN and by every node that follows one. Guarantees: an entry is applied only if it is the next
one of the one chain that began with this network's genesis; signatures are checked here, whoever delivered the bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from swarm.core.events import NodeKnown
from swarm.core.ledger import Applied, Ledger
from swarm.core.snapshot import Snapshot, taken
from swarm.errors import Refused
from swarm.wire.signed import Entry, decode_entry, proposal_header, verify


def _ignore(entry: Entry, applied: Applied) -> None:
    pass


class Replica:
    """``network_id`` is the network that the entries must be of; ``b""`` takes that of the first entry."""

    def __init__(self, network_id: bytes, *, on_applied: Callable[[Entry, Applied], None] = _ignore) -> None:
        self.ledger = Ledger()
        self.chains: dict[str, tuple[bytes, ...]] = {}
        """By which certificate each node joined: who acts on its word judges that certificate, too."""
        self.on_applied = on_applied
        self._network_id = network_id
        self._term = 0

    @classmethod
    def begun(cls, ledger: Ledger, term: int, chains: dict[str, tuple[bytes, ...]]) -> Replica:
        """One that has taken entries before, up to the head of this ledger."""
        replica = cls(ledger.network_id)
        replica.ledger, replica.chains, replica._term = ledger, chains, term
        return replica

    def taken(self) -> Snapshot:
        """The state after the last entry."""
        return taken(self.ledger, self._term, self.ledger.voters)

    @property
    def head_index(self) -> int:
        return self.ledger.head_index

    def take(self, raw: bytes) -> Applied:
        """Verify and apply the next entry; raises SwarmError, and changes nothing, if it is not the next one."""
        entry = decode_entry(raw)
        self._check_place(entry)
        applied = self.ledger.apply(entry.header, verify(entry, self.ledger))
        if entry.index == 1 and not applied.outcome.accepted:
            self.ledger = Ledger()
            raise Refused(f"the ledger's first entry begins no network: {applied.outcome.reason}")
        self._term = entry.term
        for event in applied.events:
            if isinstance(event, NodeKnown):
                self._keep_chain(event.uid, entry)
        self.on_applied(entry, applied)
        return applied

    def _keep_chain(self, uid: str, entry: Entry) -> None:
        header = proposal_header(entry.proposal)
        if header.uid == uid and header.chain:
            self.chains[uid] = header.chain
        for gone in self.chains.keys() - self.ledger.nodes.keys() if len(self.chains) > len(self.ledger.nodes) else ():
            del self.chains[gone]

    def _check_place(self, entry: Entry) -> None:
        due = self.head_index + 1
        if entry.index != due:
            raise Refused(f"entry {entry.index} of the ledger came where entry {due} is due")
        if due == 1 and self._network_id and entry.hash != self._network_id:
            raise Refused(
                f"a ledger of network {entry.hash.hex()[:16]}, "
                f"this node belongs to network {self._network_id.hex()[:16]}",
                hint="use another --state DIR for another network",
            )
        if entry.prev_hash != self.ledger.head_hash:
            raise Refused(
                f"entry {due} does not follow entry {due - 1} as this node has it: this network has two ledgers",
                hint="ask both organisations' SNs for 'swarm status' and keep both state directories as evidence",
            )
        if entry.time < self.ledger.time or entry.term < self._term:
            raise Refused(f"the time or term of entry {due} of the ledger lies before that of entry {due - 1}")
