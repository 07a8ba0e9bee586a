"""What an offer commits to is what its readers will find, in whatever form it travels."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.core.agreement import Enrolment, Options
from swarm.core.contract import Contract
from swarm.core.tensors import Schema
from swarm.core.wireform import Coding, WireForm
from swarm.nodes.contribution import Offers
from swarm.wire import merkle, tensorbytes

HASH = "sha256"
SCHEMA = Schema.of({"a": np.zeros(40_000, np.float32), "steps": np.zeros(3, np.int64)})
INITIAL = tensorbytes.initial_base(SCHEMA, HASH)
BASE = f"{HASH}:{'b' * 64}"


def packed(seed: int) -> memoryview:
    generator, buffer = np.random.default_rng(seed), memoryview(bytearray(SCHEMA.nbytes))
    tensorbytes.pack(SCHEMA, {"a": generator.standard_normal(40_000).astype(np.float32), "steps": np.arange(3)}, buffer)
    return buffer


def contract(**options: str) -> Contract:
    return Contract("a-contract", Enrolment(SCHEMA, HASH, INITIAL, Options(2, **options), 1, 1, ""))


def on(base: str, **options: str) -> Offers:
    """In a round on this base."""
    agreed = contract(**options)
    agreed._next_round(base)
    return Offers(agreed)


@pytest.mark.parametrize("commitments", ["result", "full"])
def test_before_there_is_a_base_weights_travel_as_they_are(commitments: str):
    offers, weights = on(INITIAL, wire="int8", commitments=commitments), packed(1)
    said = offers.root("digest", INITIAL, weights, None)
    assert offers.take("digest", INITIAL).coding is None
    expected = {"root": merkle.root(tensorbytes.leaf_hashes(weights, HASH), HASH)}
    assert said == (expected if commitments == "full" else {})


@pytest.mark.parametrize("options", [{}, {"topology": "sharded", "commitments": "full"}])
def test_the_root_is_that_of_what_others_read(options: dict[str, str]):
    offers, weights, base = on(BASE, wire="int8", **options), packed(1), packed(2)
    said = offers.root("digest", BASE, weights, base)
    offered = offers.take("digest", BASE)
    read = memoryview(bytearray(SCHEMA.nbytes))
    Coding(WireForm(SCHEMA, "int8"), base).read(0, SCHEMA.nbytes, offered.content, read)
    assert offered.leaves == tensorbytes.leaf_hashes(read, HASH) != tensorbytes.leaf_hashes(weights, HASH)
    assert said == {"root": merkle.root(offered.leaves, HASH)}


def test_the_same_weights_on_another_base_are_made_ready_anew():
    """As those of a program that has ended are, in every round until the last."""
    offers, weights = on(BASE, wire="int8", topology="sharded"), packed(1)
    assert offers.root("digest", BASE, weights, packed(2)) == {}
    other = f"{HASH}:{'c' * 64}"
    assert offers.root("digest", other, weights, packed(3)) == {}
    first, second = offers._made["digest", BASE], offers.take("digest", other)
    assert bytes(first.content) != bytes(second.content)
    assert list(offers._made) == [("digest", other)], "the other one is kept no longer than it may be asked for"
