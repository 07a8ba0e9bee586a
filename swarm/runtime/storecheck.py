"""Whether a ledger store is whole: everything is read once, and a flipped bit anywhere is named with its index.

Used by the store when it opens. Guarantees: from the snapshot on every entry decodes, follows the one before and has
its hash, term and voters; the snapshot's state has its digest and stands on the chain; term, vote and commit are what
was noted last. What cannot be read at all is `storefile.reading`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarm.core.ordering import LogEntry
from swarm.core.snapshot import Snapshot, digest_of
from swarm.errors import BadInput
from swarm.runtime.storefile import ENTRY_COLUMNS, RECOVER, SUMMED, damaged, read_entry, read_voters, sum_of
from swarm.runtime.storejobs import SNAPSHOT_COLUMNS, Base, read_snapshot
from swarm.wire.certnames import printable
from swarm.wire.order import log_entry
from swarm.wire.signed import decode_entry


def base_of(path: Path, connection: sqlite3.Connection) -> Base:
    """What the store's first entry follows."""
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    try:
        voters = read_voters(meta["base_voters"]) or ()
        base = Base(int(meta["base"]), int(meta["base_term"]), bytes(meta["base_hash"]), voters)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"ledger store {path} is damaged: its notes cannot be read: {error!r}", hint=RECOVER) from error
    return base


def check(path: Path, connection: sqlite3.Connection, base: Base) -> int:
    """The index of the last entry; raises BadInput, naming the first one that is not as it was."""
    previous, voters = LogEntry(base.index, base.term, base.hash, b""), base.voters
    wanted = _snapshot_indexes(connection)
    standing = {base.index: base} if base.index in wanted else {}
    try:
        for row in connection.execute(f"SELECT {ENTRY_COLUMNS} FROM entries ORDER BY idx"):
            found = read_entry(row)
            _check_entry(path, found, previous)
            previous, voters = found, voters if found.voters is None else found.voters
            if found.index in wanted:
                standing[found.index] = Base(found.index, found.term, found.hash, voters)
        notes = dict(connection.execute("SELECT key, value FROM meta"))
        term, commit = int(notes["term"]), int(notes["commit"])
    except (sqlite3.DatabaseError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise _damaged(path, previous.index + 1, str(error)) from error
    if term < previous.term or commit > previous.index:
        raise _damaged(path, previous.index + 1, f"its notes speak of term {term} and entry {commit}")
    _check_notes(path, notes)
    _check_snapshots(path, connection, base, standing)
    _check_order(path, connection)
    return previous.index


def _check_order(path: Path, connection: sqlite3.Connection) -> None:
    """All was read one after the other; what is looked up by its key is found by SQLite's trees, and written there."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged(path, found)


def _check_notes(path: Path, notes: dict[str, Any]) -> None:
    for key in sorted(SUMMED):
        if notes.get(f"{key}_sum") != sum_of(key, notes.get(key)):
            raise BadInput(f"ledger store {path} is damaged: its {key} is not what was noted last", hint=RECOVER)


def _check_entry(path: Path, found: LogEntry, previous: LogEntry) -> None:
    expected = previous.index + 1
    try:
        entry = decode_entry(found.raw)
    except BadInput as error:
        raise _damaged(path, expected, error.message) from error
    if (found.index, entry.index) != (expected, expected):
        raise _damaged(path, expected, f"entry {found.index} stands in its place")
    if entry.prev_hash != previous.hash:
        raise _damaged(path, expected, "it does not follow the entry before it")
    if log_entry(entry) != found or entry.term < previous.term:
        raise _damaged(path, expected, "its hash, term or voters are not those of its bytes")


def _snapshot_indexes(connection: sqlite3.Connection) -> set[int]:
    return {index for (index,) in connection.execute("SELECT idx FROM snapshots")}


def _check_snapshots(path: Path, connection: sqlite3.Connection, base: Base, standing: Mapping[int, Base]) -> None:
    for row in connection.execute(f"SELECT {SNAPSHOT_COLUMNS} FROM snapshots"):
        found = read_snapshot(row)
        if found is None or not _stands(found[0], standing.get(found[0].index)):
            raise BadInput(f"ledger store {path} is damaged: its snapshot after entry {row[0]}", hint=RECOVER)
    if base.index > max(standing, default=0):
        raise BadInput(
            f"ledger store {path} is damaged: it begins with entry {base.index + 1} and has no snapshot", hint=RECOVER
        )


def _stands(snapshot: Snapshot, at: Base | None) -> bool:
    """Whether it is of this place in the log, and whole. Who decides there is written twice: no hash covers it."""
    return (
        at is not None
        and (snapshot.term, snapshot.hash) == (at.term, at.hash)
        and snapshot.voters == (at.voters or snapshot.voters)
        and digest_of(snapshot.state) == snapshot.digest
    )


def _damaged(path: Path, index: int, why: str) -> BadInput:
    return BadInput(f"ledger store {path} is damaged at entry {index}: {printable(why)}", hint=RECOVER)
