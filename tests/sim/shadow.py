"""A shadow: follows what a replica follows, and is put together anew from that one's state every few entries.

The state of a ledger is what its snapshot says: a node that was restored from one has to judge every later entry as the
others do. What is decided by the order of a dict, or kept beside the state, comes out differently here. In every 50th
world, of some of the replicas that are a node's own (see `chain`).
"""

from __future__ import annotations

from random import Random

from swarm.core.events import Applied
from swarm.core.ledger import Ledger
from swarm.core.snapshot import restored, taken
from tests.sim.codec import Codec

ENTRIES_MAX = 40


class Shadow:
    """``of``: the ledger that it is compared with, which has applied each entry before it is taken here."""

    def __init__(self, codec: Codec, of: Ledger) -> None:
        self._codec = codec
        self._of = of
        self._random = Random("shadow")
        self._own: Ledger | None = None
        self._left = 0
        """Entries until it is put together anew."""

    def take(self, raw: bytes, applied: Applied) -> None:
        if self._own is not None:
            header, proposal = self._codec.entries[raw]
            again = self._own.apply(header, self._codec.claim(header, proposal, self._own))
            assert again == applied, f"entry {header.index} on a ledger that was restored: {again}, else {applied}"
        self._left -= 1
        if self._left <= 0:
            self._renew()

    def _renew(self) -> None:
        now = taken(self._of, 0, self._of.voters)
        if self._own is not None:
            differ = differing(self._of, self._own)
            assert not differ, f"at entry {now.index} the state of a ledger that was restored differs in {differ}"
        self._own, self._left = restored(now), self._random.randint(1, ENTRIES_MAX)


def differing(one: Ledger, other: Ledger) -> list[str]:
    """The parts of the state in which they do."""
    states = one.snapshot(), other.snapshot()
    return [name for name in sorted({*states[0], *states[1]}) if states[0].get(name) != states[1].get(name)]
