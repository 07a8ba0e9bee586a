"""One flipped bit of a ledger's file: refused with the way back, or what is read is what was written."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import msgpack
import pytest

from swarm.errors import BadInput
from swarm.runtime.store import Store
from swarm.runtime.storejobs import KeepSnapshot, SignSnapshot, Write
from tests.runtime.test_store import A, B, Reports, behind, chain, naming, snapshot

FLIPS = 150
ENTRIES = naming(chain(12, size=300), at_2=(A, B))
SNAPSHOT = replace(snapshot(ENTRIES[7], b"the state" * 50), voters=(A, B))
SIGNATURES = {A: b"x" * 64, B: b"y" * 64}


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The file of a store that begins with entry 6 and has a snapshot after entry 8; nothing is in its journal."""
    path, reports = tmp_path / "whole" / "ledger.db", Reports()
    path.parent.mkdir()
    with Store(path) as store:
        store.start(reports.on_stored, reports.on_trouble)
        store.submit(Write(1, tuple(ENTRIES), {"term": 1, "vote": A, "commit": 12}))
        store.submit(KeepSnapshot(SNAPSHOT))
        store.submit(SignSnapshot(8, SIGNATURES))
        reports.wait_stored(1)
        store.shed(5)
    assert store.failure is None
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def laid(tmp_path: Path, raw: bytes) -> Path:
    path = tmp_path / "flipped" / "ledger.db"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    path.write_bytes(raw)
    return path


def flipped(raw: bytes, at: int, bit: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


def read(path: Path) -> tuple[Any, ...]:
    """What was written, except the bytes of signatures, which whoever is given them verifies, and the term of the entry
    before the first, by which followers are asked for what they have already."""
    with Store(path) as store:
        entries = store.read(5, store.last_index, 10**9)
        found = store.snapshot()
        assert found is not None
        return store.term, store.vote, store.commit, entries, found[0], store.voters_at(5), store.hash_at(5)


def go_on(path: Path) -> BadInput | None:
    """A node's next write; what it says if that cannot be."""
    with Store(path) as store:
        store.start(lambda number: None, lambda: None)
        store.submit(Write(1, tuple(behind(ENTRIES[-1], 1, term=1)), {"term": 1}))
    assert store.failure is None or isinstance(store.failure, BadInput)
    return store.failure


def check_refusal(error: BadInput | None, path: Path) -> None:
    assert error is not None
    assert str(path) in error.message
    assert error.message.isprintable(), error.message
    assert "start this one with --rejoin and --sentinel-ip of one of them" in error.hint, error


def schema(text: bytes) -> Callable[[bytes], int]:
    return lambda raw: raw.index(text)


def after(text: bytes) -> Callable[[bytes], int]:
    return lambda raw: raw.rindex(text) + len(text)


VOTERS = f"{A} {B}".encode()
CASES: dict[str, tuple[Callable[[bytes], int], int]] = {
    "SQLite's name": (lambda raw: 0, 0),
    "whether it may be written": (lambda raw: 18, 0),
    "the form of its schema": (lambda raw: 47, 4),
    "the version, upwards": (lambda raw: 60, 2),
    "the version, downwards": (lambda raw: 63, 0),
    "the version, below zero": (lambda raw: 60, 7),
    "whose file it is": (lambda raw: 68, 1),
    "a column's name": (schema(b"signatures BLOB"), 1),
    "a column's name, no text any more": (schema(b"signatures BLOB"), 7),
    "a table's name, no text any more": (schema(b"TABLE snapshots"), 7),
    "a note's name": (after(b"base_hash"), 7),
    "a note's name, which another is found by": (schema(b"fork\0"), 4),
    "an entry's voters, a number": (lambda raw: raw.index(b"\0" + ENTRIES[6].hash), 3),
    "who decided before its first entry": (lambda raw: raw.index(b"base_voters" + VOTERS) + 11, 1),
    "an entry": (lambda raw: raw.index(ENTRIES[8].raw) + 150, 4),
    "a snapshot's term": (lambda raw: raw.index(SNAPSHOT.hash + VOTERS) - 5, 0),
    "a snapshot's voters": (after(SNAPSHOT.hash), 0),
    "a snapshot's voters, no text any more": (after(SNAPSHOT.hash), 7),
    "a snapshot's state": (schema(b"the statethe state"), 5),
    "a snapshot's digest": (schema(SNAPSHOT.digest.encode()), 6),
    "the form of a snapshot's signatures": (schema(msgpack.packb(SIGNATURES)), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_r036_a_flipped_bit_is_refused_with_the_way_back(tmp_path: Path, whole: bytes, case: str) -> None:
    find, bit = CASES[case]
    path = laid(tmp_path, flipped(whole, find(whole), bit))
    try:
        failure = go_on(path)
    except BadInput as error:
        failure = error
    check_refusal(failure, path)


def test_r036_no_flipped_bit_changes_what_is_read(tmp_path: Path, whole: bytes) -> None:
    seed = SystemRandom().randrange(10**6)
    print("seed", seed)
    random = Random(seed)
    written, refused = read(laid(tmp_path, whole)), 0
    for _ in range(FLIPS):
        at, bit = random.randrange(len(whole)), random.randrange(8)
        path = laid(tmp_path, flipped(whole, at, bit))
        print(f"bit {bit} of byte {at}")
        try:
            assert read(path) == written
        except BadInput as error:
            check_refusal(error, path)
            refused += 1
    assert refused, "flips are noticed"
