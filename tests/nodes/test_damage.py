"""Network nodes whose ledger is damaged on disk: refused with the way back, and back by it as another node."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch
from tests.nodes.networks import Network
from tests.nodes.waiting import eventually


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Network(tmp_path, launch)


def flip_a_bit(store: Path) -> None:
    """Of the file itself, in the bytes of its third entry."""
    with closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (raw,) = database.execute("SELECT raw FROM entries WHERE idx = 3").fetchone()
    flip(store, store.read_bytes().index(raw[:64]), 0)


def flip(file: Path, at: int, bit: int) -> None:
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1 << bit
    file.write_bytes(raw)


def cut_in_half(store: Path) -> None:
    with closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(store, store.stat().st_size // 2)


def test_r036_a_flipped_bit_in_what_describes_the_ledger_is_refused_as_any_other(network: Network) -> None:
    network.of(1)
    network.kill(1)
    store = network.directory / "sn-1" / "ledger.db"
    with closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    flip(store, store.read_bytes().index(b"TABLE snapshots"), 7)  # no text any more
    network.start(1)
    refused = network.nodes.pop(1)
    eventually("its end", lambda: not refused.running)
    network.launch.processes.remove(refused)
    assert refused.exit_code == 2
    error, hint = refused.last_lines()
    assert error == f"error: ledger store {store} is damaged: what should be text in it is none"
    assert "start this one with --rejoin and --sentinel-ip" in hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(flip_a_bit, "is damaged at entry 3:", id="r036"),
        pytest.param(cut_in_half, "is damaged", id="r037"),
    ],
)
def test_r036_r037_a_damaged_ledger_is_refused_with_the_way_back_which_leads_back(
    network: Network, damage: Callable[[Path], None], sentence: str
) -> None:
    network.of(3)
    network.write(3, "before")
    former = network.uid(3)
    network.kill(3)
    damage(network.directory / "sn-3" / "ledger.db")
    network.start(3, at=1)
    refused = network.nodes.pop(3)
    eventually("its end", lambda: not refused.running)
    network.launch.processes.remove(refused)
    assert refused.exit_code == 2
    said = "\n".join(refused.last_lines())
    assert sentence in said
    assert "start this one with --rejoin and --sentinel-ip" in said
    network.write(1, "meanwhile")
    network.nodes[3] = network.swarm.start_network_node(
        3, sentinel_port=network.ports[1][1], program=("-m", "swarm.cli.run_sn", "--rejoin")
    )
    network.ready(3)
    assert network.uid(3) != former
    assert network.has(3, "before", "meanwhile")
    assert network.status(3)["role"] == "learner"
