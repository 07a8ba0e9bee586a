"""A program of several ranks: all_reduce with torch's gloo, then wait for a gate, metrics, and a model from rank 0."""

import os
import sys
from pathlib import Path

import torch
from torch import distributed

import swarm

gate, rank = sys.argv[1], int(os.environ["RANK"])
distributed.init_process_group("gloo")
total = torch.tensor([float(rank + 1)])
distributed.all_reduce(total)
swarm.log_metrics({"total": total}, epoch=1)
print(f"rank {rank} of {distributed.get_world_size()}: {total.item():g}", flush=True)
if gate != "-":
    Path(gate, str(rank)).write_text(str(os.getpid()))
    Path(gate, "open").read_text()  # a pipe
if rank == 0:
    Path(os.environ["SWARM_OUT"], "model").write_text(f"{total.item():g}")
distributed.destroy_process_group()
