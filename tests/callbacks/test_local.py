"""Tensors that `local_only` names stay in the program, whatever others have under that name, and in its checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from swarm import Swarm
from swarm.callbacks.checkpoint import Checkpoints
from swarm.callbacks.local import staying
from swarm.errors import BadInput

NAMES = ["body/kernel", "body/bias", "norm/gamma", "norm/mean", "head/kernel"]


def swarm(*local_only: str, **options) -> Swarm:
    return Swarm(minPeers=2, logger=logging.getLogger("test.local"), local_only=list(local_only), **options)


def weights(value: float, head: int = 3) -> dict[str, np.ndarray]:
    sizes = [2, 2, 4, 4, head]
    return {name: np.full(size, value, np.float32) for name, size in zip(NAMES, sizes, strict=True)}


def plus_hundred(arrays):
    return {name: array + 100 for name, array in arrays.items()}


def test_local_tensors_are_neither_in_the_contract_nor_in_what_the_node_gets(node, log):
    node.merge = plus_hundred
    with swarm("norm/*", "head/*") as peer:
        merged = peer.start(weights(1.0))
        trained = {name: array + 1 for name, array in merged.items()}
        synced = peer.sync(trained)
        final = peer.finish(synced)
    assert [name for name, *_ in node.opens[0].schema] == NAMES[:2]
    assert all(list(arrays) == NAMES[:2] for arrays in node.received)
    assert list(merged) == list(final) == NAMES
    assert [merged[name][0] for name in NAMES] == [101, 101, 1, 1, 1]
    assert [synced[name][0] for name in NAMES] == [202, 202, 2, 2, 2]
    assert [final[name][0] for name in NAMES] == [302, 302, 2, 2, 2]
    assert "3 of 5 tensors stay here: norm/gamma, norm/mean, head/kernel" in log.messages


def test_out_has_them_as_they_were_passed(node):
    node.merge = plus_hundred
    given, out = weights(1.0), weights(0.0)
    with swarm("norm/*") as peer:
        result = peer.start(given, out=out)
    assert all(result[name] is out[name] for name in NAMES)
    assert [out[name][0] for name in NAMES] == [101, 101, 1, 1, 101]


def test_peers_with_other_local_tensors_have_the_same_contract(node):
    for head in (3, 7):
        with swarm("head/*") as peer:
            peer.start(weights(1.0, head))
        node.gone_event.wait(5)
    assert node.opens[0].schema == node.opens[1].schema


def test_a_local_tensor_may_be_of_any_type_and_not_finite(node):
    odd = {"w": np.zeros(2), "state/name": np.array([np.nan, np.inf])}
    with swarm("state/*") as peer:
        assert np.isnan(peer.start(odd)["state/name"][0])


def test_checkpoints_have_local_tensors_too_and_bring_them_back(node, tmp_path: Path, log):
    node.answer = lambda number, request: {"digest": f"b{number}", "round": number}
    directory = tmp_path / "kept"
    peer = swarm("head/*", checkpoint_dir=directory)
    peer.sync({name: array + 5 for name, array in peer.start(weights(1.0)).items()})
    peer.close()
    kept = Checkpoints(directory, logging.getLogger("test.local")).newest()
    assert kept.weights["head/kernel"].tolist() == [6, 6, 6]
    node.merge = plus_hundred
    again = swarm("head/*", checkpoint_dir=directory)
    started = again.start(weights(0.0))
    again.close()
    assert [started[name][0] for name in NAMES] == [106, 106, 106, 106, 6]
    assert list(node.received[-1]) == NAMES[:4]
    assert any(
        "with the swarm's weights of round 3, its local tensors and no optimizer" in line for line in log.messages
    )


@pytest.mark.parametrize(
    ("patterns", "sentence", "hint"),
    [
        (["gama"], 'local_only: the pattern "gama" fits none of the 5 tensors', '"norm/gamma"'),
        (["norm/*", "heads*"], 'the pattern "heads*" fits none', '"head/kernel"'),
        (["Norm/*"], 'the pattern "Norm/*" fits none', '"norm/'),
        (["*"], "local_only keeps all 5 tensors of this model here: there is nothing to merge", "not to be shared"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_opened(node, log, patterns, sentence, hint):
    with swarm(*patterns) as peer, pytest.raises(BadInput) as refused:
        peer.start(weights(1.0))
    assert sentence in refused.value.message
    assert hint in refused.value.hint
    assert node.opens == []
    assert any(sentence in line for line in log.messages)


@pytest.mark.parametrize("given", [5, [5], [""], {"a": 1}])
def test_patterns_are_a_list_of_texts(node, given):
    with pytest.raises(BadInput, match=r"local_only has to be a list of patterns of tensor names, received"):
        Swarm(minPeers=2, local_only=given)


def test_brackets_and_question_marks_are_patterns_too():
    assert staying(["n?rm/[gm]*"], NAMES) == {"norm/gamma", "norm/mean"}
    assert staying([], NAMES) == frozenset()
