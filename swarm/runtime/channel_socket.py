"""The channel's socket and memory on the learning node's side: who is at the other end, and what both can touch.

Used by ``runtime/channel_server``. Guarantees: a message comes from the process that opened the connection, not from a
fork of it; what a program wrote before it died is still read; shared memory has no name and cannot be shrunk under us;
the socket lies in a directory that only this user can enter, and one that a killed node has left goes with the next
start in its state directory, or with that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from swarm.errors import BadInput, Refused, SwarmError
from swarm.runtime.channel import PATH_MAX, check_path
from swarm.wire import frame, messages

_CHUNK = 65_536
_PREFIX = "swarm-"
_CREDENTIALS = struct.Struct("3i")


class Wire:
    """The socket of one program: messages in and out, and who is at the other end."""

    def __init__(self, connection: trio.socket.SocketType) -> None:
        self._socket = connection
        self._decoder = frame.Decoder()
        self._received: list[messages.FromProgram] = []
        self.peer_pid, self.peer_uid = _peer(connection)

    async def receive(self) -> messages.FromProgram | None:
        """The next message; None at the end."""
        while not self._received:
            data, ancillary, _, _ = await self._socket.recvmsg(_CHUNK, socket.CMSG_SPACE(_CREDENTIALS.size))
            if not data:
                return None
            self._check_writer(ancillary)
            self._received = [messages.decode_from_program(wire) for wire in self._decoder.feed(data)]
        return self._received.pop(0)

    def _check_writer(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        """The kernel says who wrote: a fork of the program has its socket too, and no business here."""
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, getattr(socket, "SCM_CREDENTIALS", None)):
                pid, _, _ = _CREDENTIALS.unpack_from(data)
                if pid not in (0, self.peer_pid):
                    raise Refused(f"process {pid} wrote on the channel of process {self.peer_pid}")

    async def send(self, message: messages.FromNode, descriptors: Sequence[int] = ()) -> None:
        data = memoryview(frame.pack(messages.encode(message)))
        if descriptors:
            rights = struct.pack(f"{len(descriptors)}i", *descriptors)
            data = data[await self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]) :]
        while data:
            data = data[await self._socket.send(data) :]

    async def last_words(self, error: SwarmError | OSError) -> None:
        """Say why the channel closes, to whom it may concern."""
        if isinstance(error, SwarmError):
            with contextlib.suppress(OSError), trio.move_on_after(1):
                await self.send(failure(error))

    async def wait_for_peers_end(self) -> None:
        """When the program's process ends, so does the channel, even if a child of it still holds the socket.

        What it wrote before is read first: after a shutdown the kernel gives out what is queued, then the end.
        """
        if not self.peer_pid:
            return  # in another container: the socket's end has to do
        await _process_ended(self.peer_pid)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)


def failure(error: SwarmError) -> messages.Error:
    return messages.Error(error.code, error.message[: messages.TEXT_CAP], error.hint[: messages.TEXT_CAP])


def _peer(connection: trio.socket.SocketType) -> tuple[int, int | None]:
    """Process and user at the other end, where the kernel tells (pid 0: in another container)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return 0, None
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


async def _process_ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):  # a kernel without it
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                await trio.sleep(1)
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def shared_memory(nbytes: int) -> int:
    """A descriptor of memory that has no name and, where the kernel can promise it, never shrinks."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(nbytes)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("swarm-weights", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, nbytes)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def place(directory: Path) -> Iterator[str]:
    """The socket's path: in ``directory``, or where that is too long for a socket in a private temporary one."""
    forget(directory)
    path = str(directory / "socket")
    if len(os.fsencode(path)) <= PATH_MAX:
        yield path
        return
    temporary = tempfile.mkdtemp(prefix=_PREFIX)
    try:
        _keep(directory, temporary)
        yield check_path(f"{temporary}/socket")
    finally:
        _remove(directory, Path(temporary))


def _keep(directory: Path, temporary: str) -> None:
    """On disk, for whoever comes after a node that was killed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _note(directory).write_text(temporary, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"no channel at {directory}: {error.strerror}") from error


def forget(directory: Path) -> None:
    """Remove the temporary directory of a killed node that had its socket's place here."""
    try:
        temporary = Path(_note(directory).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    with contextlib.suppress(OSError):
        if temporary.name.startswith(_PREFIX) and os.listdir(temporary) in ([], ["socket"]):
            _remove(directory, temporary)


def _remove(directory: Path, temporary: Path) -> None:
    shutil.rmtree(temporary, ignore_errors=True)
    with contextlib.suppress(OSError):
        _note(directory).unlink()


def _note(directory: Path) -> Path:
    """Where it says which temporary directory holds the socket."""
    return directory / "elsewhere"


@contextlib.contextmanager
def listening(path: str) -> Iterator[trio.socket.SocketType]:
    """A listening socket; one left behind by a killed node is replaced, ours is removed."""
    directory = Path(path).parent
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            Path(path).unlink(missing_ok=True)
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(8)
        except OSError as error:
            raise BadInput(f"no channel at {path}: {error.strerror}") from error
        try:
            yield trio.socket.from_stdlib_socket(listener)
        finally:
            Path(path).unlink(missing_ok=True)
