"""What a learning node contributes to a round: the bytes that it offered, as its peers may read them.

Used by ``nodes/learning``. Guarantee: nothing is read any more once it has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from swarm.core.contract import Contract
from swarm.core.spans import Range
from swarm.core.tensors import LEAF_BYTES
from swarm.core.wireform import Base, Coding, WireForm
from swarm.errors import Refused
from swarm.runtime import hashing
from swarm.runtime.clipping import clipped
from swarm.runtime.data import Region, Want
from swarm.runtime.quantising import quantised
from swarm.wire import merkle, tensorbytes

HASH = tensorbytes.HASH_BYTES
log = logging.getLogger("swarm.SL")


class Contribution:
    """``leaves``: the hashes of its leaves, where the offer commits to them by a Merkle root; else empty.

    ``content`` is in the wire form of the ``coding``, if there is one.
    """

    def __init__(self, content: memoryview, leaves: bytes, hash_name: str, coding: Coding | None = None) -> None:
        self.content = content
        self.coding = coding
        self._leaves = leaves
        self._hash_name = hash_name
        self._region = Region.complete(content)

    @property
    def nbytes(self) -> int:
        """Of the model, whatever of it travels."""
        return self.coding.form.schema.nbytes if self.coding else len(self.content)

    def span(self, what: str, start: int, stop: int) -> Range:
        """Where these bytes of the model, a union of leaves, are in the ``offer`` or its ``leaves``."""
        if what == "leaves":
            return start // LEAF_BYTES * HASH, -(-stop // LEAF_BYTES) * HASH
        return (self.coding.form.at(start), self.coding.form.at(stop)) if self.coding else (start, stop)

    def region(self, want: Want) -> Region:
        return self._region if want.what == "offer" else self._proven(want)

    def end(self, reason: str) -> None:
        self._region.fail(reason)

    def _proven(self, want: Want) -> Region:
        """Leaf hashes, with what shows that they belong to the root."""
        first, stop = want.start // HASH, want.stop // HASH
        if not 0 <= first < stop <= len(self._leaves) // HASH or want.start % HASH or want.stop % HASH:
            raise Refused(f"this node has no leaf hashes {first} to {stop} of what it offered in round {want.round}")
        region = Region(memoryview(self._leaves)[want.start : want.stop], want.start)
        region.finish(merkle.proof(self._leaves, first, stop, self._hash_name))
        return region


@dataclass(frozen=True)
class Offered:
    """``content``: what travels, in wire form where there is a ``coding``; None: the program's weights as they are."""

    coding: Coding | None
    content: memoryview | None
    leaves: bytes


class Offers:
    """What has been offered, made ready before it is: what travels, and what the offer commits to.

    ``tell`` hears, from any thread, what the program should know.
    """

    def __init__(self, contract: Contract, tell: Callable[[str], None]) -> None:
        self._contract = contract
        self._tell = tell
        wire = contract.options.wire
        self._form = None if wire == "fp32" else WireForm(contract.schema, wire)
        self._made: dict[tuple[str, str], Offered] = {}

    def root(self, digest: str, base: str, weights: memoryview, model: Base | None) -> dict[str, bytes]:
        """What an offer of these weights says besides its digest; ``model`` is the base, None while nobody has one.

        In any thread; takes as long as clipping, quantising and hashing do.
        """
        rooted = self._contract.current.terms.rooted
        known = self._made.get((digest, base))
        if known is None or (rooted and not known.leaves):
            known = self._made[digest, base] = self._ready(weights, model, rooted=rooted)
        return {"root": merkle.root(known.leaves, self._contract.hash)} if rooted else {}

    def take(self, digest: str, base: str, weights: memoryview) -> Contribution:
        """What these weights contribute, which were offered. Nothing that was offered before is asked for any more."""
        made = self._made[digest, base]
        self._made = {(digest, base): made}
        content = weights if made.content is None else made.content
        return Contribution(content, made.leaves, self._contract.hash, made.coding)

    def _ready(self, weights: memoryview, model: Base | None, *, rooted: bool) -> Offered:
        schema, hash_name = self._contract.schema, self._contract.hash
        content = self._near(weights, model) if model is not None else None
        if self._form is not None and model is not None:
            coding = Coding(self._form, model)
            return Offered(coding, *quantised(coding, content or weights, hash_name if rooted else ""))
        leaves = hashing.leaf_hashes(schema, content or weights, hash_name) if rooted else b""
        return Offered(None, content, leaves)

    def _near(self, weights: memoryview, model: Base) -> memoryview | None:
        """Other weights to offer where the program's are further from the base than the contract allows."""
        most = self._contract.options.maxDeltaNorm / 1000
        if not most:
            return None
        norm, near = clipped(self._contract.schema, weights, model, most)
        if near is not None:
            text = f"the change since the last model has the norm {norm:.6g}: clipped to {most:g} (maxDeltaNorm)"
            log.info("%s", text)
            self._tell(text)
        return near
