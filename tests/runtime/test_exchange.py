"""All members of an attempt end with the one result that a separate computation finds, or name who is to blame."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction
from functools import partial
from queue import Queue

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.core.events import Contributor, Shard, SnapMade
from swarm.core.merge import METHODS
from swarm.core.merge.own import by_element
from swarm.core.tensors import LEAF_BYTES, STORAGE, Schema, TensorSpec, split
from swarm.core.wireform import Base, Coding
from swarm.errors import ModelError, Refused
from swarm.nodes.contribution import Contribution
from swarm.nodes.serving import check_merger
from swarm.runtime import data_client
from swarm.runtime import exchange as exchange_module
from swarm.runtime.data import NotYet, Region, Traffic, Want
from swarm.runtime.data_rates import Rates
from swarm.runtime.exchange import Exchange
from swarm.runtime.exchange_news import Done, News, Owing, Stalling, Stuck
from swarm.runtime.exchange_staging import Staging
from swarm.runtime.quantising import quantised
from swarm.runtime.tls import Peer
from swarm.wire import merkle, shardproof, tensorbytes
from tests.runtime.data_nodes import NETWORK, Node, nodes, until

HASH = "blake3"
SNAP = b"s" * 32
"""Of the entry that made the snap."""


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory):
    from swarm.runtime.authority import CertificateTree, issue

    directory = tmp_path_factory.mktemp("exchange")

    class Files:
        def __init__(self, name: str) -> None:
            self.tree = CertificateTree(directory / name, "1")
            issue(self.tree, organisation=name, key_type="ed25519")
            self.cert, self.key, self.capath = self.tree.certificate, self.tree.key, self.tree.capath

    with nodes(directory, Files, 5) as made:
        yield made


def random_schema(generator: np.random.Generator, dtypes: list[str]) -> Schema:
    tensors = [TensorSpec("first", "float32", (1,))]
    for index, dtype in enumerate(dtypes):
        size = int(generator.choice([0, 1, 7, 1000, 40_000, 300_000]))
        tensors.append(TensorSpec(f"t{index}", dtype, (size,)))
    return Schema(tuple(tensors))


def random_weights(generator: np.random.Generator, schema: Schema) -> dict[str, np.ndarray]:
    arrays = {}
    for tensor in schema.tensors:
        if tensor.dtype in ("float16", "float32", "float64", "bfloat16"):
            arrays[tensor.name] = generator.standard_normal(tensor.shape).astype(np.dtype(tensor.dtype))
        elif tensor.dtype == "bool":
            arrays[tensor.name] = generator.integers(0, 2, tensor.shape).astype(bool)
        else:
            limits = np.iinfo(tensor.dtype)
            arrays[tensor.name] = generator.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True)
    return arrays


def central_mean(dtype: str, columns: list[np.ndarray], weights: list[int]) -> np.ndarray:
    """The merge computed in one place by other code, from the arrays themselves."""
    divisor = np.gcd.reduce(weights)
    pairs = [(column, int(weight // divisor)) for column, weight in zip(columns, weights, strict=True) if weight]
    total_weight = sum(weight for _, weight in pairs)
    if dtype == "bool":
        return sum(column.astype(int) * weight for column, weight in pairs) * 2 >= total_weight
    if dtype in ("float16", "float32", "float64", "bfloat16"):
        total = None
        for column, weight in pairs:
            term = column.astype(np.float64) * float(weight)
            total = term if total is None else total + term
        mean = total / float(total_weight)
        return mean.astype(columns[0].dtype) if dtype != "bfloat16" else nearest_bfloat16(mean, columns[0].dtype)
    sums = sum((column.astype(object) * weight for column, weight in pairs), start=np.zeros(len(columns[0]), object))
    return np.array([round(Fraction(value, total_weight)) for value in sums.tolist()], columns[0].dtype)


def nearest_bfloat16(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Of the bfloat16 below and above each value the nearer one, ties to even."""
    near = values.astype(np.float32).view(np.uint32) >> 16
    candidates = np.stack([near - 1, near, near + 1]).astype(np.uint16)
    errors = np.nan_to_num(np.abs(candidates.view(dtype).astype(np.float64) - values), nan=np.inf)
    choice = np.where(errors == errors.min(0), candidates & 1, 2).argmin(0)
    return np.take_along_axis(candidates, choice[None], 0)[0].view(dtype)


