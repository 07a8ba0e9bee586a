"""The same refusals as on plain sockets, where libp2p carries the handshake as its only security protocol."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from swarm.errors import IdentityError, SwarmError
from swarm.runtime.mesh import Mesh
from swarm.runtime.tls import Local
from swarm.wire import binding
from tests.certificates import leaf
from tests.handshakes import CASES, GOOD, A, B, node


def dial(dialler: Mesh, listener: Mesh, *, peer_id: str | None = None) -> SwarmError | None:
    """What the dialler gets; None when it is let in for good."""

    async def main() -> SwarmError | None:
        with trio.fail_after(20):
            async with listener.run(listen=[("127.0.0.1", 0)]), dialler.run():
                try:
                    peer = await dialler.dial("127.0.0.1", listener.listen_ports[0], peer_id=peer_id)
                    await dialler.open(peer, "/echo")
                except SwarmError as error:
                    return error
        return None

    async def echo(stream: object) -> None:
        pass

    listener.accept("/echo", echo)
    return trio.run(main)


def assert_says(error: SwarmError | None, pattern: str) -> None:
    assert isinstance(error, SwarmError), error
    assert re.search(pattern, error.message), error.message


@pytest.mark.parametrize("name", CASES)
def test_refused_as_listener(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    presented = case.present()
    good = Mesh(node(tmp_path, GOOD, [A, B], crls=case.crls(presented)), roles=("sn", "sl"))
    bad = Mesh(node(tmp_path, presented, [A, B]))
    error = dial(good, bad)
    assert isinstance(error, IdentityError), error
    assert_says(error, case.sentence)


@pytest.mark.parametrize("pinned", [False, True], ids=["by address", "pinned"])
@pytest.mark.parametrize("name", CASES)
def test_refused_as_dialler(tmp_path: Path, name: str, pinned: bool, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES[name]
    presented = case.present()
    local = node(tmp_path, GOOD, [A, B], crls=case.crls(presented))
    good, bad = Mesh(local, roles=("sn", "sl")), Mesh(node(tmp_path, presented, [A, B]))
    with caplog.at_level(logging.WARNING, "swarm.mesh"):
        error = dial(bad, good, peer_id=local.state.peer_id if pinned else None)
    assert_says(error, case.told)
    assert re.search(f"refused a connection: .*({case.sentence})", caplog.text), caplog.text


@pytest.fixture
def good(tmp_path: Path) -> Local:
    return node(tmp_path, GOOD, [A, B])


@pytest.fixture
def other(tmp_path: Path) -> Local:
    return node(tmp_path, leaf(B, "SL-1"), [A, B])


def test_another_peer_id_than_the_dialled_is_refused(good: Local, other: Local) -> None:
    error = dial(Mesh(other), Mesh(good), peer_id=other.state.peer_id)
    assert isinstance(error, IdentityError)
    assert_says(error, rf"swarm://a/sn/sn-1 at .* is node {good.state.peer_id} .*, expected {other.state.peer_id}")


def test_another_network_is_refused_on_both_sides(
    tmp_path: Path, good: Local, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = node(tmp_path, leaf(B, "SL-1"), [A, B], network=b"\2" * 32)
    with caplog.at_level(logging.WARNING, "swarm.mesh"):
        error = dial(Mesh(stranger), Mesh(good))
    assert_says(error, "refused this node: .*belongs to network 0202020202020202, this node to 0101010101010101")
    assert "belongs to network 0202020202020202" in caplog.text


def test_two_nodes_without_network_are_refused(tmp_path: Path) -> None:
    one, two = (node(tmp_path, leaf(A, name), [A], network=b"") for name in ("SN-1", "SN-2"))
    assert_says(dial(Mesh(one), Mesh(two)), "neither this node nor .* belongs to a network yet")


def test_ones_own_key_is_refused(good: Local) -> None:
    assert_says(dial(Mesh(good), Mesh(good)), "came with this node's own key")


def test_a_node_key_under_another_identity_is_refused(tmp_path: Path, good: Local) -> None:
    first = node(tmp_path, leaf(A, "SN-2"), [A], state="shared")
    assert dial(Mesh(first), Mesh(good)) is None
    first.state.close()
    second = node(tmp_path, leaf(A, "SN-3"), [A], state="shared")
    assert_says(dial(Mesh(second), Mesh(good)), "refused this node: .*is known as swarm://a/sn/sn-2")


def test_another_protocol_version_is_refused_on_both_sides(
    good: Local, other: Local, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_hello = binding._own_hello

    def newer(own: binding.Side) -> binding.Hello:
        hello = own_hello(own)
        if own.leaf != other.credentials.leaf:
            return hello
        raw = hello.raw.replace(b"\xa7version\x01", b"\xa7version\x02")
        return replace(hello, raw=raw)

    monkeypatch.setattr(binding, "_own_hello", newer)
    with caplog.at_level(logging.WARNING, "swarm.mesh"):
        error = dial(Mesh(other), Mesh(good))
    assert_says(error, "refused this node: .*speaks protocol 2, this node speaks protocol 1")
    assert "speaks protocol 2, this node speaks protocol 1" in caplog.text


def test_a_replayed_or_false_proof_is_refused(
    good: Local, other: Local, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The dialler signs the transcript of another conversation."""
    transcript = binding.Binding._transcript

    def recorded(self: binding.Binding, side: str) -> bytes:
        signed = transcript(self, side)
        is_the_others = self._own.leaf == other.credentials.leaf
        return signed[:-1] + b"?" if is_the_others and side == "dialler" else signed

    monkeypatch.setattr(binding.Binding, "_transcript", recorded)
    with caplog.at_level(logging.WARNING, "swarm.mesh"):
        assert dial(Mesh(other), Mesh(good)) is not None
    assert "did not prove that it holds its node key in this conversation" in caplog.text
