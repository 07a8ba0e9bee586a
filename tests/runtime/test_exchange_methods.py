"""Every method over real sockets: all members find the same bits, those of one central computation."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.core.merge import METHODS, Members, distances
from swarm.core.merge.method import may_be_faulty
from swarm.core.tensors import FLOATS, STORAGE, Schema, TensorSpec
from swarm.runtime.data import Region
from swarm.runtime.exchange import Exchange
from swarm.wire import shardproof, tensorbytes
from tests.runtime.data_nodes import NETWORK, until
from tests.runtime.test_exchange import HASH, SNAP, Attempt, five, random_weights  # noqa: F401 - a fixture

SCHEMA = Schema(
    (
        TensorSpec("a", "float32", (300_000,)),
        TensorSpec("steps", "int64", (2,)),
        TensorSpec("b", "bfloat16", (50_001,)),
        TensorSpec("mask", "bool", (33,)),
        TensorSpec("c", "float64", (20_000,)),
        TensorSpec("d", "float16", (90_000,)),
    )
)
WEIGHTS = [3, 1, 2, 1, 1]
GEOMETRIC = [name for name, method in METHODS.items() if method.distances]


def contributions(count: int, seed: int = 3) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [random_weights(generator, SCHEMA) for _ in range(count)]


def central(name: str, models: list[dict[str, np.ndarray]], weights: list[int]) -> bytearray:
    """The method applied to whole tensors in one place, to distances that numpy finds."""
    flat = [
        np.concatenate([model[t.name].astype(np.float64) for t in SCHEMA.tensors if t.dtype in FLOATS])
        for model in models
    ]
    between = np.array([[np.sum((one - other) ** 2) for other in flat] for one in flat])
    kernel = METHODS[name].kernel(Members(tuple(weights), may_be_faulty(len(weights)), between))
    merged = {}
    for tensor in SCHEMA.tensors:
        out = np.empty(tensor.shape, STORAGE[tensor.dtype])
        kernel(tensor.dtype, [model[tensor.name].view(STORAGE[tensor.dtype]) for model in models], out)
        merged[tensor.name] = out.view(np.dtype(tensor.dtype))
    reference = bytearray(SCHEMA.nbytes)
    tensorbytes.pack(SCHEMA, merged, reference)
    return reference


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
@pytest.mark.parametrize("name", list(METHODS))
def test_every_member_gets_the_central_result_bit_for_bit(five, name: str, topology: str) -> None:  # noqa: F811
    models = contributions(5)
    attempt = Attempt(five, SCHEMA, models, WEIGHTS, topology, method=name)
    attempt.start()
    outcomes = [attempt.told() for _ in five]
    attempt.end()
    assert [outcome[1] for outcome in outcomes] == ["done"] * 5, outcomes
    order = attempt.uid_order(list(range(5)))
    reference = central(name, [models[i] for i in order], [WEIGHTS[i] for i in order])
    assert {outcome[2] for outcome in outcomes} == {tensorbytes.digest(SCHEMA, reference, HASH)}
    assert all(result == reference for result in attempt.results)
    pieces = 5 * (1 + (name in GEOMETRIC)) if topology == "sharded" else 0
    assert {len(outcome[3].shards) for outcome in outcomes} == {pieces}
    assert len({outcome[3].shards for outcome in outcomes}) == 1, "all say the same of each piece"


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["coordmedian", "krum"])
def test_what_is_not_finite_is_found_although_it_would_be_cut_off(five, name, bad, topology) -> None:  # noqa: F811
    models = contributions(3)
    models[1]["a"][100] = bad
    attempt = Attempt(five[:3], SCHEMA, models, [1, 1, 1], topology, method=name)
    attempt.start()
    told = attempt.told()
    attempt.end()
    reason = 'its tensor "a" holds NaN or infinity'
    if told[1] == "failed":
        assert (told[0], told[2].message) == (1, reason)
    else:
        assert told[1:] == ("stalled", five[1].uid, reason)


def test_who_does_not_publish_its_distances_is_blamed_by_all_others(five, monkeypatch) -> None:  # noqa: F811
    from swarm.core import exchanging_silence, layout

    monkeypatch.setattr(exchanging_silence, "SILENT_S", 1.5)  # signs of life come every second
    monkeypatch.setattr(layout, "BELIEVED_BYTES_PER_S", 10**9)
    attempt = Attempt(five[:3], SCHEMA, contributions(3), [1, 1, 1], "sharded", method="geomedian")
    monkeypatch.setattr(attempt.exchanges[1], "_publish", lambda: None)
    attempt.start()
    told: set[tuple] = set()
    while not {(0, "stalled", five[1].uid), (2, "stalled", five[1].uid)} <= told:  # told() ends the wait
        told.add(attempt.told()[:3])
    attempt.end()
    assert not any(what == "done" for _, what, _ in told), "without its part nobody merges"


def said(exchange: Exchange) -> memoryview:
    assert exchange._measuring is not None
    return exchange._measuring.said


def test_distances_are_used_only_with_their_owners_signature_and_can_be_shown(five) -> None:  # noqa: F811
    attempt = Attempt(five[:3], SCHEMA, contributions(3), [1, 1, 1], "sharded", method="krum")
    owner = attempt.snap.shards[0].owner
    attempt.start()
    done = [attempt.told() for _ in range(3)]
    keys = {node.uid: node.state.node_public for node in five[:3]}
    for index, exchange in enumerate(attempt.exchanges):
        proof = exchange.proof(3)
        if five[index].uid == owner:
            assert proof is None, "nobody shows what it signed itself"
            continue
        place = shardproof.ShardPlace(NETWORK, "a-contract", 3, 0, SNAP, 3)
        assert shardproof.verify(keys[owner], place, proof["digest"], proof["signature"])
        assert proof["digest"] == done[0][3].shards[3]
    attempt.end()

    cheat = next(index for index in range(3) if five[index].uid == owner)
    reader = (cheat + 1) % 3
    attempt = Attempt(five[:3], SCHEMA, contributions(3), [1, 1, 1], "sharded", method="krum")
    size = distances.part_bytes(3, attempt.snap.shards[0].first_leaf, attempt.snap.shards[0].stop_leaf)
    forged = Region(memoryview(bytes(size)), 0)
    forged.finish(five[reader].state.node_key.sign(b"something else"))
    attempt.start()
    five[cheat].shelf["distances", 0] = lambda want: forged
    until(lambda: not attempt.outcomes.empty())
    told = [attempt.told()]
    attempt.end()
    assert told[0][1:] == ("stalled", owner, "the list of distances it sent is not signed by it")
