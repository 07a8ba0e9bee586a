"""The channel, learning node's side: one training program (ML) at a time, over a Unix socket and two shared buffers.

Used by ``nodes/sl``; the program's side is ``runtime/channel``. How to use it::

    class Handler:                                                  # see ChannelHandler
        async def open(self, session, request) -> Opened: ...       # enrol; session.schema is checked already
        async def sync(self, session, request) -> Merged: ...       # read session.out, write session.incoming
        async def gone(self, session) -> None: ...                  # once a session, however it ended

    server = ChannelServer(state.path / "channel", node="sl-1 (org-a)")
    with server.listening():                                        # server.path and server.environment hold
        start_program(env={**os.environ, **server.environment})     # it may come before it is served, and waits
        await nursery.start(server.serve, Handler())

Guarantees: ``open`` and ``sync`` run one at a time, and are cancelled when the program dies, closes or withdraws; the
program hears a sign of life every ``ALIVE_S`` while they run; their SwarmErrors reach the program as the same class;
``session.note`` never waits. Only a process of this user or one with the token gets in, a fork of the program does not.
The buffers exist from the end of ``open`` on, cannot be shrunk under either side, and have no name.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import mmap
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import trio

from swarm.core.tensors import Schema
from swarm.errors import BadInput, IdentityError, InternalError, ModelError, Refused, SwarmError, Unreachable
from swarm.runtime.channel import DESCRIPTORS, HPES_VARIABLES, PATH_VARIABLE, TOKEN_VARIABLE
from swarm.runtime.channel_socket import Wire, failure, listening, place, shared_memory
from swarm.runtime.started import TaskStatus
from swarm.wire import messages
from swarm.wire.messages import Hello, Leave, Merged, Open, Opened, Report, Sync

ALIVE_S = 2.0
HELLO_S = 5.0
TURN_S = 20.0
"""How long a new session waits for the handler to be done with an earlier one that is over."""
PENDING = 64
_log = logging.getLogger("swarm.channel")


class ChannelHandler(Protocol):
    async def open(self, session: Session, request: Open) -> Opened: ...

    async def sync(self, session: Session, request: Sync) -> Merged: ...

    async def gone(self, session: Session) -> None: ...


class ChannelServer:
    """The socket at ``path``. ``node`` is this SL's name as people know it."""

    def __init__(self, directory: Path, *, node: str, alive_s: float = ALIVE_S) -> None:
        self.node = node
        self.path = ""
        self.token = secrets.token_hex(16)
        self._directory = directory
        self._alive_s = alive_s
        self._session: Session | None = None
        self._listener: trio.socket.SocketType | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the training program needs in its environment."""
        return {PATH_VARIABLE: self.path, TOKEN_VARIABLE: self.token, **dict.fromkeys(HPES_VARIABLES, self.path)}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within: a program can connect. Needs no loop yet; `serve` answers what has come by then."""
        with place(self._directory) as self.path, listening(self.path) as self._listener:
            yield

    async def serve(self, handler: ChannelHandler, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        assert self._listener is not None
        listener = trio.SocketListener(self._listener)

        async def serve_one(stream: trio.SocketStream) -> None:
            async with stream:
                await self._serve_one(handler, stream.socket)

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, serve_one, [listener])
            task_status.started()

    async def _serve_one(self, handler: ChannelHandler, connection: trio.socket.SocketType) -> None:
        wire = Wire(connection)
        try:
            session = Session(wire, self.node, await self._admitted(wire), self._alive_s)
            await self._take_turn(session)
        except (SwarmError, OSError) as error:
            await wire.last_words(error)
            return
        try:
            await session.run(handler)
            await handler.gone(session)
        except Exception:  # one program's session must not end the node; the log has what it was
            _log.exception("the session with process %d failed", session.pid)
        finally:
            session.out = session.incoming = memoryview(b"")
            session.over.set()
            if self._session is session:
                self._session = None

    async def _admitted(self, wire: Wire) -> int:
        """The program's process, when it may come in."""
        with trio.move_on_after(HELLO_S):
            hello = await wire.receive()
            if not isinstance(hello, Hello):
                raise BadInput("the first message on the channel is Hello")
            right = hmac.compare_digest(hello.token.encode(), self.token.encode())
            if hello.token and not right:
                raise IdentityError(
                    f"{TOKEN_VARIABLE} is not the token of {self.node}", hint="take the export lines it printed last"
                )
            if not right and wire.peer_uid != os.getuid():
                who = "another user" if wire.peer_uid is None else f"user {wire.peer_uid}"
                raise IdentityError(
                    f"a program of {who} asked {self.node}, which serves programs of user {os.getuid()}",
                    hint=f"give the program {TOKEN_VARIABLE}",
                )
            return wire.peer_pid or hello.pid
        raise Unreachable(f"no Hello on the channel within {HELLO_S:g} s")

    async def _take_turn(self, session: Session) -> None:
        """One session at a time. A newer one of the same process takes over, as when a notebook's cell runs again."""
        with trio.move_on_after(TURN_S):
            while self._session is not None:
                earlier = self._session
                if earlier.pid == session.pid:
                    await earlier.dismiss("the program opened another session")
                elif not earlier.gone.is_set():
                    raise Refused(
                        f"{self.node} serves process {earlier.pid} and refused process {session.pid}",
                        hint="a learning node serves one program at a time, and only the process that made its "
                        "callback, not a fork of it",
                    )
                await earlier.over.wait()
        if self._session is not None:
            raise Unreachable(f"{self.node} was not done with an earlier program within {TURN_S:g} s")
        self._session = session


