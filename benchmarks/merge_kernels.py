"""How long the merge methods take beside the mean: what an owner's merging costs, without any network.

    python benchmarks/merge_kernels.py --members 10 --mb 25

Random float32 contributions, merged in one thread chunk by chunk as an exchange does, the mean and the others in turn;
`ratio` = median over the rounds of a method's seconds by those of the mean beside it. One JSON object.
"""

from __future__ import annotations

import argparse
import json
from statistics import median
from time import perf_counter

import numpy as np

from swarm.core.exchanging_places import CHUNK
from swarm.core.merge import METHODS, Members
from swarm.core.merge.method import may_be_faulty
from swarm.wire.tensorbytes import finite


def seconds(name: str, members: Members, parts: list[np.ndarray], out: np.ndarray) -> float:
    method = METHODS[name]
    kernel = method.kernel(members)
    elements = CHUNK // out.itemsize
    began = perf_counter()
    for start in range(0, len(out), elements):
        chunk = slice(start, start + elements)
        values = [part[chunk] for part in parts]
        if not method.tells:
            assert all(finite("float32", value) for value in values)
        kernel("float32", values, out[chunk])
        assert finite("float32", out[chunk])
    return perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--mb", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    generator = np.random.default_rng(7)
    parts = [generator.random(given.mb * 250_000, np.float32) - 0.5 for _ in range(given.members)]
    out = np.empty_like(parts[0])
    found: dict[str, dict[str, float]] = {}
    for name, method in METHODS.items():
        if method.distances or name == "mean":
            continue
        for how, weights in (("", [1] * given.members), (" weighted", [1 + i % 4 for i in range(given.members)])):
            members = Members(tuple(weights), may_be_faulty(given.members))
            ratios, times = [], []
            for _ in range(given.rounds):
                base = seconds("mean", members, parts, out)
                times.append(seconds(name, members, parts, out))
                ratios.append(times[-1] / base)
            found[name + how] = {"seconds": round(median(times), 4), "ratio": round(median(ratios), 2)}
    print(json.dumps({"members": given.members, "mb": given.mb, "methods": found}))


if __name__ == "__main__":
    main()
