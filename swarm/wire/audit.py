"""The audit of a ledger: from its entries' bytes alone, everything that they claim is worked out again.

Used by ``runtime/storeaudit``, which reads a state directory. Guarantees: an auditor that has taken entries up to an
index has checked that each follows the one before, in hash, index, term and time, has checked its signatures with the
keys and anchors that the entries before it brought, and has the state that they amount to; ``hold`` compares it with
what a snapshot says. The first thing that does not hold is an `Unsound` with its index.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarm.core.claims import Unverified
from swarm.core.ledger import Ledger
from swarm.core.ordering import NO_HASH
from swarm.core.snapshot import Snapshot, restored
from swarm.errors import BadInput, CheckFailed
from swarm.wire.cosigning import is_majority, signers
from swarm.wire.signed import Entry, decode_entry, verify


class Unsound(CheckFailed):
    """The ledger does not hold from ``index`` on."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"the ledger does not hold at entry {index}: {why}")
        self.index = index


class Auditor:
    def __init__(self) -> None:
        self.ledger = Ledger()
        self.index = 0
        """Of the last entry taken."""
        self.hash = NO_HASH
        self.entries = 0
        self.without_effect = 0
        """Entries that nobody can be held to, or that the rules refused: they stay, and changed nothing."""
        self.gaps: list[tuple[int, int]] = []
        """Entries that are not there: this node began with a snapshot behind them."""
        self._term = self._time = 0

    def skip(self, upto: int) -> None:
        """The entries up to this one are not there. The next one cannot be held against what came before."""
        self.gaps.append((self.index + 1, upto))
        self.index, self.hash, self.ledger = upto, b"", Ledger()

    def take(self, raw: bytes) -> None:
        entry = self._decoded(raw)
        if self.ledger.head_index == self.index:  # else the state is not known yet: only the chain is checked
            claim = verify(entry, self.ledger)
            applied = self.ledger.apply(entry.header, claim)
            if entry.index == 1 and not applied.outcome.accepted:
                raise Unsound(1, f"it begins no network: {applied.outcome.reason}")
            self.without_effect += isinstance(claim, Unverified) or not applied.outcome.accepted
        self.index, self.hash = entry.index, entry.hash
        self._term, self._time = entry.term, entry.time
        self.entries += 1

    def _decoded(self, raw: bytes) -> Entry:
        due = self.index + 1
        try:
            if not isinstance(raw, bytes):
                raise BadInput("its row is damaged: it holds no bytes")
            entry = decode_entry(raw)
        except BadInput as error:
            raise Unsound(due, error.message) from error
        if entry.index != due:
            raise Unsound(due, f"entry {entry.index} stands in its place")
        if self.hash and entry.prev_hash != self.hash:
            raise Unsound(due, "it does not follow the entry before it")
        if entry.term < self._term or entry.time < self._time:
            raise Unsound(due, "its term or time lies before that of the entry before it")
        return entry

    def hold(self, snapshot: Snapshot, signatures: Mapping[str, bytes]) -> tuple[str, ...]:
        """Hold a snapshot after the last entry taken against it; who has signed it. Without a state, take its."""
        if self.hash != snapshot.hash:
            raise Unsound(snapshot.index, "the snapshot after it stands for another entry")
        try:
            state = restored(snapshot)
        except BadInput as error:
            raise Unsound(snapshot.index, error.message) from error
        if self.ledger.head_index != self.index:
            self.ledger = state
        elif self.ledger.digest() != snapshot.digest:
            raise Unsound(
                snapshot.index,
                f"its entries give the state {self.ledger.digest()}, the snapshot says {snapshot.digest}",
            )
        signed = signers(state, snapshot.point, signatures)
        if signatures and not is_majority(signed, snapshot.voters):
            raise Unsound(snapshot.index, "the snapshot after it is not signed by a majority of its voters")
        return signed

    def begin(self, snapshot: Snapshot) -> None:
        """There are no entries up to the snapshot: it is where everything begins."""
        self.skip(snapshot.index)
        self.hash, self._term = snapshot.hash, snapshot.term
