"""The ledger on disk: what was reported survives, what is damaged is named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from swarm.core.ordering import NO_HASH, LogEntry
from swarm.errors import BadInput
from swarm.runtime import store as store_module
from swarm.runtime import storefile
from swarm.runtime.store import Store
from swarm.runtime.storejobs import Write
from swarm.wire.signed import make_entry

WAIT_S = 20.0


def chain(count: int, *, size: int = 20, term: int = 1) -> list[LogEntry]:
    entries: list[LogEntry] = []
    previous = NO_HASH
    for index in range(1, count + 1):
        entry = make_entry(index, term, 1000 + index, previous, index.to_bytes(4, "big") + bytes(size))
        entries.append(LogEntry(index, term, entry.hash, entry.raw))
        previous = entry.hash
    return entries


class Reports:
    """What the writer's thread said, and a way to wait for it."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.troubles = 0
        self._changed = threading.Condition()

    def on_stored(self, number: int) -> None:
        with self._changed:
            self.stored.append(number)
            self._changed.notify_all()

    def on_trouble(self) -> None:
        with self._changed:
            self.troubles += 1
            self._changed.notify_all()

    def wait_stored(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.stored and self.stored[-1] >= number, WAIT_S)

    def wait_troubles(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.troubles >= count, WAIT_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def filled(path: Path) -> Iterator[Path]:
    fill(path, chain(5))
    return path


def fill(path: Path, entries: list[LogEntry], **meta: int | str) -> None:
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.submit(Write(1, tuple(entries), {"term": 1, "vote": "s", **meta}))
        reports.wait_stored(1)


def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    entries = chain(7)
    fill(path, entries, commit=6)
    with Store(path) as store:
        assert store.last_index == 7
        assert (store.term, store.vote, store.commit, store.fork) == (1, "s", 6, "")
        assert store.entry(3) == entries[2]
        assert list(store.read(0, 7, 10**9)) == entries
        assert list(store.read(2, 5, 10**9)) == entries[2:5]


def test_a_piece_has_at_least_one_entry_and_no_more_than_asked(path: Path) -> None:
    fill(path, chain(5, size=1000))
    with Store(path) as store:
        assert len(store.read(0, 5, 1)) == 1
        assert len(store.read(0, 5, 2500)) == 2
        assert store.read(5, 5, 2500) == ()


def test_the_file_is_for_its_owner_only(filled: Path) -> None:
    with Store(filled):
        assert all(file.stat().st_mode & 0o077 == 0 for file in filled.parent.iterdir())


def test_all_that_waits_shares_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions: list[int] = []
    first_begun, all_submitted = threading.Event(), threading.Event()
    transact = Store._transact

    def counting(self: Store, connection: sqlite3.Connection, batch: list[Write]) -> None:
        transactions.append(len(batch))
        first_begun.set()
        assert all_submitted.wait(WAIT_S)
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", counting)
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        entries = chain(101)
        store.submit(Write(1, (entries[0],)))
        assert first_begun.wait(WAIT_S)
        for number, entry in enumerate(entries[1:], 2):
            store.submit(Write(number, (entry,)))
        all_submitted.set()
        reports.wait_stored(101)
        assert store.last_index == 101
    assert transactions == [1, 100]
    assert reports.stored == [1, 101]


def test_closing_writes_what_waits(path: Path) -> None:
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        for number, entry in enumerate(chain(50), 1):
            store.submit(Write(number, (entry,), {"term": 1}))
    with Store(path) as store:
        assert store.last_index == 50


KILLED = """
import os, sys, threading
from pathlib import Path
from swarm.runtime.store import Store
from swarm.runtime.storejobs import Write
from tests.runtime.test_store import chain
store = Store(Path(sys.argv[1]))
entries = chain(1000)
def submit(first):
    for entry in entries[first : first + 3]:
        store.submit(Write(entry.index, (entry,), {"term": 1}))
def stored(number):
    submit(store.last_index)
    os.write(1, b"%d\\n" % number)
    if number >= 40:
        os.kill(os.getpid(), 9)
store.start(stored, lambda: None)
submit(0)
threading.Event().wait()
"""


def test_what_was_reported_survives_sigkill(path: Path) -> None:
    root = Path(store_module.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, capture_output=True, timeout=60)
    assert ran.returncode == -9, ran.stderr.decode()
    reported = int(ran.stdout.split()[-1])
    with Store(path) as store:
        assert reported <= store.last_index < 1000
        assert list(store.read(0, store.last_index, 10**9)) == chain(1000)[: store.last_index]


def test_a_full_disk_is_said_and_the_writing_goes_on_when_there_is_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"limit": 12}
    transact = Store._transact

    def limited(self: Store, connection: sqlite3.Connection, batch: list[Write]) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages['limit']}")
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", limited)
    monkeypatch.setattr(store_module, "RETRY_S", 0.02)
    reports = Reports()
    entries = chain(3, size=40_000)
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.submit(Write(1, tuple(entries)))
        reports.wait_troubles(1)
        assert store.trouble is not None
        assert store.trouble.message == f"disk full: the ledger store {path} cannot be written"
        assert not reports.stored
        pages["limit"] = 10_000
        reports.wait_stored(1)
        assert store.trouble is None
        assert store.last_index == 3


