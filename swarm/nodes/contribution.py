"""What a learning node contributes to a round: the bytes that it offered, as its peers may read them.

Used by ``nodes/learning``. Guarantee: nothing is read any more once it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.core.contract import Contract
from swarm.core.wireform import Coding, WireForm
from swarm.errors import Refused
from swarm.runtime import hashing
from swarm.runtime.data import Region, Want
from swarm.runtime.quantising import quantised
from swarm.wire import merkle, tensorbytes

HASH = tensorbytes.HASH_BYTES


class Contribution:
    """``leaves``: the hashes of its leaves, where the offer commits to them by a Merkle root; else empty."""

    def __init__(self, content: memoryview, leaves: bytes, hash_name: str) -> None:
        self.content = content
        self._leaves = leaves
        self._hash_name = hash_name
        self._region = Region.complete(content)

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
    """``content``: in wire form where there is a ``coding``, else empty: the weights travel as they are."""

    coding: Coding | None
    content: memoryview
    leaves: bytes


class Offers:
    """What has been offered, made ready before it is: what travels, and what the offer commits to."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        wire = contract.options.wire
        self._form = None if wire == "fp32" else WireForm(contract.schema, wire)
        self._made: dict[tuple[str, str], Offered] = {}

    def root(self, digest: str, base: str, weights: memoryview, model: memoryview | None) -> dict[str, bytes]:
        """What an offer of these weights says besides its digest; ``model`` is the base, None while nobody has one.

        In any thread; takes as long as quantising and hashing do.
        """
        contract, rooted = self._contract, self._contract.current.terms.rooted
        known = self._made.get((digest, base))
        if known is None or (rooted and not known.leaves):
            if self._form is None or model is None:
                leaves = hashing.leaf_hashes(contract.schema, weights, contract.hash) if rooted else b""
                known = Offered(None, memoryview(b""), leaves)
            else:
                coding = Coding(self._form, model)
                known = Offered(coding, *quantised(coding, weights, contract.hash if rooted else ""))
            self._made[digest, base] = known
        return {"root": merkle.root(known.leaves, contract.hash)} if rooted else {}

    def take(self, digest: str, base: str) -> Offered:
        """What is to travel of what was offered on this base. Nothing that was offered before is asked for any more."""
        self._made = {(digest, base): self._made[digest, base]}
        return self._made[digest, base]
