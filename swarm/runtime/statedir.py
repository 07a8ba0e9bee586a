"""The state directory of one process: its lock, its node key, its incarnation, its network.

Opened once, first thing, by every node. Guarantees: at most one process holds a directory; the node key never changes,
unless the whole node is set aside; the start counter in the incarnation grows with every opening and is on disk before
anybody sees it; files written through `write_atomic` are whole or absent after a crash.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from swarm.core import names
from swarm.errors import BadInput

_LOCK, _KEY, _STARTS, _NETWORK = "lock", "node.key", "starts", "network"


class StateDirectory:
    """Holds the lock from construction to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock = -1
        try:
            self._open()
        except OSError as error:
            self.close()
            raise _unusable(self.path, error) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o700)
        self._lock = self._take_lock()
        self.begin_anew()
        network = self.path / _NETWORK
        self.network_id = _from_hex(network) if network.exists() else b""

    def begin_anew(self) -> None:
        """Be the next incarnation, as after a new start of the process."""
        try:
            self.node_key = self._load_or_make_key()
            self.node_public = self.node_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            self.uid = names.uid_of(self.node_public)
            self.peer_id = names.peer_id(self.node_public)
            self.incarnation = self._next_incarnation()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def set_aside(self, patterns: Sequence[str]) -> Path:
        """Move the node key and what matches into a folder of its own, and be a new node of the same network.

        The key goes first: however this ends, nothing of what is left here can be used under the old one.
        """
        number = 1 + max(
            (int(each.name[6:]) for each in self.path.glob("aside-*") if each.name[6:].isdigit()), default=0
        )
        aside = self.path / f"aside-{number}"
        try:
            aside.mkdir(mode=0o700)
            for name in (
                _KEY,
                _STARTS,
                *(each.name for pattern in patterns for each in sorted(self.path.glob(pattern))),
            ):
                if (self.path / name).exists():
                    os.replace(self.path / name, aside / name)
            _sync_directory(aside)
            _sync_directory(self.path)
            self.begin_anew()
        except OSError as error:
            raise _unusable(self.path, error) from error
        return aside

    def _take_lock(self) -> int:
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise BadInput(
                f"state directory {self.path} is in use by process {holder}",
                hint="give each process a directory of its own with --state DIR, or stop that process",
            ) from None
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _load_or_make_key(self) -> Ed25519PrivateKey:
        path = self.path / _KEY
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            self.write_atomic(_KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            return key
        if path.stat().st_mode & 0o077:
            raise BadInput(
                f"node key {path} can be read by others (mode {path.stat().st_mode & 0o777:04o}), expected 0600",
                hint=f"chmod 600 {path}",
            )
        try:
            loaded = load_pem_private_key(path.read_bytes(), password=None)
        except ValueError:
            loaded = None
        if not isinstance(loaded, Ed25519PrivateKey):
            raise BadInput(
                f"node key {path} is damaged: expected an Ed25519 private key in PEM form",
                hint="restore the file; with a new state directory the node is a new one for the others",
            )
        return loaded

    def _next_incarnation(self) -> bytes:
        path = self.path / _STARTS
        starts = 1
        if path.exists():
            text = path.read_text(encoding="ascii", errors="replace").strip()
            if not re.fullmatch(r"\d{1,19}", text):
                raise BadInput(
                    f"start counter {path} is damaged: expected a number, found {text[:40]!r}",
                    hint="write a number there that is higher than how often this node has been started",
                )
            starts = int(text) + 1
        self.write_atomic(_STARTS, f"{starts}\n".encode())
        return starts.to_bytes(8, "big") + os.urandom(8)

    def set_network_id(self, network_id: bytes) -> None:
        """Keep the network for good; raises BadInput when the directory belongs to another one."""
        if network_id == self.network_id:
            return
        if self.network_id:
            raise BadInput(
                f"state directory {self.path} belongs to network {self.network_id.hex()[:16]}, "
                f"the other side to network {network_id.hex()[:16]}",
                hint="use another --state DIR for another network",
            )
        self.write_atomic(_NETWORK, network_id.hex().encode() + b"\n")
        self.network_id = network_id

    def write_atomic(self, name: str, data: bytes, fsync: bool = True) -> None:
        """Replace a file (0600) as a whole: after a crash it has the old bytes or the new ones."""
        target = self.path / name
        part = target.with_name(f"{target.name}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if fsync:
                    os.fsync(file.fileno())
            os.replace(part, target)
            if fsync:
                _sync_directory(target.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _unusable(self.path, error) from error

    def write_json(self, name: str, fields: dict[str, Any]) -> None:
        self.write_atomic(name, json.dumps(fields).encode() + b"\n")

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> StateDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def in_use(path: Path) -> bool:
    """Whether some process holds this directory, one right in it, or that of a learning node of one of its slots."""
    inside = (*path.glob(f"*/{_LOCK}"), *path.glob(f"slots/*/*/{_LOCK}"))
    return any(_is_locked(lock) for lock in (path / _LOCK, *inside))


def _is_locked(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def default_state_dir(name: str) -> Path:
    """Where a node of this name keeps its state when no --state is given."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "swarm" / names.parse_name(name)


def _from_hex(path: Path) -> bytes:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise BadInput(
            f"network file {path} is damaged: expected 64 hexadecimal digits, found {text[:40]!r}",
            hint="restore the file; with a new state directory the node is a new one for the others",
        )
    return bytes.fromhex(text)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _unusable(path: Path, error: OSError) -> BadInput:
    return BadInput(
        f"state directory {path} cannot be used: {error.strerror or error}",
        hint="choose another directory with --state DIR, or make room and give this user the right to write there",
    )