def test_a_full_disk_does_not_keep_the_store_from_closing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Store, connection: sqlite3.Connection, batch: list[Write]) -> None:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE more (x)")

    monkeypatch.setattr(Store, "_transact", full)
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.submit(Write(1, tuple(chain(1))))
        reports.wait_troubles(1)
    with Store(path) as store:
        assert store.last_index == 0


def test_a_failing_disk_ends_the_writing_for_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Store, connection: sqlite3.Connection, batch: list[Write]) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "_transact", fail)
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.submit(Write(1, tuple(chain(1))))
        reports.wait_troubles(1)
        assert store.failure is not None
        assert store.failure.message == f"ledger store {path} failed: disk I/O error"
    assert not reports.stored


# ---- what a person can meet


def refusal(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        Store(path)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def alter(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, values)


def test_a_flipped_bit_is_named_by_index_and_file(filled: Path) -> None:
    raw = bytearray(chain(5)[2].raw)
    raw[-1] ^= 1
    alter(filled, "UPDATE entries SET raw = ? WHERE idx = 3", bytes(raw))
    assert refusal(filled).message.startswith(f"ledger store {filled} is damaged at entry 3: ")


def test_an_entry_of_another_chain_is_named(filled: Path) -> None:
    other = make_entry(4, 1, 5, bytes(32), b"")
    alter(filled, "UPDATE entries SET raw = ?, hash = ? WHERE idx = 4", other.raw, other.hash)
    assert refusal(filled).message == (
        f"ledger store {filled} is damaged at entry 4: it does not follow the entry before it"
    )


def test_a_missing_entry_is_named(filled: Path) -> None:
    alter(filled, "DELETE FROM entries WHERE idx = 2")
    assert refusal(filled).message == f"ledger store {filled} is damaged at entry 2: entry 3 stands in its place"


def test_a_missing_end_is_noticed_when_it_was_committed(path: Path) -> None:
    fill(path, chain(5), commit=5)
    alter(path, "DELETE FROM entries WHERE idx = 5")
    assert refusal(path).message.startswith(f"ledger store {path} is damaged at entry 5: ")


def test_a_torn_file_is_refused_by_name(path: Path) -> None:
    fill(path, chain(200, size=500))
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    assert str(path) in refusal(path).message


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    assert refusal(path).message.startswith(f"ledger store {path} is damaged: ")
    path.unlink()
    alter(path, "CREATE TABLE bookmarks (x)")
    assert "another program" in refusal(path).message


def test_a_store_of_a_newer_version_is_refused(filled: Path) -> None:
    alter(filled, "PRAGMA user_version = 9")
    assert refusal(filled).message == (f"ledger store {filled} has version 9, this program knows versions up to 2")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "No such file or directory" in refusal(tmp_path / "nowhere" / "ledger.db").message


def test_a_store_that_cannot_be_written_is_refused(filled: Path) -> None:
    with closing(sqlite3.connect(f"file:{filled}?mode=ro", uri=True)) as connection:
        with pytest.raises(sqlite3.Error) as caught:
            connection.execute("DELETE FROM entries")
        error = storefile.sentence(filled, caught.value)
    assert error.message.startswith(f"ledger store {filled} cannot be opened for writing")


def test_an_older_store_is_brought_forward_after_a_backup(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "ALTER TABLE entries ADD COLUMN note TEXT"
    monkeypatch.setattr(storefile, "MIGRATIONS", (*storefile.MIGRATIONS, step))
    with Store(filled) as store:
        assert store.last_index == 5
    backup = filled.with_name("ledger.db.version-2")
    assert backup.stat().st_mode & 0o077 == 0
    monkeypatch.undo()
    with Store(backup) as store:
        assert store.last_index == 5
    assert "version 3" in refusal(filled).message
