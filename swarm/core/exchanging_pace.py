"""The pace of an exchange: how long each stream is to take, so that all streams that pass a link end together.

Used by who serves the bytes of an attempt. Each member sends each other one its part of that one's shard, and its own
shard: how much that is is known, and so is when all of it can be there (`core/layout`). Where some streams run ahead of
that, others are behind, and the round waits for those on links that are empty by then.
"""

from __future__ import annotations

from swarm.core import layout
from swarm.core.events import SnapMade
from swarm.core.exchanging import AT_ONCE
from swarm.core.tensors import LEAF_BYTES

HASTE = 1.05
"""Streams may be so much faster than that. Where all have just what they need, whatever one of them loses is lost."""
FREE = 8
"""Every so many rounds streams run as they like, else no rate that is measured could grow. Rates are those of as many
rounds (`runtime/data_rates`), so there is always one of these among them."""


def even_s(snap: SnapMade, nbytes: int, *, judges: bool = False) -> float:
    """For each stream of the attempt; 0.0 where that is not known, or does not matter.

    ``nbytes``: of a model as it travels. ``judges``: no shard is sent before all contributions have come.
    """
    others = len(snap.members) - 1
    if not snap.shards or others < 1 or not all(member.rate for member in snap.members) or snap.round % FREE == 0:
        return 0.0
    whole = snap.shards[-1].stop_leaf * LEAF_BYTES
    all_s = layout.expected_s(snap, whole) * nbytes / whole / HASTE
    return all_s * min(1.0, AT_ONCE / others) / (2 if judges else 1)
