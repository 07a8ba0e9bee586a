"""gloo: `torch.distributed.all_reduce` over TCP, each tensor by itself as its users do, divided by the count in place.

A floor, not a system: no TLS, no membership, nobody may be away.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as gloo

from benchmarks.peers.participant import PEER, Participant, run_peers

MODULE = "benchmarks.peers.adapters.gloo"


def participate() -> None:
    me = Participant()
    gloo.init_process_group(
        "gloo",
        init_method=f"file://{me.place}/rendezvous",
        rank=me.peer,
        world_size=me.plan.peers,
        timeout=timedelta(seconds=300),
    )
    torch.set_num_threads(1)
    for round_ in range(me.plan.all_rounds):
        arrays = me.arrays(round_)
        try:
            gloo.barrier()
            me.gives(round_)
            merged = merge(arrays, me.plan.peers)
        except RuntimeError as error:
            me.failed(round_, error)
            return
        me.had(round_, merged)


def merge(arrays: list[np.ndarray], peers: int) -> list[np.ndarray]:
    tensors = [torch.from_numpy(array) for array in arrays]
    works = [gloo.all_reduce(tensor, async_op=True) for tensor in tensors]
    for work in works:
        work.wait()
    return [tensor.div_(peers).numpy() for tensor in tensors]


if __name__ == "__main__":
    if PEER in os.environ:
        participate()
    else:
        sys.exit(run_peers(MODULE, Participant(peer=0).plan))
