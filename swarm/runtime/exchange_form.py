"""The form in which the bytes of an exchange travel: as they are, or as how far they are from the base.

Used by one exchange, from any of its threads. Everybody else speaks of bytes of the model; here is what they are on the
wire. Contributions lie in that form until they are merged, which is a chunk at a time. Guarantee: what is served as a
member's shard is, read back, bit for bit what that member holds itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from swarm.core.events import SnapMade
from swarm.core.wireform import Coding
from swarm.errors import ModelError
from swarm.runtime.exchange_merging import BytesOf
from swarm.runtime.exchange_staging import Staging
from swarm.wire import tensorbytes

Upto = Callable[[int], int]
"""Of a transfer that has come to this byte on the wire: up to which byte the model is here."""


class Form(Protocol):
    served: memoryview
    """The result as it is passed on: filled as shards are merged and as they arrive."""

    def at(self, position: int) -> int:
        """Where the leaf that begins at this byte of the model (or the end) is on the wire."""

    def whole(self, offset: int) -> int:
        """Up to which byte of the model everything is said below this one on the wire."""

    def shard(self, start: int, stop: int) -> tuple[memoryview, Upto]:
        """Where a shard is received, and what to do as it comes so that it is in the result."""

    def own(self, start: int, stop: int) -> memoryview:
        """These bytes of what this member contributes."""

    def read(self, start: int, stop: int, sent: memoryview) -> memoryview:
        """These bytes of what a member contributes, all of which ``sent`` has room for, on the wire."""

    def settle(self, start: int, stop: int) -> None:
        """These bytes of the result have been merged here: make of them what can be said on the wire."""


class AsTheyAre:
    def __init__(self, own: memoryview, result: memoryview) -> None:
        self._own = own
        self.served = result

    def at(self, position: int) -> int:
        return position

    def whole(self, offset: int) -> int:
        return offset

    def shard(self, start: int, stop: int) -> tuple[memoryview, Upto]:
        return self.served[start:stop], self.whole

    def own(self, start: int, stop: int) -> memoryview:
        return self._own[start:stop]

    def read(self, start: int, stop: int, sent: memoryview) -> memoryview:
        return sent[start:stop]

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

    def whole(self, offset: int) -> int:
        return self._coding.form.whole(offset)

    def shard(self, start: int, stop: int) -> tuple[memoryview, Upto]:
        known = start

        def arrived(offset: int) -> int:
            nonlocal known
            whole = self.whole(offset)
            if whole > known:
                self._coding.read(known, whole, self._sent(known, whole, self.served), self._result[known:whole])
                known = whole
            return known

        return self._sent(start, stop, self.served), arrived

    def own(self, start: int, stop: int) -> memoryview:
        return self.read(start, stop, self._own)

    def read(self, start: int, stop: int, sent: memoryview) -> memoryview:
        content = memoryview(bytearray(stop - start))
        self._coding.read(start, stop, self._sent(start, stop, sent), content)
        return content

    def _sent(self, start: int, stop: int, whole: memoryview) -> memoryview:
        return whole[self.at(start) : self.at(stop)]

    def settle(self, start: int, stop: int) -> None:
        if not self._settles:
            return
        merged, sent = self._result[start:stop], self._sent(start, stop, self.served)
        self._coding.write(start, stop, merged, sent)
        self._coding.read(start, stop, sent, merged)
        found = tensorbytes.first_flaw(self._coding.form.schema, merged, start, stop)
        if found is not None:
            wire = self._coding.form.wire
            raise ModelError(f'the merged tensor "{found[0]}" is too far from the base to be sent as {wire}')


def form_of(snap: SnapMade, own: memoryview, result: memoryview, coding: Coding | None) -> Form:
    if coding is None:
        return AsTheyAre(own, result)
    return Coded(coding, own, result, settles=snap.topology == "sharded")


def contributions(uid: str, form: Form, staging: Staging) -> BytesOf:
    """The bytes of contributions. Not a method: an exchange that refers to itself would hold its model for longer."""

    def bytes_of(contributor: str, start: int, stop: int) -> memoryview:
        return form.own(start, stop) if contributor == uid else form.read(start, stop, staging.room(contributor))

    return bytes_of
