"""Control links: calls, notices, signs of life, and who may take whose place."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.errors import BadInput, IdentityError, InternalError, Refused, Replaced, RunsTwice, SwarmError, Unreachable
from swarm.runtime import control as control_module
from swarm.runtime.calls import CONCURRENT_MAX
from swarm.runtime.control import PROTOCOL, Control, Link
from swarm.runtime.mesh import Mesh, Stream
from swarm.runtime.outbox import WAITING_MAX
from swarm.runtime.tls import Local, Peer
from swarm.wire import frame
from tests.certificates import leaf
from tests.handshakes import A, B, node

HERE = "127.0.0.1"
Handlers = dict[str, Callable[[Link, dict[str, Any]], Awaitable[Any]]]


def anything(peer: Peer, verb: str) -> None:
    pass


async def echo(link: Link, body: dict[str, Any]) -> dict[str, Any]:
    return body


async def for_ever(link: Link, body: dict[str, Any]) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def serving(
    local: Local, handlers: Handlers, authorise: Callable[[Peer, str], None] = anything, **more: Any
) -> AsyncIterator[tuple[Control, Mesh]]:
    mesh = Mesh(local)
    control = Control(mesh, handlers, authorise, **more)  # type: ignore[arg-type]
    async with mesh.run(listen=[(HERE, 0)]), control.run():
        yield control, mesh


def play(main: Callable[[], Awaitable[None]], seconds: float = 20) -> None:
    async def bounded() -> None:
        with trio.fail_after(seconds):
            await main()

    trio.run(bounded)


def linked(
    server: Local,
    client: Local,
    handlers: Handlers,
    act: Callable[[Link], Awaitable[None]],
    seconds: float = 20,
    **more: Any,
) -> None:
    async def main() -> None:
        async with serving(server, handlers, **more) as (_, mesh), serving(client, {}) as (control, _):
            link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            await act(link)

    play(main, seconds)


async def refusal(call: Awaitable[Any], kind: type[SwarmError]) -> SwarmError:
    with pytest.raises(kind) as caught:
        await call
    assert type(caught.value) is kind
    return caught.value


def test_a_call_is_answered(server: Local, client: Local) -> None:
    async def act(link: Link) -> None:
        body = {"n": 1, "raw": b"\0\1", "list": [None, True, 0.5, "ü"]}
        assert await link.call("echo", body, deadline_s=5) == body
        assert str(link.peer) == "sn-1 (a)"

    linked(server, client, {"echo": echo}, act)


def test_both_sides_may_call(server: Local, client: Local) -> None:
    async def main() -> None:
        async with (
            serving(server, {"echo": echo}) as (at_server, mesh),
            serving(client, {"echo": echo}) as (control, _),
        ):
            accepted: list[Link] = []
            done = trio.Event()

            async def on_link(link: Link) -> None:
                accepted.append(link)
                assert await link.call("echo", {"from": "server"}, deadline_s=5) == {"from": "server"}
                done.set()

            at_server.on_link = on_link
            link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            assert await link.call("echo", {"from": "client"}, deadline_s=5) == {"from": "client"}
            await done.wait()
            assert accepted[0].peer.uid == client.state.uid

    play(main)


def test_errors_come_back_as_the_same_class(server: Local, client: Local) -> None:
    async def refuse(link: Link, body: dict[str, Any]) -> None:
        raise Refused("not you", hint="ask somebody else")

    async def bug(link: Link, body: dict[str, Any]) -> None:
        raise ValueError("secret detail")

    async def act(link: Link) -> None:
        error = await refusal(link.call("refuse", {}, deadline_s=5), Refused)
        assert (error.message, error.hint) == ("not you", "ask somebody else")
        internal = await refusal(link.call("bug", {}, deadline_s=5), InternalError)
        assert internal.message == "internal error while 'bug' was handled: ValueError"
        unknown = await refusal(link.call("nix", {}, deadline_s=5), Refused)
        assert unknown.message == "'nix' is nothing this node does"
        assert await link.call("echo", {}, deadline_s=5) == {}

    linked(server, client, {"refuse": refuse, "bug": bug, "echo": echo}, act)


def test_what_is_not_authorised_is_not_done(server: Local, client: Local) -> None:
    done: list[str] = []

    async def note(link: Link, body: dict[str, Any]) -> None:
        done.append("note")

    def authorise(peer: Peer, verb: str) -> None:
        if verb == "note":
            raise Refused(f"{peer.identity} may not '{verb}'")

    async def act(link: Link) -> None:
        error = await refusal(link.call("note", {}, deadline_s=5), Refused)
        assert error.message == "swarm://b/sl/sl-1 may not 'note'"
        link.tell("note", {})
        await link.call("echo", {}, deadline_s=5)

    linked(server, client, {"note": note, "echo": echo}, act, authorise=authorise)
    assert done == []


def test_no_answer_names_whom_and_what(server: Local, client: Local) -> None:
    async def act(link: Link) -> None:
        error = await refusal(link.call("wait", {}, deadline_s=0.2), Unreachable)
        assert error.message == f"no answer from sn-1 (a) at {link.address} to 'wait' within 0.2 s"
        assert await link.call("echo", {}, deadline_s=5) == {}

    linked(server, client, {"wait": for_ever, "echo": echo}, act)


def test_a_cancelled_call_leaves_the_link_whole(server: Local, client: Local) -> None:
    async def act(link: Link) -> None:
        for _ in range(20):
            with trio.move_on_after(0.001):
                await link.call("echo", {"big": b"x" * 900_000}, deadline_s=5)
        assert await link.call("echo", {"n": 1}, deadline_s=10) == {"n": 1}

    linked(server, client, {"echo": echo}, act)


def test_notices_arrive_in_order(server: Local, client: Local) -> None:
    seen: list[int] = []

    def note(link: Link, body: dict[str, Any]) -> None:
        seen.append(body["n"])

    async def act(link: Link) -> None:
        for n in range(300):
            link.tell("note", {"n": n})
            if n % (WAITING_MAX // 2) == 0:
                await link.call("echo", {}, deadline_s=5)  # by now all that was told before has left
        while len(seen) < 300:
            await trio.sleep(0.01)

    linked(server, client, {"echo": echo}, act, listeners={"note": note})
    assert seen == list(range(300))


def test_what_has_to_be_asked_is_not_begun_where_it_is_told_so_nothing_of_a_link_waits_for_it(
    server: Local, client: Local, caplog: pytest.LogCaptureFixture
) -> None:
    """What was told waited for what was told before, a thousand megabytes of it."""
    begun: list[int] = []

    async def slow(link: Link, body: dict[str, Any]) -> None:
        begun.append(body["n"])
        await trio.sleep_forever()

    async def act(link: Link) -> None:
        for n in range(3):
            link.tell("slow", {"n": n})
        assert await link.call("echo", {}, deadline_s=5) == {}

    linked(server, client, {"slow": slow, "echo": echo}, act)
    assert not begun
    assert [record.getMessage().partition(": ")[2] for record in caplog.records if "'slow'" in record.getMessage()] == [
        "'slow' is nothing this node does"
    ] * 3


def test_requests_run_concurrently_and_64_at_most(server: Local, client: Local) -> None:
    running, most = 0, 0

    async def work(link: Link, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.05)
        running -= 1
        return body

    async def act(link: Link) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(3 * CONCURRENT_MAX):
                nursery.start_soon(one, link, n)

    async def one(link: Link, n: int) -> None:
        assert await link.call("work", {"n": n}, deadline_s=15) == {"n": n}

    linked(server, client, {"work": work}, act)
    assert CONCURRENT_MAX // 2 < most <= CONCURRENT_MAX


def test_what_is_over_1_mib_is_not_sent_and_harms_nothing(server: Local, client: Local) -> None:
    async def large(link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return {"x": b"x" * frame.CAP}

    async def act(link: Link) -> None:
        error = await refusal(link.call("echo", {"x": b"x" * frame.CAP}, deadline_s=5), BadInput)
        assert "bytes to send, at most 1048576" in error.message
        answer = await refusal(link.call("large", {}, deadline_s=5), BadInput)
        assert "bytes to send, at most 1048576" in answer.message
        assert await link.call("echo", {"x": b"x" * (frame.CAP - 100)}, deadline_s=5)

    linked(server, client, {"echo": echo, "large": large}, act)


def raw_stream(server: Local, client: Local, act: Callable[[Stream, Link], Awaitable[None]]) -> None:
    """A peer that speaks the control protocol by hand, and the link that it has at the server."""

    async def main() -> None:
        links: list[Link] = []
        there = trio.Event()

        async def on_link(link: Link) -> None:
            links.append(link)
            there.set()

        mesh = Mesh(client)
        async with serving(server, {"echo": echo, "wait": for_ever}) as (control, listener), mesh.run():
            control.on_link = on_link
            peer = await mesh.dial(HERE, listener.listen_ports[0])
            stream = await mesh.open(peer, PROTOCOL)
            await there.wait()
            await act(stream, links[0])

    play(main)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ((frame.CAP + 1).to_bytes(4, "big"), "a frame of 1048577 bytes received, at most 1048576"),
        (frame.HEADER.pack(1) + b"\xc1", "is not one msgpack object"),
        (frame.pack({"verb": "echo"}), "sent something that is no control message"),
        (frame.pack(["request", "1", "echo", {}]), "sent something that is no control message"),
        (b"".join(frame.pack(["request", n, "wait", {}]) for n in range(65)), "asked more than 64 things at once"),
        (frame.pack(["request", 1, "echo", {"x": [{}] * 9}]), "sent something that is no control message"),
        (frame.pack(["request", 1, "echo", {"x": [0] * 16385}]), "sent something that is no control message"),
        (frame.pack(["bye", {"code": "three", "message": ["no", "text"]}]), ""),
        (frame.pack(["bye", {"code": float("inf"), "message": "a\nb\x1b[2J"}]), "a b?[2J"),
    ],
)
def test_a_peer_that_breaks_the_rules_loses_its_link(server: Local, client: Local, data: bytes, reason: str) -> None:
    async def act(stream: Stream, link: Link) -> None:
        await stream.send_all(data)
        await link.closed.wait()
        assert reason in link.reason

    raw_stream(server, client, act)


def test_a_verb_of_a_stranger_cannot_forge_lines_of_the_log(
    server: Local, client: Local, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(stream: Stream, link: Link) -> None:
        await stream.send_all(frame.pack(["notice", "x\n2026 : swarm : INFO : forged", {}]))
        await stream.send_all(frame.pack(["request", 1, "echo", {}]))
        await stream.receive_some()
        await stream.send_all(frame.pack(["bye", {}]))
        await link.closed.wait()

    raw_stream(server, client, act)
    (line,) = (record.getMessage() for record in caplog.records if "forged" in record.getMessage())
    assert "\n" not in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (["reply", 77, {}], "an answer under the number 77, and no question of that number waits for one"),
        (["error", 0, {}], "an answer under the number 0, and no question of that number waits for one"),
        (["notice", "x" * 41, {}], "sl-1 (b) sent something that is no control message"),
        (["request", 1, "x" * 41, {}], "sl-1 (b) sent something that is no control message"),
        (["request", 1, "echo", {"x" * 1025: 0}], "sl-1 (b) sent something that is no control message"),
    ],
)
def test_what_answers_nothing_or_has_a_name_without_end_ends_the_link(
    server: Local, client: Local, said: list[Any], why: str
) -> None:
    """What was looked at and thrown away cost its sender nothing, and could be said again."""

    async def act(stream: Stream, link: Link) -> None:
        await stream.send_all(frame.pack(said))
        await link.closed.wait()
        assert link.reason == why

    raw_stream(server, client, act)


def test_an_end_without_goodbye_is_a_loss_and_with_goodbye_is_none(server: Local, client: Local) -> None:
    async def lost(stream: Stream, link: Link) -> None:
        await stream.aclose()
        await link.closed.wait()
        assert link.reason == "the connection ended without a goodbye"

    async def ended(stream: Stream, link: Link) -> None:
        await stream.send_all(frame.pack(["bye", {}]))
        await link.closed.wait()
        assert link.reason == "sl-1 (b) said goodbye"

    raw_stream(server, client, lost)
    raw_stream(server, client, ended)


def test_closing_ends_calls_under_way_on_the_other_side(server: Local, client: Local) -> None:
    async def main() -> None:
        async with serving(server, {"wait": for_ever}) as (control, mesh), serving(client, {}) as (at_client, _):
            accepted: list[Link] = []

            async def on_link(link: Link) -> None:
                accepted.append(link)

            control.on_link = on_link
            link = await at_client.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(asked, link)
                while not accepted:
                    await trio.sleep(0.01)
                await trio.sleep(0.05)
                await accepted[0].close()
            assert link.reason == "sn-1 (a) said goodbye"
            assert accepted[0].reason == "closed here"
            after = await refusal(link.call("echo", {}, deadline_s=5), Unreachable)
            assert "said goodbye" in after.message

    async def asked(link: Link) -> None:
        error = await refusal(link.call("wait", {}, deadline_s=10), Unreachable)
        assert error.message == f"lost sn-1 (a) at {link.address} while it was asked 'wait': sn-1 (a) said goodbye"

    play(main)


def test_stopping_says_goodbye(server: Local, client: Local) -> None:
    async def main() -> None:
        async with serving(client, {}) as (control, _):
            async with serving(server, {}) as (_, mesh):
                link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            await link.closed.wait()
            assert link.reason == "sn-1 (a) said goodbye"

    play(main)


def test_connecting_many_times_keeps_no_connection(server: Local, client: Local) -> None:
    async def main() -> None:
        async with serving(server, {"echo": echo}) as (_, mesh), serving(client, {}) as (control, own):
            for n in range(12):
                while True:  # 8 at once are borne with, and the other side hears of an end later
                    with contextlib.suppress(Unreachable):
                        link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
                        break
                    await trio.sleep(0.01)
                assert await link.call("echo", {"n": n}, deadline_s=5) == {"n": n}
                await link.close()
            while mesh.peers() or own.peers():
                await trio.sleep(0.01)

    play(main)


def test_a_listener_that_does_not_welcome_is_unreachable(server: Local, client: Local) -> None:
    async def silent(stream: Stream) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        mesh = Mesh(server)
        mesh.accept(PROTOCOL, silent)
        async with mesh.run(listen=[(HERE, 0)]), serving(client, {}) as (control, _):
            with pytest.raises(
                Unreachable, match=r"sn-1 \(a\) at .* did not welcome this node within (0.5|1|1.\d+|2) s"
            ):
                await control.connect(HERE, mesh.listen_ports[0], deadline_s=0.5)

    play(main)


def test_a_silent_peer_is_noticed_after_three_missed_beats(
    server: Local, client: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "BEAT_S", 0.1)

    async def act(stream: Stream, link: Link) -> None:
        begun = trio.current_time()
        await link.closed.wait()
        assert re.fullmatch(r"no sign of life for (0\.\d+|1|1\.\d) s", link.reason)  # longer where beats come late
        assert trio.current_time() - begun > 0.25

    raw_stream(server, client, act)


def test_an_idle_link_stays(server: Local, client: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "BEAT_S", 0.05)

    async def act(link: Link) -> None:
        with trio.move_on_after(1.0):
            await link.closed.wait()
        assert not link.closed.is_set()

    linked(server, client, {}, act)


def test_a_stall_of_this_process_blames_nobody(server: Local, client: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that was blocked for longer than three beats finds the peer's beats waiting, and counts no silence."""
    monkeypatch.setattr(control_module, "BEAT_S", 0.1)

    async def act(link: Link) -> None:
        threading.Event().wait(1.0)  # blocks the loop: this is the stall
        with trio.move_on_after(0.5):
            await link.closed.wait()
        assert not link.closed.is_set(), link.reason

    linked(server, client, {}, act)


