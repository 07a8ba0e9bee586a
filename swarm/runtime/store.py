"""The ledger on disk: entries, term, vote and commit in one SQLite file, written by one thread.

Opened by an SN, used by ``runtime/driver``. Guarantees: what ``on_stored`` reports survives power loss (WAL,
``synchronous=FULL``) together with everything submitted before it; all that waits is written in one transaction, so
many proposals share one fsync; an opened store is whole: every entry decodes, follows the last one and has its hash.
Stores of older versions are brought forward after a backup, newer ones are refused.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from swarm.core.ordering import NO_HASH, LogEntry
from swarm.errors import BadInput, InternalError, SwarmError
from swarm.wire.signed import decode_entry

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, hash BLOB NOT NULL, raw BLOB NOT NULL);
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO meta VALUES ('term', 0), ('vote', ''), ('commit', 0), ('fork', '');
    """,
)
"""What leads from each version to the next; a store's version is how many of them it has seen."""
APPLICATION_ID = 0x5357_4C44
BATCH = 4096
RETRY_S = 0.5
PASSING = ("SQLITE_FULL", "SQLITE_BUSY")
"""Failures that a person can end while the node runs: the same batch is tried again until it is stored."""

Meta = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Write:
    """One piece of work; ``number`` is reported when it is on disk (0: nobody waits for it)."""

    number: int = 0
    entries: tuple[LogEntry, ...] = ()
    meta: Meta = field(default_factory=dict)