def snap_of(
    members: list[Node], weights: list[int], digests: list[str], leaves: int, topology: str, attempt: int = 0
) -> SnapMade:
    order = sorted(range(len(members)), key=lambda index: members[index].uid)
    contributors = tuple(Contributor(members[i].uid, weights[i], digests[i], members[i].address) for i in order)
    cut = zip(order, split(leaves, len(order)), strict=True)
    shards = tuple(Shard(members[i].uid, first, stop) for i, (first, stop) in cut if first < stop)
    shards = shards if topology == "sharded" else ()
    return SnapMade("a-contract", 3, attempt, contributors, shards, topology, "base", SNAP)


class Attempt:
    """One attempt of these nodes; ``outcomes`` gets (node, what, …) for whatever any of them is told."""

    def __init__(
        self,
        members: list[Node],
        schema: Schema,
        models: list,
        weights: list[int],
        topology: str,
        *,
        number: int = 0,
        stagings: list[Staging] | None = None,
        full: bool = False,
        method: str = "mean",
        coding: Coding | None = None,
        base: Base | None = None,
        most: float = 0.0,
        steps: bool = False,
    ) -> None:
        self.members = members
        self.number = number
        self.coding = coding
        self.stagings = stagings or [Staging(schema.nbytes) for _ in members]
        self.outcomes: Queue = Queue()
        self.owing: dict[int, dict[str, int]] = {}
        self.own = []
        for arrays in models:
            self.own.append(bytearray(schema.nbytes))
            tensorbytes.pack(schema, arrays, self.own[-1])
        self.leaves = [tensorbytes.leaf_hashes(own, HASH) for own in self.own]
        if coding is not None:
            sent = [quantised(coding, memoryview(own), HASH) for own in self.own]
            self.own, self.leaves = [content for content, _ in sent], [leaves for _, leaves in sent]
        digests = [tensorbytes.digest_of_leaves(schema, leaves, HASH) for leaves in self.leaves]
        self.snap = snap_of(members, weights, digests, schema.leaves, topology, number)
        if full:
            roots = {node.uid: merkle.root(leaves, HASH) for node, leaves in zip(members, self.leaves, strict=True)}
            committed = tuple(replace(member, root=roots[member.uid]) for member in self.snap.members)
            self.snap = replace(self.snap, members=committed)
        self.results = [bytearray(b"\xaa" * schema.nbytes) for _ in members]
        self.files = [bytearray(schema.nbytes) for _ in members]
        self.full_disks: set[int] = set()
        keys = {node.uid: node.state.node_public for node in members}
        self.exchanges = [
            Exchange(
                snap=self.snap,
                uid=node.uid,
                network_id=NETWORK,
                node_key=node.state.node_key,
                node_keys=keys,
                schema=schema,
                hash_name=HASH,
                method=METHODS[method],
                own=memoryview(own),
                result=memoryview(result),
                store=lambda start, content, i=i: self._store(i, start, content),
                coding=coding,
                base=base,
                most=most,
                steps=steps,
                staging=staging,
                client=node.client,
                rates=Rates(Traffic),
                tell=lambda snap, news, i=i: self._told(i, news),
            )
            for i, (node, own, result, staging) in enumerate(
                zip(members, self.own, self.results, self.stagings, strict=True)
            )
        ]

    def _store(self, index: int, start: int, content: memoryview) -> None:
        if index in self.full_disks:
            raise ModelError("no space left")
        self.files[index][start : start + len(content)] = content

    def _told(self, index: int, news: News) -> None:
        match news:
            case Done():
                self.outcomes.put((index, "done", news.digest, news))
            case Stalling():
                self.outcomes.put((index, "stalled", news.uid, news.reason))
            case Stuck():
                self.outcomes.put((index, "failed", news.error))
            case Owing():
                self.owing[index] = dict(news.owed)

    def serve(self, index: int) -> None:
        node, exchange = self.members[index], self.exchanges[index]
        own = Contribution(memoryview(self.own[index]), self.leaves[index], HASH, self.coding)
        node.check = partial(self._check, own)
        node.shelf = {
            ("offer", self.number): own.region,
            ("leaves", self.number): own.region,
            ("shard", self.number): exchange.region,
            ("distances", self.number): exchange.region,
        }

    def _check(self, own: Contribution, peer: Peer, want: Want) -> None:
        """As learning nodes do, so that all tests here show what they refuse nobody."""
        if want.what in ("offer", "leaves"):
            check_merger(self.snap, own, peer, want)

    def start(self, *indices: int) -> None:
        for index in indices or range(len(self.members)):
            self.serve(index)
            self.exchanges[index].start()

    def region_of(self, index: int) -> range:
        """The bytes of this member's shard."""
        shard = next(shard for shard in self.snap.shards if shard.owner == self.members[index].uid)
        return range(shard.first_leaf * LEAF_BYTES, min(shard.stop_leaf * LEAF_BYTES, len(self.results[index])))

    def uid_order(self, names: list[int]) -> list[int]:
        """What the members are called elsewhere, in the order of their uids."""
        return [name for _, name in sorted(zip((node.uid for node in self.members), names, strict=True))]

    def told(self) -> tuple:
        return self.outcomes.get(timeout=60)

    def end(self) -> None:
        for node, exchange in zip(self.members, self.exchanges, strict=True):
            exchange.cancel()
            node.shelf = {}
            node.check = lambda peer, want: None


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    dtypes=st.lists(st.sampled_from(sorted(STORAGE)), min_size=1, max_size=5),
    weights=st.lists(st.integers(0, 100_000), min_size=2, max_size=5).filter(any),
    topology=st.sampled_from(["sharded", "broadcast"]),
)
def test_every_member_gets_the_central_result_bit_for_bit(five, seed, dtypes, weights, topology) -> None:
    generator = np.random.default_rng(seed)
    schema = random_schema(generator, dtypes)
    members = five[: len(weights)]
    models = [random_weights(generator, schema) for _ in members]
    attempt = Attempt(members, schema, models, weights, topology)
    attempt.start()
    outcomes = [attempt.told() for _ in members]
    attempt.end()
    assert [outcome[1] for outcome in outcomes] == ["done"] * len(members), outcomes

    order = sorted(range(len(members)), key=lambda index: members[index].uid)
    expected = {
        tensor.name: central_mean(tensor.dtype, [models[i][tensor.name] for i in order], [weights[i] for i in order])
        for tensor in schema.tensors
    }
    reference = bytearray(schema.nbytes)
    tensorbytes.pack(schema, expected, reference)
    assert {outcome[2] for outcome in outcomes} == {tensorbytes.digest(schema, reference, HASH)}
    assert attempt.results == attempt.files == [reference] * len(members)
    assert all(set(outcome[3].phases_s) == {"scatter", "merge", "gather", "hash"} for outcome in outcomes)
    assert len({outcome[3].shards for outcome in outcomes}) == 1, "all say the same of each shard"
    assert len(outcomes[0][3].shards) == len(attempt.snap.shards)


