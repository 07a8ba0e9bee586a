"""``overlap=True``: the program trains on while a round is in flight, and what it has learned meanwhile is kept."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import trio

from swarm import Swarm
from swarm.callbacks.checkpoint import Checkpoints
from swarm.errors import BadInput, ModelError, Unreachable
from tests.nodes.waiting import eventually
from tests.runtime.channel_node import Node, Running, running

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."


class Held:
    """A learning node whose rounds last until `release`."""

    def __init__(self, started: Running) -> None:
        self.node: Node = started.node
        self._started = started

    def hold(self) -> None:
        self.node.hold = self._started.call(trio.Event)

    def release(self) -> None:
        hold, self.node.hold = self.node.hold, None
        assert hold is not None
        self._started.call(hold.set)


@pytest.fixture
def held(tmp_path, monkeypatch) -> Iterator[Held]:
    with running(tmp_path / "channel") as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield Held(started)


def swarm(**options: Any) -> Swarm:
    keywords = {"overlap": True, "logger": logging.getLogger("test.swarm"), **options}
    return Swarm(minPeers=2, syncFrequency=4, **keywords)


def numbers(*values: float) -> dict[str, np.ndarray]:
    return {"w": np.array(values, np.float32)}


def plus(change: float) -> Callable[[Any], Any]:
    return lambda arrays: {name: (array + change).astype(array.dtype) for name, array in arrays.items()}


def has_landed(peer: Swarm) -> None:
    eventually("the answer", lambda: peer.due(0))


def test_a_round_is_begun_at_the_sync_point_and_its_change_is_added_when_it_is_there(held) -> None:
    held.node.merge = plus(10)
    with swarm() as peer:
        weights = peer.start(numbers(0, 1))
        held.hold()
        assert [peer.due() for _ in range(4)] == [False, False, False, True]
        assert peer.sync(weights)["w"] is weights["w"], "nothing has been merged yet"
        weights = plus(0.5)(weights)
        assert not peer.due()
        held.release()
        has_landed(peer)
        weights = peer.sync(weights)
        assert weights["w"].tolist() == [20.5, 21.5]
        assert not peer.due(0)
        assert [peer.due() for _ in range(3)] == [False, False, True], "sync points stay at N, 2N, …"
    assert [request.batches for request in held.node.syncs] == [0, 4]


def test_the_three_lines_of_a_loop_do_with_and_without_overlap(held) -> None:
    held.node.merge = plus(10)
    results = []
    for overlap in (True, False):
        with swarm(overlap=overlap) as peer:
            weights = peer.start(numbers(0))
            for _ in range(12):
                weights = plus(1)(weights)
                if peer.due():
                    weights = peer.sync(weights)
            results.append(peer.finish(weights)["w"][0])
    assert results == [12 + 5 * 10] * 2


def test_the_next_sync_point_waits_for_the_round_before_it(held) -> None:
    held.node.merge = plus(10)
    with swarm() as peer:
        weights = peer.sync(peer.start(numbers(0)), batches=4)
        weights = peer.sync(plus(1)(weights), batches=8)
        assert weights["w"].tolist() == [21]
        peer.finish(plus(2)(weights))
    offered = [arrays["w"].tolist() for arrays in held.node.received]
    assert offered == [[0], [10], [21], [33]]


def test_the_end_waits_for_the_round_in_flight_and_has_exactly_the_final_model(held, log) -> None:
    held.node.merge = plus(10)
    with swarm() as peer:
        weights = peer.sync(peer.start(numbers(0)))
        held.node.answer = lambda number, request: {}
        final = peer.finish(plus(1)(weights))
    assert held.node.received[-1]["w"].tolist() == [21], "what was trained meanwhile is offered in the end"
    assert final["w"].tolist() == [31]
    assert log.messages[-1] == FINAL


def test_whatever_the_numbers_the_result_is_that_of_the_formula(held) -> None:
    seed = random.randrange(2**32)
    generator = np.random.default_rng(seed)
    first, merged, live = (generator.standard_normal(1000).astype(np.float32) * 10 for _ in range(3))
    with swarm() as peer:
        peer.start({"w": first, "n": np.array(5), "on": np.array([True, False])})
        held.node.merge = lambda arrays: {"w": merged, "n": np.array(7), "on": np.array([False, False])}
        peer.sync({"w": first, "n": np.array(5), "on": np.array([True, False])})
        result = peer.sync({"w": live, "n": np.array(9), "on": np.array([True, True])})
    expected = (merged.astype(np.float64) + (live.astype(np.float64) - first.astype(np.float64))).astype(np.float32)
    assert result["w"].tobytes() == expected.tobytes(), f"seed {seed}"
    assert (result["n"], result["on"].tolist()) == (11, [False, True])


def test_without_progress_meanwhile_the_result_is_the_swarms_model_bit_for_bit(held) -> None:
    merged = np.random.default_rng(3).standard_normal(1000).astype(np.float32)
    with swarm() as peer:
        weights = peer.start({"w": np.zeros(1000, np.float32) + np.float32(1e-3)})
        held.node.merge = lambda arrays: {"w": merged}
        peer.sync(weights)
        assert peer.sync(weights)["w"].tobytes() == merged.tobytes()


def test_a_round_that_is_given_up_leaves_what_was_trained(held, log) -> None:
    held.node.answer = lambda number, request: {"how": "kept", "note": "round 2 was aborted"} if number == 2 else {}
    with swarm() as peer:
        weights = plus(1)(peer.sync(peer.start(numbers(0))))
        has_landed(peer)
        assert peer.sync(weights)["w"] is weights["w"]
    assert "round 2 was aborted" in log.messages


def test_when_the_swarm_is_over_meanwhile_no_round_is_begun_any_more(held) -> None:
    held.node.answer = lambda number, request: {"training_over": number >= 2}
    with swarm() as peer:
        weights = peer.sync(peer.start(numbers(0)))
        weights = peer.sync(weights)
        assert peer.training_over
        peer.finish(weights)
    assert [request.kind for request in held.node.syncs] == ["begin", "sync", "end"]


def test_a_learning_node_that_ends_meanwhile_is_told_at_the_next_batch(tmp_path, monkeypatch) -> None:
    with running(tmp_path / "channel") as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        one = Held(started)
        peer = swarm()
        weights = peer.start(numbers(0))
        one.hold()
        peer.sync(weights, batches=4)
        assert one.node.busy.wait(10)
    with pytest.raises(Unreachable, match="ended while merging at batch 4"):
        has_landed(peer)


def test_weights_that_diverged_are_found_at_the_next_sync_point(held) -> None:
    with swarm() as peer:
        weights = peer.sync(peer.start(numbers(0)))
        with pytest.raises(ModelError, match='the weights in tensor "w" are not finite'):
            peer.sync(numbers(np.nan))
    assert weights["w"].tolist() == [0]
    assert held.node.gone_event.wait(5)
    assert held.node.gone_sessions[0].withdrew is not None


def test_a_checkpoint_holds_what_the_program_has_and_the_model_it_rests_on(held, tmp_path) -> None:
    held.node.merge = plus(10)
    held.node.answer = lambda number, request: {"digest": f"blake3:{number:02}"}
    with swarm(checkpoint_dir=tmp_path / "kept") as peer:
        weights = peer.sync(peer.start(numbers(0)), batches=4)
        assert Checkpoints(tmp_path / "kept", peer.logger).newest() is None
        peer.due(3)
        has_landed(peer)
        peer.sync(plus(0.5)(weights))
        newest = Checkpoints(tmp_path / "kept", peer.logger).newest()
    assert newest is not None
    assert (newest.base, newest.round, newest.batches, newest.finished) == ("blake3:02", 2, 7, False)
    assert newest.weights["w"].tolist() == [20.5]


def test_tensors_that_stay_here_are_as_the_program_has_them(held, tmp_path) -> None:
    held.node.merge = plus(10)
    with swarm(local_only=["mine"], checkpoint_dir=tmp_path / "kept") as peer:
        weights = peer.sync(peer.start({"w": np.zeros(1), "mine": np.zeros(1)}))
        weights = peer.sync({"w": weights["w"] + 1, "mine": weights["mine"] + 5})
        assert (weights["w"][0], weights["mine"][0]) == (21, 5)
        newest = Checkpoints(tmp_path / "kept", peer.logger).newest()
    assert newest is not None
    assert (newest.weights["w"][0], newest.weights["mine"][0]) == (21, 5)
    assert {name for arrays in held.node.received for name in arrays} == {"w"}


def test_overlap_is_true_or_false() -> None:
    with pytest.raises(BadInput, match="overlap has to be True or False, received 'yes'"):
        swarm(overlap="yes")
