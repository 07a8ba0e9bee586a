"""What owners sign in an exchange: their shards, and what they say about the distances in them.

Used by one exchange, from any of its threads. Guarantees: what came from others is served on only with its owner's
signature, which is checked first; a signature speaks for one piece of one attempt, so two of them for the same piece
with different digests convict their signer; nothing is served after `fail`.

Pieces are numbered as the snap's shards are; what is said about the distances in shard k has the number of shards + k.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.events import SnapMade
from swarm.core.exchanging_places import Place, parts, places
from swarm.core.exchanging_steps import Pull, What
from swarm.core.tensors import LEAF_BYTES
from swarm.errors import Refused
from swarm.runtime.data import Region, Want
from swarm.runtime.exchange_form import Form
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
    """``form`` has the result as it is served, ``leaves`` its leaves' hashes, ``said`` what is said about distances.

    Regions are addressed as on the wire, everything else as in the model, which has ``nbytes``.
    """

    def __init__(
        self,
        snap: SnapMade,
        signer: Signer,
        hash_name: str,
        nbytes: int,
        form: Form,
        leaves: memoryview,
        said: memoryview,
    ) -> None:
        self._snap = snap
        self._signer = signer
        self._hash_name = hash_name
        self._leaves = leaves
        self._form = form
        self._said = said
        self._lock = threading.Lock()
        self._proofs: dict[int, bytes] = {}
        """What the owners signed for the pieces that came here."""
        shards = places(snap, signer.uid, nbytes) if snap.topology == "sharded" else ()
        said_of = parts(snap) if len(said) else ()
        self._pieces: list[tuple[What, Place]] = [("shard", place) for place in shards]
        self._pieces += [("distances", place) for place in said_of]
        self._numbers = {(what, place.start): number for number, (what, place) in enumerate(self._pieces)}
        self._regions = {
            (what, place.start): self._region(what, place) for what, place in self._pieces if place.owner == signer.uid
        }

    def _region(self, what: What, place: Place) -> Region:
        if what == "distances":
            return Region(self._said[place.start : place.stop], place.start)
        start, stop = self._form.at(place.start), self._form.at(place.stop)
        return Region(self._form.served[start:stop], start)

    # ---- mine

    def advance(self, shard: int, upto: int) -> None:
        """My shard that starts here is final below ``upto``."""
        if ("shard", shard) in self._regions:
            self._regions["shard", shard].advance(self._form.at(upto))

    def sign(self, what: What, start: int) -> None:
        """My piece that starts here is complete."""
        number = self._numbers[what, start]
        signature = shardproof.sign(self._signer.key, self._spoken_of(number), self._digest(number))
        self._regions[what, start].finish(signature)

    # ---- others'

    def take(self, pull: Pull, signature: bytes, unfit: str = "") -> None:
        """A piece came whole. Raises BadContribution unless its owner has signed it, and for the owner if it has, but
        it is ``unfit``, by what it holds: then nobody else is served it."""
        number = self._numbers[pull.what, pull.start]
        key, place = self._signer.node_keys[pull.of], self._spoken_of(number)
        if not shardproof.verify(key, place, self._digest(number), signature):
            what, made = ("shard", "merged") if pull.what == "shard" else ("list of distances", "measured")
            whom = "it" if pull.source == pull.of else f"node {pull.of[:8]}, which {made} it"
            raise BadContribution(pull.source, f"the {what} it sent is not signed by {whom}")
        if unfit:
            raise BadContribution(pull.of, f"the shard that it merged and signed holds {unfit}")
        region = self._region(*self._pieces[number])
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
        return {"digest": self._digest(number), "signature": signature}

    def digests(self) -> tuple[bytes, ...]:
        """Of all pieces, by number."""
        return tuple(map(self._digest, range(len(self._pieces))))

    def fail(self, reason: str) -> None:
        with self._lock:
            for region in self._regions.values():
                region.fail(reason)

    # ---- how

    def _spoken_of(self, number: int) -> shardproof.ShardPlace:
        snap = self._snap
        of = (self._signer.network_id, snap.contract, snap.round, snap.attempt, snap.entry)
        return shardproof.ShardPlace(*of, number)

    def _digest(self, number: int) -> bytes:
        what, place = self._pieces[number]
        if what == "shard":
            first, stop = place.start // LEAF_BYTES, -(-place.stop // LEAF_BYTES)
            return shardproof.shard_digest(self._leaves[first * HASH : stop * HASH], self._hash_name)
        return hash_function(self._hash_name)(self._said[place.start : place.stop])
