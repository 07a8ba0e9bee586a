"""The mesh: authenticated streams between processes, over libp2p.

Used by `runtime.control`, and by nothing else; libp2p's types end here. Guarantees: a `Stream` leads to the `Peer` that
the handshake has proved; whatever breaks shows as an error that names the peer; what libp2p 0.8.1 does on its own is
switched off (it dials, identifies, prunes and forbids nothing by itself).

Connections are accepted and made here and handed to libp2p for the handshake and the multiplexing: its own listener
shares ports silently (SO_REUSEPORT) and never gives back the place of a connection that has ended; its own dialler
waits 250 ms at each dial, hides the cause of a failure and then forbids the peer for 60 s.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import trio
from libp2p import new_swarm
from libp2p.abc import IMuxedStream, INetConn, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.io.exceptions import IncompleteReadError
from libp2p.network.config import RetryConfig
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from swarm.core.lateness import LOOK_S
from swarm.core.names import ROLES
from swarm.errors import BadInput, IdentityError, SwarmError, Unreachable
from swarm.runtime.door import Door
from swarm.runtime.doorstep import Doorstep, looks_like
from swarm.runtime.meshlimits import CONNECT_S, NEGOTIATE_S, connection_config, resource_manager
from swarm.runtime.muxer import PROTOCOL as MUXER
from swarm.runtime.muxer import Muxer, QuickStream
from swarm.runtime.secure import PROTOCOL, Raw, Session, SwarmTls, Tally
from swarm.runtime.tls import Local, Peer, address_text, too_slow
from swarm.runtime.turnstile import Turnstile
from swarm.wire.certnames import printable

_CLOSING_S = 0.5
_CHUNK = 1 << 16

log = logging.getLogger("swarm.mesh")
# Its warnings and errors are about things that are reported here with their cause, or not worth a line.
logging.getLogger("libp2p").addHandler(logging.NullHandler())
logging.getLogger("libp2p").propagate = False  # a level would not do: one of its modules sets its own

StreamHandler = Callable[["Stream"], Awaitable[None]]


class Stream:
    """Bytes to and from one peer."""

    def __init__(self, stream: INetStream, connection: INetConn, session: Session) -> None:
        self.peer = session.peer
        self.address = session.raw.who
        self._stream, self._connection, self._session = stream, connection, session
        self._muxed: IMuxedStream = stream.muxed_stream  # type: ignore[attr-defined] # only its interface lacks it

    async def send_all(self, data: bytes) -> None:
        """Shielded: a cancelled write would leave half a frame and break the connection for all its streams.

        Yamux gives up after 5 s without the peer reading; the stream is lost then, and so says the error.
        """
        with trio.CancelScope(shield=True):
            try:
                await self._muxed.write(data)
            except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise self._lost(error) from error

    def send_now(self, data: bytes) -> bool:
        """The same at once, for a few bytes of the only writer; False, and nothing of it, when that cannot be. If the
        stream ``is_stuck`` afterwards, ``send_all`` (of nothing, too) sends the rest."""
        return isinstance(self._muxed, QuickStream) and self._muxed.write_now(data)

    @property
    def is_stuck(self) -> bool:
        return self._session.is_stuck

    def divert(self, take: Callable[[bytes], None]) -> None:
        """``take`` gets what comes in, from now on and as it comes; it neither raises nor waits. ``receive_some`` then
        waits for the end, and has to be called."""
        if isinstance(self._muxed, QuickStream):
            self._muxed.divert(take)

    async def receive_some(self) -> bytes:
        """What there is; b"" at the end, which that of a killed peer or a reset stream may look like, too."""
        try:
            return bytes(await self._muxed.read(_CHUNK))
        except MuxedStreamEOF:
            return b""
        except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> Unreachable:
        cause = error.__cause__ or error
        return Unreachable(f"the connection to {self.peer} at {self.address} broke: {cause or type(cause).__name__}")

    async def aclose(self) -> None:
        """End this stream; others on the same connection go on."""
        with trio.CancelScope(shield=True), trio.move_on_after(_CLOSING_S), contextlib.suppress(Exception):
            await self._stream.close()

    async def abort(self) -> None:
        """End the whole connection, at once and without a farewell: the peer is frozen, gone or replaced."""
        await _end(self._connection, self._session)


class Mesh:
    """libp2p, reduced to six methods: run (listen), dial, open, accept, close, peers."""

    def __init__(self, local: Local, *, roles: Sequence[str] = ROLES) -> None:
        self.local = local
        self.listen_ports: list[int] = []
        self._handlers = Multiselect()
        self._doorstep = Doorstep()
        self._turnstile = Turnstile()
        self._tally = Tally()
        keys = create_new_key_pair(local.state.node_key.private_bytes_raw())
        self._tls = SwarmTls(local, keys, roles)
        network = new_swarm(
            key_pair=keys,
            sec_opt={PROTOCOL: self._tls},
            muxer_opt={MUXER: Muxer},
            connection_config=connection_config(),
            retry_config=RetryConfig(max_retries=0),
            resource_manager=resource_manager(),
        )
        assert isinstance(network, Swarm)
        self._network = network
        self._network.set_stream_handler(self._accepted)

    @contextlib.asynccontextmanager
    async def run(self, *, listen: Sequence[tuple[str, int]] = ()) -> AsyncIterator[None]:
        """Listen (port 0: any free one, see `listen_ports`) and be able to dial, until the block ends."""
        failure: Exception | None = None
        async with contextlib.AsyncExitStack() as stack:
            listeners = [await self._listen(stack, host, port) for host, port in listen]
            self.listen_ports = [listener.socket.getsockname()[1] for listener in listeners]
            async with background_trio_service(self._network), trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_lateness)
                for listener in listeners:
                    nursery.start_soon(self._accept_all, listener, nursery)
                try:
                    yield
                except Exception as error:  # raised again below, outside of nurseries that would wrap it
                    failure = error
                finally:
                    await self._close_all()
                    nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def dial(self, host: str, port: int, *, peer_id: str | None = None, deadline_s: float = CONNECT_S) -> Peer:
        """A new connection; without `peer_id` one handshake is made first, to learn it, and pins it."""
        where = address_text(host, port)
        try:
            with trio.fail_after(deadline_s):
                if peer_id is None:
                    peer_id = (await self._probe(host, port)).peer_id
                raw = await self._connect(host, port)
                try:
                    await self._network.upgrade_outbound_raw_conn(raw, ID.from_string(peer_id))
                except BaseException as error:
                    with trio.CancelScope(shield=True):
                        await raw.close()
                    if not isinstance(error, Exception):
                        raise
                    raise raw.refusal or self._failure(error, raw) from error
        except trio.TooSlowError:
            raise Unreachable(f"no connection to {where} within {deadline_s:.3g} s") from None
        _, session = self._newest(peer_id, where)
        return session.peer

    async def open(self, peer: Peer, protocol: str, *, deadline_s: float = NEGOTIATE_S) -> Stream:
        """A stream over the newest connection to this process."""
        connection, session = self._newest(peer.peer_id, str(peer))
        stream: INetStream | None = None
        try:
            with trio.fail_after(deadline_s):
                stream = await connection.new_stream()
                await MultiselectClient().select_one_of(
                    [TProtocol(protocol)], MultiselectCommunicator(stream), negotiate_timeout=self._negotiate_s
                )
                return Stream(stream, connection, session)
        except BaseException as error:
            if stream is not None:
                with trio.CancelScope(shield=True), trio.move_on_after(_CLOSING_S), contextlib.suppress(Exception):
                    await stream.reset()
            if isinstance(error, trio.TooSlowError):
                raise Unreachable(f"{peer} did not take up {protocol} within {deadline_s:.3g} s") from None
            if isinstance(error, MultiselectClientError) and "not supported" in str(error):
                raise Unreachable(f"{peer} at {session.raw.who} does not serve {protocol}") from error
            if isinstance(error, BaseLibp2pError):
                raise Unreachable(f"the connection to {peer} at {session.raw.who} broke: {error}") from error
            raise

    def accept(self, protocol: str, handler: StreamHandler) -> None:
        """Run the handler for each stream of this protocol that a peer opens."""

        async def on_stream(stream: INetStream) -> None:
            session = stream.muxed_conn.session  # type: ignore[attr-defined] # our muxer has it, its interface not
            await handler(Stream(stream, stream.swarm_conn, session))  # type: ignore[attr-defined]

        self._handlers.add_handler(TProtocol(protocol), on_stream)

    @property
    def bytes_sent(self) -> int:
        """Over all connections so far, below TLS."""
        return self._tally.bytes_sent

    def peers(self) -> list[Peer]:
        return list({session.peer.uid: session.peer for _, session in self._connections()}.values())

    async def close(self, peer: Peer) -> None:
        """End all connections to this incarnation of the peer."""
        async with trio.open_nursery() as nursery:
            for connection, session in self._connections():
                if session.peer.incarnation == peer.incarnation:
                    nursery.start_soon(_end, connection, session)

    # ---- listening

    async def _listen(self, stack: contextlib.AsyncExitStack, host: str, port: int) -> trio.SocketListener:
        try:
            listener, *others = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise BadInput(
                    f"port {port} of {host} is in use by another process",
                    hint="choose another port, or 0 for any free one; is the node running already?",
                ) from None
            raise BadInput(f"cannot listen on {address_text(host, port)}: {error.strerror or error}") from None
        for other in others:  # a host name with several addresses: the first one counts
            await other.aclose()
        return await stack.enter_async_context(listener)

    async def _accept_all(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        """trio.serve_listeners would close a connection when its handshake has returned."""
        with Door(log) as door:
            while True:
                stream = await door.accept(listener)
                raw = Raw(stream, initiator=False, tally=self._tally)
                wait_s = self._turnstile.wait_s(raw.host)
                if wait_s is None:
                    await trio.aclose_forcefully(stream)
                else:
                    nursery.start_soon(self._let_in, raw, wait_s)

    async def _let_in(self, raw: Raw, wait_s: float) -> None:
        """The handshake of one accepted connection; everything after it runs in libp2p's tasks."""
        try:
            await trio.sleep(wait_s)
            with trio.fail_after(self.local.handshake_s) as shaking, self._doorstep.place(shaking.cancel):
                await self._network.upgrade_inbound_raw_conn(raw, Multiaddr("/ip4/0.0.0.0/tcp/0"))
                return
        except Exception as error:  # whatever a stranger does must not end the listener
            if raw.is_trusted:
                log.debug("%s closed its connection after the handshake", raw.who)  # as a probe does
            else:
                log.warning("refused a connection: %s", (raw.refusal or self._failure(error, raw)).message)
            with trio.CancelScope(shield=True), contextlib.suppress(Exception):
                await raw.close()

    async def _accepted(self, stream: INetStream) -> None:
        """One stream that a peer has opened. An exception here would end the whole network service."""
        try:
            _, handler = await self._handlers.negotiate(
                MultiselectCommunicator(stream), negotiate_timeout=self._negotiate_s
            )
            if handler is not None:
                await handler(stream)
                return
        except BaseLibp2pError as error:
            log.debug("a stream ended: %s", error)
        except Exception:
            log.exception("a stream handler failed")
        with contextlib.suppress(Exception):
            await stream.reset()

    # ---- dialling

    async def _connect(self, host: str, port: int) -> Raw:
        try:
            return Raw(await trio.open_tcp_stream(host, port), initiator=True, tally=self._tally)
        except OSError as error:
            raise Unreachable(f"{address_text(host, port)} is not reachable: {_os_text(error)}") from None
        except (ValueError, OverflowError):  # what others call their address need not be one
            raise Unreachable(f"{printable(address_text(host, port))} is no address") from None

    async def _probe(self, host: str, port: int) -> Peer:
        raw = await self._connect(host, port)
        try:
            await MultiselectClient().select_one_of(
                [PROTOCOL], MultiselectCommunicator(raw), negotiate_timeout=self._negotiate_s
            )
            return await self._tls.probe(raw)
        except SwarmError:
            raise
        except Exception as error:
            raise raw.refusal or self._failure(error, raw) from error
        finally:
            with trio.CancelScope(shield=True):
                await raw.close()

    def _failure(self, error: BaseException | None, raw: Raw) -> SwarmError:
        """What libp2p made of a failure, as a sentence; the handshake's own refusals do not come here."""
        where = raw.who
        while error is not None:
            is_late = isinstance(error, MultiselectClientError) and "timed out" in str(error)
            if is_late or isinstance(error, trio.TooSlowError):
                return too_slow(where, self.local.handshake_s)
            is_other_talk = isinstance(error, IncompleteReadError) and not error.is_clean_close
            is_refused = isinstance(error, MultiselectClientError) and "not supported" in str(error)
            if is_refused and raw.is_trusted:
                return IdentityError(
                    f"{where} is a swarm node of another release, which does not speak {MUXER}",
                    hint="run the same release on both, or the one before on one of them",
                )
            if is_other_talk or is_refused or isinstance(error, ParseError | UnicodeDecodeError):
                return IdentityError(
                    f"{where} does not speak {PROTOCOL}{looks_like(raw.first)}",
                    hint="is it a swarm node of this release, and is this the right one of its ports?",
                )
            if "denied" in str(error) or "limit" in str(error):
                return Unreachable(f"{where} connects more often than is allowed here, or holds too many connections")
            error = error.__cause__
        return Unreachable(f"{where} closed the connection during the handshake")

    @property
    def _negotiate_s(self) -> int:
        return round(self.local.lateness.allows_s(NEGOTIATE_S))

    async def _watch_lateness(self) -> None:
        while True:
            due_s = trio.current_time() + LOOK_S
            await trio.sleep_until(due_s)
            self.local.lateness.came(trio.current_time() - due_s)

    # ---- connections

    def _connections(self) -> list[tuple[INetConn, Session]]:
        connections = [each for group in self._network.connections.values() for each in group if not each.is_closed]
        return [(each, each.muxed_conn.session) for each in connections]  # type: ignore[attr-defined]

    def _newest(self, peer_id: str, who: str) -> tuple[INetConn, Session]:
        found = [pair for pair in self._connections() if pair[1].peer.peer_id == peer_id]
        if not found:
            raise Unreachable(f"there is no connection to {who}")
        return found[-1]

    async def _close_all(self) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for connection, session in self._connections():
                    nursery.start_soon(_end, connection, session)


async def _end(connection: INetConn, session: Session) -> None:
    """libp2p says goodbye before it closes, and waits for that without limit: a stuck peer must not hold us."""
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_abort_later, session, nursery.cancel_scope)
            with contextlib.suppress(Exception):
                await connection.close()
            nursery.cancel_scope.cancel()
        await session.abort()


async def _abort_later(session: Session, scope: trio.CancelScope) -> None:
    await trio.sleep(_CLOSING_S)
    await session.abort()


def _os_text(error: OSError) -> str:
    """trio wraps the errors of all addresses that it tried: the first one says enough."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, socket.gaierror):  # its numbers are not those of the system
        return cause.strerror or "no such host"
    return os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