class Session:
    """One program's session. The handler reads ``pid``, ``schema``, ``out``, ``withdrew`` … and writes ``incoming``."""

    def __init__(self, wire: Wire, node: str, pid: int, alive_s: float) -> None:
        self.pid = pid
        self.schema: Schema | None = None
        """Of the program's model; set before the handler's ``open``."""
        self.out = memoryview(b"")
        """The program's weights as canonical bytes, still while ``sync`` runs; empty until ``open`` is done."""
        self.incoming = memoryview(b"")
        """For the model that ``Merged`` tells the program to load."""
        self.gone = trio.Event()
        self.gone_reason = ""
        self.said_bye = False
        """It closed in order: what it had asked for had been answered."""
        self.report: Report | None = None
        """What the program said last of how it trains."""
        self.withdrew: Leave | None = None
        """It left the contract itself, and why."""
        self.over = trio.Event()
        """The handler is done with it too."""
        self._node = node
        self._wire = wire
        self._alive_s = alive_s
        self._busy = False
        self._scope = trio.CancelScope()
        self._send, self._to_send = trio.open_memory_channel[messages.FromNode](PENDING)
        self._descriptors: list[int] = []
        """Of the two buffers, until they are with the program."""

    def note(self, level: messages.Level, text: str) -> None:
        """A line for the program's log. A program that does not read loses lines; nobody waits for it."""
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._send.send_nowait(messages.Note(level, text[: messages.TEXT_CAP]))

    def end(self, reason: str) -> None:
        """The session is over: what the handler runs for it is cancelled."""
        if not self.gone.is_set():
            self.gone_reason = reason
            self.gone.set()
            self._scope.cancel()

    async def dismiss(self, reason: str) -> None:
        """End the session, and tell the program why should it ask for anything more."""
        if not self.gone.is_set():
            self.end(reason)
            await self._wire.last_words(Refused(f"this session with {self._node} is over: {reason}"))

    async def run(self, handler: ChannelHandler) -> None:
        self._send.send_nowait(messages.Welcome(messages.VERSION, self._node))
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._give_signs_of_life)
                    nursery.start_soon(self._wire.wait_for_peers_end)
                    await self._read(nursery, handler)
        finally:
            self._close_descriptors()

    # ---- what comes in

    async def _read(self, nursery: trio.Nursery, handler: ChannelHandler) -> None:
        try:
            while (message := await self._wire.receive()) is not None:
                match message:
                    case Leave(reason):
                        self.withdrew = message
                        return self.end(reason)
                    case messages.Bye():
                        self.said_bye = not self._busy
                        return self.end("the program closed the session")
                    case Report():
                        self.report = _with_figures(message, self.report)
                    case Open() | Sync() if not self._busy:
                        self._busy = True
                        nursery.start_soon(self._answer, handler, message)
                    case _:
                        raise BadInput(f"{type(message).__name__} came on the channel out of turn")
        except SwarmError as error:
            await self._wire.last_words(error)
            return self.end(error.message)
        except OSError as error:
            return self.end(f"the channel broke: {error}")
        return self.end(f"the program (process {self.pid}) ended without a goodbye")

    async def _answer(self, handler: ChannelHandler, request: Open | Sync) -> None:
        reply: messages.FromNode
        try:
            if isinstance(request, Open):
                reply = await self._open(handler, request)
                self._share()
            else:
                reply = await self._sync(handler, request)
        except Exception as error:
            reply = failure(self._sentence(error))
        self._busy = False
        await self._send.send(reply)

    async def _open(self, handler: ChannelHandler, request: Open) -> Opened:
        if self.schema is not None:
            raise BadInput("the session is open already")
        self.schema = Schema.from_wire(request.schema)
        try:
            return await handler.open(self, request)
        except BaseException:
            self.schema = None
            raise

    async def _sync(self, handler: ChannelHandler, request: Sync) -> Merged:
        if not self.out:
            raise BadInput("a sync was asked for before the session was open")
        return await handler.sync(self, request)

    def _share(self) -> None:
        """Make the two buffers. The memory lives as long as someone looks at it."""
        assert self.schema is not None
        nbytes = self.schema.nbytes
        try:
            for _ in range(DESCRIPTORS):
                self._descriptors.append(shared_memory(nbytes))
            out, incoming = (mmap.mmap(descriptor, nbytes) for descriptor in self._descriptors)
        except (OSError, ValueError, OverflowError) as error:
            self._close_descriptors()
            self.schema = None
            raise ModelError(f"{self._node} has no memory for two buffers of {nbytes} bytes: {error}") from error
        self.out, self.incoming = memoryview(out), memoryview(incoming)

    def _close_descriptors(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _sentence(self, error: Exception) -> SwarmError:
        """What the program is told: what the handler meant it to hear, or that this node made a mistake."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, SwarmError):
            return error
        _log.error("a request of process %d failed", self.pid, exc_info=error)
        return InternalError(
            f"{self._node} failed with {type(error).__name__}: {error}", hint="its log has the whole story"
        )

    # ---- what goes out

    async def _write(self) -> None:
        try:
            async for message in self._to_send:
                if isinstance(message, Opened):
                    await self._wire.send(message, self._descriptors)
                    self._close_descriptors()
                else:
                    await self._wire.send(message)
        except OSError:
            pass  # closed: the reader notices and says so

    async def _give_signs_of_life(self) -> None:
        while True:
            await trio.sleep(self._alive_s)
            if self._busy and not self._to_send.statistics().current_buffer_used:
                self._send.send_nowait(messages.Alive())


def _with_figures(now: Report, before: Report | None) -> Report:
    """A report without figures leaves those that were told before."""
    return now if now.metrics or before is None else replace(now, metrics=before.metrics)
