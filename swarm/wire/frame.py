"""Frames: `u32 length, big-endian | msgpack`, the one form of all small messages.

Used by the handshake, control links, the data plane's requests and the channel. Guarantees: a frame over the cap is
refused by its header, before its body is kept; what comes out of `Decoder` is plain data, never code.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import msgpack

from swarm.errors import BadInput

HEADER = struct.Struct(">I")
CAP = 1 << 20
FIELDS_MAX = 32
ITEMS_MAX = 16384
DEPTH_MAX = 16
"""How deep containers may nest: what is deeper than Python recurses would end whoever prints or compares it."""


def pack(obj: Any, cap: int = CAP) -> bytes:
    """One frame; raises BadInput when it would be over the cap (the receiver would end the connection)."""
    body: bytes = msgpack.packb(obj, use_bin_type=True)
    if len(body) > cap:
        raise _over(len(body), cap, "to send")
    return HEADER.pack(len(body)) + body


def body_length(header: bytes, cap: int = CAP) -> int:
    """The length that a header announces; raises BadInput when it is over the cap."""
    (length,) = HEADER.unpack(header)
    if length > cap:
        raise _over(length, cap, "received")
    return int(length)


def unpack_body(body: bytes | memoryview) -> Any:
    """The object of one frame; raises BadInput on anything that is not exactly one plain msgpack object."""
    try:
        obj = msgpack.unpackb(body, raw=False, strict_map_key=False, ext_hook=_no_extensions)
    except Exception as error:  # msgpack's own errors share no base class with its UnicodeDecodeError
        raise BadInput(f"a frame of {len(body)} bytes is not one msgpack object: {error}") from None
    if is_too_deep(obj):
        raise BadInput(f"a frame of {len(body)} bytes nests deeper than {DEPTH_MAX} levels")
    return obj


def is_too_deep(obj: Any) -> bool:
    """Whether lists and maps nest deeper than `DEPTH_MAX`; found without recursion."""
    level = [obj]
    for _ in range(DEPTH_MAX + 1):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True


def is_flat(body: dict[Any, Any]) -> bool:
    """Plain values and lists of them: a megabyte of empty maps, say, would take seventy of memory while it waits."""
    longest = max((len(value) for value in body.values() if isinstance(value, list)), default=0)
    return (
        len(body) <= FIELDS_MAX
        and longest <= ITEMS_MAX
        and all(
            isinstance(name, str) and all(map(_is_plain, value if isinstance(value, list) else [value]))
            for name, value in body.items()
        )
    )


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


class Decoder:
    """Bytes in, objects out; after it has raised, the connection is to be closed."""

    def __init__(self, cap: int = CAP) -> None:
        self._cap = cap
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Any]:
        self._buffer += data
        objects: list[Any] = []
        start = 0
        while len(self._buffer) - start >= HEADER.size:
            body = start + HEADER.size
            stop = body + body_length(bytes(self._buffer[start:body]), self._cap)
            if len(self._buffer) < stop:
                break
            objects.append(unpack_body(bytes(self._buffer[body:stop])))
            start = stop
        del self._buffer[:start]
        return objects


def _over(length: int, cap: int, what: str) -> BadInput:
    return BadInput(f"a frame of {length} bytes {what}, at most {cap} are accepted")


def _no_extensions(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not used here")
