"""The forced recoveries of this ledger, for whoever has read what one of them gave up.

Used by ``nodes/sn``, which says when one was applied and has the earlier ones found, and by ``nodes/sn_feed``.
Guarantee: what anybody asks is answered from memory. Old entries lie in files, and a search among them is made once for
each recovery.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from typing import Protocol

from swarm.core.ledger import Ledger
from swarm.core.ordering import epoch_of
from swarm.errors import SwarmError
from swarm.wire.signed import Entry, decode_entry

log = logging.getLogger("swarm.SN")


class Entries(Protocol):
    """The driver."""

    @property
    def ledger(self) -> Ledger: ...

    def entries_after(self, index: int, max_bytes: int) -> list[bytes]: ...


class Recoveries:
    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._found: dict[int, Entry] = {}
        """By the epoch that each begins."""
        self._before: dict[int, int] = {}
        """The epoch before each, 0 if there is no recovery before it."""

    def take(self, raw: bytes) -> None:
        """The entry of one that is in the ledger."""
        entry = decode_entry(raw)
        self._found[epoch_of(entry.term)] = entry

    def look_back(self) -> None:
        """Find those that are not known yet: they are in the log, or in the archive, or will be there in time."""
        ledger = self._entries.ledger
        try:
            if (epoch := ledger.epoch) and epoch not in self._found:
                self.take(self._raw(ledger.voting.lost_after + 1))
            while epoch:
                if epoch not in self._before:
                    self._before[epoch] = self._find_before(self._found[epoch].index)
                epoch = self._before[epoch]
        except (SwarmError, OSError, LookupError) as error:
            log.debug("not all forced recoveries are known here: %s", error)

    def after(self, epoch: int, upto: int) -> Entry | None:
        """The first that begins a later epoch, if it is one of the entries up to there."""
        later = min((each for each in self._found if each > epoch), default=0)
        entry = self._found.get(later)
        return entry if entry is not None and entry.index <= upto else None

    def _find_before(self, index: int) -> int:
        epoch = self._epoch_at(index - 1)
        if epoch and epoch not in self._found:
            self.take(self._raw(bisect_left(range(1, index), epoch, key=self._epoch_at) + 1))
        return epoch

    def _epoch_at(self, index: int) -> int:
        return epoch_of(decode_entry(self._raw(index)).term)

    def _raw(self, index: int) -> bytes:
        return self._entries.entries_after(index - 1, 1)[0]
