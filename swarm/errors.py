"""Every error that a person can meet: one sentence, a hint, an exit code.

    SwarmError
    ├── CheckFailed     1    a check of the command failed
    ├── BadInput        2    flags, files, values
    ├── IdentityError   3    certificates, keys, handshakes
    │   ├── Doubled     3    another process has the same node key
    │   │   ├── Replaced 3   it is a later start of the same state directory
    │   │   └── RunsTwice 3  it takes part already
    │   └── Outdated    3    the network follows rules that are newer than what this node knows
    ├── Unreachable     4    not reachable, deadline passed
    │   └── Crowded     4    reachable, and has too much to do for this organisation
    ├── Refused         5    a policy or the ledger says no
    │   └── GivenUp     5    a forced recovery gave up what this node has read of the ledger
    ├── WorkerFailed    6    a task or worker failed
    ├── ModelError      7    tensors, weights, data
    ├── InternalError  70    our own mistake
    └── Interrupted   130    Ctrl-C

Raised everywhere, caught by ``swarm.cli`` (and carried over the wire as its ``to_wire`` form). The message says what,
where, expected, received; the hint says what to do. Programmers' mistakes are assertions, not errors of this tree.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self


class SwarmError(Exception):
    """The root; also what training programs catch."""

    code: ClassVar[int] = 70
    kind: ClassVar[str] = ""
    """Tells it from others of its code on the wire."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_wire(self) -> dict[str, Any]:
        kind = {"kind": self.kind} if self.kind else {}
        return {"code": self.code, "message": self.message, "hint": self.hint, **kind}

    def retold(self, message: str, hint: str) -> SwarmError:
        """The same in other words."""
        return type(self)(message, hint=hint)


class CheckFailed(SwarmError):
    code = 1


class BadInput(SwarmError):
    code = 2


class IdentityError(SwarmError):
    code = 3
    unproved = False
    """Another process has said it, and not shown which node it is: whoever answers at an address."""
    said_by = ""
    """The uid of the node that has said it, and shown that it is that node."""


class Doubled(IdentityError):
    """Another process has this one's node key. ``proof``: what that key has signed and this process has not, if any."""

    proof = b""

    def to_wire(self) -> dict[str, Any]:
        return {**super().to_wire(), **({"proof": self.proof} if self.proof else {})}

    def retold(self, message: str, hint: str) -> SwarmError:
        return type(self)(message, hint=hint).showing(self.proof)

    def showing(self, proof: Any) -> Self:
        self.proof = proof if isinstance(proof, bytes) else b""
        return self


class Replaced(Doubled):
    kind = "replaced"


class RunsTwice(Doubled):
    kind = "twice"


class Outdated(IdentityError):
    kind = "outdated"


class Unreachable(SwarmError):
    code = 4


class Crowded(Unreachable):
    """Whoever answers has too much to do for this organisation: the same may be asked there again in a while."""

    kind = "crowded"


class Refused(SwarmError):
    code = 5


class GivenUp(Refused):
    """What this node has read of the ledger is no longer what the network goes on with."""


class WorkerFailed(SwarmError):
    code = 6


class ModelError(SwarmError):
    code = 7


class InternalError(SwarmError):
    code = 70


class Interrupted(SwarmError):
    code = 130


def as_ours(error: Exception, what: str) -> SwarmError:
    """An error as it may be told: what is none of ours is a mistake of ours, by which ``what`` came about."""
    return error if isinstance(error, SwarmError) else InternalError(f"{what}: {error!r}")


BY_CODE: dict[int, type[SwarmError]] = {
    kind.code: kind
    for kind in (
        CheckFailed, BadInput, IdentityError, Unreachable, Refused, WorkerFailed, ModelError, InternalError,
        Interrupted,
    )
}  # fmt: skip


TOLD_MAX = 4096
"""How much of another process's sentence is kept."""


def from_wire(fields: dict[Any, Any]) -> SwarmError:
    """The error that another process reported, as the same class here; whatever it sent, as one printable line."""
    code = fields.get("code")
    kind = BY_CODE.get(code, InternalError) if type(code) is int else InternalError
    kind = next((one for one in (Replaced, RunsTwice, Outdated, Crowded) if fields.get("kind") == one.kind), kind)
    error = kind(told(fields.get("message")), hint=told(fields.get("hint")))
    return error.showing(fields.get("proof")) if isinstance(error, Doubled) else error


def told(text: Any) -> str:
    """What another process has sent as a sentence, as one printable line; nothing if it is no text."""
    if not isinstance(text, str):
        return ""
    line = text[:TOLD_MAX].replace("\n", " ")
    return "".join(character if character.isprintable() else "?" for character in line)