SCHEMA = Schema.of({"a": np.zeros(900_000, np.float32), "b": np.zeros((), np.int64)})


def models(count: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(5)
    return [{"a": generator.standard_normal(900_000, np.float32), "b": np.array(i)} for i in range(count)]


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_nan_of_a_member_is_found_by_whoever_merges_it_and_its_sender_named(five, topology) -> None:
    contributions = models(3)
    contributions[1]["a"][100] = np.nan
    attempt = Attempt(five[:3], SCHEMA, contributions, [1, 1, 1], topology)
    attempt.start()
    told = attempt.told()
    attempt.end()
    reason = 'its tensor "a" holds NaN or infinity'
    if told[1] == "failed":  # the sender itself owns the shard, or merges the whole model
        assert (told[0], told[2].message) == (1, reason)
    else:
        assert told[1:] == ("stalled", five[1].uid, reason)


def test_a_merge_beyond_the_range_of_its_type_is_the_fault_of_a_method_that_leaves_it(five, monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "own", by_element(lambda values, weights: values[0] * 1e30))
    schema = Schema.of({"a": np.zeros(3, np.float64)})
    attempt = Attempt(five[:2], schema, [{"a": np.full(3, 1e288)}] * 2, [1, 1], "broadcast", method="own")
    attempt.start()
    assert 'the merged tensor "a" is beyond the range of float64' in attempt.told()[2].message
    attempt.end()


METHODS_OF_ALL_KINDS = ["mean", "coordmedian", "nnm+trimmedmean"]


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
@pytest.mark.parametrize("method", METHODS_OF_ALL_KINDS)
@pytest.mark.parametrize("value", [1.7e308, -(2.0**961)])
def test_finite_numbers_that_no_sum_holds_are_refused_and_their_sender_named(five, value, method, topology) -> None:
    schema = Schema.of({"a": np.zeros(60_000)})
    sent = [{"a": np.full(60_000, value if index == 1 else 2.0**960)} for index in range(3)]
    attempt = Attempt(five[:3], schema, sent, [2000, 1000, 3000], topology, method=method)
    attempt.start()
    must_name(attempt, 1, 'its tensor "a" holds numbers beyond 2^960')


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_who_would_take_the_outer_step_beyond_the_range_is_named(five, dtype) -> None:
    """Every member takes it and would give up its training; what is that large and has been is no change."""
    most = 2.0**959 if dtype == "float64" else float(ml_dtypes.finfo(dtype).max)
    before = {"a": np.full(60_000, -most).astype(dtype)}
    schema = Schema((TensorSpec("a", dtype, (60_000,)),))
    base = bytearray(schema.nbytes)
    tensorbytes.pack(schema, before, base)
    sent = [{"a": before["a"].copy()} for _ in range(3)]
    for changed in (False, True):
        if changed:
            sent[1]["a"][7] = most
        attempt = Attempt(
            five[:3], schema, sent, [1, 100, 1], "sharded", base=lambda a, b: memoryview(base)[a:b], steps=True
        )
        attempt.start()
        if changed:
            must_name(attempt, 1, 'its tensor "a" is too far from the last model for an outer step')
        else:
            assert {attempt.told()[1] for _ in range(3)} == {"done"}
            attempt.end()


@pytest.mark.parametrize("method", METHODS_OF_ALL_KINDS)
def test_bytes_that_are_no_booleans_are_refused_and_their_sender_named(five, method) -> None:
    schema = Schema.of({"a": np.zeros(60_000, bool), "w": np.zeros(9, np.float32)})
    sent = [{"a": np.zeros(60_000, bool), "w": np.zeros(9, np.float32)} for _ in range(3)]
    attempt = Attempt(five[:3], schema, sent, [2000, 1000, 3000], "sharded", method=method)
    attempt.own[1][5] = 7
    attempt.start()
    must_name(attempt, 1, 'its tensor "a" holds booleans that are neither 0 nor 1')


def must_name(attempt: Attempt, sender: int, reason: str) -> None:
    index, what, who, *why = attempt.told()
    attempt.end()
    if what == "failed":  # the sender itself owns the shard, or merges the whole model
        assert (index, who.message) == (sender, reason)
    else:
        assert (what, who, why) == ("stalled", attempt.members[sender].uid, [reason])


def test_other_weights_than_were_offered_are_found_in_a_broadcast(five) -> None:
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], "broadcast")
    attempt.own[1][0] ^= 1
    attempt.start(0)
    attempt.serve(1)
    index, what, uid, reason = attempt.told()
    attempt.end()
    assert (index, what, uid) == (0, "stalled", five[1].uid)
    assert reason.startswith("it offered blake3:")


