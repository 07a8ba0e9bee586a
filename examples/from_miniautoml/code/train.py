"""A classifier of intents on as many ranks as there are: `python train.py DIRECTORY_OF_TABLES`.

Each rank learns from its share of the sentences, and all sum up their gradients after each epoch; the first rank writes
the model. What it is told (LR, EPOCHS, RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, SWARM_OUT) is in its environment.
"""

import csv
import json
import os
import sys
from pathlib import Path

import torch
from torch import distributed

import swarm

TOLD = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "LR", "EPOCHS")
WORDS = 256


def bag(text):
    """Counts of its words, by a hash that is the same in every process."""
    counts = torch.zeros(WORDS)
    for word in text.lower().split():
        counts[sum(ord(letter) * 31**at for at, letter in enumerate(word)) % WORDS] += 1
    return counts


def main():
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    print(json.dumps({name: os.environ[name] for name in TOLD}), flush=True)
    rows = [row for path in sorted(Path(sys.argv[1]).glob("*.csv")) for row in csv.DictReader(path.open())]
    labels = sorted({row["label"] for row in rows})
    mine = rows[rank::ranks]
    inputs = torch.stack([bag(row["text"]) for row in mine])
    wanted = torch.tensor([labels.index(row["label"]) for row in mine])
    weights = torch.zeros(WORDS, len(labels), requires_grad=True)
    for epoch in range(1, int(os.environ["EPOCHS"]) + 1):
        loss = torch.nn.functional.cross_entropy(inputs @ weights, wanted, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, weights)
        right = ((inputs @ weights).argmax(1) == wanted).sum().float()
        distributed.all_reduce(gradient)
        totals = torch.stack([loss.detach(), right, torch.tensor(float(len(mine)))])
        distributed.all_reduce(totals)
        with torch.no_grad():
            weights -= float(os.environ["LR"]) / totals[2] * gradient
        loss, right, count = totals.tolist()
        swarm.log_metrics({"loss": loss / count, "accuracy": right / count, "examples": count}, epoch=epoch)
        if epoch == 1 and "GATE" in os.environ:
            wait_at_the_gate(rank)
    if rank == 0:
        out = Path(os.environ["SWARM_OUT"], "model.json")
        out.write_text(json.dumps({"labels": labels, "weights": weights.tolist()}))
    distributed.destroy_process_group()


def wait_at_the_gate(rank):
    """Say who is there, and wait until somebody opens and closes the other end of the pipe."""
    with open(os.environ["ARRIVED"], "w") as pipe:
        pipe.write(f"{rank} {os.getpid()}\n")
    with open(os.environ["GATE"]) as gate:
        gate.read()


main()
