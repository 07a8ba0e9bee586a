"""The audit of a network node's state directory: archive, store and snapshots, read and changed by nothing.

Called by ``swarm audit``. Guarantees: every entry that the directory holds is held against the one before it, from the
first one or, where this node began with a snapshot, from there; see `wire/audit`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarm.core.snapshot import Snapshot
from swarm.errors import BadInput
from swarm.runtime.archive import Archive
from swarm.runtime.founding import node_name
from swarm.runtime.storefile import APPLICATION_ID, MIGRATIONS, reading
from swarm.runtime.storejobs import SNAPSHOT_COLUMNS, Signatures, read_snapshot
from swarm.wire.audit import Auditor, Unsound

STORE = "ledger.db"
Snapshots = dict[int, tuple[Snapshot, Signatures]]


@dataclass
class Audit:
    state: Path
    auditor: Auditor = field(default_factory=Auditor)
    segments: int = 0
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    unsound: Unsound | None = None

    def as_json(self) -> dict[str, Any]:
        auditor, ledger = self.auditor, self.auditor.ledger
        return {
            "state": str(self.state),
            "network_id": ledger.network_id.hex(),
            "last": auditor.index,
            "head_hash": auditor.hash.hex(),
            "digest": ledger.digest() if ledger.head_index else None,
            "entries": auditor.entries,
            "without_effect": auditor.without_effect,
            "segments": self.segments,
            "missing": [list(gap) for gap in auditor.gaps],
            "snapshots": self.snapshots,
            "epoch": ledger.epoch,
            "voters": [node_name(ledger, uid) for uid in ledger.voters],
            "bad_index": self.unsound.index if self.unsound else None,
        }


def audit(state: Path) -> Audit:
    """What the directory holds, and the first thing in it that is not sound. Raises SwarmError if it cannot be read."""
    path = state / STORE
    if not path.is_file():
        raise BadInput(
            f"{state} is no state directory of a network node: it has no {STORE}",
            hint="give run-sn's --state directory",
        )
    found = Audit(state)
    try:
        with (
            reading(path),
            contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection,
        ):
            connection.isolation_level = None
            version = _version(path, connection)
            connection.execute("BEGIN")  # one moment of a store that may be written meanwhile
            _walk(found, connection, version)
    except Unsound as unsound:
        found.unsound = unsound
    return found


def _version(path: Path, connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID or not 0 < version <= len(MIGRATIONS):
        raise BadInput(f"{path} is no ledger store that this version of swarm knows (its version: {version})")
    return int(version)


def _walk(found: Audit, connection: sqlite3.Connection, version: int) -> None:
    auditor = found.auditor
    snapshots = _snapshots(connection) if version > 1 else {}
    (base,) = connection.execute("SELECT coalesce(min(idx), 0) - 1 FROM entries").fetchone()
    for segment in Archive(found.state / "archive").segments():
        if segment.first > base >= 0:
            break  # left by a crash, or made since: the store has these entries, too
        if segment.first > auditor.index + 1:
            auditor.skip(segment.first - 1)
        try:
            raws = segment.read()
        except BadInput as error:
            raise Unsound(segment.first, error.message) from error
        found.segments += 1
        for raw in raws:
            auditor.take(raw)
            _hold(found, snapshots)
    _begin(found, base, snapshots)
    for (raw,) in connection.execute("SELECT raw FROM entries ORDER BY idx"):
        auditor.take(raw)
        _hold(found, snapshots)
    for index in snapshots:
        raise Unsound(index, "there is a snapshot after it, and no such entry")


def _begin(found: Audit, base: int, snapshots: Snapshots) -> None:
    """Where the store goes on behind something that is not in the archive."""
    if base < 0 and snapshots:
        base = max(snapshots)  # an installed snapshot, and nothing since
    if base > found.auditor.index:
        if base in snapshots:
            found.auditor.begin(snapshots[base][0])
            _hold(found, snapshots)
        else:
            found.auditor.skip(base)


def _hold(found: Audit, snapshots: Snapshots) -> None:
    auditor = found.auditor
    if auditor.index in snapshots:
        snapshot, signatures = snapshots.pop(auditor.index)
        signed = auditor.hold(snapshot, signatures)
        names = [node_name(auditor.ledger, uid) for uid in signed]
        found.snapshots.append({"index": snapshot.index, "digest": snapshot.digest, "signed_by": names})


def _snapshots(connection: sqlite3.Connection) -> Snapshots:
    return {row[0]: _snapshot(row) for row in connection.execute(f"SELECT {SNAPSHOT_COLUMNS} FROM snapshots")}


def _snapshot(row: Any) -> tuple[Snapshot, Signatures]:
    found = read_snapshot(row)
    if found is None:
        raise Unsound(row[0], "the snapshot after it cannot be read: its row is damaged")
    return found
