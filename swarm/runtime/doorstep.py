"""The doorstep: those who have connected and have proved nothing yet.

Used by `runtime.mesh` (in its loop) and `runtime.data_server` (from its threads). Guarantees: no more than
`STRANGERS_MAX` stand there; who comes when it is full takes the place of whoever has stood there longest. So silent
connections, however many, keep nobody out: a handshake takes a tenth of a second, and who is at it is among the newest.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

STRANGERS_MAX = 64
_STRANGERS = {
    **dict.fromkeys((b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"PRI ", b"HTTP"), "HTTP"),
    **dict.fromkeys((b"\x16\x03", b"\x15\x03"), "TLS at the first byte"),
    b"SSH-": "SSH",
}


class Doorstep:
    def __init__(self, places: int = STRANGERS_MAX) -> None:
        self._places = places
        self._standing: dict[object, Callable[[], None]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def place(self, leave: Callable[[], None]) -> Iterator[None]:
        """Stand there while the context lasts, unless ``leave`` is called meanwhile: it must not wait for anything."""
        me = object()
        with self._lock:
            longest = next(iter(self._standing), None) if len(self._standing) >= self._places else None
            evict = self._standing.pop(longest) if longest is not None else None
            self._standing[me] = leave
        if evict is not None:
            evict()
        try:
            yield
        finally:
            with self._lock:
                self._standing.pop(me, None)


def looks_like(first: bytes) -> str:
    """What a stranger is by its first bytes, if that is plain to see."""
    for begin, name in _STRANGERS.items():
        if first.startswith(begin):
            return f", but {name}"
    return ""
