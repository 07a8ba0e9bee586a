"""What libp2p 0.8.1 does to the unwary: each trap with the naive use, which falls in, and ours, which does not.

Numbers as measured: a write dies after 5 s without a reader, a cancelled write breaks the whole connection, a frozen
peer is never noticed, a peer that failed once is forbidden for 60 s, a killed peer looks like a clean end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from swarm.errors import SwarmError, Unreachable
from swarm.runtime import secure
from swarm.runtime.control import Control, Link
from swarm.runtime.mesh import Mesh, Stream
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local
from tests.certificates import OrganisationFiles, leaf, make_organisation
from tests.handshakes import GOOD, A, node

HERE = "127.0.0.1"


@pytest.fixture
def listener(tmp_path: Path) -> Local:
    return node(tmp_path, GOOD, [A])


@pytest.fixture
def dialler(tmp_path: Path) -> Local:
    return node(tmp_path, leaf(A, "SL-1"), [A])


def play(main: Callable[[], Awaitable[None]], seconds: float = 60) -> None:
    async def bounded() -> None:
        with trio.fail_after(seconds):
            await main()

    trio.run(bounded)


def anything(peer: object, verb: str) -> None:
    pass


async def echo_stream(stream: Stream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def echoes(mesh: Mesh, peer: Any) -> bool:
    """Whether a new stream of the existing connection works."""
    with trio.move_on_after(3):
        try:
            stream = await mesh.open(peer, "/echo", deadline_s=2)
            await stream.send_all(b"ping")
            return await stream.receive_some() == b"ping"
        except SwarmError:
            return False
    return False


# ---- 1: a reader that is busy for more than 5 s


def test_a_slow_reader_breaks_a_naive_stream_and_not_a_link(listener: Local, dialler: Local) -> None:
    naive: list[str] = []

    async def busy_reader(stream: Stream) -> None:
        await trio.sleep(6)
        while await stream.receive_some():
            pass

    async def busy(link: Link, body: dict[str, Any]) -> dict[str, Any]:
        await trio.sleep(6)
        return {"bytes": len(body["data"])}

    async def naive_write(mesh: Mesh, peer: Any) -> None:
        stream = await mesh.open(peer, "/slow")
        with pytest.raises(Unreachable) as caught:
            await stream.send_all(bytes(32 << 20))  # more than the largest window, 16 MiB
        naive.append(caught.value.message)

    async def ask(link: Link) -> None:
        assert await link.call("busy", {"data": bytes(900_000)}, deadline_s=30) == {"bytes": 900_000}

    async def main() -> None:
        there, here = Mesh(listener), Mesh(dialler)
        there.accept("/slow", busy_reader)
        server, client = Control(there, {"busy": busy}, anything), Control(here, {}, anything)
        async with there.run(listen=[(HERE, 0)]), here.run(), server.run(), client.run():
            link = await client.connect(HERE, there.listen_ports[0], deadline_s=5)
            peer = await here.dial(HERE, there.listen_ports[0])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(naive_write, here, peer)
                for _ in range(5):
                    nursery.start_soon(ask, link)

    play(main)
    assert "Timed out waiting for window update after 5 seconds" in naive[0]


# ---- 2: a cancelled write


@pytest.mark.parametrize("shielded", [False, True], ids=["naive", "ours"])
def test_a_cancelled_64_mib_write(
    listener: Local, dialler: Local, monkeypatch: pytest.MonkeyPatch, shielded: bool
) -> None:
    halfway = trio.Event()

    async def slow_wire(self: secure.Raw, data: bytes) -> None:
        """Half a TLS record leaves, then the sender waits, as it does when the socket's buffer is full."""
        if len(data) < 16384:
            await self._tcp.send_all(data)
            return
        await self._tcp.send_all(data[: len(data) // 2])
        halfway.set()
        await trio.sleep(0.02)
        await self._tcp.send_all(data[len(data) // 2 :])

    async def naive_write(self: secure.Session, data: bytes) -> None:
        async with self._write_lock:
            self._tls.write(data)
            await self.raw.write(self._outgoing.read())

    if not shielded:
        monkeypatch.setattr(secure.Session, "write", naive_write)
    monkeypatch.setattr(secure.Raw, "write", slow_wire)

    async def main() -> None:
        there, here = Mesh(listener), Mesh(dialler)
        there.accept("/echo", echo_stream)
        async with there.run(listen=[(HERE, 0)]), here.run():
            peer = await here.dial(HERE, there.listen_ports[0])
            assert await echoes(here, peer)
            stream = await here.open(peer, "/echo")
            async with trio.open_nursery() as nursery:
                # Below our own shield, where libp2p's frames are written.
                nursery.start_soon(stream._stream.write, bytes(64 << 20))
                await halfway.wait()
                nursery.cancel_scope.cancel()
            assert await echoes(here, peer) is shielded

    play(main)


def test_a_cancelled_call_of_1_mib_is_as_if_it_had_not_been(listener: Local, dialler: Local) -> None:
    async def echo(link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return body

    async def main() -> None:
        there, here = Mesh(listener), Mesh(dialler)
        server, client = Control(there, {"echo": echo}, anything), Control(here, {}, anything)
        async with there.run(listen=[(HERE, 0)]), here.run(), server.run(), client.run():
            link = await client.connect(HERE, there.listen_ports[0], deadline_s=5)
            for pause in range(20):
                with trio.move_on_after(pause / 1000):
                    await link.call("echo", {"data": bytes(1_000_000)}, deadline_s=10)
            assert await link.call("echo", {"n": 1}, deadline_s=10) == {"n": 1}

    play(main)


# ---- 3, 4, 5: real processes that freeze, die and come back


@dataclass
class Child:
    organisation: OrganisationFiles
    state: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        own = self.organisation
        paths = [str(each) for each in (self.state, own.cert("sn"), own.key("sn"), own.capath)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.mesh_child", *paths, str(self.port)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(make_organisation(tmp_path, "a", ["sn", "sl"]), tmp_path / "child")
    child.start()
    yield child
    child.kill()


@pytest.fixture
def here(child: Child, tmp_path: Path) -> Local:
    own = child.organisation
    state = StateDirectory(tmp_path / "here")
    state.set_network_id(b"\1" * 32)
    return Local(Credentials.load(own.cert("sl"), own.key("sl"), own.capath), state)


async def read_to_end(stream: Stream, ends: list[object]) -> None:
    try:
        ends.append(await stream.receive_some())
    except SwarmError as error:
        ends.append(error)


def test_a_frozen_peer_is_noticed_by_the_link_and_not_by_a_naive_stream(child: Child, here: Local) -> None:
    async def main() -> None:
        mesh = Mesh(here)
        control = Control(mesh, {}, anything)
        async with mesh.run(), control.run(), trio.open_nursery() as nursery:
            link = await control.connect(HERE, child.port, deadline_s=5)
            ends: list[object] = []
            stream = await mesh.open(await mesh.dial(HERE, child.port), "/echo")
            nursery.start_soon(read_to_end, stream, ends)
            child.signal(signal.SIGSTOP)
            begun = trio.current_time()
            with pytest.raises(Unreachable, match=r"lost sn-1 \(a\) at .* while it was asked 'echo': no sign of life"):
                await link.call("echo", {}, deadline_s=30)
            assert link.reason.startswith("no sign of life for ")  # 6 s, longer on a busy machine
            assert trio.current_time() - begun < 30
            assert ends == []  # the naive one would wait for ever
            nursery.cancel_scope.cancel()

    play(main)


def test_a_frozen_peer_does_not_hold_up_the_end_of_this_process(child: Child, here: Local) -> None:
    async def flood(stream: Stream) -> None:
        with pytest.raises(Unreachable):
            await stream.send_all(bytes(64 << 20))

    async def main() -> None:
        mesh = Mesh(here)
        control = Control(mesh, {}, anything)
        async with trio.open_nursery() as nursery:
            async with mesh.run(), control.run():
                await control.connect(HERE, child.port, deadline_s=5)
                stream = await mesh.open(await mesh.dial(HERE, child.port), "/echo")
                child.signal(signal.SIGSTOP)
                nursery.start_soon(flood, stream)
                await trio.sleep(0.2)
                begun = trio.current_time()
            assert trio.current_time() - begun < 2.5

    play(main)


def test_a_killed_peer_looks_like_a_clean_end_to_a_naive_stream_and_like_a_loss_to_the_link(
    child: Child, here: Local
) -> None:
    async def main() -> None:
        mesh = Mesh(here)
        control = Control(mesh, {}, anything)
        async with mesh.run(), control.run(), trio.open_nursery() as nursery:
            link = await control.connect(HERE, child.port, deadline_s=5)
            ends: list[object] = []
            stream = await mesh.open(await mesh.dial(HERE, child.port), "/echo")
            nursery.start_soon(read_to_end, stream, ends)
            await trio.testing.wait_all_tasks_blocked(0.05)
            child.kill()
            begun = trio.current_time()
            await link.closed.wait()
            assert trio.current_time() - begun < 2
            assert "goodbye" not in link.reason or link.reason == "the connection ended without a goodbye"
            while not ends:
                await trio.sleep(0.01)
            assert ends == [b""]  # as if the peer had said all it had to say

    play(main)


def test_a_peer_that_comes_back_is_linked_again_at_once(child: Child, here: Local) -> None:
    async def main() -> None:
        mesh = Mesh(here)
        control = Control(mesh, {}, anything)
        async with mesh.run(), control.run():
            link = await control.connect(HERE, child.port, deadline_s=5)
            first = link.peer
            child.kill()
            await link.closed.wait()
            with pytest.raises(Unreachable, match="is not reachable: Connection refused"):
                await control.connect(HERE, child.port, deadline_s=5)
            await trio.to_thread.run_sync(child.start)
            again = await control.connect(HERE, child.port, peer_id=first.peer_id, deadline_s=5)
            assert await again.call("echo", {"n": 1}, deadline_s=5) == {"n": 1}
            assert again.peer.uid == first.uid
            assert again.peer.starts == first.starts + 1

    play(main)


def test_libp2ps_own_dialler_forbids_a_peer_for_60_s_after_one_failure(listener: Local, dialler: Local) -> None:
    with socket.create_server((HERE, 0)) as server:
        port = server.getsockname()[1]

    async def main() -> None:
        there, here = Mesh(listener), Mesh(dialler)
        peer_id = listener.state.peer_id
        async with here.run():
            naive = here._network
            naive.peerstore.add_addrs(ID.from_string(peer_id), [Multiaddr(f"/ip4/{HERE}/tcp/{port}")], 120)
            with pytest.raises(SwarmException):
                await naive.dial_peer(ID.from_string(peer_id))
            async with there.run(listen=[(HERE, port)]):
                with pytest.raises(SwarmException, match="recently failed all addresses"):
                    await naive.dial_peer(ID.from_string(peer_id))
                assert (await here.dial(HERE, port, peer_id=peer_id)).peer_id == peer_id

    play(main)
