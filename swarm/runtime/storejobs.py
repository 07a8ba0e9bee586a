"""What the store's thread is asked to do: pieces of work that are written in the order of their submission.

Made by whoever owns the store, carried out by its thread; everything that waits becomes one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgpack

from swarm.core.ordering import LogEntry
from swarm.core.snapshot import Snapshot
from swarm.runtime.archive import Archive
from swarm.runtime.storefile import SUMMED, read_voters, sum_of, write_voters

Meta = dict[str, int | str | bytes]
Signatures = dict[str, bytes]
"""Of nodes under a snapshot, by uid."""
ROWS = 64
"""Entries that one statement inserts."""


SNAPSHOT_COLUMNS = "idx, term, hash, voters, state, digest, signatures"


@dataclass(frozen=True, slots=True)
class Base:
    """The entry before the first one that the store has: all before it is in the snapshot only."""

    index: int
    term: int
    hash: bytes
    voters: tuple[str, ...]

    def meta(self) -> Meta:
        voters = write_voters(self.voters) or ""
        return {"base": self.index, "base_term": self.term, "base_hash": self.hash, "base_voters": voters}


@dataclass(frozen=True, slots=True)
class Write:
    """Notes, and entries that take the place of all behind ``after``; ``number`` is reported when it is on disk (0:
    nobody waits for it)."""

    number: int = 0
    entries: tuple[LogEntry, ...] = ()
    meta: Meta = field(default_factory=dict)
    after: int | None = None
    """None: what comes before the first of the entries."""

    def carry_out(self, connection: sqlite3.Connection) -> None:
        if self.entries:
            first = self.entries[0].index
            assert self.after is None or self.after == first - 1, "entries follow what they stand behind"
            try:
                _insert(connection, self.entries)
            except sqlite3.IntegrityError:  # only then there is something behind what they follow
                connection.execute("DELETE FROM entries WHERE idx >= ?", (first,))
                _insert(connection, self.entries)
        note(connection, self.meta)


@dataclass(frozen=True, slots=True)
class KeepSnapshot:
    """Store a snapshot, in place of earlier ones that no majority has signed. Signatures come with a majority only."""

    snapshot: Snapshot
    signatures: Signatures = field(default_factory=dict)
    done: Callable[[], None] | None = None

    def carry_out(self, connection: sqlite3.Connection) -> None:
        s, unsigned = self.snapshot, msgpack.packb({})
        connection.execute("DELETE FROM snapshots WHERE idx < ? AND signatures = ?", (s.index, unsigned))
        row = (s.index, s.term, s.hash, write_voters(s.voters), s.state, s.digest, msgpack.packb(self.signatures))
        connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def read_snapshot(row: Any) -> tuple[Snapshot, Signatures] | None:
    """Of these columns; None if they are none."""
    match row:
        case (int(index), int(term), bytes(hash_), str(voters), bytes(state), str(digest), bytes(packed)):
            signatures = _read_signatures(packed)
            if signatures is not None:
                return Snapshot(index, term, hash_, read_voters(voters) or (), state, digest), signatures
    return None


def _read_signatures(packed: bytes) -> Signatures | None:
    try:
        signatures = msgpack.unpackb(packed)
    except Exception:  # msgpack's own errors share no base class with its UnicodeDecodeError
        return None
    plain = isinstance(signatures, dict) and all(
        isinstance(uid, str) and isinstance(signature, bytes) for uid, signature in signatures.items()
    )
    return signatures if plain else None


@dataclass(frozen=True, slots=True)
class SignSnapshot:
    """A majority has signed this snapshot: the ones before it are not needed any longer."""

    index: int
    signatures: Signatures

    def carry_out(self, connection: sqlite3.Connection) -> None:
        packed = msgpack.packb(self.signatures)
        connection.execute("UPDATE snapshots SET signatures = ? WHERE idx = ?", (packed, self.index))
        connection.execute("DELETE FROM snapshots WHERE idx < ?", (self.index,))


@dataclass(frozen=True, slots=True)
class Shed:
    """Move the entries up to the new base into the archive."""

    archive: Archive
    first: int
    base: Base

    def carry_out(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT raw FROM entries WHERE idx <= ? ORDER BY idx", (self.base.index,)).fetchall()
        self.archive.write(self.first, [raw for (raw,) in rows])
        connection.execute("DELETE FROM entries WHERE idx <= ?", (self.base.index,))
        note(connection, self.base.meta())


@dataclass(frozen=True, slots=True)
class ReplaceLog:
    """A snapshot from elsewhere takes the place of all entries."""

    snapshot: Snapshot
    signatures: Signatures
    done: Callable[[], None]

    def carry_out(self, connection: sqlite3.Connection) -> None:
        s = self.snapshot
        connection.execute("DELETE FROM entries")
        connection.execute("DELETE FROM snapshots")
        KeepSnapshot(s, self.signatures).carry_out(connection)
        base = Base(s.index, s.term, s.hash, s.voters)
        note(connection, {**base.meta(), "commit": s.index})


Job = Write | KeepSnapshot | SignSnapshot | Shed | ReplaceLog


def nbytes(jobs: list[Job]) -> int:
    """Of the entries and states that these bring: so much room they take, or more."""
    return sum(
        sum(len(entry.raw) for entry in job.entries) if isinstance(job, Write) else len(job.snapshot.state)
        for job in jobs
        if isinstance(job, Write | KeepSnapshot | ReplaceLog)
    )


def merged(jobs: list[Job]) -> list[Job]:
    """The same work in fewer pieces: writes that go on where the one before ends are one write."""
    pieces: list[Job] = []
    rows: list[LogEntry] = []  # of the last piece, while it grows
    for job in jobs:
        last = pieces[-1] if pieces else None
        if isinstance(job, Write) and isinstance(last, Write) and _goes_on(rows, job.entries):
            rows.extend(job.entries)
            pieces[-1] = Write(job.number, (), {**last.meta, **job.meta})
        else:
            _close(pieces, rows)
            pieces.append(job)
            rows = list(job.entries) if isinstance(job, Write) else []
    _close(pieces, rows)
    return pieces


def _goes_on(rows: list[LogEntry], entries: tuple[LogEntry, ...]) -> bool:
    return not rows or not entries or entries[0].index == rows[-1].index + 1


def _close(pieces: list[Job], rows: list[LogEntry]) -> None:
    if rows and isinstance(last := pieces[-1], Write):
        pieces[-1] = Write(last.number, tuple(rows), last.meta)


# Each statement gives the interpreter's lock away and waits to have it back: few statements, whatever they hold.


def _insert(connection: sqlite3.Connection, entries: tuple[LogEntry, ...]) -> None:
    for start in range(0, len(entries), ROWS):
        rows = [(e.index, e.term, e.hash, e.raw, write_voters(e.voters)) for e in entries[start : start + ROWS]]
        places = ", ".join(["(?, ?, ?, ?, ?)"] * len(rows))
        values = list(chain.from_iterable(rows))
        connection.execute(f"INSERT INTO entries (idx, term, hash, raw, voters) VALUES {places}", values)


def note(connection: sqlite3.Connection, meta: Meta) -> None:
    if meta:
        meta = meta | {f"{key}_sum": sum_of(key, value) for key, value in meta.items() if key in SUMMED}
        cases, keys = " ".join(["WHEN ? THEN ?"] * len(meta)), ", ".join("?" * len(meta))
        values = [*chain.from_iterable(meta.items()), *meta]
        connection.execute(f"UPDATE meta SET value = CASE key {cases} END WHERE key IN ({keys})", values)
