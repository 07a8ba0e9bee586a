"""The channel, training side: how a program (ML) speaks with the learning node (SL) beside it.

Used by ``swarm.callbacks``; needs numpy's buffers and msgpack only, no trio and no network. The SL's side is
``runtime/channel_server``. A Unix socket carries the messages of ``wire/messages``; the tensors lie in two shared
buffers that the SL made and handed over as descriptors, so nothing of them has a name. Guarantees: no call waits
longer than ``SILENCE_S`` for an SL that gives no sign of life, and every end of the channel is one sentence that names
the SL and what it was doing; only the process that opened the channel can use it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from swarm.errors import BadInput, InternalError, Refused, SwarmError, Unreachable, from_wire
from swarm.wire import frame, messages
from swarm.wire.messages import Merged, Open, Opened, Sync, Welcome

PATH_VARIABLE = "SWARM_CHANNEL"
TOKEN_VARIABLE = "SWARM_CHANNEL_TOKEN"
HPES_VARIABLES = ("SL_REQUEST_CHANNEL", "SL_RESPONSE_CHANNEL")
"""HPE's two pipes, one a direction. Ours goes both ways, so both name it."""
PATH_MAX = 107
"""What ``sun_path`` holds on Linux, without its final zero."""
SILENCE_S = 30.0
GOODBYE_S = 1.0
DESCRIPTORS = 2
_CHUNK = 65_536

OnNote = Callable[[messages.Level, str], None]
Reply = TypeVar("Reply", Welcome, Opened, Merged)


def check_path(path: str) -> str:
    """The path, if a Unix socket can have it."""
    length = len(os.fsencode(path))
    if not 0 < length <= PATH_MAX:
        raise BadInput(
            f"the channel's socket path has {length} bytes, expected 1 to {PATH_MAX}: {path}",
            hint="choose a state directory with a shorter path: --state DIR",
        )
    return path


def connect(environment: Mapping[str, str], on_note: OnNote) -> Channel:
    """The channel that whoever started this program put into its environment."""
    path = environment.get(PATH_VARIABLE) or _named_as_hpe_does(environment)
    if not path:
        raise Unreachable(
            'no swarm learning node: start with "swarm run -- python train.py", '
            "or set SWARM_LOOPBACK=true to train alone"
        )
    return Channel(path, environment.get(TOKEN_VARIABLE, ""), on_note)


def _named_as_hpe_does(environment: Mapping[str, str]) -> str:
    """For programs whose starter passes on HPE's variables only."""
    request, response = (environment.get(name, "") for name in HPES_VARIABLES)
    if request != response:
        raise BadInput(
            f"{HPES_VARIABLES[0]} is {request!r} and {HPES_VARIABLES[1]} is {response!r}: a learning node here "
            "has one channel for both, HPE's has two pipes",
            hint="start the program with run-sl or swarm run; both set all variables of the channel",
        )
    return request


