"""The form in which the bytes of an exchange travel: as they are, or as how far they are from the base.

Used by one exchange, from any of its threads. Everybody else speaks of bytes of the model; here is what they are on the
wire. Guarantee: what is served as a member's shard is, read back, bit for bit what that member holds itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from swarm.core.events import SnapMade
from swarm.core.exchanging_steps import Pull
from swarm.core.wireform import Coding
from swarm.errors import ModelError
from swarm.runtime.exchange_staging import Staging
from swarm.wire import tensorbytes

Upto = Callable[[int], int]
"""Of a transfer that has come to this byte on the wire: up to which byte the model is here."""


class Form(Protocol):
    served: memoryview
    """The result as it is passed on: filled as shards are merged and as they arrive."""

    def at(self, position: int) -> int:
        """Where the leaf that begins at this byte of the model (or the end) is on the wire."""

    def room(self, pull: Pull, into: memoryview) -> tuple[memoryview, Upto]:
        """Where a pull is received, and what to do as it comes so that it is ``into``, which is a whole model."""

    def own(self, start: int, stop: int) -> memoryview:
        """These bytes of what this member contributes."""

    def settle(self, start: int, stop: int) -> None:
        """These bytes of the result have been merged here: make of them what can be said on the wire."""


class AsTheyAre:
    def __init__(self, own: memoryview, result: memoryview) -> None:
        self._own = own
        self.served = result

    def at(self, position: int) -> int:
        return position

    def room(self, pull: Pull, into: memoryview) -> tuple[memoryview, Upto]:
        return into[pull.start : pull.stop], lambda upto: upto

    def own(self, start: int, stop: int) -> memoryview:
        return self._own[start:stop]

    def settle(self, start: int, stop: int) -> None:
        pass


class Coded:
    """``own`` is on the wire's form already. ``settles``: others get what is merged here, so it is rounded to that."""

    def __init__(self, coding: Coding, own: memoryview, result: memoryview, *, settles: bool) -> None:
        self._coding = coding
        self._own = own
        self._result = result
        self.served = memoryview(bytearray(coding.form.nbytes if settles else 0))
        self._settles = settles

    def at(self, position: int) -> int:
        return self._coding.form.at(position)

    def room(self, pull: Pull, into: memoryview) -> tuple[memoryview, Upto]:
        first, last = self.at(pull.start), self.at(pull.stop)
        sent = self.served[first:last] if pull.what == "shard" else memoryview(bytearray(last - first))
        known = pull.start

        def arrived(upto: int) -> int:
            nonlocal known
            whole = self._coding.form.whole(upto)
            if whole > known:
                self._coding.read(
                    known, whole, sent[self.at(known) - first : self.at(whole) - first], into[known:whole]
                )
                known = whole
            return known

        return sent, arrived

    def own(self, start: int, stop: int) -> memoryview:
        content = memoryview(bytearray(stop - start))
        self._coding.read(start, stop, self._own[self.at(start) : self.at(stop)], content)
        return content

    def settle(self, start: int, stop: int) -> None:
        if not self._settles:
            return
        merged, sent = self._result[start:stop], self.served[self.at(start) : self.at(stop)]
        self._coding.write(start, stop, merged, sent)
        self._coding.read(start, stop, sent, merged)
        tensor = tensorbytes.first_nonfinite(self._coding.form.schema, merged, start, stop)
        if tensor is not None:
            wire = self._coding.form.wire
            raise ModelError(f'the merged tensor "{tensor}" is too far from the base to be sent as {wire}')


def form_of(snap: SnapMade, own: memoryview, result: memoryview, coding: Coding | None) -> Form:
    if coding is None:
        return AsTheyAre(own, result)
    return Coded(coding, own, result, settles=snap.topology == "sharded")


def contributions(uid: str, form: Form, staging: Staging) -> Callable[[str, int, int], memoryview]:
    """The bytes of contributions. Not a method: an exchange that refers to itself would hold its model for longer."""

    def bytes_of(contributor: str, start: int, stop: int) -> memoryview:
        return form.own(start, stop) if contributor == uid else staging.room(contributor)[start:stop]

    return bytes_of
