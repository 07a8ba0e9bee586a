"""The ledger on disk: what was reported survives, what is damaged is named."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.ordering import NO_HASH, LogEntry
from swarm.core.snapshot import Snapshot, digest_of
from swarm.errors import BadInput, Refused
from swarm.runtime import store as store_module
from swarm.runtime import storefile
from swarm.runtime.archive import Archive
from swarm.runtime.store import Store
from swarm.runtime.storejobs import Base, Job, KeepSnapshot, ReplaceLog, Shed, SignSnapshot, Write, merged
from swarm.wire.order import log_entry
from swarm.wire.signed import decode_entry, make_entry, sign_proposal
from tests.runtime.sns import World, renew, run

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


def fill(path: Path, entries: list[LogEntry], *jobs: Job, **meta: int | str) -> None:
    write(path, Write(1, tuple(entries), {"term": 1, "vote": "s", **meta}), *jobs)


def write(path: Path, *jobs: Job) -> None:
    """All of it, in this order, in a life of its own."""
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        for job in jobs:
            store.submit(job)
    assert store.failure is None


def test_what_was_stored_is_there_after_reopening(path: Path) -> None:
    entries = chain(7)
    fill(path, entries, commit=6)
    with Store(path) as store:
        assert store.last_index == 7
        assert (store.term, store.vote, store.commit) == (1, "s", 6)
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
        needed = sum(len(entry.raw) for entry in entries)
        said = f"disk full: the ledger store {path} cannot be written, {needed} bytes or more are needed"
        assert store.trouble.message == said
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


# ---- what another leader replaces, and who decides


def behind(entry: LogEntry, count: int, *, term: int) -> list[LogEntry]:
    """Another end of the log."""
    entries, previous = [], entry.hash
    for index in range(entry.index + 1, entry.index + 1 + count):
        made = make_entry(index, term, 2000 + index, previous, b"")
        entries.append(LogEntry(index, term, made.hash, made.raw))
        previous = made.hash
    return entries


def test_entries_take_the_place_of_all_behind_the_one_they_follow(path: Path) -> None:
    old = chain(9)
    new = behind(old[3], 2, term=2)
    fill(path, old, Write(2, tuple(new), {"term": 2}, after=4))
    with Store(path) as store:
        assert list(store.read(0, store.last_index, 10**9)) == [*old[:4], *new]
        assert (store.last_index, store.term, store.term_at(4), store.hash_at(6)) == (6, 2, 1, new[-1].hash)
        assert store.hash_at(0) == NO_HASH
        assert store.term_at(0) == 0


def test_work_in_fewer_pieces_is_the_same_work(path: Path) -> None:
    old = chain(9)
    new = behind(old[5], 2, term=2)
    kept = KeepSnapshot(snapshot(old[2]))
    jobs: list[Job] = [
        Write(1, tuple(old[:3]), {"term": 1}, 0),
        Write(2, (), {"vote": "p"}),
        Write(3, tuple(old[3:7]), {"term": 1}, 3),
        kept,
        Write(4, tuple(old[7:]), {"term": 1}, 7),
        Write(5, tuple(new), {"term": 2, "vote": "s"}, 6),
        Write(6, (), {"commit": 8}),
    ]
    pieces = merged(jobs)
    assert [piece.entries if isinstance(piece, Write) else () for piece in pieces] == [
        tuple(old[:7]), (), tuple(old[7:]), tuple(new),
    ]  # fmt: skip
    assert pieces[1] is kept
    write(path, *jobs)
    with Store(path) as store:
        assert list(store.read(0, store.last_index, 10**9)) == [*old[:6], *new]
        assert (store.term, store.vote, store.commit) == (2, "s", 8)


def test_without_entries_the_log_stays_as_it_is(path: Path) -> None:
    fill(path, chain(9), Write(2, (), {"term": 7, "vote": "p"}, after=4))
    with Store(path) as store:
        assert (store.last_index, store.term, store.vote) == (9, 7, "p")


def naming(entries: list[LogEntry], **named: tuple[str, ...]) -> list[LogEntry]:
    """Entries of which these (``at_3=...``) name voters, signed by nobody."""
    key = Ed25519PrivateKey.generate()
    made: list[LogEntry] = []
    for entry in entries:
        proposal = decode_entry(entry.raw).proposal
        if voters := named.get(f"at_{entry.index}"):
            proposal = sign_proposal(
                key, network_id=bytes(32), uid=voters[0], incarnation=bytes(16), seq=1, kind="Configuration",
                body={"voters": list(voters)},
            )  # fmt: skip
        made.append(log_entry(make_entry(entry.index, entry.term, entry.index, _hash(made), proposal)))
    return made


def _hash(made: list[LogEntry]) -> bytes:
    return made[-1].hash if made else NO_HASH


A, B = (f"{letter * 8}-aaaa-5aaa-8aaa-aaaaaaaaaaaa" for letter in "ab")


def test_the_voters_at_an_index_are_those_of_the_latest_entry_that_names_some(path: Path) -> None:
    entries = naming(chain(9), at_3=(A,), at_6=(A, B))
    assert [entry.index for entry in entries if entry.voters] == [3, 6]
    fill(path, entries)
    with Store(path) as store:
        assert [store.voters_at(index) for index in (0, 2, 3, 5, 6, 9)] == [(), (), (A,), (A,), (A, B), (A, B)]
        assert [store.naming(index) for index in (0, 2, 3, 5, 6, 9)] == [0, 0, 3, 3, 6, 6]
        assert store.entry(6).voters == (A, B)
    write(path, Write(2, tuple(behind(entries[4], 1, term=2)), {"term": 2}, after=5))
    with Store(path) as store:
        assert store.voters_at(6) == (A,)


def test_voters_that_are_not_those_of_the_entrys_bytes_are_damage(path: Path) -> None:
    fill(path, naming(chain(9), at_3=(A,)))
    alter(path, "UPDATE entries SET voters = ? WHERE idx = 3", B)
    assert "is damaged at entry 3" in refusal(path).message
    alter(path, "UPDATE entries SET voters = NULL WHERE idx = 3")
    assert "is damaged at entry 3" in refusal(path).message


# ---- snapshots and what they stand for


def snapshot(entry: LogEntry, state: bytes = b"the state") -> Snapshot:
    return Snapshot(entry.index, entry.term, entry.hash, (A,), state, digest_of(state))


def test_a_snapshot_that_a_majority_signed_takes_the_place_of_those_before_it(path: Path) -> None:
    entries = chain(9)
    first, second, third = (snapshot(entries[index - 1]) for index in (3, 5, 7))
    fill(path, entries, KeepSnapshot(first), SignSnapshot(3, {A: b"x"}), KeepSnapshot(second), KeepSnapshot(third))
    with Store(path) as store:
        assert store.snapshot() == (third, {})
        assert store.snapshot(5) is None, "signed by nobody, and there is a later one"
        assert store.snapshot(3) == (first, {A: b"x"})
        assert (store.snapshot_index, store.commit) == (3, 7), "others may fetch the signed one"
    write(path, SignSnapshot(7, {A: b"y"}))
    with Store(path) as store:
        assert store.snapshot(3) is None
        assert store.snapshot_index == 7


def test_entries_before_the_base_are_in_the_archive_and_nowhere_else(path: Path) -> None:
    entries = chain(30)
    fill(path, entries, KeepSnapshot(snapshot(entries[24])), SignSnapshot(25, {A: b"x"}), commit=30)
    with Store(path) as store:
        reports = Reports()
        store.start(reports.on_stored, reports.on_trouble)
        store.shed(20)
        assert (store.first_index, store.hash_at(20), store.term_at(20)) == (21, entries[19].hash, 1)
        store.submit(Write(1, (), {"vote": "p"}))
        reports.wait_stored(1)
        assert store.raws_after(0, 30, 10**9) == [entry.raw for entry in entries[:20]]
        assert store.raws_after(20, 30, 10**9) == [entry.raw for entry in entries[20:]]
        assert store.raws_after(5, 30, 1) == [entries[5].raw]
        store.shed(15)
        assert store.first_index == 21, "it never begins earlier again"
    with Store(path) as store:
        assert (store.first_index, store.last_index) == (21, 30)
        assert list(store.read(20, 30, 10**9)) == entries[20:]
        (segment,) = store.archive.segments()
        assert (segment.first, segment.last) == (1, 20)
        assert segment.path.stat().st_mode & 0o077 == 0


def test_a_segment_that_a_crash_left_before_its_entries_were_gone_is_made_again(path: Path) -> None:
    entries = chain(30)
    fill(path, entries, KeepSnapshot(snapshot(entries[24])), commit=30)
    archive = Archive(path.parent / "archive")
    archive.write(1, [entry.raw for entry in entries[:12]])
    (archive.directory / "000000000013-000000000020.part").write_bytes(b"half of")
    write(
        path, Shed(archive, 1, Base(10, 1, entries[9].hash, ())), Shed(archive, 11, Base(20, 1, entries[19].hash, ()))
    )
    assert [(segment.first, segment.last) for segment in archive.segments()] == [(1, 10), (11, 20)]
    with Store(path) as store:
        assert store.first_index == 21


def test_an_installed_snapshot_is_where_the_log_begins(path: Path) -> None:
    entries = chain(9)
    fill(path, entries, KeepSnapshot(snapshot(entries[4])))
    far = Snapshot(500, 1, b"f" * 32, (A, B), b"far", digest_of(b"far"))
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.submit(ReplaceLog(far, {A: b"x"}, lambda: reports.on_stored(99)))
        reports.wait_stored(99)
        assert store.last_index == 9, "it shows when it is adopted"
        store.adopt(far)
        assert (store.first_index, store.last_index, store.snapshot_index, store.commit) == (501, 500, 500, 500)
        assert (store.hash_at(500), store.term_at(500), store.voters_at(500)) == (far.hash, 1, (A, B))
    with Store(path) as store:
        assert (store.first_index, store.last_index, store.commit) == (501, 500, 500)
        assert store.snapshot() == (far, {A: b"x"})
        with pytest.raises(Refused, match="entry 10 of the ledger is not here"):
            store.raws_after(9, 500, 10**6)


def test_a_damaged_snapshot_is_named(path: Path) -> None:
    entries = chain(9)
    fill(path, entries, KeepSnapshot(snapshot(entries[4])))
    alter(path, "UPDATE snapshots SET state = ?", b"another state")
    assert refusal(path).message == f"ledger store {path} is damaged: its snapshot after entry 5"
    alter(path, "UPDATE snapshots SET state = ?, hash = ?", b"the state", bytes(32))
    assert refusal(path).message == f"ledger store {path} is damaged: its snapshot after entry 5"


def test_a_full_disk_below_the_archive_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = threading.Event()
    genuine = Archive.write

    def limited(self: Archive, first: int, raws: list[bytes]) -> None:
        if not room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(self, first, raws)

    monkeypatch.setattr(Archive, "write", limited)
    monkeypatch.setattr(store_module, "RETRY_S", 0.02)
    entries = chain(9)
    fill(path, entries, KeepSnapshot(snapshot(entries[7])), SignSnapshot(8, {A: b"x"}))
    reports = Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.shed(5)
        reports.wait_troubles(1)
        assert store.trouble is not None
        assert "disk full" in store.trouble.message
        room.set()
        reports.wait_troubles(2)
        assert store.trouble is None
    with Store(path) as store:
        assert store.first_index == 6


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


@pytest.mark.parametrize(
    ("key", "flipped"), [("term", 1 << 33 | 1), ("vote", "nobody"), ("commit", 4), ("term_sum", 1)]
)
def test_a_flipped_bit_in_what_no_hash_covers_is_named(filled: Path, key: str, flipped: object) -> None:
    alter(filled, "UPDATE meta SET value = ? WHERE key = ?", flipped, key)
    said = key.removesuffix("_sum")
    assert refusal(filled).message == f"ledger store {filled} is damaged: its {said} is not what was noted last"


def test_a_store_of_version_2_is_believed_what_it_has_noted(filled: Path) -> None:
    alter(filled, "DELETE FROM meta WHERE key LIKE '%_sum'")
    alter(filled, "UPDATE meta SET value = 7 WHERE key = 'term'")
    alter(filled, "PRAGMA user_version = 2")
    for _ in range(2):
        with Store(filled) as store:
            assert (store.term, store.last_index) == (7, 5)


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


@pytest.mark.parametrize("kept", [0, 1, 5, 8])
def test_a_write_ahead_log_that_was_cut_anywhere_leaves_whole_transactions(path: Path, kept: int) -> None:
    """A power cut: what was not yet synced may be missing from any byte on."""
    entries, reports = chain(40, size=900), Reports()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        for entry in entries:
            store.submit(Write(entry.index, (entry,), {"term": 1}))
            reports.wait_stored(entry.index)
        copy = path.with_name("after-the-cut.db")
        copy.write_bytes(path.read_bytes())
        log = path.with_name(path.name + "-wal").read_bytes().rstrip(b"\0")
        copy.with_name(copy.name + "-wal").write_bytes(log[: len(log) * kept // 9 + 7])
    with Store(copy) as store:
        assert store.last_index < 40
        assert list(store.read(0, store.last_index, 10**9)) == entries[: store.last_index]
        assert store.last_index > 0 or kept < 5


def test_the_journal_has_its_full_length_from_the_start_where_there_is_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(path) as store, closing(sqlite3.connect(path)) as other:
        assert path.with_name(path.name + "-wal").stat().st_size == storefile.JOURNAL_BYTES
        assert path.with_name(path.name + "-wal").stat().st_mode & 0o777 == 0o600
        assert other.execute("PRAGMA user_version").fetchone() == (3,)
        assert store.last_index == 0
    monkeypatch.setattr(storefile, "JOURNAL_BYTES", 1 << 60)
    with Store(path):
        assert path.with_name(path.name + "-wal").stat().st_size == 0


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 100)
    assert refusal(path).message.startswith(f"ledger store {path} is damaged: ")
    path.unlink()
    alter(path, "CREATE TABLE bookmarks (x)")
    assert "another program" in refusal(path).message


def test_a_store_of_a_newer_version_is_refused(filled: Path) -> None:
    alter(filled, "PRAGMA user_version = 9")
    assert refusal(filled).message == (f"ledger store {filled} has version 9, this program knows versions up to 3")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "No such file or directory" in refusal(tmp_path / "nowhere" / "ledger.db").message


def test_a_store_that_cannot_be_written_is_refused(filled: Path) -> None:
    with closing(sqlite3.connect(f"file:{filled}?mode=ro", uri=True)) as connection:
        with pytest.raises(sqlite3.Error) as caught:
            connection.execute("DELETE FROM entries")
        error = storefile.sentence(filled, caught.value)
    assert error.message.startswith(f"ledger store {filled} cannot be opened for writing")


def test_a_store_of_version_1_is_brought_forward_after_a_backup(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 5)

    run(scenario)
    path = tmp_path / "s" / "ledger.db"
    with Store(path) as store:
        entries, (founder,) = store.read(0, 6, 10**9), store.voters_at(1)
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(f"{storefile.MIGRATIONS[0]}; PRAGMA user_version = 1;")
        connection.execute(f"PRAGMA application_id = {storefile.APPLICATION_ID}")
        rows = [(entry.index, entry.term, entry.hash, entry.raw) for entry in entries]
        connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        connection.execute("UPDATE meta SET value = 1 WHERE key = 'term'")
    with Store(path) as store:
        assert store.read(0, 6, 10**9) == entries
        assert store.voters_at(6) == (founder,)
        assert (store.first_index, store.snapshot_index) == (1, 0)
    backup = path.with_name("ledger.db.version-1")
    assert backup.stat().st_mode & 0o077 == 0
    with Store(backup) as store:
        assert store.last_index == 6


def test_an_older_store_is_brought_forward_after_a_backup(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "ALTER TABLE entries ADD COLUMN note TEXT"
    monkeypatch.setattr(storefile, "MIGRATIONS", (*storefile.MIGRATIONS, step))
    with Store(filled) as store:
        assert store.last_index == 5
    backup = filled.with_name("ledger.db.version-3")
    assert backup.stat().st_mode & 0o077 == 0
    monkeypatch.undo()
    with Store(backup) as store:
        assert store.last_index == 5
    assert "version 4" in refusal(filled).message


# ---- writing at once


def started(store: Store, reports: Reports) -> None:
    """With something submitted and reported: how quick the disk is, is known."""
    store.start(reports.on_stored, reports.on_trouble)
    store.submit(Write(1, tuple(chain(2)), {"term": 1}))
    store.submit(Write(2))
    while store._finished < 2:
        threading.Event().wait(0.001)


def test_what_is_written_at_once_is_there_after_reopening(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "QUICK_S", 60.0)
    entries = chain(4)
    with Store(path) as store:
        started(store, Reports())
        assert store.write_now([Write(3, (entries[2],), {"vote": "a"}), Write(4, (entries[3],), {"commit": 3})])
        assert store.last_index == 4
    with Store(path) as store:
        assert (store.last_index, store.vote, store.commit) == (4, "a", 3)


def test_nothing_is_written_at_once_on_a_slow_disk_or_past_what_waits_or_much_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, gate = Store._transact, threading.Event()
    gate.set()

    def gated(self: Store, connection: sqlite3.Connection, batch: list[Write]) -> None:
        assert gate.wait(WAIT_S)
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", gated)
    small = Write(9, meta={"term": 2})
    with Store(path) as store:
        assert not store.write_now([small]), "it has not been started"
        started(store, Reports())
        monkeypatch.setattr(store_module, "QUICK_S", 0.0)
        assert not store.write_now([small])
        monkeypatch.setattr(store_module, "QUICK_S", 60.0)
        assert not store.write_now([Write(3, tuple(chain(3, size=store_module.QUICK_BYTES)[2:]))])
        gate.clear()
        store.submit(Write(3, meta={"term": 1}))
        assert not store.write_now([small])
        gate.set()
    with Store(path) as store:
        assert store.term == 1


def test_how_long_the_thread_took_is_not_looked_at_while_it_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deque that one thread reads while another adds to it ends the reader with a RuntimeError."""
    transact, gate = Store._transact, threading.Event()

    def gated(self: Store, connection: sqlite3.Connection, batch: list[Write]) -> None:
        assert gate.wait(WAIT_S)
        transact(self, connection, batch)

    class Guarded(deque[float]):
        def __iter__(self) -> Iterator[float]:
            assert gate.is_set(), "the thread is writing"
            return super().__iter__()

    monkeypatch.setattr(Store, "_transact", gated)
    with Store(path) as store:
        store._took_s = Guarded([0.0], store_module.QUICK_OF)
        store.start(Reports().on_stored, Reports().on_trouble)
        store.submit(Write(1, meta={"term": 1}))
        assert not store.write_now([Write(2, meta={"term": 2})])
        gate.set()


def test_a_failing_disk_is_not_asked_a_second_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync the next one succeeds, and what should have been written is gone."""
    monkeypatch.setattr(store_module, "QUICK_S", 60.0)
    with Store(path) as store:
        started(store, reports := Reports())
        failures = iter([OSError(errno.EIO, "Input/output error")])

        def fail(batch: object, connection: object) -> None:
            for failure in failures:
                raise failure

        monkeypatch.setattr(store, "_transact", fail)
        with pytest.raises(BadInput, match=r"ledger\.db failed: .*Input/output error"):
            store.write_now([Write(3, meta={"term": 2})])
        assert store.failure is not None
        assert reports.troubles == 1
        assert not store.write_now([Write(4, meta={"term": 2})])


def test_what_a_full_disk_does_not_take_at_once_is_the_threads_to_try_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "QUICK_S", 60.0)
    with Store(path) as store:
        started(store, reports := Reports())

        def full(batch: object, connection: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(store, "_transact", full)
        assert not store.write_now([Write(3, meta={"term": 2})])
        assert (store.failure, store.trouble, reports.troubles) == (None, None, 0)
