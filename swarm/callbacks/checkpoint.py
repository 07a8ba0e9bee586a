"""Checkpoints of one training: files in a directory of its own, from which the program goes on after it was killed.

Used by ``callbacks/base`` when a callback is made with ``checkpoint_dir``. Guarantees: a file is whole or is not there,
whenever the process is killed; the last two are kept, so that one is left when the disk damages the other; a file is
numbers and names only, never code; two processes never write into one directory.

    "swarm checkpoint 1\\n" ‖ u32 bytes of the head ‖ u32 CRC-32 of all that follows ‖ head (msgpack)
    ‖ the weights ‖ the optimizer's state, both as canonical bytes (``wire/tensorbytes``)
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from swarm.core.tensors import Schema
from swarm.errors import BadInput, ModelError
from swarm.wire import tensorbytes

KEPT = 2
_MAGIC = b"swarm checkpoint 1\n"
_LENGTHS = struct.Struct(">II")
_HEAD_MAX = 64 << 20
_HEAD = {"contract": str, "base": str, "round": int, "batches": int, "epochs": int, "finished": bool}
_OTHERS = "it was written by another program, or another version of this one"
_NAME = re.compile(r"checkpoint-(\d{8})\.swarm")
_PART = "checkpoint.part"
_locks: dict[Path, int] = {}
"""The directories of this process, for as long as it lives: a notebook makes its callback again and again."""

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """``base`` is the committed model that training went on from, ``round`` the one that brought it.

    ``finished``: the training has ended, so there is nothing to go on with.
    """

    contract: str
    base: str
    round: int
    batches: int
    epochs: int
    finished: bool
    weights: Arrays
    optimizer: Arrays = field(default_factory=dict)


def difference(kept: Arrays, arrays: Arrays) -> str:
    """How the tensors of this model differ from the checkpoint's first, as a sentence; empty if they do not."""
    if not kept or not arrays:
        return "" if not kept and not arrays else f"it has {len(kept)} tensors, this model has {len(arrays)}"
    text = Schema.of(kept).first_difference(Schema.of(arrays)) or ""
    return text.replace("the contract", "it")


class Checkpoints:
    """The directory of one training."""

    def __init__(self, directory: Path, logger: logging.Logger) -> None:
        self.path = directory.expanduser().absolute()
        self._logger = logger
        self._failing = False
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _lock(self.path)
            (self.path / _PART).unlink(missing_ok=True)
        except OSError as error:
            raise BadInput(f"the checkpoint directory {self.path} cannot be used: {error.strerror}") from error

    def newest(self) -> Checkpoint | None:
        """The last one that is whole."""
        for number in sorted(self._numbers(), reverse=True):
            path = self._file(number)
            try:
                return _read(path)
            except (OSError, ModelError) as error:
                reason = error.message if isinstance(error, ModelError) else error.strerror
                self._logger.warning("checkpoint %s is not used: %s; the one before it is looked at", path.name, reason)
        return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep it beside the one before; training goes on when that cannot be, and says so."""
        numbers = sorted(self._numbers())
        try:
            self._write(self._file(numbers[-1] + 1 if numbers else 1), checkpoint)
        except OSError as error:
            with contextlib.suppress(OSError):
                (self.path / _PART).unlink(missing_ok=True)
            if not self._failing:
                self._logger.warning(
                    "no checkpoint could be written to %s: %s; training goes on, and the one before is kept",
                    self.path,
                    error.strerror,
                )
            self._failing = True
            return
        self._failing = False
        for number in numbers[: max(0, len(numbers) + 1 - KEPT)]:
            with contextlib.suppress(OSError):
                self._file(number).unlink()

    def _write(self, path: Path, checkpoint: Checkpoint) -> None:
        part = path.with_name(_PART)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            head, bodies = _packed(checkpoint)
            crc = _checksum(head, *bodies)
            file.write(_MAGIC + _LENGTHS.pack(len(head), crc) + head)
            for body in bodies:
                file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _numbers(self) -> list[int]:
        names = (_NAME.fullmatch(path.name) for path in self.path.iterdir())
        return [int(name[1]) for name in names if name]

    def _file(self, number: int) -> Path:
        return self.path / f"checkpoint-{number:08}.swarm"


def _lock(directory: Path) -> None:
    """Hold the directory until this process ends, however it does."""
    if directory in _locks:
        return
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise BadInput(
            f"another process writes its checkpoints to {directory}",
            hint='give each program its own: checkpoint_dir="checkpoints-" + os.environ["SWARM_PEER"]',
        ) from None
    except OSError:  # a file system without locks
        os.close(lock)
        return
    _locks[directory] = lock


# ---- the file


def _packed(checkpoint: Checkpoint) -> tuple[bytes, list[bytearray]]:
    head: dict[str, Any] = {
        "contract": checkpoint.contract, "base": checkpoint.base, "round": checkpoint.round,
        "batches": checkpoint.batches, "epochs": checkpoint.epochs, "finished": checkpoint.finished,
    }  # fmt: skip
    bodies = []
    for what, arrays in (("weights", checkpoint.weights), ("optimizer", checkpoint.optimizer)):
        schema = Schema.of(arrays) if arrays else None
        head[what] = schema.to_wire() if schema else []
        if schema is not None:
            bodies.append(bytearray(schema.nbytes))
            tensorbytes.pack(schema, arrays, bodies[-1])
    packed: bytes = msgpack.packb(head)
    return packed, bodies


def _checksum(head: bytes, *bodies: bytearray) -> int:
    crc = zlib.crc32(head, len(head))  # begun with the length, so that a wrong one does not fit either
    for body in bodies:
        crc = zlib.crc32(body, crc)
    return crc


def _read(path: Path) -> Checkpoint:
    """Raises ModelError when it is not a whole checkpoint."""
    with path.open("rb") as file:
        start = file.read(len(_MAGIC) + _LENGTHS.size)
        if len(start) < len(_MAGIC) + _LENGTHS.size or not start.startswith(_MAGIC):
            raise ModelError("it does not begin as a checkpoint does")
        length, crc = _LENGTHS.unpack_from(start, len(_MAGIC))
        head = file.read(min(length, _HEAD_MAX))
        body = bytearray(file.read())  # of its own, so that every tensor lies as numpy wants it
    if len(head) != length or _checksum(head, body) != crc:
        raise ModelError("it is torn or damaged: its checksum is not that of its bytes")
    try:
        return _unpacked(msgpack.unpackb(head), memoryview(body))
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # its checksum is right, and nothing else
        raise ModelError(f"{_OTHERS}: {error!r:.80}") from error


def _unpacked(head: Any, body: memoryview) -> Checkpoint:
    with contextlib.suppress(ImportError):
        import ml_dtypes  # noqa: F401  # numpy knows bfloat16 from then on
    parts: dict[str, Arrays] = {}
    for what in ("weights", "optimizer"):
        wire = head.pop(what)
        schema = Schema.from_wire(wire) if wire else None
        nbytes = schema.nbytes if schema else 0
        parts[what] = tensorbytes.views(schema, body[:nbytes]) if schema else {}
        body = body[nbytes:]
    if {name: type(value) for name, value in head.items()} != _HEAD:
        raise ModelError(f"{_OTHERS}: its head has other fields")
    return Checkpoint(**head, weights=parts["weights"], optimizer=parts["optimizer"])
