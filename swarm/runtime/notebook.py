"""What consensus wants stored, on its way to the store: gathered, then written at once or by the store's thread.

Used by the driver. Guarantees: the store gets it in its order. How much is committed is noted with the first write
after a second without such a note, by an idle node within a second, and when it stops: a node that was killed knows
less than it did, by what was decided within that second. Nothing rests on more: in Raft the commit index is volatile
(paper, figure 2), who leads says it again, an only voter has decided all that it had stored, and what is stored is
given up only for what a majority has. To note it each time was one of the two pages that a write puts into the journal.
"""

from __future__ import annotations

from swarm.core.ordering import Append
from swarm.runtime.store import Store
from swarm.runtime.storejobs import Meta, Write

NOTE_COMMIT_S = 1.0


class Notebook:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathered: list[Write] = []
        self._sworn: tuple[int, str] | None = None  # the term and vote that the store was given
        self._noted = (0, 0.0)  # the commit index on disk, and when it was written

    def take(self, append: Append, commit: int, now_s: float) -> None:
        meta: Meta = {}
        if commit > self._noted[0] and now_s - self._noted[1] >= NOTE_COMMIT_S:
            meta = {"commit": commit}
            self._noted = (commit, now_s)
        if (append.term, append.vote) != self._sworn:
            self._sworn = append.term, append.vote
            meta |= {"term": append.term, "vote": append.vote}
        self._gathered.append(Write(append.number, append.entries, meta, append.after))

    def write(self) -> int:
        """Store what was gathered. The number of the last append if it is stored by now, else 0: it will be reported.
        Raises SwarmError when the disk fails."""
        if not self._gathered or not self._store.write_now(self._gathered):
            self.submit()
            return 0
        number = self._gathered[-1].number
        self._gathered = []
        return number

    def submit(self) -> None:
        """Leave it to the store's thread, before other work."""
        for write in self._gathered:
            self._store.submit(write)
        self._gathered = []

    def note_commit(self, commit: int, now_s: float) -> None:
        noted, noted_s = self._noted
        if commit > noted and now_s - noted_s >= NOTE_COMMIT_S:
            self._noted = (commit, now_s)
            self._store.submit(Write(meta={"commit": commit}))
