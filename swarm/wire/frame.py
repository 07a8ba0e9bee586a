"""Frames: `u32 length, big-endian | msgpack`, the one form of all small messages.

Used by the handshake, control links, the data plane's requests and the channel. Guarantees: a frame over the cap is
refused by its header, before its body is kept; what comes out of `Decoder` is plain data, never code; to take one in
costs no more than its length. So lists and maps are counted, and keys are text or bytes: Python hashes those with a
seed, but numbers as they are, so whoever chose these could have each of them meet all the others, for most of a minute.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from itertools import chain, compress
from operator import methodcaller
from typing import Any, NoReturn

import msgpack

from swarm.errors import BadInput

HEADER = struct.Struct(">I")
CAP = 1 << 20
FIELDS_MAX = 32
ITEMS_MAX = 16384
"""In all lists of a flat body together: of two letters each, the text takes twenty times what it does on the wire."""
CONTAINERS_MAX = 1 << 15
"""Each takes sixty times in memory what it does on the wire, at least."""
NAMES_MAX = 1024
"""Letters in the names of all fields together: with one emoji among them, a million take four million bytes."""
DEPTH_MAX = 16
"""How deep containers may nest: what is deeper than Python recurses would end whoever prints or compares it."""
_CONTAINERS = frozenset({list, dict})
"""All that msgpack makes, and no subclass of them: so types are looked up here, in every message."""
_PLAIN = _CONTAINERS | {type(None), bool, int, float, str, bytes}
_TEXTS = frozenset({str})
_size_of = methodcaller("__sizeof__")


def pack(obj: Any, cap: int = CAP) -> bytes:
    """One frame; raises BadInput when it would be over the cap (the receiver would end the connection)."""
    body: bytes = msgpack.packb(obj, use_bin_type=True)
    if len(body) > cap:
        raise _over(len(body), cap, "to send")
    return HEADER.pack(len(body)) + body


def body_length(header: bytes | bytearray, cap: int = CAP) -> int:
    """The length that a header announces; raises BadInput when it is over the cap."""
    (length,) = HEADER.unpack(header)
    if length > cap:
        raise _over(length, cap, "received")
    return int(length)


def unpack_body(body: bytes | bytearray | memoryview) -> Any:
    """The object of one frame; raises BadInput on anything that is not exactly one plain msgpack object."""
    count = _Count() if len(body) > CONTAINERS_MAX else None  # in fewer bytes there are no more
    try:
        obj = msgpack.unpackb(
            body, raw=False, strict_map_key=True, ext_hook=_no_extensions, list_hook=count, object_hook=count
        )
    except Exception as error:  # msgpack's own errors share no base class with its UnicodeDecodeError
        raise BadInput(f"a frame of {len(body)} bytes is not one msgpack object: {error}") from None
    if flaw := _flaw(obj):
        raise BadInput(f"a frame of {len(body)} bytes {flaw}")
    return obj


class _Count:
    """Of the lists and maps of one frame, while they are made: to make a million of them takes most of a second."""

    def __init__(self) -> None:
        self._left = CONTAINERS_MAX

    def __call__(self, container: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"more than {CONTAINERS_MAX} lists and maps are in it")
        return container


def _flaw(obj: Any) -> str:
    """Of what msgpack made; it makes times of its own, which nothing here is ready for, and asks nobody."""
    values, level = (obj, 1) if type(obj) is list else ([obj], 0)
    for _ in range(level, DEPTH_MAX + 2):
        kinds = set(map(type, values))
        if not kinds <= _PLAIN:
            return "holds a time, and only None, booleans, numbers, texts, bytes, lists and maps are used here"
        if kinds.isdisjoint(_CONTAINERS):
            return ""
        values = _contents(_containers(values))
    return f"nests deeper than {DEPTH_MAX} levels"


def is_too_deep(obj: Any) -> bool:
    """Whether lists and maps in it nest deeper than DEPTH_MAX, which is as deep as it is looked into."""
    values = [obj]
    for _ in range(DEPTH_MAX + 2):
        if not (inner := _containers(values)):
            return False
        values = _contents(inner)
    return True


def is_flat(body: dict[Any, Any]) -> bool:
    """Plain values and lists of them: a megabyte of empty maps, say, would take seventy of memory while it waits."""
    if len(body) > FIELDS_MAX or not _TEXTS.issuperset(map(type, body)) or len("".join(body)) > NAMES_MAX:
        return False
    items = 0
    for each in _containers(body.values()):
        items += len(each)
        if type(each) is not list or items > ITEMS_MAX or _containers(each):
            return False
    return True


def memory(body: dict[str, Any]) -> int:
    """How many bytes the values of a flat body take, about; its names are few and short."""
    return sum(map(_size_of, chain(body.values(), *_containers(body.values()))))


def _containers(values: Collection[Any]) -> list[Any]:
    """Those of them that are lists or maps; done to every frame, so without a step of the interpreter for each."""
    return list(compress(values, map(_CONTAINERS.__contains__, map(type, values))))


def _contents(containers: list[Any]) -> list[Any]:
    return list(chain.from_iterable([each.values() if type(each) is dict else each for each in containers]))


class Decoder:
    """Bytes in, objects out; after it has raised, the connection is to be closed."""

    def __init__(self, cap: int = CAP) -> None:
        self._cap = cap
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Any]:
        buffer = self._buffer
        buffer += data
        objects: list[Any] = []
        start, there = 0, len(buffer)
        while (body := start + HEADER.size) <= there:
            stop = body + body_length(buffer[start:body], self._cap)
            if there < stop:
                break
            objects.append(unpack_body(buffer[body:stop]))
            start = stop
        del buffer[:start]
        return objects


def _over(length: int, cap: int, what: str) -> BadInput:
    return BadInput(f"a frame of {length} bytes {what}, at most {cap} are accepted")


def _no_extensions(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not used here")
