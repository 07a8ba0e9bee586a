"""Where the pieces of an exchange lie: whose shard is which bytes of the model, and of what is said about distances.

Used by ``core/exchanging`` and ``runtime/exchange``. Guarantee: all members of an attempt find the same places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from swarm.core import layout
from swarm.core.events import SnapMade
from swarm.core.exchanging_steps import Pull, What
from swarm.core.merge import distances
from swarm.core.spans import Range
from swarm.core.tensors import LEAF_BYTES, NBYTES_MAX

CHUNK = 16 * LEAF_BYTES
PIECES = 32
"""A shard is merged in so many chunks, or in more where these would be larger than CHUNK."""
CHUNK_S = 0.05
"""And in more where one of them would take longer than that to arrive: the first one's way to its owner, and the last
one's back to everybody, is what a round lasts beyond the bytes that it moves."""


@dataclass(frozen=True, slots=True)
class Place:
    """A shard, or what its owner says about it, in bytes. ``lasts_s``: how long they will be under way, if known."""

    owner: str
    start: int
    stop: int
    lasts_s: float = 0.0


@dataclass(slots=True)
class Lane:
    """What is pulled from one member for one purpose: ``left`` one after the other, ``pull`` now."""

    what: What
    of: str
    left: list[Range]
    begun: bool = False
    pull: Pull | None = None
    upto: int = 0
    moved_s: float = 0.0
    heard_s: float = 0.0
    stopping: str = ""
    alive: bool = False
    """Whether who is to be stopped gives signs of life, and nothing else."""
    tried: list[str] = field(default_factory=list)
    failure: str = ""
    lived: bool = False
    """What ``alive`` was when it failed first."""
    again_s: float | None = None


def places(snap: SnapMade, uid: str, nbytes: int) -> Iterator[Place]:
    """All shards of the attempt, as the member ``uid`` has to do with them."""
    if snap.topology == "broadcast":  # the whole model is everybody's shard
        yield Place(uid, 0, nbytes)
        return
    lasts_s = layout.expected_s(snap, nbytes) if all(member.rate for member in snap.members) else 0.0
    for shard in snap.shards:
        start, stop = shard.first_leaf * LEAF_BYTES, min(shard.stop_leaf * LEAF_BYTES, nbytes)
        if start < stop:
            yield Place(shard.owner, start, stop, lasts_s)


def parts(snap: SnapMade) -> list[Place]:
    """What each owner says about the distances in its shard, one after the other; in a broadcast nothing."""
    members = sum(member.weight > 0 for member in snap.members)
    found, at = [], 0
    for shard in snap.shards:
        stop = at + distances.part_bytes(members, shard.first_leaf, shard.stop_leaf)
        found.append(Place(shard.owner, at, stop))
        at = stop
    return found


def owned(places: Iterable[Place]) -> dict[str, list[Range]]:
    """By owner, without what is empty."""
    found: dict[str, list[Range]] = {}
    for place in places:
        if place.start < place.stop:
            found.setdefault(place.owner, []).append((place.start, place.stop))
    return found


def others(snap: SnapMade, uid: str) -> list[str]:
    """All other members, from the one that follows in the order of uids."""
    uids = [member.uid for member in snap.members]
    at = uids.index(uid)
    return uids[at + 1 :] + uids[:at]


def chunks(shard: Place, start: int = 0, stop: int = NBYTES_MAX) -> Iterator[Range]:
    """The chunks of the shard, all or those that have bytes in this range; whole leaves each."""
    leaves = -(-(shard.stop - shard.start) // LEAF_BYTES)
    size = min(-(-leaves // PIECES) * LEAF_BYTES, CHUNK)
    if shard.lasts_s > CHUNK_S:
        size = min(size, max(1, int(leaves * CHUNK_S / shard.lasts_s)) * LEAF_BYTES)
    first, last = max(start, shard.start), min(stop, shard.stop)
    for at in range(first - (first - shard.start) % size, last, size):
        yield at, min(at + size, shard.stop)
