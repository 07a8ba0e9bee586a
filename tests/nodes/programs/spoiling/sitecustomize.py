"""A learning node that sends one owner of a shard, and nobody else, weights that cannot be merged.

Python runs this in every process that has the directory on its path. Environment: SPOIL (the round in which it does
so), VALUE (what one of its weights is there).
"""

from __future__ import annotations

import os
from typing import Any

if "SPOIL" in os.environ:
    try:
        import numpy as np

        from swarm.core.tensors import LEAF_BYTES
        from swarm.nodes import learning
        from swarm.runtime.data import Region
    except ImportError:  # one of the processes that Python starts for itself
        pass
    else:
        honest: Any = learning.Attempt

        def spoiling(snap: Any, own: Any, result: Any, handed: bool, exchange: Any, method: Any) -> Any:
            if snap.round == int(os.environ["SPOIL"]):
                victim = next(shard for shard in snap.shards if shard.owner != exchange._uid)
                weights = bytearray(own.content)
                at = victim.first_leaf * LEAF_BYTES
                np.frombuffer(weights, np.uint8)[at : at + 4].view(np.float32)[0] = float(os.environ["VALUE"])
                own._region = Region.complete(memoryview(weights))
            return honest(snap, own, result, handed, exchange, method)

        learning.Attempt = spoiling  # type: ignore[misc]