def test_a_shard_that_its_owner_did_not_sign_is_not_used(five) -> None:
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], "sharded")
    mine = next(iter(attempt.exchanges[1]._signed._regions.values()))
    forged = Region.complete(memoryview(bytes(mine.stop - mine.start)), mine.start)
    forged.finish(five[0].state.node_key.sign(b"something else"))
    attempt.start(0)
    attempt.serve(1)
    five[1].shelf["shard", 0] = forged
    assert attempt.told() == (0, "stalled", five[1].uid, "the shard it sent is not signed by it")
    attempt.end()


def test_a_proof_speaks_for_one_shard_of_one_attempt_only(five) -> None:
    key, public = five[0].state.node_key, five[0].state.node_public
    place = shardproof.ShardPlace(NETWORK, "a-contract", 3, 0, SNAP, 1)
    proof = shardproof.sign(key, place, b"digest")
    assert shardproof.verify(public, place, b"digest", proof)
    others = [
        shardproof.ShardPlace(b"x" * 32, "a-contract", 3, 0, SNAP, 1),
        shardproof.ShardPlace(NETWORK, "b-contract", 3, 0, SNAP, 1),
        shardproof.ShardPlace(NETWORK, "a-contract", 4, 0, SNAP, 1),
        shardproof.ShardPlace(NETWORK, "a-contract", 3, 1, SNAP, 1),
        shardproof.ShardPlace(NETWORK, "a-contract", 3, 0, b"t" * 32, 1),
        shardproof.ShardPlace(NETWORK, "a-contract", 3, 0, SNAP, 0),
    ]
    assert not any(shardproof.verify(public, other, b"digest", proof) for other in others)
    assert not shardproof.verify(public, place, b"another", proof)
    assert not shardproof.verify(five[1].state.node_public, place, b"digest", proof)
    assert not shardproof.verify(public, place, b"digest", b"short")


