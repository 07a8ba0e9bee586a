"""How the program of a role's slot speaks with the operator that runs it: the other side of `nodes/desk`.

Used by `callbacks/roles` and `callbacks/work`. Guarantees: plain blocking calls on a socket of this host, no network;
an operator that is being started anew is waited for, until the deadline; whatever it refuses is raised here as the
error it is.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

from swarm.errors import BadInput, InternalError, Unreachable, from_wire

FILE, TOKEN, SLOT, FENCE = "SWARM_DESK", "SWARM_DESK_TOKEN", "SWARM_SLOT", "SWARM_FENCE"
PATIENCE_S = 60.0
AGAIN_S = 0.2
LOOK_S = 20.0
"""So long one question may wait; a longer wait asks again."""
MARGIN_S = 60.0
ANSWER_BYTES = 16 << 20


def ask(verb: str, *, patience_s: float = PATIENCE_S, once: bool = False, **fields: Any) -> dict[str, Any]:
    """Have the operator answer; raises BadInput outside of a slot, Unreachable when nobody answers in time.

    ``once``: what was asked and may have been heard is not asked again.
    """
    said = [os.environ.get(name) for name in (FILE, TOKEN, SLOT, FENCE)]
    if not all(said):
        raise BadInput(
            "this program runs in no slot of a task with roles, so nobody can be asked",
            hint="give the task Roles and submit it: swarm run -f roles.yaml",
        )
    file, token, slot, fence = map(str, said)
    question = {"slot": slot, "fence": int(fence), "token": token, "ask": verb, **fields}
    line = json.dumps(question).encode() + b"\n"
    until = time.monotonic() + patience_s
    while True:
        try:
            return _answered(file, line, max(until - time.monotonic(), 0.1))
        except OSError as error:
            if once and isinstance(error, Unheard):
                raise Unreachable(f"the operator of slot {slot} ended before it answered, it may have acted") from error
            if time.monotonic() + AGAIN_S > until:
                why = error.strerror or error
                raise Unreachable(
                    f"the operator of slot {slot} did not answer within {patience_s:g} s: {why}"
                ) from error
        time.sleep(AGAIN_S)


class Unheard(ConnectionError):
    """The question was sent, and no answer came."""


def _answered(file: str, line: bytes, patience_s: float) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as said:
            path = json.load(said)["path"]
    except ValueError as error:
        raise ConnectionError(f"{file} is being written") from error
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(patience_s)
        stream.connect(path)
        try:
            stream.sendall(line)
            buffer = _line(stream)
        except OSError as error:
            raise Unheard(f"it ended in between: {error.strerror or error}") from error
    answer: dict[str, Any] = json.loads(buffer)
    if "error" in answer:
        raise from_wire(answer["error"])
    return answer


def _line(stream: socket.socket) -> bytes:
    buffer = bytearray()
    while not buffer.endswith(b"\n"):
        received = stream.recv(1 << 16)
        if not received:
            raise ConnectionError("no more comes")
        buffer += received
        if len(buffer) > ANSWER_BYTES:
            raise InternalError(f"the operator's answer is longer than {ANSWER_BYTES} bytes")
    return bytes(buffer)
