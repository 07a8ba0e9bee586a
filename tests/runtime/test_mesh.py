"""Streams between two processes' worth of mesh in one loop."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from swarm.errors import BadInput, IdentityError, Refused, Unreachable
from swarm.runtime import mesh as mesh_module
from swarm.runtime.data_protocol import _below_tls
from swarm.runtime.doorstep import STRANGERS_MAX
from swarm.runtime.mesh import Mesh, Stream
from swarm.runtime.meshlimits import CONNECTIONS_PER_PEER_MAX
from swarm.runtime.secure import PROTOCOL, Raw
from swarm.runtime.tls import Local
from swarm.runtime.turnstile import BURST, PER_S, WAITING_MAX
from tests.certificates import leaf
from tests.handshakes import GOOD, A, B, node

HERE = "127.0.0.1"


@pytest.fixture
def listener(tmp_path: Path) -> Mesh:
    return Mesh(node(tmp_path, GOOD, [A, B]))


@pytest.fixture
def dialler(tmp_path: Path) -> Mesh:
    return Mesh(_other(tmp_path))


def _other(tmp_path: Path) -> Local:
    return node(tmp_path, leaf(B, "SL-1", key="p256"), [A, B])


def play(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(20):
            await main()

    trio.run(bounded)


async def echo(stream: Stream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)
    await stream.aclose()


async def receive_exactly(stream: Stream, n: int) -> bytes:
    received = b""
    while len(received) < n and (data := await stream.receive_some()):
        received += data
    return received


def test_bytes_sent_are_those_that_the_system_counts_below_tls(listener: Mesh, dialler: Mesh) -> None:
    def counted(mesh: Mesh) -> int:
        return sum(_below_tls(session.raw._tcp.socket).sent for _, session in mesh._connections())

    async def main() -> None:
        listener.accept("/echo", echo)
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            port = listener.listen_ports[0]
            peer = await dialler.dial(HERE, port, peer_id=listener.local.state.peer_id)
            stream = await dialler.open(peer, "/echo")
            for size in (5, 100_000):  # at once, and in records
                await stream.send_all(bytes(size))
                assert await receive_exactly(stream, size) == bytes(size)
            for mesh in (dialler, listener):
                assert 100_005 < mesh.bytes_sent == counted(mesh)

    play(main)


def test_a_stream_leads_to_the_proved_peer_on_both_sides(listener: Mesh, dialler: Mesh) -> None:
    seen: list[Stream] = []

    async def handler(stream: Stream) -> None:
        seen.append(stream)
        await echo(stream)

    async def main() -> None:
        listener.accept("/echo", handler)
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            peer = await dialler.dial(HERE, listener.listen_ports[0])
            assert str(peer) == "sn-1 (a)"
            assert peer.uid == listener.local.state.uid
            stream = await dialler.open(peer, "/echo")
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            assert str(seen[0].peer.identity) == "swarm://b/sl/sl-1"
            assert seen[0].address.startswith("127.0.0.1:")
            assert [each.uid for each in dialler.peers()] == [listener.local.state.uid]
            assert [each.uid for each in listener.peers()] == [dialler.local.state.uid]
            await stream.aclose()
            for mesh in (listener, dialler):  # so libp2p has nobody to dial by itself
                assert mesh._network.peerstore.peers_with_addrs() == []

    play(main)


def test_megabytes_pass_both_ways_at_once(listener: Mesh, dialler: Mesh) -> None:
    data = bytes(range(256)) * 4096 * 4

    async def main() -> None:
        listener.accept("/echo", echo)
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            peer = await dialler.dial(HERE, listener.listen_ports[0])
            stream = await dialler.open(peer, "/echo")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data)
                assert await receive_exactly(stream, len(data)) == data

    play(main)


def test_a_node_on_ipv6_is_reached(listener: Mesh, dialler: Mesh) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")

    async def main() -> None:
        listener.accept("/echo", echo)
        async with listener.run(listen=[("::1", 0)]), dialler.run():
            peer = await dialler.dial("::1", listener.listen_ports[0])
            assert (await dialler.open(peer, "/echo")).address.startswith("[::1]:")

    try:
        play(main)
    except BadInput:
        pytest.skip("no IPv6 address here")


def test_several_addresses_are_listened_on(listener: Mesh, dialler: Mesh) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0), (HERE, 0)]), dialler.run():
            assert len(set(listener.listen_ports)) == 2
            for port in listener.listen_ports:
                await dialler.dial(HERE, port, peer_id=listener.local.state.peer_id)

    play(main)


def test_a_port_in_use_is_one_sentence(listener: Mesh, dialler: Mesh) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]):
            port = listener.listen_ports[0]
            with pytest.raises(BadInput, match=f"port {port} of 127.0.0.1 is in use by another process"):
                async with dialler.run(listen=[(HERE, port)]):
                    pass

    play(main)


def test_nobody_there_is_one_sentence(dialler: Mesh) -> None:
    with socket.create_server((HERE, 0)) as server:
        port = server.getsockname()[1]

    async def main() -> None:
        async with dialler.run():
            with pytest.raises(Unreachable, match=f"127.0.0.1:{port} is not reachable: Connection refused"):
                await dialler.dial(HERE, port)

    play(main)


def test_a_silent_address_ends_at_the_deadline(dialler: Mesh) -> None:
    async def main() -> None:
        with socket.create_server((HERE, 0)) as server:
            port = server.getsockname()[1]
            async with dialler.run():
                with pytest.raises(Unreachable, match=rf"no connection to 127.0.0.1:{port} within 0.3 s"):
                    await dialler.dial(HERE, port, deadline_s=0.3)

    play(main)


def test_something_else_at_the_address_is_named(dialler: Mesh) -> None:
    async def web_server(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main() -> None:
        async with trio.open_nursery() as nursery, dialler.run():
            (other,) = await nursery.start(
                lambda task_status: trio.serve_tcp(web_server, 0, host=HERE, task_status=task_status)
            )
            with pytest.raises(IdentityError, match="does not speak /swarm/mtls/1"):
                await dialler.dial(HERE, other.socket.getsockname()[1])
            nursery.cancel_scope.cancel()

    play(main)


def test_a_node_of_a_release_with_another_muxer_is_named_as_that(
    listener: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_module, "MUXER", "/yamux/1.0.0")
    earlier = Mesh(_other(tmp_path))

    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]), earlier.run():
            said = "is a swarm node of another release, which does not speak /yamux/1.0.0"
            with pytest.raises(IdentityError, match=said) as caught:
                await earlier.dial(HERE, listener.listen_ports[0])
            assert caught.value.hint == "run the same release on both, or the one before on one of them"

    play(main)


def test_only_one_security_protocol_is_offered(listener: Mesh) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]):
            port = listener.listen_ports[0]
            raw = Raw(await trio.open_tcp_stream(HERE, port), initiator=True)
            offered = await MultiselectClient().query_multistream_command(MultiselectCommunicator(raw), "ls")
            assert [each for each in offered if each] == [PROTOCOL]
            await raw.close()

    play(main)


@pytest.mark.parametrize("protocol", ["/noise", "/tls/1.0.0", "/secio/1.0.0", "/plaintext/2.0.0"])
def test_nothing_weaker_can_be_negotiated(listener: Mesh, protocol: str) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]):
            raw = Raw(await trio.open_tcp_stream(HERE, listener.listen_ports[0]), initiator=True)
            with pytest.raises(Exception, match="not supported"):
                await MultiselectClient().select_one_of([protocol], MultiselectCommunicator(raw))
            await raw.close()

    play(main)


def test_a_silent_stranger_is_sent_away(listener: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarm.runtime.tls.HANDSHAKE_S", 0.3)

    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]):
            stream = await trio.open_tcp_stream(HERE, listener.listen_ports[0])
            received = b""
            with trio.fail_after(5):
                while data := await stream.receive_some():
                    received += data
            assert received == b"\x13/multistream/1.0.0\n"

    play(main)


async def send_for_ever(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"\xff\xff\x03" + b"x" * 65536)


def test_a_stranger_may_send_16_kib_and_no_more(listener: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]):
            stream = await trio.open_tcp_stream(HERE, listener.listen_ports[0])
            with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
                await send_for_ever(stream)

    with caplog.at_level(logging.WARNING, "swarm.mesh"):
        play(main)
    assert "sent more than 16384 bytes in the handshake" in caplog.text


def test_silent_strangers_keep_nobody_out_the_oldest_gives_way(listener: Mesh, dialler: Mesh) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            port = listener.listen_ports[0]
            strangers = [await trio.open_tcp_stream(HERE, port) for _ in range(STRANGERS_MAX)]
            for stranger in strangers:
                await stranger.receive_some()
            await dialler.dial(HERE, port)
            while await strangers[0].receive_some():
                pass
            assert len(listener._doorstep._standing) < STRANGERS_MAX
            for stranger in strangers:
                await stranger.aclose()

    play(main)


def test_r032_who_connects_hundreds_of_times_a_second_is_held_back_and_others_come_in_meanwhile(listener: Mesh) -> None:
    tries, greeted = 4 * BURST, 0

    async def come() -> None:
        nonlocal greeted
        with contextlib.suppress(trio.BrokenResourceError):
            async with await trio.open_tcp_stream(HERE, listener.listen_ports[0]) as stream:
                came_in = bool(await stream.receive_some())
                greeted += came_in

    async def come_from_elsewhere() -> None:
        async with await trio.open_tcp_stream(HERE, listener.listen_ports[0], local_address="127.0.0.2") as stream:
            assert await stream.receive_some()

    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]):
            began_s = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(tries):
                    nursery.start_soon(come)
                nursery.start_soon(come_from_elsewhere)
            took_s = trio.current_time() - began_s
            assert BURST <= greeted <= min(tries - 1, BURST + WAITING_MAX + PER_S * took_s + 1)
            await come_from_elsewhere()

    play(main)


def test_reconnecting_leaves_no_connection_behind(listener: Mesh, dialler: Mesh) -> None:
    async def main() -> None:
        listener.accept("/echo", echo)
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            for _ in range(2 * CONNECTIONS_PER_PEER_MAX):
                peer = await dialler.dial(HERE, listener.listen_ports[0])
                await dialler.open(peer, "/echo")
                await dialler.close(peer)
                assert dialler.peers() == []
            while listener.peers():
                await trio.sleep(0.01)

    play(main)


def test_closing_a_peer_ends_its_streams_on_both_sides(listener: Mesh, dialler: Mesh) -> None:
    ended = trio.Event()

    async def handler(stream: Stream) -> None:
        assert await stream.receive_some() == b""
        ended.set()

    async def main() -> None:
        listener.accept("/wait", handler)
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            peer = await dialler.dial(HERE, listener.listen_ports[0])
            stream = await dialler.open(peer, "/wait")
            await dialler.close(peer)
            await ended.wait()
            with pytest.raises(Unreachable, match=r"the connection to sn-1 \(a\) at .* broke"):
                await stream.send_all(b"x")
            with pytest.raises(Unreachable, match=r"there is no connection to sn-1 \(a\)"):
                await dialler.open(peer, "/wait")

    play(main)


def test_an_unknown_protocol_is_named(listener: Mesh, dialler: Mesh) -> None:
    async def main() -> None:
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            peer = await dialler.dial(HERE, listener.listen_ports[0])
            with pytest.raises(Unreachable, match=r"sn-1 \(a\) at .* does not serve /nothing"):
                await dialler.open(peer, "/nothing")

    play(main)


def test_a_failing_handler_harms_nobody_else(listener: Mesh, dialler: Mesh) -> None:
    async def broken(stream: Stream) -> None:
        await stream.receive_some()
        raise ValueError("a bug")

    async def main() -> None:
        listener.accept("/broken", broken)
        listener.accept("/echo", echo)
        async with listener.run(listen=[(HERE, 0)]), dialler.run():
            peer = await dialler.dial(HERE, listener.listen_ports[0])
            kept = await dialler.open(peer, "/echo")
            stream = await dialler.open(peer, "/broken")
            await stream.send_all(b"x")
            assert await stream.receive_some() == b""
            await kept.send_all(b"still there")
            assert await kept.receive_some() == b"still there"

    play(main)


def test_what_the_block_raises_comes_out_unwrapped(listener: Mesh) -> None:
    async def main() -> None:
        with pytest.raises(Refused, match="no"):
            async with listener.run(listen=[(HERE, 0)]):
                raise Refused("no")

    play(main)


def test_a_cancelled_dial_leaves_nothing(listener: Mesh, dialler: Mesh) -> None:
    async def main() -> None:
        with socket.create_server((HERE, 0)) as server:
            async with dialler.run():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(dialler.dial, HERE, server.getsockname()[1])
                    connection, _ = await trio.to_thread.run_sync(server.accept)
                    nursery.cancel_scope.cancel()
                with connection:
                    connection.settimeout(5)
                    while connection.recv(100):
                        pass

    play(main)
