"""A base with momentum: one file, one digest over both, made alike by everybody and believed only whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swarm.core.agreement import Options
from swarm.core.member_steps import Fetch
from swarm.core.outer import momenta
from swarm.core.tensors import LEAF_BYTES, Schema
from swarm.errors import ModelError, Refused
from swarm.nodes.fetching import fetched
from swarm.nodes.models import Models
from swarm.nodes.stepping import digest, sizes_of, stepped
from swarm.runtime import hashing
from swarm.runtime.cores import PIECE_BYTES
from swarm.runtime.data import Region, Stop
from swarm.wire import tensorbytes
from tests.runtime.data_nodes import nodes

FEW = {"w": np.zeros(1000, np.float32), "n": np.arange(5)}
MANY = {"w": np.zeros(PIECE_BYTES // 4 + 3 * LEAF_BYTES, np.float32)}


def contract(arrays: Any = FEW, **more: Any) -> Any:
    schema = Schema.of(arrays)
    return SimpleNamespace(
        name="a-contract",
        hash="sha256",
        schema=schema,
        momenta=momenta(schema),
        options=Options(2, outer="nesterov"),
        initial_base=tensorbytes.initial_base(schema, "sha256"),
        **more,
    )


def merge(made: Any, seed: int) -> memoryview:
    """Random floats, zeros where there is anything else."""
    packed = memoryview(bytearray(made.schema.nbytes))
    tensorbytes.views(made.schema, packed)["w"][:] = np.random.default_rng(seed).random(
        made.schema.tensors[0].shape, np.float32
    )
    return packed


def bases(directory: Any, made: Any, rounds: int) -> tuple[Models, list[str]]:
    models, digests = Models(directory, *sizes_of(made)), [made.initial_base]
    for round_ in range(rounds):
        file, named = stepped(made, models, merge(made, round_), digests[-1])
        models.hold(file, named)
        digests.append(named)
    return models, digests[1:]


def test_the_first_base_is_the_merge_and_has_no_momentum_yet(tmp_path) -> None:
    made = contract()
    models, (first,) = bases(tmp_path, made, 1)
    file = models.file_of(first)
    assert bytes(file.bytes) == bytes(merge(made, 0))
    assert not any(file.state)


@pytest.mark.parametrize("arrays", [FEW, MANY])
def test_two_nodes_make_the_same_base_of_the_same_merges(tmp_path, arrays) -> None:
    made = contract(arrays)
    ones, named = bases(tmp_path / "one", made, 3)
    others, again = bases(tmp_path / "other", made, 3)
    assert named == again
    assert bytes(ones.file_of(named[-1]).whole) == bytes(others.file_of(named[-1]).whole)
    assert any(ones.file_of(named[-1]).state)


def test_the_digest_covers_the_momentum(tmp_path) -> None:
    made = contract()
    models, named = bases(tmp_path, made, 2)
    file = models.file_of(named[-1])
    weights = hashing.digest(made.schema, file.bytes, "sha256")
    assert named[-1] not in (weights, named[0])
    file.state[0] ^= 1
    assert hashing.digest(made.schema, file.bytes, "sha256") == weights
    assert digest(made, file) != named[-1]


def test_who_comes_later_fetches_model_and_momentum_and_refuses_another_momentum(tmp_path, organisation) -> None:
    made = contract()
    models, named = bases(tmp_path / "models", made, 2)
    whole = bytes(models.file_of(named[-1]).whole)
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    with nodes(tmp_path, organisation, 3) as (reader, liar, holder):
        for node, content in ((liar, damaged), (holder, whole)):
            node.shelf["model", 0] = Region.complete(memoryview(content))
        made.members = {one.uid: SimpleNamespace(data_address=one.address) for one in (liar, holder)}
        mine = Models(tmp_path / "mine", *sizes_of(made))
        file = fetched(made, mine, reader.client, Fetch(named[-1], (liar.uid, holder.uid)), Stop())
        assert bytes(file.whole) == whole
        with pytest.raises(Refused, match="sent sha256:"):
            fetched(made, mine, reader.client, Fetch(named[-1], (liar.uid,)), Stop())


def test_a_base_that_an_earlier_process_left_is_taken_with_its_momentum(tmp_path) -> None:
    made = contract()
    _, named = bases(tmp_path, made, 2)
    file = fetched(made, Models(tmp_path, *sizes_of(made)), None, Fetch(named[-1], ()), Stop())  # type: ignore[arg-type]
    assert digest(made, file) == named[-1]


def test_a_step_beyond_the_range_is_one_sentence_and_leaves_no_file(tmp_path) -> None:
    made = contract({"w": np.zeros(4, np.float32)})
    models, named = bases(tmp_path, made, 1)
    steep = merge(made, 1)
    tensorbytes.views(made.schema, steep)["w"][:] = np.finfo(np.float32).max
    with pytest.raises(ModelError, match='the outer step takes the tensor "w" beyond the range'):
        stepped(made, models, steep, named[0])
    assert not list(tmp_path.glob("incoming-*"))
