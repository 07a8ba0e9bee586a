"""The ledger on disk: entries, term, vote, commit and snapshots in one SQLite file, written by one thread at a time.

Opened by an SN, used by ``runtime/driver``; it is the ``Log`` that consensus reads. Guarantees: what is reported, or
written at once, survives power loss (WAL, ``synchronous=FULL``) together with everything submitted before it; all that
waits is written in one transaction, so many proposals share one fsync; an opened store is whole: from its snapshot on
every entry decodes, follows the last one and has its hash. Entries leave the file only into the archive, or for a
snapshot.

The store's own thread writes what is submitted. While it has nothing to do, and the disk has just shown to be quick,
the owner may write a little itself: handing that over and back costs more than a quick disk takes.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType

import msgpack

from swarm.core.ordering import LogEntry
from swarm.core.snapshot import Snapshot
from swarm.errors import BadInput, InternalError, Refused, SwarmError
from swarm.runtime import storecheck
from swarm.runtime.archive import Archive
from swarm.runtime.storefile import (
    ENTRY_COLUMNS,
    HINT,
    connect,
    is_passing,
    open_file,
    read_entry,
    reading,
    sentence,
)
from swarm.runtime.storejobs import (
    SNAPSHOT_COLUMNS,
    Base,
    Job,
    KeepSnapshot,
    ReplaceLog,
    Shed,
    Signatures,
    SignSnapshot,
    Write,
    merged,
    nbytes,
    read_snapshot,
)

BATCH = 4096
RETRY_S = 0.5
SEGMENT = 2048
"""Entries of one archive segment."""
QUICK_S = 0.002
"""The owner may wait so long for the disk: as long as for a few turns of its loop."""
QUICK_OF = 8
"""Of so many transactions the quickest tells how quick it is: the others may have waited for a processor."""
QUICK_BYTES = 1 << 16


class Store:
    """Read in the thread that opened it, write by ``submit``. Opening raises SwarmError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive = Archive(path.parent / "archive")
        self.trouble: SwarmError | None = None
        """Why nothing can be written at present; writing is tried again."""
        self.failure: SwarmError | None = None
        """Why writing has ended for good; what was submitted since is not stored."""
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._submitted = 0  # jobs, counted by the owner
        self._finished = 0  # of them, counted by the thread
        self._took_s = deque([float("inf")], QUICK_OF)  # the latest transactions
        try:
            with reading(path):
                self._reader = open_file(path)
                try:
                    self._base = storecheck.base_of(path, self._reader)
                    self.last_index = storecheck.check(path, self._reader, self._base)
                    self.snapshot_index = self._newest_index(signed=True)
                    """The newest snapshot that a majority has signed: others may fetch it."""
                except BaseException:
                    self._reader.close()
                    raise
        except OSError as error:
            raise BadInput(f"ledger store {path} cannot be opened: {error.strerror or error}", hint=HINT) from error

    # ---- what was noted

    @property
    def term(self) -> int:
        return int(self._meta("term"))

    @property
    def vote(self) -> str:
        return str(self._meta("vote"))

    @property
    def commit(self) -> int:
        return max(int(self._meta("commit")), self._newest_index(signed=False))

    def _meta(self, key: str) -> int | str:
        row = self._reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        value: int | str = row[0]
        return value

    # ---- the log

    @property
    def first_index(self) -> int:
        return self._base.index + 1

    def entry(self, index: int) -> LogEntry:
        (found,) = self._select("WHERE idx = ?", (index,))
        return found

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        taken: list[LogEntry] = []
        size = 0
        for entry in self._select("WHERE idx > ? AND idx <= ? ORDER BY idx", (after, upto)):
            size += len(entry.raw)
            if taken and size > max_bytes:
                break
            taken.append(entry)
        return tuple(taken)

    def raws_after(self, index: int, upto: int, max_bytes: int) -> list[bytes]:
        """The same as bytes, from the archive too. Raises Refused when they are in a snapshot only."""
        if index >= self._base.index:
            return [entry.raw for entry in self.read(index, upto, max_bytes)]
        taken: list[bytes] = []
        for raw in self.archive.after(index):
            max_bytes -= len(raw)
            if taken and max_bytes < 0:
                break
            taken.append(raw)
        if not taken:
            raise Refused(
                f"entry {index + 1} of the ledger is not here: this network node began with a snapshot",
                hint="ask another network node",
            )
        return taken

    def hash_at(self, index: int) -> bytes:
        return self._base.hash if index == self._base.index else self.entry(index).hash

    def term_at(self, index: int) -> int:
        return self._base.term if index == self._base.index else self.entry(index).term

    def voters_at(self, index: int) -> tuple[str, ...]:
        latest = self._naming(index)
        return self._base.voters if latest is None or latest.voters is None else latest.voters

    def naming(self, index: int) -> int:
        latest = self._naming(index)
        return latest.index if latest is not None else 0

    def _naming(self, index: int) -> LogEntry | None:
        return next(self._select("WHERE idx <= ? AND voters IS NOT NULL ORDER BY idx DESC LIMIT 1", (index,)), None)

    def _select(self, where: str, values: tuple[int, ...]) -> Iterator[LogEntry]:
        try:
            for row in self._reader.execute(f"SELECT {ENTRY_COLUMNS} FROM entries {where}", values):
                yield read_entry(row)
        except sqlite3.Error as error:
            raise sentence(self.path, error) from error

    # ---- snapshots

    def snapshot(self, index: int = 0) -> tuple[Snapshot, Signatures] | None:
        """The snapshot after this entry, or (0) the newest, with the signatures under it."""
        where = "WHERE idx = ?" if index else "WHERE idx > ? ORDER BY idx DESC LIMIT 1"
        row = self._reader.execute(f"SELECT {SNAPSHOT_COLUMNS} FROM snapshots {where}", (index,)).fetchone()
        return None if row is None else read_snapshot(row)

    def _newest_index(self, *, signed: bool) -> int:
        unsigned = b"" if not signed else msgpack.packb({})
        select = "SELECT coalesce(max(idx), 0) FROM snapshots WHERE signatures != ?"
        (index,) = self._reader.execute(select, (unsigned,)).fetchone()
        return int(index)

    def sign(self, index: int, signatures: Signatures) -> None:
        """A majority has signed this snapshot, or more: others may fetch it, and the log may begin nearer to it."""
        if index >= self.snapshot_index:
            self.snapshot_index = index
            self.submit(SignSnapshot(index, signatures))

    def shed(self, upto: int) -> None:
        """Move the entries up to this one into the archive, piece by piece; from now on the log begins behind it."""
        while self._base.index < upto:
            first, last = self.first_index, min(upto, self._base.index + SEGMENT)
            entry = self.entry(last)
            self._base = Base(last, entry.term, entry.hash, self.voters_at(last))
            self.submit(Shed(self.archive, first, self._base))

    def adopt(self, snapshot: Snapshot) -> None:
        """Show the log as it is since the ``ReplaceLog`` of this snapshot was carried out: empty."""
        self._base = Base(snapshot.index, snapshot.term, snapshot.hash, snapshot.voters)
        self.last_index = self.snapshot_index = snapshot.index

    # ---- writing

    def start(self, on_stored: Callable[[int], None], on_trouble: Callable[[], None]) -> None:
        """Begin to write. Both are called in the writer's thread: with the highest number stored by now, and whenever
        ``trouble`` or ``failure`` has changed."""
        self._on_stored = on_stored
        self._on_trouble = on_trouble
        self._connection = connect(self.path)
        self._thread = threading.Thread(target=self._write_all, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._submitted += 1
        self._queue.put(job)

    def write_now(self, writes: Sequence[Write]) -> bool:
        """Store this before returning, or (False) nothing of it, because it may take long: then it is to be submitted.
        Raises SwarmError when writing has ended for good."""
        if self._finished < self._submitted or self._thread is None or self.failure:
            return False  # looked at first: while the thread writes, what it took is its own
        if min(self._took_s) > QUICK_S:
            return False
        if sum(len(entry.raw) for write in writes for entry in write.entries) > QUICK_BYTES:
            return False
        try:
            self._transact(self._connection, list(writes))
        except (sqlite3.Error, OSError) as error:
            self._roll_back(self._connection)
            if is_passing(error):
                return False  # the thread tries again and again, and says so
            # Not once more: what a disk has failed to write counts as written the second time.
            failure = sentence(self.path, error)
            self._fail(failure)
            raise failure from error
        self._note(writes)
        return True

    def _write_all(self) -> None:
        try:
            while (batch := self._gather()) and self._store(self._connection, batch):
                self._report(batch)
                self._finished += len(batch)
        except (sqlite3.Error, OSError) as error:
            self._fail(sentence(self.path, error))
        except Exception as error:
            self._fail(InternalError(f"the writer of ledger store {self.path} stopped: {error!r}"))
            raise

    def _gather(self) -> list[Job]:
        """All that waits, at least one piece; nothing when the store is to close."""
        batch: list[Job] = []
        while len(batch) < BATCH:
            try:
                job = self._queue.get(block=not batch)
            except queue.Empty:
                break
            if job is None:
                if batch:
                    self._queue.put(None)
                break
            batch.append(job)
        return batch

    def _store(self, connection: sqlite3.Connection, batch: list[Job]) -> bool:
        while True:
            try:
                self._transact(connection, batch)
            except (sqlite3.Error, OSError) as error:
                self._roll_back(connection)
                if not is_passing(error):
                    raise
                if self.trouble is None:
                    self.trouble = sentence(self.path, error, nbytes(batch))
                    self._on_trouble()
                if self._closing.wait(RETRY_S):
                    return False
                continue
            if self.trouble is not None:
                self.trouble = None
                self._on_trouble()
            return True

    def _transact(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        begun = monotonic()
        connection.execute("BEGIN IMMEDIATE")
        for job in merged(batch):
            job.carry_out(connection)
        connection.execute("COMMIT")
        self._took_s.append(monotonic() - begun)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have done so already
            connection.execute("ROLLBACK")

    def _note(self, batch: Sequence[Job]) -> None:
        for job in batch:
            if isinstance(job, Write) and job.entries:
                self.last_index = job.entries[-1].index

    def _report(self, batch: list[Job]) -> None:
        self._note(batch)
        if number := max((job.number for job in batch if isinstance(job, Write)), default=0):
            self._on_stored(number)
        for job in batch:
            if isinstance(job, KeepSnapshot | ReplaceLog) and job.done is not None:
                job.done()

    def _fail(self, error: SwarmError) -> None:
        self.failure = error
        self._on_trouble()

    def close(self) -> None:
        """Write what waits, unless the disk refuses it, and close."""
        self._closing.set()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            self._connection.close()
        self._reader.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
