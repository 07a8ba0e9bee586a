"""Bytes come whole and in order, or an error names the peer; nobody waits for somebody else's transfer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarm.errors import BadInput, IdentityError, Refused, Unreachable
from swarm.runtime import data_client, data_protocol, data_server, pacing
from swarm.runtime.data import DataServer, FetchStopped, Region, Stop, Want
from swarm.runtime.doorstep import STRANGERS_MAX, Doorstep
from tests.runtime.data_nodes import Node, nodes, until, want

MIB = 1 << 20


@pytest.fixture
def two(tmp_path: Path, organisation):
    with nodes(tmp_path, organisation, 2) as made:
        yield made


def fetch(reader: Node, holder: Node, first: int, last: int, **options: object) -> tuple[bytearray, bytes]:
    into = bytearray(last - first)
    trailer = reader.client.fetch(holder.address, holder.uid, want(first, last), memoryview(into), **options)
    return into, trailer


def test_any_range_of_a_region_comes_as_it_is(two: list[Node]) -> None:
    holder, reader = two
    content = os.urandom(3 * MIB + 17)
    holder.shelf["offer", 0] = Region.complete(memoryview(content), 1000)
    for start, stop in ((1000, 1000 + len(content)), (1000, 1001), (1500, 2 * MIB), (5000, 5000)):
        into, trailer = fetch(reader, holder, start, stop)
        assert into == content[start - 1000 : stop - 1000]
        assert trailer == b""


def test_bytes_come_while_they_are_being_made_and_the_trailer_last(two: list[Node]) -> None:
    holder, reader = two
    content = os.urandom(4 * MIB)
    region = holder.shelf["offer", 0] = Region(memoryview(content))
    seen: list[int] = []
    reached = threading.Semaphore(0)

    def progress(upto: int) -> None:
        seen.append(upto)
        reached.release()

    with ThreadPoolExecutor() as pool:
        fetched = pool.submit(fetch, reader, holder, 0, 4 * MIB, on_progress=progress)
        for upto in (MIB, 3 * MIB, 4 * MIB):
            region.advance(upto)
            while not seen or seen[-1] < upto:
                assert reached.acquire(timeout=10)
        assert not fetched.done()
        region.finish(b"signed")
        into, trailer = fetched.result(10)
    assert into == content
    assert trailer == b"signed"
    assert seen == sorted(seen)
    assert {MIB, 2 * MIB, 3 * MIB, 4 * MIB} <= set(seen)


def test_a_peer_that_asks_too_early_is_kept_waiting_and_served_when_it_is_time(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_server, "ALIVE_EVERY_S", 0.05)
    holder, reader = two
    asked = threading.Event()
    find = holder.server._find
    holder.server._find = lambda peer, want: (asked.set(), find(peer, want))[1]
    with ThreadPoolExecutor() as pool:
        fetched = pool.submit(fetch, reader, holder, 0, 5, stall_s=0.5)
        assert asked.wait(10)
        with pytest.raises(TimeoutError):
            fetched.result(1.0)  # longer than a stall: the peer says that it lives
        holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
        assert fetched.result(10)[0] == b"hello"


def test_what_never_comes_is_refused_in_the_end(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_server, "LAG_S", 0.1)
    holder, reader = two
    with pytest.raises(Refused, match=r"sl-1 \(a\) at .* does not serve the offer of round 3 .*: nothing is here yet"):
        fetch(reader, holder, 0, 5)


def test_a_model_that_never_comes_is_not_waited_for_however_alive_its_holder_is(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_client, "PATIENCE_S", 0.5)
    one, other = two
    with pytest.raises(Unreachable, match="sent 0 bytes of the model of round 3 of contract a-contract in 0 s"):
        other.client.fetch(one.address, one.uid, want(0, 64, "model"), memoryview(bytearray(64)))


def test_silent_strangers_keep_no_peer_out(two: list[Node], monkeypatch) -> None:
    one, other = two
    one.shelf["offer", 0] = Region.complete(memoryview(bytes(64)))
    port = one.server.port
    with contextlib.ExitStack() as stack:
        strangers = []
        while len(strangers) < STRANGERS_MAX:  # one after the other: the first one stands there for longest
            strangers.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            until(lambda: len(one.server._doorstep._standing) == len(strangers))
        other.client.fetch(one.address, one.uid, want(0, 64), memoryview(bytearray(64)))
        strangers[0].settimeout(3.0)
        assert strangers[0].recv(1) == b""


def test_who_was_never_served_does_not_keep_its_connection(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_server, "FIRST_S", 0.3)
    one, other = two
    line = other.client.dial(one.address, one.uid)
    line.sock.settimeout(5.0)
    with pytest.raises(ssl.SSLEOFError):
        line.sock.recv(1)
    other.client.drop(line)


def test_who_asks_for_nothing_gives_way_to_who_comes_also_where_it_has_too_many(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_server, "PER_PEER_MAX", 1)
    holder, reader = two
    holder.server._unserved = Doorstep(2)
    lines = []
    for _ in range(4):
        lines.append(reader.client.dial(holder.address, holder.uid))
        until(lambda: len(holder.server._unserved._standing) == min(len(lines), 2))
    try:
        for line in lines[:2]:
            line.sock.settimeout(data_server.FIRST_S / 2)
            with contextlib.suppress(ssl.SSLEOFError):
                assert line.sock.recv(1) == b""
        until(lambda: holder.server._per_peer[reader.uid] == 2)
    finally:
        for line in lines:
            reader.client.drop(line)


def test_where_no_thread_can_be_started_who_came_is_turned_away_and_the_next_one_served(
    two: list[Node], monkeypatch
) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    start, refused = threading.Thread.start, threading.Event()

    def start_one(thread: threading.Thread) -> None:
        if thread.name == "data-serve" and not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with socket.create_connection(("127.0.0.1", holder.server.port)) as sock:
        sock.settimeout(10)
        assert sock.recv(1) == b""
    until(lambda: not holder.server._connections)
    assert fetch(reader, holder, 0, 5)[0] == b"hello"


def test_signs_of_life_however_many_are_told_at_a_bounded_rate(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_client, "TELL_S", 60.0)
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    stream = data_server.Reply._stream

    def lively(reply: data_server.Reply, region: Region, wanted: Want) -> bytes:
        reply._send(data_protocol.ALIVE * 10_000)
        return stream(reply, region, wanted)

    monkeypatch.setattr(data_server.Reply, "_stream", lively)
    told: list[int] = []
    assert fetch(reader, holder, 0, 5, on_progress=told.append)[0] == b"hello"
    assert told == [5]


def test_a_refusal_comes_with_its_sentence_and_the_connection_of_others_lives_on(two: list[Node]) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))

    def find(peer: object, want: Want) -> Region:
        raise Refused(f"{peer.identity.name} is no member of {want.contract}")

    holder.server._find, find = find, holder.server._find
    with pytest.raises(Refused, match="sl-1 is no member of a-contract"):
        fetch(reader, holder, 0, 5)
    holder.server._find = find
    with pytest.raises(Refused, match=r"bytes 0 to 6 of the offer .* were asked for, this node has 0 to 5"):
        fetch(reader, holder, 0, 6)
    assert fetch(reader, holder, 0, 5)[0] == b"hello"


def test_a_region_that_fails_ends_its_readers_with_the_reason(two: list[Node]) -> None:
    holder, reader = two
    region = holder.shelf["offer", 0] = Region(memoryview(bytes(2 * MIB)))
    region.advance(MIB)
    with ThreadPoolExecutor() as pool:
        half = threading.Event()
        fetched = pool.submit(fetch, reader, holder, 0, 2 * MIB, on_progress=lambda upto: half.set())
        assert half.wait(10)
        region.fail("the attempt is over")
        with pytest.raises(Refused, match="the attempt is over"):
            fetched.result(10)


def test_a_part_that_may_have_changed_while_it_was_sent_is_not_said_to_be_whole(two: list[Node]) -> None:
    class Overtaken(Region):
        def piece(self, at: int, stop: int, timeout_s: float) -> memoryview:
            content = super().piece(at, stop, timeout_s)
            self.fail("the buffer is another's")
            return content

    holder, reader = two
    region = holder.shelf["offer", 0] = Overtaken(memoryview(bytes(2 * MIB)))
    region.finish()
    with pytest.raises(Refused, match="the buffer is another's"):
        fetch(reader, holder, 0, MIB)


def test_connections_are_used_again_and_replaced_when_they_have_ended(two: list[Node]) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    fetch(reader, holder, 0, 5)
    dial = reader.client.dial
    reader.client.dial = None  # whoever dials fails
    fetch(reader, holder, 0, 5)
    reader.client.dial = dial
    port = holder.server.port
    holder.server.close()
    holder.server = DataServer(holder.local, holder.find, "127.0.0.1", port)
    holder.server.start()
    assert fetch(reader, holder, 0, 5)[0] == b"hello"


def test_another_node_at_the_address_is_not_taken_for_the_one_that_was_asked(two: list[Node]) -> None:
    holder, reader = two
    with pytest.raises(IdentityError, match=r"the offer of round 3 .* was not taken from node"):
        reader.client.fetch(holder.address, reader.uid, want(0, 0), memoryview(b""))


def test_a_peer_that_is_gone_is_named_with_its_address(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_client, "FIRST_PAUSE_S", 0.001)
    holder, reader = two
    address = holder.address
    holder.server.close()
    with pytest.raises(Unreachable, match=rf"node {holder.uid[:8]} at {address}: no connection .*tried 2 times, 0 of"):
        reader.client.fetch(address, holder.uid, want(0, 5), memoryview(bytearray(5)))


def test_a_transfer_that_breaks_is_resumed_where_it_stopped(two: list[Node]) -> None:
    holder, reader = two
    content = os.urandom(4 * MIB)
    region = holder.shelf["offer", 0] = Region(memoryview(content))
    region.advance(2 * MIB)
    wanted: list[int] = []
    find = holder.find
    holder.server._find = lambda peer, want: (wanted.append(want.start), find(peer, want))[1]

    def progress(upto: int) -> None:
        if upto == 2 * MIB:
            for sock in list(holder.server._connections.values()):
                data_protocol.wake(sock)
            region.finish()

    into, _ = fetch(reader, holder, 0, 4 * MIB, on_progress=progress)
    assert into == content
    assert wanted == [0, 2 * MIB]


def test_a_cancelled_transfer_breaks_no_other(two: list[Node]) -> None:
    holder, reader = two
    content = os.urandom(64 * MIB)
    region = Region(memoryview(content))
    holder.shelf.update({("offer", 0): region, ("offer", 1): Region.complete(memoryview(content))})
    region.advance(32 * MIB)
    stop, begun = Stop(), threading.Event()
    with ThreadPoolExecutor() as pool:
        cancelled = pool.submit(fetch, reader, holder, 0, 64 * MIB, on_progress=lambda upto: begun.set(), stop=stop)
        assert begun.wait(10)
        into = bytearray(64 * MIB)
        whole = pool.submit(
            reader.client.fetch, holder.address, holder.uid, want(0, 64 * MIB, attempt=1), memoryview(into)
        )
        stop.set()
        with pytest.raises(FetchStopped):
            cancelled.result(5)
        whole.result(30)
    assert into == content
    assert fetch(reader, holder, 0, 32 * MIB)[0] == content[: 32 * MIB]


def test_a_stop_reaches_a_blocked_transfer_at_once_and_then_nothing_more_is_written(two: list[Node]) -> None:
    holder, reader = two
    region = holder.shelf["offer", 0] = Region(memoryview(bytes(2 * MIB)))
    region.advance(MIB)
    stop, begun, into = Stop(), threading.Event(), bytearray(2 * MIB)
    with ThreadPoolExecutor() as pool:
        asked = want(0, 2 * MIB)
        stopped = pool.submit(
            reader.client.fetch, holder.address, holder.uid, asked, memoryview(into), lambda upto: begun.set(), stop
        )
        assert begun.wait(10)
        stop.set()
        stop.settle()
        region.finish()
        with pytest.raises(FetchStopped):
            stopped.result(10)
    with pytest.raises(FetchStopped):
        reader.client.fetch(holder.address, holder.uid, asked, memoryview(into), stop=stop)


def test_a_peer_without_more_says_that_it_lives_and_the_end_of_what_is_here_is_told_again(two, monkeypatch) -> None:
    monkeypatch.setattr(data_server, "ALIVE_EVERY_S", 0.02)
    holder, reader = two
    region = holder.shelf["offer", 0] = Region(memoryview(bytes(2 * MIB)))
    region.advance(MIB)
    told: list[int] = []

    def progress(upto: int) -> None:
        told.append(upto)
        if told.count(MIB) == 3:
            region.finish()

    fetch(reader, holder, 0, 2 * MIB, on_progress=progress)
    assert told.count(MIB) >= 3
    assert told[-1] == 2 * MIB


def test_the_way_to_a_node_is_measured_when_it_is_dialled(two: list[Node]) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    fetch(reader, holder, 0, 5)
    assert 0 < reader.client.rtt_s[holder.uid] < 1


def test_what_is_received_is_counted_like_what_is_sent(two: list[Node]) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(bytes(8 * MIB)))
    fetch(reader, holder, 0, 8 * MIB)
    assert 8 * MIB < reader.client.traffic.received < 8 * MIB * 1.004
    assert reader.client.traffic.received <= holder.server.traffic.sent
    until(lambda: holder.server.traffic.arrived > 8 * MIB)  # what confirms the last bytes may be on its way
    assert holder.server.traffic.arrived <= holder.server.traffic.sent + 1, "TCP confirms its SYN, too"
    assert holder.server.traffic.received <= reader.client.traffic.sent < 16_384


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel says what was waited for on Linux only")
def test_a_reader_that_has_other_things_to_do_is_no_slow_link_and_what_is_held_back_on_the_way_is(
    two: list[Node], monkeypatch
) -> None:
    monkeypatch.setattr(pacing, "ROUND_TRIPS", 1 << 40)  # the kernel stands in for a link here, however near all is
    holder, reader = two
    region = holder.shelf["offer", 0] = Region.complete(memoryview(bytes(32 * MIB)))
    pauses, pause = [1.0], threading.Event()
    fetch(reader, holder, 0, 32 * MIB, on_progress=lambda upto: pause.wait(pauses.pop() if pauses else 0))
    paused_us = holder.server.traffic.waited_us
    assert paused_us < 500_000, "a second of it was the reader's"
    region.even_s = 1.0
    fetch(reader, holder, 0, 32 * MIB)
    assert holder.server.traffic.waited_us - paused_us > 700_000


@pytest.mark.slow
def test_a_reader_that_pauses_for_longer_than_five_seconds_gets_everything(two: list[Node]) -> None:
    holder, reader = two
    content = os.urandom(32 * MIB)
    holder.shelf["offer", 0] = Region.complete(memoryview(content))
    pause, pauses = threading.Event(), [7.0]
    into, _ = fetch(reader, holder, 0, 32 * MIB, on_progress=lambda upto: pause.wait(pauses.pop() if pauses else 0))
    assert into == content


def test_a_reader_that_takes_nothing_is_cut_off_and_others_are_served_meanwhile(two: list[Node], monkeypatch) -> None:
    monkeypatch.setattr(data_server, "READER_STALL_S", 0.5)
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(bytes(64 * MIB)))
    line = reader.client.dial(holder.address, holder.uid)
    until(lambda: sum(holder.server._per_peer.values()) == 1)
    data_client.Transfer(
        reader.client, holder.address, holder.uid, want(0, 64 * MIB), memoryview(b""), None, None, 5.0
    )._ask(line.sock)
    assert len(fetch(reader, holder, 0, MIB)[0]) == MIB
    until(lambda: sum(holder.server._per_peer.values()) == 1)  # only the other connection, idle, is left
    line.sock.close()


def test_connections_that_ended_or_that_nothing_needs_any_longer_are_not_kept(
    tmp_path: Path, organisation, monkeypatch
) -> None:
    monkeypatch.setattr(data_client, "SWEEP_S", 0.0)
    with nodes(tmp_path, organisation, 3) as (reader, gone, holder):
        for node in (gone, holder):
            node.shelf["offer", 0] = node.shelf["shard", 0] = Region.complete(memoryview(b"hello"))
            fetch(reader, node, 0, 5)
        idle = reader.client._idle
        assert len(idle) == 2
        ((since_s, unused),) = idle[holder.address, holder.uid, "offer"]
        idle[holder.address, holder.uid, "offer"] = [(since_s - data_client.UNUSED_S, unused)]
        ((_, ended),) = idle[gone.address, gone.uid, "offer"]
        gone.server.close()
        assert select.select([ended.sock], [], [], 60)[0], "its end has come"
        reader.client.fetch(holder.address, holder.uid, want(0, 5, "shard"), memoryview(bytearray(5)))
        assert list(idle) == [(holder.address, holder.uid, "shard")]
        assert [ended.sock.fileno(), unused.sock.fileno()] == [-1, -1]


def test_a_server_outlasts_what_clients_keep_and_then_lets_go_of_it_and_who_asks_again_is_served(
    two: list[Node], monkeypatch
) -> None:
    assert data_client.UNUSED_S < data_server.IDLE_S
    monkeypatch.setattr(data_server, "IDLE_S", 0.05)
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    assert fetch(reader, holder, 0, 5)[0] == b"hello"
    until(lambda: not sum(holder.server._per_peer.values()))  # what is left half open holds no place
    assert fetch(reader, holder, 0, 5)[0] == b"hello"


@pytest.mark.parametrize(
    ("bound", "whose"), [("PER_PEER_MAX", "of one node"), ("PER_ORGANISATION_MAX", "of [ab]")], ids=["node", "org"]
)
def test_the_number_of_connections_of_one_node_and_of_one_organisation_is_bounded(
    two: list[Node], monkeypatch: pytest.MonkeyPatch, bound: str, whose: str
) -> None:
    monkeypatch.setattr(data_server, bound, 1)
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    line = reader.client.dial(holder.address, holder.uid)
    until(lambda: sum(holder.server._per_peer.values()) == 1)
    with pytest.raises(Refused, match=f"more than 1 data connections {whose}"):
        fetch(reader, holder, 0, 5)
    reader.client.drop(line)
    until(lambda: sum(holder.server._per_peer.values()) == 0)
    assert fetch(reader, holder, 0, 5)[0] == b"hello"


@pytest.mark.parametrize("wire", [None, 7, [], ["c", 0, "offer", 0, "d", 5, 4], ["c", 0, "secret", 0, "d", 0, 4],
                                  ["c", 0, "offer", 0, "d", -1, 4], ["c", 0, "offer", 0, "d", 0, 1 << 60],
                                  ["c" * 300, 0, "offer", 0, "d", 0, 4], ["c", 0, "offer", 0, b"d", 0, 4]])  # fmt: skip
def test_a_request_that_is_none_is_refused(wire: object) -> None:
    with pytest.raises(BadInput, match="a request for data that is none"):
        Want.from_wire(wire)


def test_noise_on_the_port_costs_nothing_but_its_connection(two: list[Node]) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(b"hello"))
    with socket.create_connection(("127.0.0.1", holder.server.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert fetch(reader, holder, 0, 5)[0] == b"hello"
    until(lambda: len(holder.server._connections) == 1)


def test_a_port_in_use_is_one_sentence(two: list[Node]) -> None:
    holder, _ = two
    other = DataServer(holder.local, holder.find, "127.0.0.1", holder.server.port)
    with pytest.raises(BadInput, match=rf"port {holder.server.port} of 127.0.0.1 is in use"):
        other.start()


def test_bytes_sent_are_counted_below_tls(two: list[Node]) -> None:
    holder, reader = two
    holder.shelf["offer", 0] = Region.complete(memoryview(bytes(8 * MIB)))
    fetch(reader, holder, 0, 8 * MIB)
    before = holder.server.bytes_sent
    fetch(reader, holder, 0, 8 * MIB)
    assert 8 * MIB < holder.server.bytes_sent - before < 8 * MIB * 1.004
    asked = reader.client.bytes_sent
    holder.server.close()
    reader.client.close()
    assert 0 < asked <= reader.client.bytes_sent < 16_384
    assert holder.server.bytes_sent >= 16 * MIB


# ---- peers in other processes


@pytest.fixture
def remote(tmp_path: Path, organisation):
    """A holder in another process, which serves 64 MiB of which the second half never comes, and a reader here."""
    files = organisation("a")
    arguments = [str(path) for path in (tmp_path / "remote", files.cert("sl"), files.key("sl"), files.capath)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.data_holder", *arguments], stdout=subprocess.PIPE, text=True
    )
    reader = Node(tmp_path / "reader", files.cert("sl"), files.key("sl"), files.capath)
    try:
        address, uid = process.stdout.readline().split()
        yield process, reader, address, uid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        reader.close()


def at_half_way(remote, act, error: type[Exception], match: str, **options: object) -> None:
    process, reader, address, uid = remote
    half = threading.Event()

    def progress(upto: int) -> None:
        if upto == 32 * MIB:
            half.set()

    into = memoryview(bytearray(64 * MIB))
    with ThreadPoolExecutor() as pool:
        fetched = pool.submit(reader.client.fetch, address, uid, want(0, 64 * MIB), into, progress, **options)
        assert half.wait(20)
        act(process)
        with pytest.raises(error, match=match):
            fetched.result(20)


def test_a_killed_peer_is_an_error_although_its_end_looks_clean(remote) -> None:
    at_half_way(
        remote,
        lambda process: process.kill(),
        Unreachable,
        r"the offer of round 3 .* did not come from sl-1 \(a\) at .*33554432 of 67108864 bytes are here",
    )


def test_a_stopped_peer_is_noticed_by_its_silence_and_named(remote) -> None:
    at_half_way(
        remote,
        lambda process: os.kill(process.pid, signal.SIGSTOP),
        Unreachable,
        r"sl-1 \(a\) at .* fell silent in the offer of round 3 .*: no byte for 2 s",
        stall_s=2.0,
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's CPU affinity")
def test_four_nodes_that_send_to_all_others_at_once_do_not_block_each_other_on_one_cpu(tmp_path, organisation) -> None:
    organisation("a")
    files = tmp_path / "certificates-a"
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.data_all_to_all", str(tmp_path), str(files)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digests = dict(line.split() for line in done.stdout.splitlines())
    assert len(digests) == 12
    for pair, digest in digests.items():
        sender = int(pair[0])
        assert digest == hashlib.sha256(bytes([sender]) * 32 * MIB).hexdigest()
