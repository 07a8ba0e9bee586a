"""The audit: what a directory holds is worked out again, and the first thing that does not hold is named."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
import trio

from swarm.errors import BadInput, SwarmError
from swarm.runtime import snapshots as snapshots_module
from swarm.runtime import store as store_module
from swarm.runtime.archive import MAGIC, Archive
from swarm.runtime.storeaudit import audit
from swarm.wire.signed import decode_entry, make_entry
from tests.runtime.sns import World, level, renew, run, until


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(snapshots_module, "KEPT_BEHIND", 5)
    monkeypatch.setattr(snapshots_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(store_module, "SEGMENT", 10)
    world = World(tmp_path)
    world.settings["snapshot_every"] = 20
    return world


@pytest.fixture
def state(world: World) -> Path:
    """An SN's directory with 51 entries: archive 1..35, snapshot after 40."""

    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 50)
            await until(lambda: bool(node.driver._store.archive.segments()))
            await until(lambda: node.driver._store.archive.segments()[-1].last == 35)

    run(scenario)
    return world.path / "s"


def test_a_sound_ledger_holds_from_the_first_entry_to_the_last(state: Path) -> None:
    found = audit(state)
    assert found.unsound is None
    said = found.as_json()
    assert (said["entries"], said["last"], said["missing"], said["bad_index"]) == (51, 51, [], None)
    assert [each["index"] for each in said["snapshots"]] == [40]
    assert len(said["snapshots"][0]["signed_by"]) == 1
    assert said["without_effect"] == 0


def test_it_can_be_asked_while_the_node_runs(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 5)
            found = await trio.to_thread.run_sync(audit, world.path / "s")
            assert found.unsound is None
            assert found.as_json()["digest"] == node.driver.ledger.digest()

    run(scenario)


def test_a_ledger_that_began_with_a_snapshot_holds_from_there(world: World, state: Path) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            await renew(sentinel, 3)
            await until(lambda: level(sentinel, peer))
            await until(lambda: peer.driver._store.archive.reach() == peer.driver._store.first_index - 1)

    run(scenario)
    own, whole = audit(state), audit(world.path / "p")
    for segment in Archive(world.path / "p" / "archive").segments():
        segment.path.unlink()
    bare = audit(world.path / "p")
    assert own.unsound is whole.unsound is bare.unsound is None
    assert whole.as_json()["missing"] == []
    (missing,) = bare.as_json()["missing"]
    assert missing[0] == 1
    assert missing[1] >= 40
    assert own.as_json()["digest"] == whole.as_json()["digest"] == bare.as_json()["digest"]


# ---- what does not hold


def in_store(sql: str, *values: object) -> Callable[[Path], None]:
    def change(state: Path) -> None:
        with closing(sqlite3.connect(state / "ledger.db")) as connection, connection:
            assert connection.execute(sql, values).rowcount == 1

    return change


def forged(state: Path) -> None:
    """A chain that fits, with a proposal in entry 45 that nobody signed so, and all behind it made anew."""
    with closing(sqlite3.connect(state / "ledger.db")) as connection, connection:
        rows = connection.execute("SELECT idx, raw FROM entries WHERE idx >= 38 ORDER BY idx").fetchall()
        previous = decode_entry(rows[0][1]).prev_hash
        for index, raw in rows:
            entry = decode_entry(raw)
            proposal = b"" if index == 38 else entry.proposal
            new = make_entry(index, entry.term, entry.time, previous, proposal)
            connection.execute("UPDATE entries SET raw = ?, hash = ? WHERE idx = ?", (new.raw, new.hash, index))
            previous = new.hash


def flipped_in_archive(state: Path) -> None:
    segment = Archive(state / "archive").segments()[1]
    data = bytearray(segment.path.read_bytes())
    data[-40] ^= 1
    segment.path.write_bytes(data)


