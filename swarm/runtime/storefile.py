"""The file of a ledger store: opening it, bringing it forward, saying in one sentence what is wrong with it.

Used by the store and by the audit. Guarantees: files of other programs and of newer versions are refused; an older one
is brought forward after a backup.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarm.core.ordering import LogEntry
from swarm.errors import BadInput, SwarmError
from swarm.wire.certnames import printable
from swarm.wire.order import log_entry
from swarm.wire.signed import decode_entry

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, hash BLOB NOT NULL, raw BLOB NOT NULL);
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO meta VALUES ('term', 0), ('vote', ''), ('commit', 0), ('fork', '');
    """,
    """
    ALTER TABLE entries ADD COLUMN voters TEXT;
    CREATE INDEX configurations ON entries (idx) WHERE voters IS NOT NULL;
    CREATE TABLE snapshots (
        idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, hash BLOB NOT NULL, voters TEXT NOT NULL,
        state BLOB NOT NULL, digest TEXT NOT NULL, signatures BLOB NOT NULL
    );
    INSERT INTO meta VALUES ('base', 0), ('base_term', 0), ('base_hash', zeroblob(32)), ('base_voters', '');
    """,
    "INSERT INTO meta VALUES ('term_sum', 0), ('vote_sum', 0), ('commit_sum', 0), ('fork_sum', 0)",
)
"""What leads from each version to the next; a store's version is how many of them it has seen."""
APPLICATION_ID = 0x5357_4C44
PASSING = ("SQLITE_FULL", "SQLITE_BUSY")
"""Failures that a person can end while the node runs."""
JOURNAL_BYTES = 32 + 1000 * (24 + 4096)
"""The journal beside the file before SQLite begins it anew: its header and a thousand pages with theirs."""
HINT = "choose another directory with --state DIR, or give this user the right to read and write there"
RECOVER = (
    "while other SNs have the ledger, start this one with --rejoin and --sentinel-ip of one of them; "
    "if this is the only one, put back the newest copy of its directory"
)


_RIGHTS = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_CONSTRAINT", "SQLITE_SCHEMA", "SQLITE_MISMATCH")
"""One flipped bit may make another name of a column, another version, another type."""


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the store, which is made or brought forward if need be."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's own files take its mode
    connection = connect(path)
    try:
        _migrate(path, connection)
        _lay_out_journal(path.with_name(f"{path.name}-wal"))
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _lay_out_journal(journal: Path) -> None:
    """Give the journal its full length beforehand, if there is much more room than that.

    A disk that has to note a file's new length too takes half as long again for each write. What follows the journal's
    last whole transaction is not read, so zeros are as good as nothing there.
    """
    disk = os.statvfs(journal.parent)
    if disk.f_bavail * disk.f_frsize < 16 * JOURNAL_BYTES:
        return
    with open(os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
        missing = JOURNAL_BYTES - file.tell()
        if missing > 0:
            file.write(bytes(missing))
            file.flush()
            os.fsync(file.fileno())


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise BadInput(
            f"{path} is not a ledger store, but another program's SQLite file",
            hint=f"{HINT}; if it was one, it is damaged: {RECOVER}",
        )
    if version > len(MIGRATIONS):
        raise BadInput(
            f"ledger store {path} has version {version}, this program knows versions up to {len(MIGRATIONS)}",
            hint=f"start the version of swarm that wrote it, or a later one; if none did, it is damaged: {RECOVER}",
        )
    if 0 < version < len(MIGRATIONS):
        _back_up(path, connection, version)
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA application_id = {APPLICATION_ID};")
        if number == 2:
            _note_founder(connection)
        if number == 3:
            _note_sums(connection)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")


def _note_founder(connection: sqlite3.Connection) -> None:
    """In version 1 only the genesis says who decides."""
    for (raw,) in connection.execute("SELECT raw FROM entries WHERE idx = 1").fetchall():
        voters = log_entry(decode_entry(raw)).voters
        connection.execute("UPDATE entries SET voters = ? WHERE idx = 1", (write_voters(voters),))


def _note_sums(connection: sqlite3.Connection) -> None:
    """Versions before 3 are believed what they have noted."""
    for key, value in connection.execute("SELECT key, value FROM meta").fetchall():
        if key in SUMMED:
            connection.execute("UPDATE meta SET value = ? WHERE key = ?", (sum_of(key, value), f"{key}_sum"))


def _back_up(path: Path, connection: sqlite3.Connection, version: int) -> None:
    copy = path.with_name(f"{path.name}.version-{version}")
    copy.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(copy)) as target:
        connection.backup(target)
    copy.chmod(0o600)


# ---- columns and notes


SUMMED = frozenset({"term", "vote", "commit"})
"""What no hash of an entry covers."""


def sum_of(key: str, value: object) -> int:
    return zlib.crc32(f"{key} {value}".encode())


def write_voters(voters: tuple[str, ...] | None) -> str | None:
    return None if voters is None else " ".join(voters)


def read_voters(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split())


ENTRY_COLUMNS = "idx, term, hash, raw, voters"


def read_entry(row: Any) -> LogEntry:
    index, term, hash_, raw, voters = row
    return LogEntry(index, term, hash_, raw, read_voters(voters))


# ---- what a person is told


def is_passing(error: sqlite3.Error | OSError) -> bool:
    """It may end while the node runs."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _name(error).startswith(PASSING)


def sentence(path: Path, error: sqlite3.Error | OSError, needed: int = 0) -> SwarmError:
    """What a person is told when the disk or SQLite fails; so many bytes, or more, were to be written."""
    name = _name(error)
    if name.startswith("SQLITE_FULL") or (isinstance(error, OSError) and is_passing(error)):
        room = f", {needed} bytes or more are needed" if needed else ""
        return BadInput(
            f"disk full: the ledger store {path} cannot be written{room}",
            hint="make room; the node goes on by itself, nothing it acknowledged is lost",
        )
    if name.startswith("SQLITE_BUSY"):
        return BadInput(f"ledger store {path} is locked by another program", hint="close the program that reads it")
    if name.startswith(_RIGHTS):
        return BadInput(
            f"ledger store {path} cannot be opened for writing: {error}",
            hint=f"{HINT}; if it has that right, the file is damaged: {RECOVER}",
        )
    if name.startswith(_DAMAGE):
        return damaged(path, error)
    return BadInput(
        f"ledger store {path} failed: {error}",
        hint="look at the disk (dmesg, SMART); nothing acknowledged is lost as long as the file can be read",
    )


def damaged(path: Path, why: object) -> BadInput:
    return BadInput(f"ledger store {path} is damaged: {printable(str(why))}", hint=RECOVER)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever becomes of reading a damaged file, in one sentence: there is no one class for it."""
    try:
        yield
    except sqlite3.Error as error:  # without a name: Python's own, of text that is none
        raise (sentence(path, error) if _name(error) else damaged(path, error)) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, too, which quotes what it has read
        raise damaged(path, "what should be text in it is none") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise damaged(path, error) from error


def _name(error: BaseException) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
