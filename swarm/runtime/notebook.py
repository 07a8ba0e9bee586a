"""What consensus wants stored, on its way to the store: gathered, then written at once or by the store's thread.

Used by the driver. Guarantees: the store gets it in its order; every write notes how much is committed, so a node that
restarts alone has what it knew, and an idle one notes it within a second.
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
        meta: Meta = {"commit": commit}
        if (append.term, append.vote) != self._sworn:
            self._sworn = append.term, append.vote
            meta |= {"term": append.term, "vote": append.vote}
        self._gathered.append(Write(append.number, append.entries, meta, append.after))
        self._noted = (commit, now_s)

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
