"""The newest entries of the log in memory: what followers and the ledger want next is not read from the disk again.

Used by the store, in the thread that submits. Guarantees: it holds what was submitted last, stored or not, without a
gap, and at most about `BYTES_MAX`.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarm.core.ordering import LogEntry

BYTES_MAX = 16 * 1024 * 1024
OVERHEAD = 256
"""What an entry costs besides its bytes, roughly."""


class Tail:
    def __init__(self) -> None:
        self._entries: list[LogEntry] = []
        self._bytes = 0

    def clear(self) -> None:
        self._entries, self._bytes = [], 0

    def put(self, after: int, entries: Sequence[LogEntry]) -> None:
        """What comes behind ``after``, in place of anything that stood there."""
        if self._entries and after != self._entries[-1].index:
            kept = max(0, after + 1 - self._entries[0].index)
            self._bytes -= sum(map(_size, self._entries[kept:]))
            del self._entries[kept:]
            if self._entries and self._entries[-1].index != after:
                self.clear()
        self._entries.extend(entries)
        self._bytes += sum(map(_size, entries))
        if self._bytes > BYTES_MAX:
            half = len(self._entries) // 2
            self._bytes -= sum(map(_size, self._entries[:half]))
            del self._entries[:half]

    def has(self, index: int) -> bool:
        return bool(self._entries) and self._entries[0].index <= index <= self._entries[-1].index

    def get(self, index: int) -> LogEntry:
        return self._entries[index - self._entries[0].index]


def _size(entry: LogEntry) -> int:
    return len(entry.raw) + OVERHEAD
