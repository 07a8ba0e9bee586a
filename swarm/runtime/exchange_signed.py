"""What owners sign in an exchange: their shards, and what they say about the distances in them.

Used by one exchange, from any of its threads. Guarantees: what came from others is served on only with its owner's
signature, which is checked first; a signature speaks for one piece of one attempt, so two of them for the same piece
with different digests convict their signer; nothing is served after `fail`.

Pieces are numbered as the snap's shards are; what is said about the distances in shard k has the number of shards + k.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.events import SnapMade
from swarm.core.exchanging_places import Place, parts, places
from swarm.core.exchanging_steps import Pull, What
from swarm.core.tensors import LEAF_BYTES
from swarm.errors import Refused
from swarm.runtime.data import Region, Want
from swarm.runtime.exchange_merging import HASH, BadContribution
from swarm.wire import shardproof
from swarm.wire.tensorbytes import hash_function


@dataclass(frozen=True)
class Signer:
    """Who signs here, and by whose keys others' signatures are checked."""

    uid: str
    network_id: bytes
    key: Ed25519PrivateKey
    node_keys: Mapping[str, bytes]


class Signed:
    """``result`` and ``leaves`` (its leaves' hashes) are the model's, ``said`` has what is said about distances."""

    def __init__(
        self,
        snap: SnapMade,
        signer: Signer,
        hash_name: str,
        result: memoryview,
        leaves: memoryview,
        said: memoryview,
    ) -> None:
        self._snap = snap
        self._signer = signer
        self._hash_name = hash_name
        self._leaves = leaves
        self._content: dict[What, memoryview] = {"shard": result, "distances": said}
        self._lock = threading.Lock()
        self._proofs: dict[int, bytes] = {}
        """What the owners signed for the pieces that came here."""
        self.mine = [place for place in places(snap, signer.uid, len(result)) if place.owner == signer.uid]
        self._numbers: dict[tuple[What, int], tuple[int, Place]] = {}
        for what, found in (("shard", self._shards(len(result))), ("distances", parts(snap) if len(said) else [])):
            for index, place in enumerate(found):
                number = index + (len(snap.shards) if what == "distances" else 0)
                if place.start < place.stop:
                    self._numbers[what, place.start] = number, place  # type: ignore[index]
        self._regions = {
            (what, start): self._region(what, place)
            for (what, start), (_, place) in self._numbers.items()
            if place.owner == signer.uid
        }

    def _shards(self, nbytes: int) -> Iterator[Place]:
        for shard in self._snap.shards:
            yield Place(shard.owner, shard.first_leaf * LEAF_BYTES, min(shard.stop_leaf * LEAF_BYTES, nbytes))

    def _region(self, what: What, place: Place) -> Region:
        return Region(self._content[what][place.start : place.stop], place.start)

    # ---- mine

    def advance(self, shard: int, upto: int) -> None:
        """My shard that starts here is final below ``upto``."""
        if ("shard", shard) in self._regions:
            self._regions["shard", shard].advance(upto)

    def sign(self, what: What, start: int) -> None:
        """My piece that starts here is complete."""
        signature = shardproof.sign(self._signer.key, self._spoken_of(what, start), self._digest(what, start))
        self._regions[what, start].finish(signature)

    # ---- others'

    def take(self, pull: Pull, signature: bytes) -> None:
        """A piece came whole. Raises BadContribution unless its owner has signed it."""
        place = self._spoken_of(pull.what, pull.start)
        if not shardproof.verify(
            self._signer.node_keys[pull.of], place, self._digest(pull.what, pull.start), signature
        ):
            what, made = ("shard", "merged") if pull.what == "shard" else ("list of distances", "measured")
            whom = "it" if pull.source == pull.of else f"node {pull.of[:8]}, which {made} it"
            raise BadContribution(pull.source, f"the {what} it sent is not signed by {whom}")
        number, found = self._numbers[pull.what, pull.start]
        region = self._region(pull.what, found)
        region.finish(signature)
        with self._lock:
            self._regions[pull.what, pull.start], self._proofs[number] = region, signature

    # ---- for others

    def region(self, want: Want) -> Region:
        """A piece that this member made, or one of another's that it holds; raises Refused."""
        with self._lock:
            for (what, _), region in self._regions.items():
                if what == want.what and region.start <= want.start <= want.stop <= region.stop:
                    return region
        raise Refused(f"bytes {want.start} to {want.stop} of {want} are not held by this node")

    def proof(self, number: int) -> dict[str, bytes] | None:
        """What the owner of this piece signed for the bytes that came here; None when none came."""
        signature = self._proofs.get(number)
        if not signature:
            return None
        return {"digest": self.digests()[number], "signature": signature}

    def digests(self) -> tuple[bytes, ...]:
        """Of all pieces, by number."""
        in_order = sorted((number, what, start) for (what, start), (number, _) in self._numbers.items())
        return tuple(self._digest(what, start) for _, what, start in in_order)

    def fail(self, reason: str) -> None:
        with self._lock:
            for region in self._regions.values():
                region.fail(reason)

    # ---- how

    def _spoken_of(self, what: What, start: int) -> shardproof.ShardPlace:
        snap, (number, _) = self._snap, self._numbers[what, start]
        of = (self._signer.network_id, snap.contract, snap.round, snap.attempt, snap.entry)
        return shardproof.ShardPlace(*of, number)

    def _digest(self, what: What, start: int) -> bytes:
        _, place = self._numbers[what, start]
        if what == "shard":
            first, stop = place.start // LEAF_BYTES, -(-place.stop // LEAF_BYTES)
            return shardproof.shard_digest(self._leaves[first * HASH : stop * HASH], self._hash_name)
        return hash_function(self._hash_name)(self._content[what][place.start : place.stop])
