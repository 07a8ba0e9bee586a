"""A node remembers where network nodes were: it needs the one on its command line for its first start only."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarm.core.ledger import Ledger
from swarm.errors import Unreachable
from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch
from swarm.nodes.local import HOST, READY_S, LocalSwarm
from swarm.runtime import ledgercopy
from swarm.runtime.credentials import Credentials
from swarm.runtime.ledgercopy import REMEMBERED
from swarm.runtime.replica import Replica


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: Any) -> Iterator[LocalSwarm]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        made = LocalSwarm(tmp_path_factory.mktemp("swarm"), launch, organisations=1)
        made.make_organisations()
        launch.wait_ready([made.start_network_node(1)], READY_S)
        yield made


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody answers."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]


def read(swarm: LocalSwarm, port: int, state: Path) -> Ledger:
    tree = swarm.trees[0]
    credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
    return consult((HOST, port), credentials, state, Client.ledger)


def test_a_node_that_starts_again_finds_its_network_without_the_node_that_it_is_told(
    swarm: LocalSwarm, tmp_path: Path, nobody: int
) -> None:
    known = read(swarm, swarm.api_port(0), tmp_path / "state")
    again = read(swarm, nobody, tmp_path / "state")
    assert again.network_id == known.network_id


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b'{"network_nodes": 7}', b'{"network_nodes": ["x", 1, "h:999999"]}']
)
def test_what_is_remembered_is_a_hint_and_no_more(
    swarm: LocalSwarm, tmp_path: Path, nobody: int, damaged: bytes
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / REMEMBERED).write_bytes(damaged)
    assert read(swarm, swarm.api_port(0), tmp_path / "state").head_index


def test_a_node_that_remembers_nothing_says_who_does_not_answer(swarm: LocalSwarm, tmp_path: Path, nobody: int) -> None:
    with pytest.raises(Unreachable, match=f"no network node answered at {HOST}:{nobody}"):
        read(swarm, nobody, tmp_path / "state")


def test_a_node_that_starts_again_reads_only_what_is_new(
    swarm: LocalSwarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgercopy, "EVERY", 1)
    known = read(swarm, swarm.api_port(0), tmp_path / "state")
    read_anew: list[int] = []
    take = Replica.take

    def noted(replica: Replica, raw: bytes) -> Any:
        read_anew.append(replica.head_index + 1)
        return take(replica, raw)

    monkeypatch.setattr(Replica, "take", noted)
    again = read(swarm, swarm.api_port(0), tmp_path / "state")
    assert min(read_anew, default=known.head_index + 1) > known.head_index
    assert again.head_index >= known.head_index
