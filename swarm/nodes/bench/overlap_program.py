"""The training program of `swarm bench overlap`: the loop of a user's program, in a swarm or alone.

Started by `run-sl`, or by the bench with SWARM_LOOPBACK=true. Its orders: ``{"steps": n}`` trains so many steps and
answers how long that took, ``{"end": true}`` finishes and answers with the digest of its weights. A step keeps the
processor busy as training does, for as long as the bench has found to be the time asked for, and adds a gradient to all
weights. They are whole numbers, so that nothing is rounded and the result does not depend on when a merge arrives.
"""

from __future__ import annotations

import os
from time import monotonic, process_time

import numpy as np

from swarm import Swarm
from swarm.nodes.bench.central import Array
from swarm.nodes.bench.inputs import digest, sizes
from swarm.nodes.bench.ordered import Orders

PEERS, MB, EVERY, WORK = (f"SWARM_BENCH_{name}" for name in ("PEERS", "MB", "EVERY", "WORK"))
ACTIVATIONS = 1 << 16
PATTERN = 4
EXACT = 1 << 24
"""Whole numbers below this are exact in float32."""


def gradient(mb: int, peers: int, peer: int) -> dict[str, Array]:
    """What a step of this peer adds. The mean over all peers consists of whole numbers, too."""
    elements = ((np.arange(size, dtype=np.float32) % PATTERN + 1) for size in sizes(mb))
    return {f"layer-{i}": array * np.float32(peers * (peer + 1)) for i, array in enumerate(elements)}


def largest(peers: int, steps: int) -> int:
    """The largest number that any peer's weights can have after so many steps."""
    return peers * peers * PATTERN * (steps + 1)


def expected(mb: int, peers: int, steps: int) -> str:
    """The digest of what all end with: each began with one step's gradient, and everybody's steps count alike."""
    means = np.float32((peers + 1) / 2 * (steps + 1))
    return digest(array * means for array in gradient(mb, peers, 0).values())


class Trainer:
    """Steps on a model of ``mb``, each with so many passes of ``work`` over its activations."""

    def __init__(self, mb: int, peers: int, peer: int, work: int) -> None:
        self._gradient = gradient(mb, peers, peer)
        self.weights = {name: array.copy() for name, array in self._gradient.items()}
        self._activations = np.linspace(-1, 1, ACTIVATIONS, dtype=np.float32)
        self._work = work

    def step(self) -> None:
        for _ in range(self._work):
            np.tanh(self._activations, out=self._activations)
        self._activations[:] = self._activations * 2 + 1e-3
        for name, array in self.weights.items():
            np.add(array, self._gradient[name], out=array)


def work_of(mb: int, step_ms: float) -> int:
    """How many passes make up a step of this time, in the processor time of this process."""
    trainer, took_s = Trainer(mb, 1, 0, 20), []
    for work in (0, 20):
        trainer._work = work
        took_s.append(min(_step_s(trainer) for _ in range(5)))
    return max(0, round((step_ms / 1000 - took_s[0]) / ((took_s[1] - took_s[0]) / 20)))


def _step_s(trainer: Trainer) -> float:
    began_s = process_time()
    trainer.step()
    return process_time() - began_s


def run(orders: Orders) -> None:
    peers, mb, every, work = (int(os.environ[name]) for name in (PEERS, MB, EVERY, WORK))
    trainer = Trainer(mb, peers, orders.peer, work)
    with Swarm(minPeers=peers, trainingContract="bench", syncFrequency=every, overlap=True) as swarm:
        swarm.start(trainer.weights, out=trainer.weights)
        orders.say(started=True)
        for order in orders:
            match order:
                case {"steps": int(steps)}:
                    began_s = monotonic()
                    for _ in range(steps):
                        trainer.step()
                        if swarm.due():
                            swarm.sync(trainer.weights, out=trainer.weights)
                    orders.say(seconds=monotonic() - began_s)
                case {"end": _}:
                    swarm.finish(trainer.weights, out=trainer.weights)
                    orders.say(digest=digest(trainer.weights.values()))
                    return


if __name__ == "__main__":
    run(Orders())