# ---- a second incarnation of one node


def copied(tmp_path: Path, original: Local) -> Local:
    """A process that runs on a copied state directory: the same node key, a later start."""
    target = tmp_path / f"copy-{len(os.listdir(tmp_path))}"
    shutil.copytree(original.state.path, target)
    return node(tmp_path, leaf(B, "SL-1"), [A, B], state=target.name)


def test_a_second_incarnation_is_refused_while_the_first_lives(
    tmp_path: Path, server: Local, client: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "BEAT_S", 0.2)
    second = copied(tmp_path, client)

    async def main() -> None:
        async with (
            serving(server, {"echo": echo}) as (_, mesh),
            serving(client, {}) as (first_control, _),
            serving(second, {}) as (second_control, _),
        ):
            first = await first_control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            with pytest.raises(
                IdentityError, match=r"sl-1 \(b\) runs twice with one node key: at 127.*, which is alive, and at 127"
            ):
                await second_control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            (key,) = server.acquaintances.doubles
            assert server.acquaintances.doubles[key] == (second.state.incarnation, b"")
            server.acquaintances.doubles[key] = second.state.incarnation, b"the word of the first"
            with pytest.raises(RunsTwice) as refused:
                await second_control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            assert refused.value.proof == b"the word of the first"
            assert refused.value.said_by == server.state.uid
            assert await first.call("echo", {}, deadline_s=5) == {}

    play(main)