def test_a_member_that_is_gone_is_named_by_the_others(five, monkeypatch) -> None:
    monkeypatch.setattr(data_client, "FIRST_PAUSE_S", 0.001)
    attempt = Attempt(five[:3], SCHEMA, models(3), [1, 1, 1], "sharded")
    gone = attempt.snap.members[1]
    index = next(i for i, node in enumerate(five) if node.uid == gone.uid)
    members = tuple(
        Contributor(m.uid, m.weight, m.digest, "127.0.0.1:1" if m.uid == gone.uid else m.address)
        for m in attempt.snap.members
    )
    for exchange in attempt.exchanges:
        exchange._members = {member.uid: member for member in members}
    attempt.start(*(i for i in range(3) if i != index))
    told = [attempt.told(), attempt.told()]
    attempt.end()
    assert {(what, uid) for _, what, uid, _ in told} == {("stalled", gone.uid)}
    assert all("Connection refused" in reason for *_, reason in told)
    assert attempt.outcomes.empty()


def test_a_member_that_cannot_write_the_result_down_says_so_of_itself_and_the_others_go_on(five) -> None:
    attempt = Attempt(five[:3], SCHEMA, models(3), [1, 1, 1], "broadcast")
    attempt.full_disks = {1}
    attempt.start()
    told = sorted((attempt.told() for _ in range(3)), key=lambda outcome: outcome[0])
    attempt.end()
    assert [outcome[1] for outcome in told] == ["done", "failed", "done"]
    assert told[1][2].message == "no space left"
    assert list(attempt.outcomes.queue) == [], "nobody is blamed"


def test_a_cancelled_attempt_says_nothing_more_and_the_next_one_works(five) -> None:
    first = Attempt(five[:3], SCHEMA, models(3), [1, 1, 1], "sharded")
    asked = threading.Event()
    absent = five[2]

    def find(peer: object, want: object) -> Region:
        asked.set()
        raise NotYet("never")

    absent.server._find = find
    first.start(0, 1)
    assert asked.wait(20)
    first.end()
    absent.server._find = absent.find
    second = Attempt(five[:3], SCHEMA, models(3), [1, 1, 1], "sharded")
    second.start()
    outcomes = [second.told() for _ in range(3)]
    second.end()
    assert len({outcome[2] for outcome in outcomes}) == 1
    assert {outcome[1] for outcome in outcomes} == {"done"}
    assert list(first.outcomes.queue) == []


