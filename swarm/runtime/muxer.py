"""libp2p's yamux, without what makes small messages dear: the muxer of `runtime.mesh`.

On the wire it is yamux. Left out are a window update for every read (each is one more TLS record, system call and
wake-up on both sides; half a window read is soon enough), locks around what never waits (each costs a turn of the
loop), and the text that every frame is made into for a log. Plain data for a stream that is known is delivered, and
waited for, without libp2p; whatever is not the everyday case is libp2p's to do. Who would rather not wait (for another
turn of the loop) takes a stream's data as it comes in: see ``QuickStream.divert``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, cast

import trio
from libp2p.abc import IMuxedStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    HEADER_SIZE,
    MAX_MESSAGE_SIZE,
    TYPE_DATA,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from swarm.runtime.secure import Session

PROTOCOL = TProtocol("/swarm/yamux/1")
"""Not yamux's own: under that name libp2p makes its own muxer, whatever it is given."""
CREDIT = DEFAULT_WINDOW_SIZE // 2
"""What may be read before the other side is told that it may send as much again."""
BODY_MAX = MAX_MESSAGE_SIZE - HEADER_SIZE
HEADER = struct.Struct(YAMUX_HEADER_FORMAT)


class Muxer(Yamux):
    def __init__(self, secured_conn: ISecureConn, peer_id: ID, **options: Any) -> None:
        assert isinstance(secured_conn, Session), type(secured_conn)
        super().__init__(secured_conn, peer_id, **options)
        self.session = secured_conn
        self.secured_conn = cast(ISecureConn, _Sieve(self))  # by its `__getattr__`

    async def open_stream(self) -> YamuxStream:
        return _quick(await super().open_stream())

    async def accept_stream(self) -> IMuxedStream:
        stream = await super().accept_stream()
        assert isinstance(stream, YamuxStream)
        return _quick(stream)

    async def _write_frame(self, data: bytes) -> None:
        await self.session.write(data)  # which writes frames one after the other

    def deliver(self, stream: YamuxStream, data: bytes) -> None:
        stream.recv_window -= len(data)
        if isinstance(stream, QuickStream) and stream.take is not None:
            stream.take(data)
            if not stream.note_taken(len(data)):
                return  # nothing for whoever waits
        else:
            self.stream_buffers[stream.stream_id] += data
        if stream.stream_id in self.stream_events:
            self.stream_events[stream.stream_id].set()


class _Sieve:
    """What libp2p's loop reads from: the session, less the everyday frames, which are delivered on the way."""

    def __init__(self, muxer: Muxer) -> None:
        self._muxer, self._session = muxer, muxer.session
        self._ahead = bytearray()  # read, and not yet looked at
        self._body = 0  # of the frame that libp2p is at

    async def read(self, n: int | None = None) -> bytes:
        if n == HEADER_SIZE and not self._body:
            return await self._next_header()
        data = await self._read(n) if n is not None else bytes(self._ahead) or await self._session.read()
        if n is None:
            self._ahead.clear()
        self._body -= min(self._body, len(data))
        return data

    async def _read(self, n: int) -> bytes:
        """So many bytes, or fewer at the end; small frames are fetched in one piece."""
        while len(self._ahead) < n and (piece := await self._session.read()):
            self._ahead += piece
        data = bytes(self._ahead[:n])
        del self._ahead[:n]
        return data

    async def _next_header(self) -> bytes:
        """Of the next frame that is not everyday; less than a header at the end."""
        while not self._deliver():
            if not (piece := await self._session.read()):
                return b"" if len(self._ahead) >= HEADER_SIZE else bytes(self._ahead)
            self._ahead += piece
        return await self._read(HEADER_SIZE)

    def _deliver(self) -> bool:
        """All everyday frames that are here whole. Whether another kind comes next."""
        ahead, streams = self._ahead, self._muxer.streams
        while len(ahead) >= HEADER_SIZE:
            _, kind, flags, number, length = HEADER.unpack_from(ahead)
            stream, end = streams.get(number), HEADER_SIZE + length
            if kind != TYPE_DATA or flags or stream is None or not 0 < length <= stream.recv_window:
                self._body = length if kind == TYPE_DATA else 0
                return True
            if len(ahead) < end:
                break
            data = bytes(ahead[HEADER_SIZE:end])
            del ahead[:end]
            self._muxer.deliver(stream, data)
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class QuickStream(YamuxStream):
    conn: Muxer
    take: Callable[[bytes], None] | None = None
    """Gets the data instead of ``read``, which waits for the end then, and grants what may be sent meanwhile."""

    def divert(self, take: Callable[[bytes], None]) -> None:
        """From now on ``take`` gets what comes in, from within the reading loop of the connection: it must neither
        raise nor take long."""
        if (buffer := self.conn.stream_buffers.get(self.stream_id)) and not (self.closed or self.recv_closed):
            data = bytes(buffer)
            buffer.clear()
            take(data)
            self.note_taken(len(data))
        self.take = take

    def note_taken(self, count: int) -> bool:
        """Whether the other side has to be told that it may send more."""
        self._pending_recv_release += count
        return self._pending_recv_release >= CREDIT

    async def read(self, n: int | None = -1) -> bytes:
        while not (buffer := self.conn.stream_buffers.get(self.stream_id)):
            event = self.conn.stream_events.get(self.stream_id)
            over = self.closed or self.recv_closed or self.reset_received
            if event is not None and event.is_set() and self.take is not None and not over:
                self.conn.stream_events[self.stream_id] = trio.Event()
                await self._auto_tune_and_send_window_update()
                continue
            if event is None or event.is_set() or self.recv_closed or self.reset_received:
                return await super().read(n)
            await event.wait()
            if self.stream_id not in self.conn.stream_events:  # so ends a connection whose other side is gone
                raise MuxedStreamEOF(f"stream {self.stream_id} has ended with its connection")
        if self.closed or self.recv_closed:
            return await super().read(n)
        self.conn.stream_events[self.stream_id] = trio.Event()
        data = bytes(buffer if n is None or n < 0 else buffer[:n])
        del buffer[: len(data)]
        await self._auto_tune_and_send_window_update(bytes_read=len(data))
        return data

    def write_now(self, data: bytes) -> bool:
        """All of it at once, without a turn of the loop; False, and nothing of it, if that cannot be."""
        if len(data) > self.send_window or self.send_closed or self.closed:
            return False
        if not self.conn.session.write_now(HEADER.pack(0, TYPE_DATA, 0, self.stream_id, len(data)) + data):
            return False
        self.send_window -= len(data)
        return True

    async def write(self, data: bytes) -> None:
        if not data:
            await self.conn.session.flush()
        rest = memoryview(data)
        while rest and self.send_window > 0 and not self.send_closed:
            body = rest[: min(self.send_window, BODY_MAX)]
            self.send_window -= len(body)
            header = HEADER.pack(0, TYPE_DATA, 0, self.stream_id, len(body))
            await self.conn._write_frame(header + body)
            rest = rest[len(body) :]
        if rest:
            await super().write(bytes(rest))  # waits until the other side has read, or says that it does not

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        self._pending_recv_release += bytes_read
        credit = self._pending_recv_release
        if credit >= CREDIT:
            self._pending_recv_release = 0
            self.recv_window += credit
            await self.send_window_update(credit)
        else:
            await trio.lowlevel.checkpoint_if_cancelled()


def _quick(stream: YamuxStream) -> YamuxStream:
    """libp2p makes its streams in the middle of long methods, so they are changed when they are made."""
    stream.__class__ = QuickStream
    return stream
