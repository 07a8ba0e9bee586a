"""What a link has to say: frames that leave in their order, at once while nobody writes, else through one writer.

Used by `runtime.control`. Guarantees: a frame that has begun to leave leaves whole, whoever is cancelled meanwhile;
what waits is bounded; frames that wait leave together.
"""

from __future__ import annotations

import trio

from swarm.runtime.mesh import Stream

WAITING_MAX = 64


class Outbox:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiting, self._to_write = trio.open_memory_channel[bytes](WAITING_MAX)
        self._writes = False  # something waits, or is on its way

    def post(self, data: bytes) -> None:
        """Straight to the system if it can be: the writer's turn of the loop costs as much as a message does. Raises
        trio.WouldBlock when too much waits, and trio.ClosedResourceError."""
        if self._writes or not self._stream.send_now(data):
            self._leave_to_writer(data)
        elif self._stream.is_stuck:
            self._leave_to_writer(b"")

    def _leave_to_writer(self, data: bytes) -> None:
        self._waiting.send_nowait(data)
        self._writes = True

    async def send(self, data: bytes) -> None:
        """The same, however long it has to wait for its place."""
        try:
            self.post(data)  # not a turn of the loop for each message, while there is room
        except trio.WouldBlock:
            await self._waiting.send(data)

    async def write(self) -> None:
        """The only writer, until the box is closed. Raises Unreachable when the stream has ended."""
        async for data in self._to_write:
            more = self._to_write.statistics().current_buffer_used
            await self._stream.send_all(b"".join([data, *(self._to_write.receive_nowait() for _ in range(more))]))
            self._writes = self._to_write.statistics().current_buffer_used > 0

    def close(self) -> None:
        self._writes = True  # nothing passes the writer any more
        self._waiting.close()
        self._to_write.close()