def test_shards_smaller_than_the_model_has_leaves_leave_some_members_without_one(five) -> None:
    schema = Schema.of({"a": np.zeros(LEAF_BYTES // 2, np.float32)})
    assert schema.leaves == 2
    generator = np.random.default_rng(1)
    contributions = [{"a": generator.standard_normal(LEAF_BYTES // 2, np.float32)} for _ in range(4)]
    attempt = Attempt(five[:4], schema, contributions, [1, 2, 3, 4], "sharded")
    attempt.start()
    outcomes = [attempt.told() for _ in range(4)]
    attempt.end()
    assert len({outcome[2] for outcome in outcomes}) == 1


def test_nothing_of_a_member_of_weight_nought_is_moved(five) -> None:
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 0], "broadcast")
    five[1].shelf = {}
    attempt.exchanges[0].start()
    index, what, digest, _ = attempt.told()
    attempt.end()
    assert (index, what) == (0, "done")
    assert digest == tensorbytes.digest(SCHEMA, attempt.own[0], HASH)


# ---- when a member goes


class Counting:
    """What of a member's weights the others ask it for."""

    def __init__(self, attempt: Attempt, index: int) -> None:
        self.asked: list[tuple[str, int, int]] = []
        shelf, number = attempt.members[index].shelf, attempt.number
        shelf["offer", number] = self._counted(shelf["offer", number])
        shelf["shard", number] = self._counted(shelf["shard", number])

    def _counted(self, served):
        def region(want) -> Region:
            self.asked.append((want.what, want.start, want.stop))
            return served if isinstance(served, Region) else served(want)

        return region


def without_its_last(members, contributions, schema=SCHEMA, **how):
    """Of four one goes when all but its own part of the work is done, and the others begin anew.

    Both attempts, the places of those who stay, and what each of them asks for in the second one.
    """
    first = Attempt(members, schema, contributions, [1] * 4, "sharded", **how)
    last = max(range(4), key=lambda index: members[index].uid)  # its shard is the last one
    staying = [index for index in range(4) if index != last]
    first.serve(last)
    members[last].shelf.pop(("shard", 0))
    first.start(*staying)
    for index in staying:  # all contributions are here: what is missing is the shard of the one that goes
        until(lambda index=index: first.exchanges[index]._machine is not None)
        until(lambda index=index: sum(first.exchanges[index]._machine.owed().values()) == len(first.region_of(last)))
    for exchange in first.exchanges:
        exchange.cancel()

    second = Attempt(
        [members[i] for i in staying], schema, [contributions[i] for i in staying], [1] * 3, "sharded",
        number=1, stagings=[first.stagings[i] for i in staying], **how,
    )  # fmt: skip
    counted = []
    for index in range(3):
        second.serve(index)
        counted.append(Counting(second, index))
    for exchange in second.exchanges:
        exchange.start()
    return first, second, staying, counted


def past_its_owner(members, contributions, schema=SCHEMA, **how):
    """Of three one goes once another has its shard, from whom alone the third can have it: that attempt, at its end."""
    attempt = Attempt(members, schema, contributions, [1] * 3, "sharded", **how)
    gone, first, second = sorted(range(3), key=lambda index: members[index].uid)
    attempt.start(gone, first)
    attempt.serve(second)  # it serves its contribution, and has not begun
    until(lambda: len(attempt.exchanges[first]._signed._regions) == 2)
    attempt.exchanges[gone].cancel()
    members[gone].shelf["shard", 0] = refusing("it is gone")
    attempt.start(second)
    outcomes = {attempt.told()[:3], attempt.told()[:3]}
    attempt.end()
    assert {(index, what) for index, what, _ in outcomes} == {(first, "done"), (second, "done")}
    assert len({digest for *_, digest in outcomes}) == 1
    return attempt, first, second


def test_the_next_attempt_goes_on_with_what_is_here_and_asks_only_for_the_rest(five) -> None:
    """The contributions of those who stay are not sent again."""
    contributions = models(4)
    first, second, staying, counted = without_its_last(five[:4], contributions)
    outcomes = [second.told() for _ in staying]
    second.end()
    assert {outcome[1] for outcome in outcomes} == {"done"}
    for result in second.results:
        expected = bytearray(SCHEMA.nbytes)
        order = second.uid_order(staying)
        columns = {name: [np.atleast_1d(contributions[i][name]) for i in order] for name in ("a", "b")}
        merged = {name: central_mean(column[0].dtype.name, column, [1] * 3) for name, column in columns.items()}
        tensorbytes.pack(SCHEMA, {**merged, "b": merged["b"][0]}, expected)
        assert result == expected
    sent = sum(stop - start for one in counted for what, start, stop in one.asked if what == "offer")
    old = {shard.owner: shard for shard in first.snap.shards}
    added = sum(
        len(
            set(range(shard.first_leaf, shard.stop_leaf))
            - set(range(old[shard.owner].first_leaf, old[shard.owner].stop_leaf))
        )
        for shard in second.snap.shards
    )
    assert sent <= added * LEAF_BYTES * 2, "two others send each of them what its shard has more than before"


def test_a_shard_whose_owner_is_gone_is_had_from_a_member_that_holds_it(five, monkeypatch) -> None:
    monkeypatch.setattr(data_client, "FIRST_PAUSE_S", 0.001)
    attempt, first, second = past_its_owner(five[:3], models(3))
    assert attempt.results[first] == attempt.results[second]


def test_a_relayed_shard_is_used_with_its_owners_signature_only_and_who_passed_it_on_is_named(five) -> None:
    members = five[:3]
    attempt = Attempt(members, SCHEMA, models(3), [1] * 3, "sharded")
    gone, liar, reader = sorted(range(3), key=lambda index: members[index].uid)
    attempt.serve(gone)
    attempt.serve(liar)
    members[gone].shelf["shard", 0] = refusing("it is gone")
    region = next(iter(attempt.exchanges[gone]._signed._regions.values()))
    forged = Region(memoryview(bytes(region.stop - region.start)), region.start)
    forged.finish(members[liar].state.node_key.sign(b"something else"))
    own = attempt.exchanges[liar].region
    members[liar].shelf["shard", 0] = lambda want: forged if want.start == forged.start else own(want)
    attempt.start(reader)
    told = [attempt.told() for _ in range(2)]
    attempt.end()
    whom = f"node {members[gone].uid[:8]}, which merged it"
    assert (reader, "stalled", members[liar].uid, f"the shard it sent is not signed by {whom}") in told


def sign_instead(attempt: Attempt, index: int, at: int, content: bytes) -> None:
    """From now on this member merges these bytes into its shard, ``at`` so many from its begin, and signs it."""
    merging, seal = attempt.exchanges[index]._merging, attempt.exchanges[index]._merging.seal

    def seal_instead(start: int, stop: int) -> None:
        if start in attempt.region_of(index):
            merging._result[start + at : start + at + len(content)] = content
        seal(start, stop)

    merging.seal = seal_instead


@pytest.mark.parametrize("passed_on", [False, True], ids=["by itself", "passed on by another"])
def test_r063_who_signs_a_shard_of_nan_is_named_and_who_passes_it_on_is_not(five, passed_on) -> None:
    members, schema = five[:3], Schema.of({"a": np.zeros(6 * LEAF_BYTES // 4, np.float32)})
    attempt = Attempt(members, schema, [{"a": np.ones(schema.nbytes // 4, np.float32)}] * 3, [1] * 3, "sharded")
    owner, other, reader = sorted(range(3), key=lambda index: members[index].uid)
    sign_instead(attempt, owner, 0, np.float32("nan").tobytes())
    attempt.serve(other)
    attempt.start(owner)
    if passed_on:
        members[owner].shelf["shard", 0] = refusing("it is gone")
        spoilt, own = attempt.region_of(owner), attempt.exchanges[other].region
        passes_on = attempt.exchanges[owner].region
        members[other].shelf["shard", 0] = lambda want: (passes_on if want.start in spoilt else own)(want)
    attempt.start(reader)
    message = 'the shard that it merged and signed holds NaN or infinity, in "a"'
    assert attempt.told() == (reader, "stalled", members[owner].uid, message)
    assert members[other].uid not in attempt.exchanges[reader]._machine.blamed
    attempt.end()


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (3, 'booleans that are neither 0 nor 1, in "a"'),
        (9, "bytes that are not 0 between its tensors"),
        (LEAF_BYTES - 1, "bytes that are not 0 behind its tensors"),
    ],
)
def test_r063_who_signs_bytes_that_no_merge_leaves_is_named(five, at, what) -> None:
    """A 7 for a boolean was committed by all; and what lies beside the tensors has a digest, too."""
    arrays = {"a": np.ones(9, bool), "b": np.ones(LEAF_BYTES // 4 - 17, np.float32), "c": np.ones(LEAF_BYTES, bool)}
    attempt = Attempt(five[:2], Schema.of(arrays), [arrays] * 2, [1] * 2, "sharded")
    owner, reader = sorted(range(2), key=lambda index: attempt.members[index].uid)
    sign_instead(attempt, owner, at, b"\7")
    attempt.start()
    message = f"the shard that it merged and signed holds {what}"
    named = next(told for told in iter(attempt.told, None) if told[1] != "done")  # the owner itself may be first
    assert named == (reader, "stalled", attempt.members[owner].uid, message)
    attempt.end()


def refusing(reason: str):
    def refuse(want: object) -> Region:
        raise Refused(reason)

    return refuse


def test_what_the_owners_signed_for_what_came_can_be_shown_to_everybody(five) -> None:
    attempt = Attempt(five[:3], SCHEMA, models(3), [1] * 3, "sharded")
    attempt.start()
    done = {outcome[0]: outcome[3] for outcome in (attempt.told() for _ in range(3))}
    keys = {node.uid: node.state.node_public for node in five[:3]}
    for index, exchange in enumerate(attempt.exchanges):
        for number, shard in enumerate(attempt.snap.shards):
            proof = exchange.proof(number)
            if shard.owner == five[index].uid:
                assert proof is None, "nobody shows what it signed itself"
                continue
            place = shardproof.ShardPlace(NETWORK, "a-contract", 3, 0, SNAP, number)
            assert proof["digest"] == done[index].shards[number]
            assert shardproof.verify(keys[shard.owner], place, proof["digest"], proof["signature"])
    attempt.end()


def test_whose_bytes_are_still_to_come_is_told_while_they_do_not(five, monkeypatch) -> None:
    monkeypatch.setattr(exchange_module, "TICK_S", 0.01)
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], "sharded")
    five[1].shelf = {}
    attempt.start(0)
    until(lambda: attempt.owing != {})
    attempt.end()
    assert attempt.owing == {0: {five[1].uid: SCHEMA.nbytes}}


# ---- commitments: full


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_contributions_that_are_what_their_roots_say_are_merged(five, topology) -> None:
    attempt = Attempt(five[:3], SCHEMA, models(3), [1, 2, 3], topology, full=True)
    attempt.start()
    outcomes = [attempt.told() for _ in range(3)]
    attempt.end()
    assert {what for _, what, *_ in outcomes} == {"done"}
    assert len({outcome[2] for outcome in outcomes}) == 1


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_one_bit_that_was_not_offered_is_found_where_it_arrives_and_its_sender_named(five, topology) -> None:
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], topology, full=True)
    reader, cheat = (1, 0) if topology == "sharded" and attempt.snap.shards[0].owner == five[1].uid else (0, 1)
    at = attempt.region_of(reader).start + LEAF_BYTES if topology == "sharded" else LEAF_BYTES
    attempt.own[cheat][at] ^= 1
    attempt.serve(cheat)
    attempt.start(reader)
    told = attempt.told()
    assert told == (
        reader,
        "stalled",
        five[cheat].uid,
        "the weights it sent are not those it offered: a leaf has another hash",
    )
    held = attempt.exchanges[reader]._machine.held
    assert not any(start <= at < stop for start, stop in held), "that leaf was not merged"
    assert five[cheat].uid not in attempt.exchanges[reader]._machine.kept()
    attempt.end()


def test_leaf_hashes_of_another_model_are_not_believed(five) -> None:
    attempt = Attempt(five[:2], SCHEMA, models(2), [1, 1], "sharded", full=True)
    attempt.own[1][0] ^= 1
    attempt.leaves[1] = tensorbytes.leaf_hashes(attempt.own[1], HASH)
    attempt.serve(1)
    attempt.start(0)
    told = attempt.told()
    attempt.end()
    assert told == (0, "stalled", five[1].uid, "the leaf hashes it sent do not belong to the root it offered")
