"""With weights that travel as bf16 or int8 all members end with the same bits too, and who sends nonsense is named."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.core.wireform import Coding, WireForm
from swarm.nodes.bench import central
from swarm.runtime import data_client
from swarm.runtime.data import Region
from swarm.runtime.quantising import quantised
from swarm.wire import tensorbytes
from tests.core.test_wireform import held
from tests.runtime.test_exchange import HASH, Attempt, Counting, five, past_its_owner, without_its_last  # noqa: F401

SHAPES = {"a": (300_000,), "one": (), "b": (500, 1001)}
SCHEMA = Schema.of({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})
CHANGED = "the weights it sent are not those it offered: a leaf has another hash"


def models(count: int, seed: int = 2) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [
        {name: generator.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
        for _ in range(count)
    ]


BASE = models(1, seed=1)[0]


def coding(wire: str) -> Coding:
    base = bytearray(SCHEMA.nbytes)
    tensorbytes.pack(SCHEMA, BASE, base)
    return Coding(WireForm(SCHEMA, wire), held(base))


def found_in_one_place(wire: str, method: str, contributions: list, *, sharded: bool) -> bytearray:
    """By the other code that also checks the bench."""
    sent = [central.as_sent(wire, each, BASE) for each in contributions]
    merged = dict(zip(SHAPES, central.merged(method, sent), strict=True))
    reference = bytearray(SCHEMA.nbytes)
    tensorbytes.pack(SCHEMA, central.as_sent(wire, merged, BASE) if sharded else merged, reference)
    return reference


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
@pytest.mark.parametrize(
    ("wire", "method"), [("bf16", "mean"), *(("int8", name) for name in ("mean", "coordmedian", "geomedian"))]
)
def test_every_member_gets_the_central_result_bit_for_bit(five, wire, method, topology) -> None:  # noqa: F811
    contributions = models(4)
    attempt = Attempt(five[:4], SCHEMA, contributions, [1] * 4, topology, method=method, coding=coding(wire), full=True)
    attempt.start()
    outcomes = [attempt.told() for _ in range(4)]
    attempt.end()
    assert [outcome[1] for outcome in outcomes] == ["done"] * 4, outcomes
    in_order = [contributions[i] for i in attempt.uid_order(list(range(4)))]
    reference = found_in_one_place(wire, method, in_order, sharded=topology == "sharded")
    assert all(result == reference for result in attempt.results), "the owners', too"
    assert {outcome[2] for outcome in outcomes} == {tensorbytes.digest(SCHEMA, reference, HASH)}
    assert len({outcome[3].shards for outcome in outcomes}) == 1


def test_what_travels_of_int8_is_a_quarter(five) -> None:  # noqa: F811
    attempt = Attempt(five[:4], SCHEMA, models(4), [1] * 4, "sharded", coding=coding("int8"))
    for index in range(4):
        attempt.serve(index)
    counted = [Counting(attempt, index) for index in range(4)]
    for exchange in attempt.exchanges:
        exchange.start()
    assert {attempt.told()[1] for _ in range(4)} == {"done"}
    attempt.end()
    moved = sum(stop - start for one in counted for _, start, stop in one.asked)
    assert moved <= 1.02 * 2 * 3 * SCHEMA.nbytes / 4


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
@pytest.mark.parametrize("wire", ["bf16", "int8"])
def test_nan_of_a_member_is_found_by_whoever_merges_it_and_its_sender_named(five, wire, topology) -> None:  # noqa: F811
    contributions = models(3)
    contributions[1]["a"][100] = np.nan
    attempt = Attempt(five[:3], SCHEMA, contributions, [1] * 3, topology, coding=coding(wire), full=True)
    attempt.start()
    told = attempt.told()
    attempt.end()
    reason = 'its tensor "a" holds NaN or infinity'
    if told[1] == "failed":  # the sender itself owns the shard, or merges the whole model
        assert (told[0], told[2].message) == (1, reason)
    else:
        assert told[1:] == ("stalled", five[1].uid, reason)


@pytest.mark.parametrize("scale", [np.nan, np.inf, 3e38])
def test_bytes_that_read_as_no_number_are_found_and_their_sender_named(five, scale) -> None:  # noqa: F811
    """What no honest node writes: it would have found it in its own weights."""
    attempt = Attempt(five[:2], SCHEMA, models(2), [1] * 2, "sharded", coding=coding("int8"))
    reader, cheat = (0, 1) if attempt.snap.shards[0].owner == five[0].uid else (1, 0)
    attempt.own[cheat][:4] = np.float32(scale).tobytes()  # of the first block of all
    attempt.serve(cheat)
    attempt.start(reader)
    assert attempt.told() == (reader, "stalled", five[cheat].uid, 'its tensor "a" holds NaN or infinity')
    attempt.end()


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_one_bit_that_was_not_offered_is_found_where_it_arrives_and_its_sender_named(five, topology) -> None:  # noqa: F811
    attempt = Attempt(five[:2], SCHEMA, models(2), [1] * 2, topology, coding=coding("int8"), full=True)
    reader, cheat = (1, 0) if topology == "sharded" and attempt.snap.shards[0].owner == five[1].uid else (0, 1)
    at = attempt.region_of(reader).start + LEAF_BYTES if topology == "sharded" else LEAF_BYTES
    attempt.own[cheat][coding("int8").form.at(at) + 2000] ^= 1
    attempt.serve(cheat)
    attempt.start(reader)
    told = attempt.told()
    assert told == (reader, "stalled", five[cheat].uid, CHANGED)
    assert not attempt.exchanges[reader]._machine.held, "nothing of it was merged"
    attempt.end()


def test_a_result_that_is_not_what_its_owner_signed_is_not_used(five) -> None:  # noqa: F811
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], "sharded", coding=coding("int8"))
    mine = next(iter(attempt.exchanges[1]._signed._regions.values()))
    forged = Region.complete(memoryview(bytes(mine.stop - mine.start)), mine.start)
    forged.finish(five[1].state.node_key.sign(b"something else"))
    attempt.start(0)
    attempt.serve(1)
    five[1].shelf["shard", 0] = forged
    assert attempt.told() == (0, "stalled", five[1].uid, "the shard it sent is not signed by it")
    attempt.end()


def test_a_body_that_ends_early_is_named_with_what_is_missing(five, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(data_client, "FIRST_PAUSE_S", 0.001)
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], "broadcast", coding=coding("int8"), full=True)
    attempt.serve(1)
    short = Region.complete(memoryview(attempt.own[1])[: len(attempt.own[1]) // 2])
    five[1].shelf["offer", 0] = short
    attempt.start(0)
    index, what, uid, reason = attempt.told()
    attempt.end()
    assert (index, what, uid) == (0, "stalled", five[1].uid)
    assert f"were asked for, this node has 0 to {short.stop}" in reason


def test_a_shard_is_passed_on_as_it_came(five, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(data_client, "FIRST_PAUSE_S", 0.001)
    contributions = models(3)
    attempt, first, second = past_its_owner(five[:3], contributions, SCHEMA, coding=coding("int8"))
    in_order = [contributions[i] for i in attempt.uid_order(list(range(3)))]
    reference = found_in_one_place("int8", "mean", in_order, sharded=True)
    assert attempt.results[first] == attempt.results[second] == reference


def test_the_next_attempt_goes_on_with_what_is_here(five) -> None:  # noqa: F811
    contributions = models(4)
    _, second, staying, counted = without_its_last(five[:4], contributions, SCHEMA, coding=coding("int8"))
    assert {second.told()[1] for _ in staying} == {"done"}
    second.end()
    in_order = [contributions[i] for i in second.uid_order(staying)]
    reference = found_in_one_place("int8", "mean", in_order, sharded=True)
    assert all(result == reference for result in second.results)
    sent = sum(stop - start for one in counted for what, start, stop in one.asked if what == "offer")
    assert sent < 1.1 * SCHEMA.nbytes / 4, "half of what a first attempt of three sends"


def test_r067_the_number_of_threads_changes_no_byte_of_what_travels(monkeypatch) -> None:
    weights = memoryview(bytearray(SCHEMA.nbytes))
    tensorbytes.pack(SCHEMA, models(1)[0], weights)
    found = set()
    for threads in (1, 2, 64):
        monkeypatch.setattr("os.cpu_count", lambda threads=threads: threads)
        sent, hashes = quantised(coding("int8"), weights, HASH)
        found.add((bytes(sent), hashes))
    assert len(found) == 1


# ---- a limit to how far weights may be from the base


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
@pytest.mark.parametrize("wire", ["fp32", "int8"])
@pytest.mark.parametrize("method", ["mean", "krum"])
def test_r064_weights_a_million_times_too_large_are_refused(five, method, wire, topology) -> None:  # noqa: F811
    """And their sender is named, by each owner that sees enough of them."""
    contributions = [{name: BASE[name] + array / 1000 for name, array in model.items()} for model in models(3)]
    norm = max(np.sqrt(sum(np.sum((m[n] - BASE[n]) ** 2.0) for n in SHAPES)) for m in contributions)
    contributions[1] = {name: BASE[name] + (array - BASE[name]) * 10**6 for name, array in contributions[1].items()}
    packed = bytearray(SCHEMA.nbytes)
    tensorbytes.pack(SCHEMA, BASE, packed)
    how = {"coding": coding(wire)} if wire != "fp32" else {}
    attempt = Attempt(
        five[:3], SCHEMA, contributions, [1] * 3, topology, method=method, full=True,
        base=held(packed), most=norm * 1.01, **how,
    )  # fmt: skip
    attempt.start()
    told = next(told for told in iter(attempt.told, None) if told[0] != 1)  # itself it may well be content
    attempt.end()
    _, what, uid, reason = told
    assert (what, uid) == ("stalled", five[1].uid)
    assert reason.startswith("its change since the last model has the norm ")
    assert reason.endswith(f"or more: at most {norm * 1.01:g} is allowed")


def test_nobody_who_keeps_to_the_limit_is_refused_for_what_rounding_adds(five) -> None:  # noqa: F811
    """The worst that int8 can do: all but one element of each block a little beyond half a step."""
    from swarm.runtime.clipping import clipped

    worst = np.tile(np.array([127.0] + [0.5001] * 1023, np.float32), 1300)
    change = {"a": worst[:300_000], "one": np.float32(0).reshape(()), "b": worst[300_032:800_532].reshape(500, 1001)}
    far = {name: BASE[name] + array for name, array in change.items()}
    packed, weights = bytearray(SCHEMA.nbytes), bytearray(SCHEMA.nbytes)
    tensorbytes.pack(SCHEMA, BASE, packed)
    tensorbytes.pack(SCHEMA, far, weights)
    norm, near = clipped(SCHEMA, memoryview(weights), held(packed), 1000.0)
    assert norm > 1000
    contributions = [tensorbytes.views(SCHEMA, near)] * 2
    attempt = Attempt(
        five[:2], SCHEMA, contributions, [1] * 2, "broadcast", full=True,
        coding=coding("int8"), base=held(packed), most=1000.0,
    )  # fmt: skip
    attempt.start()
    assert {attempt.told()[1] for _ in range(2)} == {"done"}
    attempt.end()


def test_contributions_lie_as_they_came_until_they_are_merged(five) -> None:  # noqa: F811
    """Room for them as numbers would be three quarters of a model more with four members."""
    attempt = Attempt(five[:2], SCHEMA, models(2), [1] * 2, "sharded", coding=coding("int8"))
    attempt.start()
    assert {attempt.told()[1] for _ in range(2)} == {"done"}
    form = coding("int8").form
    for index, other in ((0, 1), (1, 0)):
        shard = attempt.region_of(index)
        room, on_wire = attempt.stagings[index].room(five[other].uid), slice(form.at(shard.start), form.at(shard.stop))
        assert room[on_wire] == memoryview(attempt.own[other])[on_wire]
    attempt.end()
