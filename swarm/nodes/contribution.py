"""What a learning node contributes to a round: the bytes that it offered, as its peers may read them.

Used by ``nodes/learning``. Guarantee: nothing is read any more once it has ended.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.errors import Refused
from swarm.runtime import hashing
from swarm.runtime.data import Region, Want
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


class Commitments:
    """The leaf hashes of what was offered last, where the contract asks offers to commit to them."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._digest = ""
        self._leaves = b""

    def root(self, digest: str, content: memoryview) -> dict[str, bytes]:
        """What the offer of this content says besides its digest. Takes as long as hashing does."""
        if self._contract.options.commitments != "full":
            return {}
        self._leaves = hashing.leaf_hashes(self._contract.schema, content, self._contract.hash)
        self._digest = digest
        return {"root": merkle.root(self._leaves, self._contract.hash)}

    def leaves(self, digest: str) -> bytes:
        return self._leaves if digest == self._digest else b""