def test_a_second_incarnation_replaces_a_silent_first_for_good(
    tmp_path: Path, server: Local, client: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "BEAT_S", 0.5)
    second = copied(tmp_path, client)

    async def main() -> None:
        frozen = Mesh(client)
        async with (
            serving(server, {"echo": echo}) as (_, mesh),
            frozen.run(),
            serving(second, {}) as (control, _),
        ):
            port = mesh.listen_ports[0]
            stream = await frozen.open(await frozen.dial(HERE, port), PROTOCOL)
            await stream.receive_some()  # its welcome; from here on it is silent
            link = await control.connect(HERE, port, deadline_s=10)
            assert await link.call("echo", {"n": 1}, deadline_s=5) == {"n": 1}
            with pytest.raises(Replaced, match=r"refused this node: .*start 2 has taken its place") as refused:
                await frozen.dial(HERE, port)
            assert refused.value.said_by == server.state.uid

    play(main)


def test_several_links_of_one_incarnation_are_normal(server: Local, client: Local) -> None:
    async def main() -> None:
        async with serving(server, {"echo": echo}) as (_, mesh), serving(client, {}) as (control, _):
            links = [await control.connect(HERE, mesh.listen_ports[0], deadline_s=5) for _ in range(3)]
            for link in links:
                assert await link.call("echo", {}, deadline_s=5) == {}

    play(main)


