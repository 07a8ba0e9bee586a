"""The front of a web server: mutual TLS with our certificates, one request a connection, passed to a Unix socket.

Used by `nodes/swci/web`, because the HTTP server behind does not show client certificates. Guarantees: nothing reaches
the server behind that was not sent by somebody whom `admit` lets in, over TLS 1.3, with a whole head of at most 16 KiB
that came within 10 s; whoever speaks plain HTTP, or is not let in, reads one sentence why; a connection ends by its
deadline, and at most so many are open at once.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from swarm.core.names import Identity
from swarm.errors import BadInput, IdentityError, SwarmError
from swarm.runtime.credentials import Credentials
from swarm.runtime.tls import HANDSHAKE_S, address_text, judged

HEAD_S = 10.0
HEAD_BYTES = 16_384
CONNECTIONS_MAX = 64
_FAREWELL_S = 1.0
_PIECE = 65_536
_TLS_RECORD = b"\x16"
"""The first byte of TLS; no request of plain HTTP begins with it."""
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")

log = logging.getLogger("swarm.web")

Stream = trio.abc.Stream
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError)


class Turned(Exception):
    """A request that goes no further: the status, and the sentence."""

    def __init__(self, status: str, error: SwarmError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


@dataclass
class Front:
    """``upstream``: the Unix socket of the server behind. ``deadline_s``: of a connection as a whole."""

    credentials: Credentials
    admit: Callable[[Identity], None]
    upstream: Path
    deadline_s: float
    roles: Sequence[str] = ("swci",)
    _places: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(CONNECTIONS_MAX))

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._answer, listeners, handler_nursery=nursery)

    async def _answer(self, stream: trio.SocketStream) -> None:
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await trio.aclose_forcefully(stream)
            return
        try:
            with trio.move_on_after(self.deadline_s):
                await self._connection(stream)
        except _BROKEN as error:
            log.debug("%s: %s", _who(stream), error)
        finally:
            self._places.release()
            await trio.aclose_forcefully(stream)

    async def _connection(self, stream: trio.SocketStream) -> None:
        who = _who(stream)
        with trio.move_on_after(HANDSHAKE_S) as in_time:
            if await stream.socket.recv(1, socket.MSG_PEEK) != _TLS_RECORD:
                await _turn_away(stream, Turned("400 Bad Request", _plain()))
                return
            tls: trio.SSLStream = trio.SSLStream(
                stream, self.credentials.server_context(), server_side=True, https_compatible=True
            )
            await tls.do_handshake()
        if in_time.cancelled_caught:
            return
        try:
            self._let_in(tls, who)
            head = await _head(tls)
        except Turned as turned:
            log.warning("%s: %s", who, turned.error.message)
            await _turn_away(tls, turned)
            return
        await self._pass_on(tls, head)

    def _let_in(self, tls: trio.SSLStream, who: str) -> None:
        """The certificate is judged as that of a node is; what it was not let in for is said within TLS."""
        finished: ssl.SSLObject = tls._ssl_object  # type: ignore[attr-defined] # no public way leads to the chain
        try:
            identity, _ = judged(finished, self.credentials, who, self.roles)
            self.admit(identity)
        except SwarmError as error:
            raise Turned("403 Forbidden", error) from None

    async def _pass_on(self, tls: trio.SSLStream, head: bytes) -> None:
        async with await trio.open_unix_socket(str(self.upstream)) as behind, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, tls, behind, head)
            await _copy(behind, tls)
            nursery.cancel_scope.cancel()


async def _copy(source: Stream, target: Stream, begin: bytes = b"") -> None:
    """Until the source ends; the other side then learns that nothing more comes, or that nobody reads on."""
    try:
        await target.send_all(begin)
        async for data in source:
            await target.send_all(data)
    except _BROKEN:
        pass
    with trio.move_on_after(_FAREWELL_S):
        await target.aclose()


async def _head(tls: trio.SSLStream) -> bytes:
    """The whole head of a request, and what came with it. Only HTTP/1.1, and nothing that would leave it."""
    head = b""
    with trio.move_on_after(HEAD_S) as in_time:
        while b"\r\n\r\n" not in head:
            piece = await tls.receive_some(_PIECE)
            head += piece
            if not piece or not any(head.startswith(method[: len(head)]) for method in _METHODS):
                raise Turned("400 Bad Request", BadInput("what was sent is no request of HTTP/1.1"))
            if len(head.partition(b"\r\n\r\n")[0]) > HEAD_BYTES:
                too_long = f"the head of the request is longer than {HEAD_BYTES} bytes"
                raise Turned("431 Request Header Fields Too Large", BadInput(too_long))
    if in_time.cancelled_caught:
        raise Turned("408 Request Timeout", BadInput(f"the head of the request did not come within {HEAD_S:g} s"))
    if any(line.lower().startswith(b"upgrade:") for line in head.partition(b"\r\n\r\n")[0].split(b"\n")):
        raise Turned("400 Bad Request", BadInput("the header Upgrade is not taken: HTTP/1.1 is all that is spoken"))
    return head


async def _turn_away(stream: Stream, turned: Turned) -> None:
    """Answer, and let the other side read it: closing with unread bytes would destroy what was said."""
    lines = [f"ERROR : {turned.error.message}", *([f"HINT : {turned.error.hint}"] if turned.error.hint else [])]
    body = json.dumps({"CONTENT": lines}).encode() + b"\n"
    head = f"HTTP/1.1 {turned.status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with trio.move_on_after(_FAREWELL_S):
        await stream.send_all(head.encode() + b"Connection: close\r\n\r\n" + body)
        if isinstance(stream, trio.SocketStream):
            await stream.send_eof()
        received = 0
        while received < 4 * HEAD_BYTES and (piece := await stream.receive_some(_PIECE)):
            received += len(piece)


def same_organisation(own: Identity, verb: str) -> Callable[[Identity], None]:
    """Lets in whom the organisation of `own` has given its certificate."""

    def admit(identity: Identity) -> None:
        if identity.anchor != own.anchor:
            raise IdentityError(
                f"{identity} may not {verb} here: only {own.organisation}'s own people may",
                hint="a certificate with the role swci of that organisation",
            )

    return admit


def _plain() -> SwarmError:
    return BadInput(
        "this is HTTPS with a certificate on both sides, and plain HTTP came",
        hint="https://…, with the certificate and key of a swci of this organisation",
    )


def _who(stream: trio.SocketStream) -> str:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return "an address that is gone"
    return address_text(name[0], name[1])
