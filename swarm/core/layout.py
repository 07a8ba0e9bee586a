"""The layout: who merges how many leaves of the model, and how long an attempt takes by the rates of its members.

Used by `core/round` (every node derives the same shards from the same offers, so whole numbers only) and by the
timekeeper. A member with a share f of d bytes moves d·(1 + (N−2)·f) each way: its own weights out and the result in,
and once more what the others send for its shard and fetch of it. The time of the whole is that of the slowest, so

    smallest T with   Σ f(T) >= 1   and   T >= d / slowest rate,   where   f(T) = clamp((T·rate/d − 1) / (N−2), 0, 2/N)

and the shares are the f(T), scaled to 1. Who is slow merges little or nothing and still contributes everything; nobody
merges more than 2/N, whatever rate it claims, and no claim is believed that all others have seen to be untrue.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction

from swarm.core.events import SnapMade
from swarm.core.tensors import LEAF_BYTES

BELIEVED_BYTES_PER_S = 2_000_000
"""What a link does, as long as nothing was measured."""
SLOWEST_BYTES_PER_S = 100_000
"""Nobody is waited for as if its link were slower, whatever it claims: a deadline has to come."""
DOUBT = 4
"""A claim is doubted by who has seen the other's part of it to be less than 1/DOUBT of what it has to be: links
that are about alike tell the same (`runtime/data_rates`), and what each measures are not the same moments."""


def doubted(claims: Mapping[str, int], seen: Mapping[str, float]) -> dict[str, int]:
    """Whose claims this member doubts, with the bytes a second that it has ``seen`` come from there instead.

    A link that does what is claimed gives each of the n − 1 others its part of that, or somebody else's is in the way.
    """
    streams = len(claims) - 1
    doubts = {uid: max(1, round(seen[uid])) for uid in claims if uid in seen}
    return {uid: rate for uid, rate in doubts.items() if claims[uid] > DOUBT * streams * rate}


def believed(claims: Mapping[str, int], seen: Mapping[str, Mapping[str, int]]) -> list[int]:
    """The members' rates in the order of ``claims``; ``seen``: what each says that it has `doubted`.

    Only if all others doubt a claim is it taken for untrue: one link in the way proves nothing. Then the fastest stream
    that anybody has seen is taken for each of its streams.
    """
    found = []
    for uid, claim in claims.items():
        others = [other for other in claims if other != uid]
        rates = [seen[other][uid] for other in others if uid in seen.get(other, ())]
        found.append(min(claim, len(others) * max(rates)) if rates and len(rates) == len(others) else claim)
    return found


def shares(rates: Sequence[int]) -> list[int]:
    """How the leaves are to be shared, as whole numbers in proportion. ``rates`` in bytes a second, 0 = not measured.

    Who has measured nothing counts like the middle one of those who have; equal shares while nobody has.
    """
    count, known = len(rates), sorted(rate for rate in rates if rate)
    if count < 3 or not known:  # two move the same however they share
        return [1] * count
    believed = [rate or known[len(known) // 2] for rate in rates]

    def at(time: Fraction) -> list[int]:
        """f(T) in units of 1 / (denominator·(N−2)·N)."""
        bytes_, per = time.numerator, time.denominator
        return [max(0, min(count * (bytes_ * rate - per), 2 * per * (count - 2))) for rate in believed]

    def total(time: Fraction) -> Fraction:
        return Fraction(sum(at(time)), time.denominator * (count - 2) * count)

    begins = {Fraction(1, rate) for rate in believed}
    full = {Fraction(3 * count - 4, count * rate) for rate in believed}
    bends = sorted(begins | full)  # between two of them the total grows evenly
    first = bisect_left(bends, Fraction(1), key=total)
    low, high = bends[max(first - 1, 0)], bends[first]
    below, above = total(low), total(high)
    meets = high if above == below else low + (1 - below) * (high - low) / (above - below)
    return at(max(meets, Fraction(1, min(believed))))


def expected_s(snap: SnapMade, nbytes: int) -> float:
    """How long the members of the attempt need to move what it asks of them, by their rates."""
    count = len(snap.members)
    owned = dict.fromkeys((member.uid for member in snap.members), 0)
    for shard in snap.shards:
        owned[shard.owner] += (shard.stop_leaf - shard.first_leaf) * LEAF_BYTES
    longest = 0.0
    for member in snap.members:
        moved = nbytes + (count - 2) * owned[member.uid] if snap.topology == "sharded" else (count - 1) * nbytes
        longest = max(longest, moved / max(member.rate or BELIEVED_BYTES_PER_S, SLOWEST_BYTES_PER_S))
    return longest if count > 1 else 0.0


def due(snap: SnapMade, uid: str, nbytes: int) -> dict[str, int]:
    """The bytes that ``uid`` is to get from each other member: weights for its own shard, and the other's shard."""
    owned = dict.fromkeys((member.uid for member in snap.members), 0)
    for shard in snap.shards:
        owned[shard.owner] += min(shard.stop_leaf * LEAF_BYTES, nbytes) - shard.first_leaf * LEAF_BYTES
    mine = owned[uid] if snap.topology == "sharded" else nbytes
    return {m.uid: (mine if m.weight else 0) + owned[m.uid] for m in snap.members if m.uid != uid}
