"""libp2p's yamux, without what makes small messages dear: the muxer of `runtime.mesh`.

On the wire it is yamux. Left out are a window update for every read (each is one more TLS record, system call and
wake-up on both sides; half a window read is soon enough), locks around what never waits (each costs a turn of the
loop), and the text that every frame is made into for a log. Whatever is not the everyday case is libp2p's to do.
"""

from __future__ import annotations

import struct

import trio
from libp2p.abc import IMuxedStream
from libp2p.custom_types import TProtocol
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    HEADER_SIZE,
    MAX_MESSAGE_SIZE,
    TYPE_DATA,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

PROTOCOL = TProtocol("/swarm/yamux/1")
"""Not yamux's own: under that name libp2p makes its own muxer, whatever it is given."""
CREDIT = DEFAULT_WINDOW_SIZE // 2
"""What may be read before the other side is told that it may send as much again."""
BODY_MAX = MAX_MESSAGE_SIZE - HEADER_SIZE


class Muxer(Yamux):
    async def open_stream(self) -> YamuxStream:
        return _quick(await super().open_stream())

    async def accept_stream(self) -> IMuxedStream:
        stream = await super().accept_stream()
        assert isinstance(stream, YamuxStream)
        return _quick(stream)

    async def _write_frame(self, data: bytes) -> None:
        await self.secured_conn.write(data)  # which writes frames one after the other


class _Quick(YamuxStream):
    async def read(self, n: int | None = -1) -> bytes:
        buffer = self.conn.stream_buffers.get(self.stream_id)
        if not buffer or self.closed:
            return await super().read(n)
        data = bytes(buffer if n is None or n < 0 else buffer[:n])
        del buffer[: len(data)]
        await self._auto_tune_and_send_window_update(bytes_read=len(data))
        return data

    async def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self.send_window > 0 and not self.send_closed:
            body = rest[: min(self.send_window, BODY_MAX)]
            self.send_window -= len(body)
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, self.stream_id, len(body))
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
    stream.__class__ = _Quick
    return stream
