"""The door: where connections are accepted, also when the process has no descriptor left for them.

Used by `runtime.mesh` (in its loop) and `runtime.data_server` (in its thread). Guarantee: who comes while no descriptor
is left is turned away at once and may ask elsewhere, instead of waiting for a handshake that nobody begins. One
descriptor is kept in reserve for that, for as long as the block lasts.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator
from types import TracebackType

import trio

PAUSE_S = 0.2
"""Where there is not even the descriptor in reserve, or nobody to turn away."""
QUIET_S = 60.0
"""Where descriptors come and go the log hears of it once in so long, or each connection would write two lines."""


class Door:
    """Of one listener. ``log`` hears when nobody is let in any more, and when somebody is again."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._reserve = -1
        self._said_short = False
        self._quiet_until_s = -math.inf

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
                self._say(None)
                return stream

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
        self._say(None)
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

    def _say(self, error: OSError | None) -> None:
        if error is not None and not self._said_short and self._clock() >= self._quiet_until_s:
            self._log.error("a connection could not be accepted, who comes now is turned away: %s", error)
            self._said_short, self._quiet_until_s = True, self._clock() + QUIET_S
        if error is None and self._said_short:
            self._log.warning("connections are accepted again")
            self._said_short = False


def _descriptor() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
