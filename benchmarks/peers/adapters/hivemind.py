"""hivemind: a DHT node and a `DecentralizedAverager` for each participant, groups of all peers, no compression.

Traffic goes through libp2p's Go daemon, encrypted (noise). A participant copies its arrays into the averager's shared
tensors, steps, and has the merge in them.
"""

from __future__ import annotations

import json
import os
import sys
from time import monotonic, sleep

import hivemind
import torch

from benchmarks.peers.participant import PEER, START_S, Participant, run_peers

MODULE = "benchmarks.peers.adapters.hivemind"


def participate() -> None:
    me = Participant()
    torch.set_num_threads(1)
    plan = me.plan
    dht = hivemind.DHT(initial_peers=entrance(me), start=True, host_maddrs=["/ip4/127.0.0.1/tcp/0"])
    if me.peer == 0:
        (written := me.place / "entrance.new").write_text(json.dumps([str(each) for each in dht.get_visible_maddrs()]))
        written.rename(me.place / "entrance.json")
    averager = hivemind.DecentralizedAverager(
        [torch.from_numpy(array) for array in me.arrays(0)],
        dht,
        start=True,
        prefix="bench",
        target_group_size=plan.peers,
        min_group_size=plan.peers if plan.killed_round is None else 2,
    )
    for round_ in range(plan.all_rounds):
        arrays = me.arrays(round_)
        together(me, round_)
        me.gives(round_)
        try:
            with averager.get_tensors() as tensors:
                for tensor, array in zip(tensors, arrays, strict=True):
                    tensor.copy_(torch.from_numpy(array))
            if averager.step(timeout=300) is None:
                raise TimeoutError("no group within 300 s")
            with averager.get_tensors() as tensors:
                merged = [tensor.numpy().copy() for tensor in tensors]
        except Exception as error:  # whatever it says is what the table says
            me.failed(round_, error)
            break
        me.had(round_, merged)
    together(me, plan.all_rounds)


def entrance(me: Participant) -> list[str]:
    """Where the first participant's DHT node is to be found; nowhere for itself."""
    until = monotonic() + START_S
    while me.peer and not (me.place / "entrance.json").exists():
        if monotonic() > until:
            raise TimeoutError(f"peer 0 has no DHT node after {START_S:g} s")
        sleep(0.05)
    return list(json.loads((me.place / "entrance.json").read_text())) if me.peer else []


def together(me: Participant, round_: int) -> None:
    """Until all that live have come this far: who starts far behind the others would be late for their group."""
    (me.place / f"at-{round_}-{me.peer}").touch()
    dead = me.plan.killed_round is not None and round_ > me.plan.killed_round
    everybody = range(me.plan.peers - int(dead))
    until = monotonic() + START_S
    while not all((me.place / f"at-{round_}-{peer}").exists() for peer in everybody) and monotonic() < until:
        sleep(0.005)


if __name__ == "__main__":
    if PEER in os.environ:
        participate()
        os._exit(0)  # its daemons are ended with the run; waiting for them prints tracebacks
    sys.exit(run_peers(MODULE, Participant(0).plan))
