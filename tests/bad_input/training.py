"""Training programs that go wrong, each in its own way: started by run-sl, by path, as a person's own script is.

training.py NAME CONTRACT [VALUE…]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from swarm import Swarm
from swarm.errors import SwarmError

CONTRACT = sys.argv[2]
Weights = dict[str, np.ndarray]


def weights(value: float = 1.0) -> Weights:
    return {"dense/kernel": np.full((4, 3), value, np.float32), "dense/bias": np.zeros(3, np.float32)}


def alone(**options: object) -> Swarm:
    return Swarm(minPeers=1, trainingContract=CONTRACT, **options)


def say(text: str) -> None:
    print(text, flush=True)


def together(peers: str, rounds: str) -> None:
    """Train to the end; `rounds` 0: until it is ended."""
    swarm = Swarm(minPeers=int(peers), trainingContract=CONTRACT)
    model = swarm.start(weights())
    done = 0
    while done < int(rounds) or rounds == "0":
        done += 1
        model = swarm.sync({name: array + 1 for name, array in model.items()})
        say(f"round {done}")
    swarm.finish(model)
    say("finished")


def together_until(peers: str, gate: str) -> None:
    """Train until that file is there."""
    swarm = Swarm(minPeers=int(peers), trainingContract=CONTRACT)
    model = swarm.start(weights())
    say("merged")
    while not Path(gate).exists():
        model = swarm.sync({name: array + 1 for name, array in model.items()})
    swarm.finish(model)
    say("finished")


def diverges(peers: str, value: str, after: str = "1") -> None:
    swarm = Swarm(minPeers=int(peers), trainingContract=CONTRACT)
    model = swarm.start(weights())
    for _ in range(int(after)):
        model = swarm.sync(model)
    model["dense/bias"][1] = float(value)
    swarm.sync(model)


def begins_with_nan() -> None:
    alone().start(weights(float("nan")))


def hides_it() -> None:
    swarm = alone()
    swarm.start(weights())
    try:
        swarm.sync(weights(float("inf")))
    except SwarmError:
        sys.exit(3)


def grows_a_layer() -> None:
    swarm = alone()
    model = swarm.start(weights())
    swarm.sync({**model, "new/kernel": np.zeros(2, np.float32)})


def changes_shape() -> None:
    swarm = alone()
    model = swarm.start(weights())
    swarm.sync({**model, "dense/bias": np.zeros(4, np.float32)})


def opens(*words: str) -> None:
    """Enrol with weights named in words: name=type=shape."""
    given = {}
    for word in words:
        name, kind, shape = word.split("=")
        given[name] = np.zeros([int(size) for size in shape.split(",")], kind)
    alone().start(given)


def options(*words: str) -> None:
    """Enrol with the options name=value."""
    given = {name: eval(value) for name, value in (word.split("=", 1) for word in words)}
    Swarm(**{"minPeers": 1, "trainingContract": CONTRACT, **given}).start(weights())


def objects() -> None:
    alone().start({"w": np.array([{}, None], dtype=object)})


def nothing() -> None:
    alone().start({})


def syncs_before_start() -> None:
    alone().sync(weights())


def raises() -> None:
    swarm = alone()
    swarm.start(weights())
    raise ValueError("expected 784 columns, found 783")


def exits(code: str) -> None:
    swarm = alone()
    swarm.start(weights())
    sys.exit(int(code))


def killed() -> None:
    swarm = alone()
    swarm.start(weights())
    print("loading the second shard", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps() -> None:
    """A long step between two merges, deaf to SIGTERM as a program with a handler of its own, with a child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    swarm = alone()
    swarm.start(weights())
    if os.fork() == 0:
        signal.pause()
    say("training")
    signal.pause()


def twice() -> None:
    """A second program beside the first, at the same learning node."""
    import subprocess

    swarm = alone()
    swarm.start(weights())
    second = subprocess.run([sys.executable, __file__, "exits", CONTRACT, "0"], stdout=subprocess.DEVNULL)
    swarm.close()
    sys.exit(second.returncode)


def with_a_hook() -> None:
    """A program with a hook of its own, for errors of its own."""
    sys.excepthook = lambda kind, error, trace: Path("hooked").write_text(kind.__name__)
    alone()
    raise KeyError("column")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[3:])
