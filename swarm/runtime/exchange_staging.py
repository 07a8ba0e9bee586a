"""Staging: room for the other members' contributions, kept from one attempt to the next and used again every round.

One of them a contract on a learning node; its exchanges take it in turns. Contributions lie there as they came, in
their wire form. Guarantees: bytes that came in an earlier attempt of the round are not lost with it; memory is taken
for bytes of the own shards only, about one model in all as it travels; nobody is given the room, nor begins with a
result, while an earlier attempt may still write there.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Iterable, Mapping

from swarm.core.events import SnapMade
from swarm.core.spans import Range, Spans
from swarm.errors import ModelError

_NORESERVE = 0x4000 if sys.platform == "linux" else 0
"""A contribution lies at its own place in a map as large as the model, of which only the own shards' pages are used."""


class Staging:
    """For models of ``nbytes``, and for their wire forms, the last leaf of which may be a little longer."""

    def __init__(self, nbytes: int) -> None:
        self._nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._maps: dict[str, mmap.mmap] = {}
        self._ranges: list[Range] = []
        self._of = (-1, "")
        """The round, and its base."""
        self._kept: dict[str, tuple[str, Spans]] = {}
        self._writers: list[Callable[[], None]] = []

    def settle(self) -> None:
        """Wait until nothing is written any more by who was here before: moments, as they have been stopped."""
        for ended in self._writers:
            ended()

    def enter(self, snap: SnapMade, senders: Iterable[str], ranges: list[Range]) -> dict[str, Spans]:
        """Room for these ranges, as on the wire, of these members' contributions; what of them is here already, as in
        the model: what is on the wire is how far it is from the base, so it lasts as long as the round and its base."""
        wanted = list(senders)
        spare = [self._maps.pop(uid) for uid in list(self._maps) if uid not in wanted]
        for uid in wanted:
            if uid not in self._maps:
                self._maps[uid] = spare.pop() if spare else self._map()
        if ranges != self._ranges:
            self._release(Spans(ranges))
            self._ranges = ranges
        offered = {member.uid: member.digest for member in snap.members}
        known = self._kept if (snap.round, snap.base) == self._of else {}
        self._of, self._kept, self._writers = (snap.round, snap.base), {}, []
        return {uid: spans for uid, (digest, spans) in known.items() if uid in wanted and offered[uid] == digest}

    def leave(self, snap: SnapMade, kept: Mapping[str, Spans], writers: list[Callable[[], None]]) -> None:
        """``writers`` have been told to stop, and wait for it; ``kept`` says what of whose contribution is here."""
        offered = {member.uid: member.digest for member in snap.members}
        self._kept = {uid: (offered[uid], spans) for uid, spans in kept.items()}
        self._writers = writers

    def room(self, uid: str) -> memoryview:
        """As large as what travels of a model; valid in the ranges that were asked for."""
        return memoryview(self._maps[uid])

    def _map(self) -> mmap.mmap:
        try:
            made = mmap.mmap(-1, self._nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        except OSError as error:
            raise ModelError(f"no memory for a contribution of {self._nbytes} bytes: {error.strerror}") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            made.madvise(mmap.MADV_HUGEPAGE)
        return made

    def _release(self, used: Spans) -> None:
        """Give back the memory of all pages that have nothing of these ranges."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        for one in self._maps.values():
            for start, stop in used.gaps(0, self._nbytes):
                first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, stop // mmap.PAGESIZE * mmap.PAGESIZE
                if first < last:
                    one.madvise(mmap.MADV_DONTNEED, first, last - first)
