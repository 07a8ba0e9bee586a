"""The door: where connections are accepted, also when the process has no descriptor left for them.

Used by `runtime.mesh` (in its loop) and `runtime.data_server` (in its thread). Guarantee: who comes while no descriptor
is left is turned away at once and may ask elsewhere, instead of waiting for a handshake that nobody begins; the last
``OWN`` descriptors are not theirs to take. One is kept in reserve to turn people away with, as long as the block lasts.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import socket
import time
from collections.abc import Iterator
from types import TracebackType

import trio

OWN = 16
"""For the files of this process, and for connections that it makes."""
PAUSE_S = 0.2
"""Where there is not even the descriptor in reserve, or nobody to turn away."""
QUIET_S = 10.0
"""Nobody was turned away for so long: then it is over."""


class Door:
    """Of one listener. ``log`` hears when nobody is let in any more, and when somebody is again."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._reserve = -1
        self._short_s: float | None = None
        """When somebody was turned away last, until that is over."""

    def __enter__(self) -> Door:
        self._reserve = _descriptor()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give()

    async def accept(self, listener: trio.SocketListener) -> trio.SocketStream:
        """The next connection that there is a descriptor for."""
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                self._say(error)
                with self._lent(), contextlib.suppress(OSError), trio.move_on_after(PAUSE_S):
                    await trio.aclose_forcefully(await listener.accept())
                    continue
                await trio.sleep(PAUSE_S)
            else:
                if self._may_stay(stream.socket.fileno()):
                    return stream
                await trio.aclose_forcefully(stream)

    def take(self, listener: socket.socket) -> tuple[socket.socket, str]:
        """The same for a listener with a timeout, and its host; raises TimeoutError when there is none."""
        try:
            sock, (host, *_) = listener.accept()
        except TimeoutError:
            raise
        except OSError as error:
            self._say(error)
            try:
                with self._lent():
                    listener.accept()[0].close()
            except OSError:
                time.sleep(PAUSE_S)
            raise TimeoutError from error
        if not self._may_stay(sock.fileno()):
            sock.close()
            raise TimeoutError
        return sock, host

    @contextlib.contextmanager
    def _lent(self) -> Iterator[None]:
        """There is one descriptor more meanwhile, unless somebody else takes it."""
        self._give()
        try:
            yield
        finally:
            self._reserve = _descriptor()

    def _give(self) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1

    def _may_stay(self, descriptor: int) -> bool:
        """The lowest one that is free is taken: near the limit there are few."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        few = soft != resource.RLIM_INFINITY and descriptor >= soft - OWN
        self._say(OSError(errno.EMFILE, os.strerror(errno.EMFILE)) if few else None)
        return not few

    def _say(self, error: OSError | None) -> None:
        now_s = time.monotonic()
        if error is not None:
            if self._short_s is None:
                self._log.error("a connection could not be accepted, who comes now is turned away: %s", error)
            self._short_s = now_s
        elif self._short_s is not None and now_s - self._short_s >= QUIET_S:
            self._log.warning("connections are accepted again")
            self._short_s = None


def _descriptor() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
