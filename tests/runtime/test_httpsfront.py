"""The front of the web server, as strangers meet it: rubbish, slow heads, long heads, too many, and who is let in."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
import trio

from swarm.core.names import Identity
from swarm.errors import Refused
from swarm.runtime import clock, httpsfront
from swarm.runtime.credentials import Credentials
from swarm.runtime.httpsfront import Front
from tests.certificates import NOW, make_organisation

HEAD = b"POST /exec HTTP/1.1\r\nHost: x\r\n\r\n"


class World:
    """A front, and behind it a server that answers every byte with what it got, once its client says END."""

    def __init__(self, tmp_path):
        organisation = make_organisation(tmp_path, "a", ("swci", "sl"))
        self.files = {role: (organisation.cert(role), organisation.key(role)) for role in ("swci", "sl")}
        self.credentials = {role: Credentials.load(*self.files[role], organisation.capath) for role in self.files}
        self.socket = tmp_path / "behind.sock"
        self.came: list[bytes] = []
        self.ended = 0
        self.deadline_s = 60.0

    def admit(self, identity: Identity) -> None:
        assert identity.role == "swci"

    async def behind(self, stream):
        got = b""
        async for data in stream:
            got += data
            if got.endswith(b"END"):
                self.came.append(got)
                await stream.send_all(b"heard " + str(len(got)).encode())
                await stream.aclose()
                return
        self.ended += 1

    async def run(self, visit):
        front = Front(self.credentials["swci"], self.admit, self.socket, self.deadline_s)
        self.socket.unlink(missing_ok=True)
        with trio.socket.socket(trio.socket.AF_UNIX) as unix:
            await unix.bind(str(self.socket))
            unix.listen()
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self.behind, [trio.SocketListener(unix)])
                nursery.start_soon(front.serve, listeners)
                result = await visit(port)
                nursery.cancel_scope.cancel()
        return result

    async def tls(self, port, role="swci"):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        secure = trio.SSLStream(stream, self.credentials[role].client_context(), https_compatible=True)
        await secure.do_handshake()
        return secure


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def everything(stream) -> bytes:
    read = b""
    with trio.fail_after(30):
        async for data in stream:
            read += data
    return read


def sentence(answer: bytes) -> str:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["CONTENT"][0]


def visit(world, send, role="swci", plain=False):
    """The whole answer to these pieces."""

    async def go(port):
        stream = await trio.open_tcp_stream("127.0.0.1", port) if plain else await world.tls(port, role)
        for piece in send:
            await stream.send_all(piece)
        return await everything(stream)

    return trio.run(world.run, go)


def test_a_request_goes_through_with_its_answer(world):
    assert visit(world, [HEAD[:5], HEAD[5:] + b"body", b"END"]) == b"heard " + str(len(HEAD) + 7).encode()
    assert world.came == [HEAD + b"bodyEND"]


@pytest.mark.parametrize(
    ("send", "status", "told"),
    [
        ([b"\x00\x01rubbish"], b"400", "what was sent is no request of HTTP/1.1"),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], b"400", "what was sent is no request of HTTP/1.1"),
        ([b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"], b"400", "the header Upgrade is not taken"),
        ([b"GET / HTTP/1.1\r\nHost: x\nUpgrade: h2c\r\n\r\n"], b"400", "the header Upgrade is not taken"),
        ([b"POST /" + b"x" * 20_000], b"431", "the head of the request is longer than 16384 bytes"),
    ],
)
def test_what_is_no_request_is_turned_away_unheard(world, send, status, told):
    answer = visit(world, send)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert sentence(answer).startswith(f"ERROR : {told}")
    assert not world.came


def test_plain_http_is_told_so(world):
    answer = visit(world, [HEAD], plain=True)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert sentence(answer) == "ERROR : this is HTTPS with a certificate on both sides, and plain HTTP came"


def test_who_has_expired_is_told_the_times_and_nothing_is_passed_on(world, monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: NOW + timedelta(days=36500))
    answer = visit(world, [HEAD])
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert re.search(r"the certificate CN=SWCI-1 expired on .* UTC, it is .* UTC", sentence(answer))
    assert not world.came


def test_other_roles_and_who_is_not_admitted_are_told_why(world):
    assert "has the role sl, expected swci" in sentence(visit(world, [HEAD], role="sl"))

    def nobody(identity):
        raise Refused(f"{identity} is not welcome")

    world.admit = nobody
    assert sentence(visit(world, [HEAD])) == "ERROR : swarm://a/swci/swci-1 is not welcome"
    assert not world.came


def test_a_head_that_does_not_come_is_given_up(world, monkeypatch):
    monkeypatch.setattr(httpsfront, "HEAD_S", 0.2)
    assert sentence(visit(world, [HEAD[:-2]])) == "ERROR : the head of the request did not come within 0.2 s"


def test_who_says_nothing_is_hung_up_on(world, monkeypatch):
    monkeypatch.setattr(httpsfront, "HANDSHAKE_S", 0.2)
    assert visit(world, [], plain=True) == b""
    assert visit(world, [b"\x16\x03\x01"], plain=True) == b""


def test_a_connection_ends_with_its_deadline(world):
    world.deadline_s = 0.5
    assert visit(world, [HEAD, b"never the end"]) == b""


def test_the_server_behind_hears_of_a_client_that_goes(world):
    async def go(port):
        stream = await world.tls(port)
        await stream.send_all(HEAD)
        await stream.aclose()
        with trio.fail_after(30):
            while not world.ended:
                await trio.sleep(0.01)

    trio.run(world.run, go)
    assert world.ended == 1


def test_more_connections_than_there_are_places_are_closed_at_once(world, monkeypatch):
    monkeypatch.setattr(httpsfront, "CONNECTIONS_MAX", 1)

    async def go(port):
        first = await world.tls(port)
        second = await trio.open_tcp_stream("127.0.0.1", port)
        assert await everything(second) == b""
        await first.send_all(HEAD + b"END")
        return await everything(first)

    assert trio.run(world.run, go) == b"heard " + str(len(HEAD) + 3).encode()
