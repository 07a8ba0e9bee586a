"""Training programs for the channel's tests, run as their own processes: numpy and the base install, no trio.

Each is a function, chosen by the first argument. Lines on stdout are what the tests look at.
"""

from __future__ import annotations

import os
import signal
import sys

import numpy as np

from swarm.callbacks.swarm import Swarm
from swarm.errors import SwarmError


def weights(value: float) -> dict[str, np.ndarray]:
    return {"w": np.full((3, 4), value, np.float32), "n": np.array(7, np.int64)}


def say(text: object) -> None:
    os.write(1, f"{text}\n".encode())  # in one piece: a forked child writes to the same pipe


def train() -> None:
    with Swarm(minPeers=2, trainingContract="demo", syncFrequency=10) as swarm:
        model = swarm.start(weights(1.0))
        while not swarm.training_over:
            model = swarm.sync(model, metrics={"loss": 0.5})
        model = swarm.finish(model)
    say(f"final {model['w'][0, 0]} {model['n'].dtype} {model['n'].shape}")
    say(f"foreign modules: {sorted({'trio', 'libp2p', 'cryptography', 'keras'} & sys.modules.keys())}")


def until_killed() -> None:
    """A child of it holds its socket and outlives it."""
    swarm = Swarm(minPeers=2)
    swarm.start(weights(1.0))
    if os.fork() == 0:
        say(f"child {os.getpid()}")
        signal.pause()
    swarm.sync(weights(1.0))


def forks() -> None:
    swarm = Swarm(minPeers=2)
    swarm.start(weights(1.0))
    child = os.fork()
    if child == 0:
        try:
            swarm.sync(weights(2.0))
        except SwarmError as error:
            say(f"child {error.code}: {error.message}")
        swarm.close()
        os._exit(0)
    os.waitpid(child, 0)
    swarm.sync(weights(3.0))
    swarm.close()
    say("parent merged")


def fork_writes_to_the_socket() -> None:
    swarm = Swarm(minPeers=2)
    swarm.start(weights(1.0))
    child = os.fork()
    if child == 0:
        swarm._session._channel._socket.sendall(b"\0\0\0\1\xc0")
        os._exit(0)
    os.waitpid(child, 0)
    try:
        swarm.sync(weights(3.0))
    except SwarmError as error:
        say(f"{type(error).__name__}: {error.message}")


def raises() -> None:
    swarm = Swarm(minPeers=2)
    swarm.start(weights(1.0))
    raise RuntimeError("the script's own mistake")


def exits() -> None:
    swarm = Swarm(minPeers=2)
    swarm.start(weights(1.0))
    sys.exit(3)


def diverges() -> None:
    swarm = Swarm(minPeers=2)
    model = swarm.start(weights(1.0))
    model["w"][1, 2] = np.nan
    try:
        swarm.sync(model)
    except SwarmError as error:
        sys.exit(error.code)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