def test_a_reader_with_notices_in_hand_when_the_writer_meets_the_end_does_not_end_the_node(client: Local) -> None:
    class Broken:
        """Its other end is gone, which writing tells first; the last bytes of it are read afterwards."""

        peer, address = None, "nowhere"

        def __init__(self) -> None:
            self.link: Link | None = None

        def send_now(self, data: bytes) -> bool:
            return False

        async def send_all(self, data: bytes) -> None:
            raise Unreachable("broken pipe")

        def divert(self, take: Callable[[bytes], None]) -> None:
            pass

        async def receive_some(self) -> bytes:
            assert self.link is not None
            with trio.CancelScope(shield=True):
                await self.link.closed.wait()
            return frame.pack(["welcome"]) + frame.pack(["notice", "raft", {}])

        async def abort(self) -> None:
            pass

    async def main() -> None:
        stream = Broken()
        stream.link = Link(stream, Control(Mesh(client), {}, anything))  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(stream.link.run, accepted=False))
            with pytest.raises(Unreachable, match="broken pipe"):
                await stream.link.call("status", {}, deadline_s=5)

    play(main)


def test_requests_that_nobody_waits_for_any_more_count_until_they_are_answered(server: Local, client: Local) -> None:
    gate = trio.Event()

    async def wait(link: Link, body: dict[str, Any]) -> dict[str, Any]:
        await gate.wait()
        return body

    async def act(link: Link) -> None:
        async def give_up() -> None:
            with pytest.raises(Unreachable, match="no answer"):
                await link.call("wait", {}, deadline_s=0.2)

        for _ in range(3):  # three times as many as may be under way
            async with trio.open_nursery() as nursery:
                for _ in range(CONCURRENT_MAX):
                    nursery.start_soon(give_up)
        assert not link.closed.is_set()
        gate.set()
        for n in range(2 * CONCURRENT_MAX):
            assert await link.call("wait", {"n": n}, deadline_s=5) == {"n": n}

    linked(server, client, {"wait": wait}, act)