class Channel:
    """One session with the SL. Blocking; for the process and the thread that made it."""

    def __init__(self, path: str, token: str, on_note: OnNote, *, silence_s: float = SILENCE_S) -> None:
        self.node = f"learning node at {path}"
        self.out = memoryview(b"")
        """This program's weights, as canonical bytes: written here before ``sync``."""
        self.incoming = memoryview(b"")
        """The model that ``sync`` brought, read-only; valid until the next ``sync``."""
        self._pid = os.getpid()
        self._on_note = on_note
        self._silence_s = silence_s
        self._doing = "connecting"
        self._noted = ""
        self._decoder = frame.Decoder()
        self._received: list[messages.FromNode] = []
        self._descriptors: list[int] = []
        self._socket = _connected(check_path(path))
        try:
            welcome = self._ask(messages.Hello(messages.VERSION, self._pid, token), Welcome, "greeting")
        except SwarmError:
            self._shut()
            raise
        self.node = f"learning node {welcome.node}"

    def open(self, request: Open, nbytes: int) -> Opened:
        """Enrol; afterwards ``out`` and ``incoming`` are ``nbytes`` long."""
        opened = self._ask(request, Opened, f"enrolling in contract {request.contract}")
        descriptors, self._descriptors = self._descriptors, []
        try:
            self._map(descriptors, nbytes)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return opened

    def sync(self, request: Sync) -> Merged:
        """Hand over what lies in ``out``; returns when the swarm has decided."""
        self.begin(request)
        return self.decided()

    def begin(self, request: Sync) -> None:
        """Hand over what lies in ``out``, which stays as it is until the swarm has decided."""
        where = {"begin": "at train begin", "sync": f"at batch {request.batches}", "end": "at train end"}[request.kind]
        self._begin(request, f"merging {where}")

    def decided(self) -> Merged:
        """What the swarm has decided on what was handed over last; waits for it."""
        return self._reply(Merged)

    def decided_yet(self) -> Merged | None:
        """The same, never waiting: None while there is nothing."""
        self._check_usable()
        with self._shut_on_error():
            while not self._has_answer():
                data = self._receive(wait=False)
                if data is None:
                    return None
                self._decode(data)
        return self._reply(Merged)

    def report(self, report: messages.Report) -> None:
        """Say how the program trains, also while a decision is under way. Does not wait for an answer."""
        self._check_usable()
        with self._shut_on_error():
            self._send(report)

    def leave(self, reason: str, code: int) -> None:
        """Withdraw from the contract and close. Never waits for the SL, and says nothing if it is gone."""
        self._part(messages.Leave(reason[: messages.TEXT_CAP], code))

    def close(self) -> None:
        """End the session; twice is fine. Never waits for the SL."""
        self._part(messages.Bye())

    # ---- one request, one reply

    def _ask(self, request: messages.FromProgram, reply: type[Reply], doing: str) -> Reply:
        self._begin(request, doing)
        return self._reply(reply)

    def _begin(self, request: messages.FromProgram, doing: str) -> None:
        self._check_usable()
        self._doing, self._noted = doing, ""
        with self._shut_on_error():
            self._send(request)

    def _reply(self, reply: type[Reply]) -> Reply:
        self._check_usable()
        with self._shut_on_error():
            answer = self._answer(reply)
        if isinstance(answer, messages.Error):
            raise from_wire({"code": answer.code, "message": answer.message, "hint": answer.hint})
        return answer

    @contextlib.contextmanager
    def _shut_on_error(self) -> Iterator[None]:
        """Broken, or interrupted with Ctrl-C: a late answer must not meet the next question."""
        try:
            yield
        except BaseException:
            self._shut()
            raise

    def _answer(self, reply: type[Reply]) -> Reply | messages.Error:
        while not self._has_answer():
            self._decode(self._receive() or b"")
        message = self._received.pop(0)
        if not isinstance(message, reply | messages.Error):
            raise InternalError(f"{self.node} answered {type(message).__name__} while {self._doing}")
        return message

    def _has_answer(self) -> bool:
        """Something is here beside what is only told along the way."""
        while self._received and self._is_aside(self._received[0]):
            self._received.pop(0)
        return bool(self._received)

    def _is_aside(self, message: messages.FromNode) -> bool:
        """No answer: a line for the program's log, which it gets, or a sign of life."""
        if isinstance(message, messages.Note):
            self._noted = message.text
            self._on_note(message.level, message.text)
        return isinstance(message, messages.Note | messages.Alive)

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise Refused(
                f"process {os.getpid()} is a fork of the training program (process {self._pid}) and may not use its "
                f"channel to {self.node}",
                hint="use the callback only in the process that made it; start data-loading workers with spawn",
            )
        if self._socket.fileno() < 0:
            raise Unreachable(f"the session with {self.node} is closed", hint="make a new callback for a new training")

    def _send(self, message: messages.FromProgram) -> None:
        self._socket.settimeout(self._silence_s)
        try:
            self._socket.sendall(frame.pack(messages.encode(message)))
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            pass  # the SL closed; what it said before, or the end, is read next

    def _decode(self, data: bytes) -> None:
        self._received += [messages.decode_from_node(wire) for wire in self._decoder.feed(data)]

    def _receive(self, *, wait: bool = True) -> bytes | None:
        """What has come; None: nothing, and it was not to be waited for."""
        self._socket.settimeout(self._silence_s if wait else 0.0)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK, DESCRIPTORS)
        except BlockingIOError:
            return None
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            raise self._ended() from None
        self._descriptors += descriptors
        if not data:
            raise self._ended()
        return data

    def _ended(self) -> Unreachable:
        return Unreachable(f"{self.node} ended while {self._doing}{self._last_words()}", hint=_READ_ITS_LINES)

    def _silent(self) -> Unreachable:
        silence = f"{self._silence_s:g} s without a sign of life from {self.node}"
        return Unreachable(f"{silence} while {self._doing}{self._last_words()}", hint=_READ_ITS_LINES)

    def _last_words(self) -> str:
        return f"; its last words: {self._noted}" if self._noted else ""

    # ---- memory, ends

    def _map(self, descriptors: list[int], nbytes: int) -> None:
        sizes = [os.fstat(descriptor).st_size for descriptor in descriptors]
        if sizes != [nbytes] * DESCRIPTORS:
            raise InternalError(f"{self.node} handed over buffers of {sizes} bytes, expected two of {nbytes}")
        out, incoming = descriptors
        self.out = memoryview(mmap.mmap(out, nbytes))
        self.incoming = memoryview(mmap.mmap(incoming, nbytes, prot=mmap.PROT_READ))

    def _part(self, last: messages.Leave | messages.Bye) -> None:
        if os.getpid() == self._pid and self._socket.fileno() >= 0:
            with contextlib.suppress(SwarmError, OSError):
                self._socket.settimeout(GOODBYE_S)
                self._socket.sendall(frame.pack(messages.encode(last)))
        self._shut()

    def _shut(self) -> None:
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


_READ_ITS_LINES = "what it printed last says why"


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(GOODBYE_S)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise Unreachable(
            f"no learning node answers at {path} ({PATH_VARIABLE}): {error.strerror or error}",
            hint="start run-sl first; when it was restarted, take the export lines that it printed last",
        ) from None
    return connection
