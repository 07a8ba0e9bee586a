"""The training program that chaos runs: counts its own steps, merges without end, and writes down what it saw.

Its model has a cell for each peer (`credit`), into which each step adds one, and ballast of several shards. Of every
merge it records, by code of its own, what it offered and what it got: the cells, and a hash over all its weights.
Environment: RECORDS (where to write), MIN_PEERS, PAUSE_S between merges. The slot's directory is the operator's to set.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
import time
from pathlib import Path

import numpy as np

from swarm import Swarm

CELLS = 16
BALLAST = 100_000  # numbers of 4 bytes: seven leaves

Weights = dict[str, np.ndarray]

ANSWER = re.compile(r"round (\d+) (merged|adopted)(?: by (\d+) members)? after .*: (\S+)$")


class Answers(logging.Handler):
    """What the swarm says of each merge, taken from the program's own log."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[int, str, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if found := ANSWER.match(record.getMessage()):
            self.last = int(found[1]), found[2], found[4]


class Record:
    """One JSON object a line, complete as soon as it is there."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def offered(self, weights: Weights) -> None:
        self._write({"how": "offered", "credit": list(weights["credit"])})

    def got(self, answer: tuple[int, str, str] | None, weights: Weights) -> None:
        if answer is None:
            self._write({"how": "kept"})
            return
        round_, how, digest = answer
        self._write(
            {"round": round_, "how": how, "digest": digest, "hash": hash_of(weights), "credit": list(weights["credit"])}
        )

    def _write(self, line: dict[str, object]) -> None:
        self._file.write(json.dumps({"at_s": time.monotonic(), **line}) + "\n")


def hash_of(weights: Weights) -> str:
    """Of the bytes of all tensors, in the order of their names."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return whole.hexdigest()


def main() -> None:
    slot = Path(os.environ["SWARM_SLOT_DIRECTORY"]).name  # RUN.NUMBER-FENCE
    cell = int(slot.partition("-")[0].rpartition(".")[2])
    record, answers = Record(Path(os.environ["RECORDS"]) / f"{slot}-{os.getpid()}.jsonl"), Answers()
    logger = logging.getLogger("chaos")
    logger.setLevel(logging.INFO)
    for handler in (answers, logging.StreamHandler()):
        logger.addHandler(handler)
    random, pause_s = np.random.default_rng(os.getpid()), float(os.environ["PAUSE_S"])
    weights: Weights = {"credit": np.zeros(CELLS), "ballast": random.random(BALLAST, np.float32)}
    options = {"topology": "sharded", "tooFewPeersSeconds": 0, "logger": logger}
    with Swarm(minPeers=int(os.environ["MIN_PEERS"]), trainingContract="chaos", **options) as swarm:
        merge = swarm.start
        while not swarm.training_over:
            record.offered(weights)
            answers.last = None
            weights = merge(weights)
            record.got(answers.last, weights)
            merge = swarm.sync
            threading.Event().wait(pause_s)
            weights = {name: value.copy() for name, value in weights.items()}
            weights["credit"][cell] += 1
            weights["ballast"] += random.random(BALLAST, np.float32) - np.float32(0.5)


if __name__ == "__main__":
    main()
