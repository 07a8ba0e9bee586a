"""What a follower keeps of the ledger is exactly what it had, or nothing."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import msgpack
import pytest

import swarm
from swarm.runtime import ledgercopy
from swarm.runtime.ledgercopy import LedgerCopy, packed, unpacked
from swarm.runtime.replica import Replica
from swarm.runtime.statedir import StateDirectory
from tests.runtime.sns import World, renew, run


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    made: list[bytes] = []

    async def scenario() -> None:
        async with World(tmp_path_factory.mktemp("world")).sentinel() as node:
            await renew(node, 6)
            made.extend(node.driver.entries_after(0))

    run(scenario)
    return made


@pytest.fixture(autouse=True)
def every_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgercopy, "EVERY", 1)


def replica_of(raws: list[bytes]) -> Replica:
    replica = Replica(b"")
    for raw in raws:
        replica.take(raw)
    return replica


def test_a_node_goes_on_from_what_it_kept_and_comes_to_the_same_state(tmp_path: Path, raws: list[bytes]) -> None:
    whole = replica_of(raws)
    with StateDirectory(tmp_path / "state") as state:
        copy = LedgerCopy(state)
        copy.leases["12.0"] = [12, "ab"]
        copy.keep(replica_of(raws[:4]))
    with StateDirectory(tmp_path / "state") as state:
        copy = LedgerCopy(state)
        kept = copy.read()
        assert kept is not None
        assert copy.leases == {"12.0": [12, "ab"]}
        assert state.network_id == whole.ledger.network_id
    assert kept.head_index == 4
    for raw in raws[4:]:
        kept.take(raw)
    assert kept.ledger.digest() == whole.ledger.digest()
    assert kept.chains == whole.chains
    assert kept.chains


def test_what_is_kept_of_another_network_counts_as_nothing(tmp_path: Path, raws: list[bytes]) -> None:
    with StateDirectory(tmp_path) as state:
        LedgerCopy(state).keep(replica_of(raws))
        state.set_network_id(bytes(32))
        assert LedgerCopy(state).read() is None


def test_what_another_release_kept_counts_as_nothing(raws: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(replica_of(raws), {})
    monkeypatch.setattr(swarm, "__version__", "0.0.9")
    assert unpacked(data) is None


def test_whatever_is_damaged_counts_as_nothing(tmp_path: Path, raws: list[bytes]) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    data = packed(replica_of(raws), {})
    with StateDirectory(tmp_path) as state:
        for _ in range(50):
            at = chance.randrange(len(data))
            damaged = data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]
            (tmp_path / ledgercopy.NAME).write_bytes(chance.choice([damaged, data[:at], b""]))
            copy = LedgerCopy(state)
            assert copy.read() is None
            assert copy.index == 0


def test_what_has_another_shape_counts_as_nothing(tmp_path: Path, raws: list[bytes]) -> None:
    with StateDirectory(tmp_path) as state:
        for shape in ([], {}, [swarm.__version__, [1, 2, 3, 4, 5, 6], [], {}], [swarm.__version__, [], {}], 7):
            data = msgpack.packb(shape)
            (tmp_path / ledgercopy.NAME).write_bytes(hashlib.sha256(data).digest() + data)
            assert LedgerCopy(state).read() is None


def test_it_is_written_again_only_when_it_pays(
    tmp_path: Path, raws: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgercopy, "EVERY", 3)
    with StateDirectory(tmp_path) as state:
        copy, kept = LedgerCopy(state), []
        for upto in range(1, 8):
            copy.keep(replica_of(raws[:upto]))
            kept.append(copy.index)
    assert kept == [0, 0, 3, 3, 3, 6, 6]


def test_what_is_given_to_another_node_stays_what_it_was(tmp_path: Path, raws: list[bytes]) -> None:
    with StateDirectory(tmp_path / "operator") as state:
        copy = LedgerCopy(state)
        copy.give(tmp_path / "first")  # nothing yet
        copy.keep(replica_of(raws[:3]))
        copy.give(tmp_path / "second")
        copy.keep(replica_of(raws))
        copy.give(tmp_path / "second")  # has begun
    for name, index in (("first", 0), ("second", 3)):
        with StateDirectory(tmp_path / name) as state:
            kept = LedgerCopy(state).read()
            assert (kept.head_index if kept else 0) == index


def test_what_is_forgotten_is_gone(tmp_path: Path, raws: list[bytes]) -> None:
    with StateDirectory(tmp_path) as state:
        copy = LedgerCopy(state)
        copy.keep(replica_of(raws))
        copy.forget()
        copy.forget()
        assert LedgerCopy(state).read() is None