def rewritten_archive(state: Path) -> None:
    """The checksum fits, the chain does not."""
    segment = Archive(state / "archive").segments()[1]
    raws = segment.read()
    entry = decode_entry(raws[4])
    raws[4] = make_entry(entry.index, entry.term, entry.time + 1, entry.prev_hash, entry.proposal).raw
    body = MAGIC + b"".join(len(raw).to_bytes(4, "big") + raw for raw in raws)
    segment.path.write_bytes(body + hashlib.sha256(body).digest())


def lost_segment(state: Path) -> None:
    Archive(state / "archive").segments()[0].path.unlink()


CHANGES: dict[str, tuple[Callable[[Path], None], int]] = {
    "a flipped bit": (in_store("UPDATE entries SET raw = zeroblob(90) WHERE idx = 47"), 47),
    "a missing entry": (in_store("DELETE FROM entries WHERE idx = 44"), 44),
    "another chain": (forged, 40),
    "a snapshot of another state": (in_store("UPDATE snapshots SET digest = 'sha256:0'"), 40),
    "a signature that nobody made": (in_store("UPDATE snapshots SET signatures = ?", msgpack.packb({"x": b"y"})), 40),
    "a flipped bit in the archive": (flipped_in_archive, 11),
    "a rewritten archive": (rewritten_archive, 16),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_first_index_that_does_not_hold_is_named(state: Path, change: str) -> None:
    alter, index = CHANGES[change]
    alter(state)
    found = audit(state)
    assert found.unsound is not None
    assert found.unsound.index == index == found.as_json()["bad_index"]


def test_a_lost_segment_is_said_to_be_missing_and_the_rest_is_held_against_the_snapshot(state: Path) -> None:
    lost_segment(state)
    found = audit(state)
    assert found.unsound is None
    assert found.as_json()["missing"] == [[1, 10]]
    assert found.as_json()["snapshots"]
    forged(state)
    unsound = audit(state).unsound
    assert unsound is not None
    assert unsound.index == 40


def test_a_directory_without_a_ledger_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"it has no ledger\.db"):
        audit(tmp_path)
    (tmp_path / "ledger.db").write_bytes(b"something else, and long enough for a look" * 100)
    with pytest.raises(BadInput):
        audit(tmp_path)


def spoilt_rows(chance: random.Random, state: Path) -> None:
    nasty = [0, -1, 2**62, 1.5, "", "text", b"", b"\xc1", b"\x91", b"\x81\xa1x\x01", bytes(40), None]
    table, columns = chance.choice(
        [
            ("entries", ["raw", "hash", "term", "idx"]),
            ("snapshots", ["idx", "term", "hash", "voters", "state", "digest", "signatures"]),
        ]
    )
    with closing(sqlite3.connect(state / "ledger.db")) as connection, contextlib.suppress(sqlite3.Error):
        where = f"rowid = (SELECT rowid FROM {table} ORDER BY random() LIMIT 1)"
        connection.execute(f"UPDATE {table} SET {chance.choice(columns)} = ? WHERE {where}", (chance.choice(nasty),))
        connection.commit()


def spoilt_bytes(chance: random.Random, state: Path) -> None:
    path = chance.choice([state / "ledger.db", *(segment.path for segment in Archive(state / "archive").segments())])
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    match chance.randrange(3):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:]
        case 2:  # its checksum is made anew: somebody has written it
            body = MAGIC + chance.randbytes(at % 300)
            data[:] = body + hashlib.sha256(body).digest()
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [spoilt_rows, spoilt_bytes])
def test_whatever_is_damaged_comes_out_as_a_sentence(state: Path, spoil: Callable[..., None], tmp_path: Path) -> None:
    for seed in range(60):
        copy = tmp_path / f"damaged-{seed}"
        shutil.copytree(state, copy)
        spoil(random.Random(seed), copy)
        print(f"seed {seed}")  # shown when it fails
        with contextlib.suppress(SwarmError):
            audit(copy)


def test_a_segment_that_cannot_be_read_is_named(state: Path) -> None:
    segment = Archive(state / "archive").segments()[1]
    segment.path.unlink()
    segment.path.mkdir()
    unsound = audit(state).unsound
    assert unsound is not None
    assert unsound.index == 11
    assert "it cannot be read: Is a directory" in unsound.message