class Store:
    """Read in the thread that opened it, write by ``submit``. Opening raises SwarmError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_index = 0
        self.trouble: SwarmError | None = None
        """Why nothing can be written at present; writing is tried again."""
        self.failure: SwarmError | None = None
        """Why writing has ended for good; what was submitted since is not stored."""
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._reader = self._open()
            try:
                self._migrate()
                self._check()
            except BaseException:
                self._reader.close()
                raise
        except sqlite3.Error as error:
            raise sentence(path, error) from error
        except OSError as error:
            raise BadInput(f"ledger store {path} cannot be opened: {error.strerror or error}", hint=_HINT) from error

    # ---- reading

    @property
    def term(self) -> int:
        return int(self._meta("term"))

    @property
    def vote(self) -> str:
        return str(self._meta("vote"))

    @property
    def commit(self) -> int:
        return int(self._meta("commit"))

    @property
    def fork(self) -> str:
        """Why this ledger may decide nothing more: another node holds a different one. Empty: it may."""
        return str(self._meta("fork"))

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

    def _meta(self, key: str) -> int | str:
        row = self._reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        value: int | str = row[0]
        return value

    def _select(self, where: str, values: tuple[int, ...]) -> Iterator[LogEntry]:
        try:
            for row in self._reader.execute(f"SELECT idx, term, hash, raw FROM entries {where}", values):
                yield LogEntry(*row)
        except sqlite3.Error as error:
            raise sentence(self.path, error) from error

    # ---- writing

    def start(self, on_stored: Callable[[int], None], on_trouble: Callable[[], None]) -> None:
        """Begin to write. Both are called in the writer's thread: with the highest number stored by now, and whenever
        ``trouble`` or ``failure`` has changed."""
        self._on_stored = on_stored
        self._on_trouble = on_trouble
        self._thread = threading.Thread(target=self._write_all, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> None:
        self._queue.put(write)

    def _write_all(self) -> None:
        try:
            with contextlib.closing(_connect(self.path)) as connection:
                while (batch := self._gather()) and self._store(connection, batch):
                    if number := max(write.number for write in batch):
                        self._on_stored(number)
        except sqlite3.Error as error:
            self._fail(sentence(self.path, error))
        except Exception as error:
            self._fail(InternalError(f"the writer of ledger store {self.path} stopped: {error!r}"))
            raise

    def _gather(self) -> list[Write]:
        """All that waits, at least one piece; nothing when the store is to close."""
        batch: list[Write] = []
        while len(batch) < BATCH:
            try:
                write = self._queue.get(block=not batch)
            except queue.Empty:
                break
            if write is None:
                if batch:
                    self._queue.put(None)
                break
            batch.append(write)
        return batch

    def _store(self, connection: sqlite3.Connection, batch: list[Write]) -> bool:
        while True:
            try:
                self._transact(connection, batch)
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already
                    connection.execute("ROLLBACK")
                if not _name(error).startswith(PASSING):
                    raise
                if self.trouble is None:
                    self.trouble = sentence(self.path, error)
                    self._on_trouble()
                if self._closing.wait(RETRY_S):
                    return False
                continue
            if self.trouble is not None:
                self.trouble = None
                self._on_trouble()
            return True

    def _transact(self, connection: sqlite3.Connection, batch: list[Write]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        last = self.last_index
        for write in batch:
            for entry in write.entries:
                assert entry.index == last + 1, "the store takes entries in their order"
                connection.execute(
                    "INSERT INTO entries VALUES (?, ?, ?, ?)", (entry.index, entry.term, entry.hash, entry.raw)
                )
                last = entry.index
            connection.executemany("UPDATE meta SET value = ? WHERE key = ?", [(v, k) for k, v in write.meta.items()])
        connection.execute("COMMIT")
        self.last_index = last

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
        self._reader.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- opening

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's own files take its mode
        return _connect(self.path)

    def _migrate(self) -> None:
        (version,) = self._reader.execute("PRAGMA user_version").fetchone()
        (application,) = self._reader.execute("PRAGMA application_id").fetchone()
        (tables,) = self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and (version or tables):
            raise BadInput(f"{self.path} is not a ledger store, but another program's SQLite file", hint=_HINT)
        if version > len(MIGRATIONS):
            raise BadInput(
                f"ledger store {self.path} has version {version}, this program knows versions up to {len(MIGRATIONS)}",
                hint="start the version of swarm that wrote it, or a later one",
            )
        if 0 < version < len(MIGRATIONS):
            self._back_up(version)
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            self._reader.executescript(
                f"BEGIN; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
            )

    def _back_up(self, version: int) -> None:
        copy = self.path.with_name(f"{self.path.name}.version-{version}")
        copy.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(copy)) as target:
            self._reader.backup(target)
        copy.chmod(0o600)

    def _check(self) -> None:
        """Read everything once; a flipped bit anywhere in the entries is found here and named."""
        previous = LogEntry(0, 0, NO_HASH, b"")
        try:
            for entry in self._reader.execute("SELECT idx, term, hash, raw FROM entries ORDER BY idx"):
                found = LogEntry(*entry)
                self._check_entry(found, previous)
                previous = found
            term, commit = self.term, self.commit
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            raise self._damaged(previous.index + 1, str(error)) from error
        if term < previous.term or commit > previous.index:
            raise self._damaged(previous.index + 1, f"its notes speak of term {term} and entry {commit}")
        self.last_index = previous.index

    def _check_entry(self, found: LogEntry, previous: LogEntry) -> None:
        expected = previous.index + 1
        try:
            entry = decode_entry(found.raw)
        except BadInput as error:
            raise self._damaged(expected, error.message) from error
        if (found.index, entry.index) != (expected, expected):
            raise self._damaged(expected, f"entry {found.index} stands in its place")
        if entry.prev_hash != previous.hash:
            raise self._damaged(expected, "it does not follow the entry before it")
        if entry.hash != found.hash or entry.term != found.term or entry.term < previous.term:
            raise self._damaged(expected, "its hash or term is not that of its bytes")

    def _damaged(self, index: int, why: str) -> BadInput:
        return BadInput(f"ledger store {self.path} is damaged at entry {index}: {why}", hint=_RECOVER)


_HINT = "choose another directory with --state DIR, or give this user the right to read and write there"
_RECOVER = (
    "a peer SN may start with an empty state directory and gets the ledger anew; "
    "for the sentinel put back the newest copy of its directory"
)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def sentence(path: Path, error: sqlite3.Error) -> SwarmError:
    """What a person is told when SQLite fails."""
    name = _name(error)
    if name.startswith("SQLITE_FULL"):
        return BadInput(
            f"disk full: the ledger store {path} cannot be written",
            hint="make room; the node goes on by itself, nothing it acknowledged is lost",
        )
    if name.startswith("SQLITE_BUSY"):
        return BadInput(f"ledger store {path} is locked by another program", hint="close the program that reads it")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return BadInput(f"ledger store {path} cannot be opened for writing: {error}", hint=_HINT)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return BadInput(f"ledger store {path} is damaged: {error}", hint=_RECOVER)
    return BadInput(
        f"ledger store {path} failed: {error}",
        hint="look at the disk (dmesg, SMART); nothing acknowledged is lost as long as the file can be read",
    )
