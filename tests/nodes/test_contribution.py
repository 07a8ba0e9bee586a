"""What an offer commits to is what its readers will find, in whatever form it travels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.core.agreement import Enrolment, Options
from swarm.core.contract import Contract
from swarm.core.tensors import Schema
from swarm.core.wireform import Coding, WireForm
from swarm.nodes.contribution import Offers
from swarm.wire import merkle, tensorbytes
from tests.core.test_wireform import held

HASH = "sha256"
SCHEMA = Schema.of({"a": np.zeros(40_000, np.float32), "steps": np.zeros(3, np.int64)})
INITIAL = tensorbytes.initial_base(SCHEMA, HASH)
BASE = f"{HASH}:{'b' * 64}"


def packed(seed: int) -> memoryview:
    generator, buffer = np.random.default_rng(seed), memoryview(bytearray(SCHEMA.nbytes))
    tensorbytes.pack(SCHEMA, {"a": generator.standard_normal(40_000).astype(np.float32), "steps": np.arange(3)}, buffer)
    return buffer


def contract(**options: Any) -> Contract:
    return Contract("a-contract", Enrolment(SCHEMA, HASH, INITIAL, Options(2, **options), 1, 1, ""))


def on(base: str, *, told: list[str] | None = None, **options: Any) -> Offers:
    """In a round on this base."""
    agreed = contract(**options)
    agreed._next_round(base)
    return Offers(agreed, (told if told is not None else []).append)


def norm_of_change(content: memoryview, base: memoryview) -> float:
    one, other = (tensorbytes.views(SCHEMA, buffer)["a"].astype(np.float64) for buffer in (content, base))
    return float(np.linalg.norm(one - other))


@pytest.mark.parametrize("commitments", ["result", "full"])
def test_before_there_is_a_base_weights_travel_as_they_are(commitments: str):
    offers, weights = on(INITIAL, wire="int8", commitments=commitments), packed(1)
    said = offers.root("digest", INITIAL, weights, None)
    assert offers.take("digest", INITIAL, weights).coding is None
    expected = {"root": merkle.root(tensorbytes.leaf_hashes(weights, HASH), HASH)}
    assert said == (expected if commitments == "full" else {})


@pytest.mark.parametrize("options", [{}, {"topology": "sharded", "commitments": "full"}])
def test_the_root_is_that_of_what_others_read(options: dict[str, str]):
    offers, weights, base = on(BASE, wire="int8", **options), packed(1), packed(2)
    said = offers.root("digest", BASE, weights, held(base))
    offered = offers.take("digest", BASE, weights)
    read = memoryview(bytearray(SCHEMA.nbytes))
    Coding(WireForm(SCHEMA, "int8"), held(base)).read(0, SCHEMA.nbytes, offered.content, read)
    assert offered._leaves == tensorbytes.leaf_hashes(read, HASH) != tensorbytes.leaf_hashes(weights, HASH)
    assert said == {"root": merkle.root(offered._leaves, HASH)}


def test_the_same_weights_on_another_base_are_made_ready_anew():
    """As those of a program that has ended are, in every round until the last."""
    offers, weights = on(BASE, wire="int8", topology="sharded"), packed(1)
    assert offers.root("digest", BASE, weights, held(packed(2))) == {}
    other = f"{HASH}:{'c' * 64}"
    assert offers.root("digest", other, weights, held(packed(3))) == {}
    first, second = offers._made["digest", BASE], offers.take("digest", other, weights)
    assert bytes(first.content) != bytes(second.content)
    assert list(offers._made) == [("digest", other)], "the other one is kept no longer than it may be asked for"


@pytest.mark.parametrize("options", [{}, {"commitments": "full", "topology": "sharded"}])
def test_weights_that_are_too_far_from_the_base_are_pulled_nearer_and_the_program_hears_it_once(
    options: dict[str, str],
):
    told: list[str] = []
    offers, weights, base = on(BASE, told=told, maxDeltaNorm=10_000, **options), packed(1), packed(2)
    for _ in range(2):  # once more after an aborted round
        said = offers.root("digest", BASE, weights, held(base))
    offered = offers.take("digest", BASE, weights)
    norm = norm_of_change(weights, base)
    assert told == [f"the change since the last model has the norm {norm:.6g}: clipped to 10 (maxDeltaNorm)"]
    assert norm_of_change(offered.content, base) == pytest.approx(10, rel=1e-6)
    views = tensorbytes.views(SCHEMA, offered.content)
    assert views["steps"].tolist() == [0, 1, 2]
    assert np.allclose(views["a"] - tensorbytes.views(SCHEMA, base)["a"], (
        tensorbytes.views(SCHEMA, weights)["a"] - tensorbytes.views(SCHEMA, base)["a"]
    ) * (10 / norm), atol=1e-6)  # fmt: skip
    assert said == {"root": merkle.root(tensorbytes.leaf_hashes(offered.content, HASH), HASH)}


def test_what_is_near_enough_travels_as_it_is():
    told: list[str] = []
    offers, weights, base = on(BASE, told=told, maxDeltaNorm=10**9), packed(1), packed(2)
    offers.root("digest", BASE, weights, held(base))
    assert offers.take("digest", BASE, weights).content is weights
    assert told == []


def test_what_is_clipped_is_quantised_after_that():
    offers, weights, base = on(BASE, maxDeltaNorm=10_000, wire="int8"), packed(1), packed(2)
    offers.root("digest", BASE, weights, held(base))
    read = memoryview(bytearray(SCHEMA.nbytes))
    Coding(WireForm(SCHEMA, "int8"), held(base)).read(
        0, SCHEMA.nbytes, offers.take("digest", BASE, weights).content, read
    )
    assert norm_of_change(read, base) == pytest.approx(10, rel=1e-3)


def test_before_there_is_a_base_nothing_is_too_far():
    offers, weights = on(INITIAL, maxDeltaNorm=1), packed(1)
    assert offers.root("digest", INITIAL, weights, None) == {}
    assert offers.take("digest", INITIAL, weights).content is weights
