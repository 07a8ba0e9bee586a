"""How long the merge methods take beside the mean: what owners' merging costs, without any network.

    python benchmarks/merge_kernels.py --members 10 --mb 25

Random float32 contributions, merged in one thread chunk by chunk as an exchange does, with the distances where a method
needs them, the mean and the others in turn; `ratio` = median over the rounds of a method's CPU seconds by those of the
mean beside it. One JSON object.
"""

from __future__ import annotations

import argparse
import json
from statistics import median
from time import thread_time
from typing import Any

import numpy as np

from swarm.core.exchanging_places import CHUNK
from swarm.core.merge import METHODS, Members, distances
from swarm.core.merge.method import may_be_faulty
from swarm.core.tensors import Schema
from swarm.wire.tensorbytes import finite

Array = np.ndarray[Any, Any]


def seconds(name: str, weights: tuple[int, ...], parts: list[Array], out: Array) -> float:
    method = METHODS[name]
    began = thread_time()
    between = measured(parts) if method.distances else None
    kernel = method.kernel(Members(weights, may_be_faulty(len(weights)), between))
    elements = CHUNK // out.itemsize
    for start in range(0, len(out), elements):
        chunk = slice(start, start + elements)
        values = [part[chunk] for part in parts]
        if not method.tells:
            assert all(finite("float32", value) for value in values)
        kernel("float32", values, out[chunk])
        assert finite("float32", out[chunk])
    return thread_time() - began


def measured(parts: list[Array]) -> Array:
    schema = Schema.of({"model": parts[0]})
    contents = [part.view(np.uint8) for part in parts]
    spans, room = distances.leaf_spans(0, contents[0].nbytes), distances.Room(len(parts))
    sums = [
        distances.of_leaf(schema, start, [content[start:stop] for content in contents], room) for start, stop in spans
    ]
    return distances.together(schema.leaves, len(parts), {(0, schema.leaves): distances.part(0, np.stack(sums))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--mb", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    generator = np.random.default_rng(7)
    parts = [generator.random(given.mb * 250_000, np.float32) - 0.5 for _ in range(given.members)]
    out = np.empty_like(parts[0])
    equal, unequal = [1] * given.members, [1 + i % 4 for i in range(given.members)]
    found: dict[str, dict[str, float]] = {}
    for name in METHODS:
        for how, weights in (("", equal), (", unequal weights", unequal)):
            ratios, times = [], []
            for _ in range(given.rounds):
                base = seconds("mean", tuple(weights), parts, out)
                times.append(seconds(name, tuple(weights), parts, out))
                ratios.append(times[-1] / base)
            found[name + how] = {"cpu_s": round(median(times), 4), "ratio": round(median(ratios), 2)}
    print(json.dumps({"members": given.members, "mb": given.mb, "methods": found}))


if __name__ == "__main__":
    main()
