"""Situation 94: Ctrl-C (SIGINT) and SIGTERM end run-sn and run-sl within two seconds, whatever they are doing.

With 130 and 0; the training program and its children end with them, no file is half written, and a network node that
was ended goes on with its ledger when it is started again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bad_input.stage import Ended, Node, Stage, shared_stage, stage, until

__all__ = ["shared_stage", "stage"]  # fixtures

pytestmark = pytest.mark.alone

ENDS_S = 2.0
SEED = int(os.environ.get("SWARM_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
CODES = {signal.SIGINT: 130, signal.SIGTERM: 0}


def holds(stage: Stage, node: Node, number: signal.Signals) -> Ended:
    """It ends in time, says so, and leaves nothing."""
    ended = node.signalled(number)
    assert ended.seconds < ENDS_S, ended.err
    assert ended.code == CODES[number], ended.err
    assert "Traceback" not in ended.err, ended.err
    assert ended.err.count("error: interrupted") == (number == signal.SIGINT)
    whole(node.state)
    return ended


def whole(state: Path) -> None:
    """Every file of a state directory that others read can be read."""
    for path in state.glob("*.json"):
        json.loads(path.read_text())
    for path in state.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line)


# ---- what it is doing when the signal comes


def network_node(stage: Stage) -> Node:
    node = stage.start_sn()
    node.ready()
    return node


def network_node_without_sentinel(stage: Stage) -> Node:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    node = stage.start_sn("--sentinel-ip", "127.0.0.1", "--sentinel-api-port", port)
    node.says("is not reachable")
    return node


def network_node_with_learners(stage: Stage) -> Node:
    """In the middle of other people's rounds."""
    node = stage.start_sn()
    port = node.ready()["api_port"]
    for learner in [stage.start_sl(["together", "rounds", 2, 0], port=port, of=of) for of in (stage.a, stage.b)]:
        learner.says("round 3\n")
    return node


def learning_node_without_network(stage: Stage) -> Node:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    node = stage.start_sl(["exits", "c", 0], port=port)
    node.says("no network node yet")
    return node


def learning_node_without_program(stage: Stage) -> Node:
    node = stage.start_sl()
    node.says("export SWARM_CHANNEL=")
    return node


def learning_node_with_a_deaf_program(stage: Stage) -> Node:
    """A long training step; the program ignores SIGTERM and has a child."""
    node = stage.start_sl(["sleeps", name(stage)])
    node.says("training")
    return node


def learning_node_that_waits_for_peers(stage: Stage) -> Node:
    node = stage.start_sl(["together", name(stage), 2, 1])
    node.says("enrolled in contract")
    return node


def learning_node_in_rounds(stage: Stage) -> Node:
    contract = name(stage)
    nodes = [stage.start_sl(["together", contract, 2, 0], of=of) for of in (stage.a, stage.b)]
    for node in nodes:
        node.says("round 3\n")
    return nodes[0]


def name(stage: Stage) -> str:
    return stage.new("contract").parent.name


SCENES: tuple[Callable[[Stage], Node], ...] = (
    network_node,
    network_node_without_sentinel,
    network_node_with_learners,
    learning_node_without_network,
    learning_node_without_program,
    learning_node_with_a_deaf_program,
    learning_node_that_waits_for_peers,
    learning_node_in_rounds,
)


def both(scene: Callable[[Stage], Node]) -> Iterator[object]:
    """Ctrl-C always; SIGTERM goes the same way, so the quick suite tries it where a program is at work."""
    yield pytest.param(scene, signal.SIGINT, id=f"{scene.__name__}-SIGINT")
    at_work = scene in (network_node, learning_node_with_a_deaf_program, learning_node_in_rounds)
    marks = [] if at_work else [pytest.mark.slow]
    yield pytest.param(scene, signal.SIGTERM, id=f"{scene.__name__}-SIGTERM", marks=marks)


@pytest.mark.parametrize(("scene", "number"), [one for scene in SCENES for one in both(scene)])
def test_a_signal_ends_a_node_in_two_seconds(
    scene: Callable[[Stage], Node], number: signal.Signals, stage: Stage
) -> None:
    node = scene(stage)
    holds(stage, node, number)
    stage.clear()
    stage.check_nothing_left()


def test_the_rest_of_a_swarm_goes_on_when_one_node_is_ended(stage: Stage) -> None:
    contract = name(stage)
    one, other = (stage.start_sl(["together", contract, 1, 0], of=of) for of in (stage.a, stage.b))
    for node in (one, other):
        node.says("round 3\n")
    gone = "is gone: it was stopped"
    told = stage.sn.err.read_text().count(gone)
    holds(stage, one, signal.SIGTERM)
    before = other.out.read_text().count("round ")
    until(lambda: stage.sn.err.read_text().count(gone) > told, "its last words are in the ledger", 10.0)
    until(lambda: other.out.read_text().count("round ") > before + 3, "rounds go on", 10.0)


def test_an_ended_sentinel_goes_on_with_its_ledger(stage: Stage) -> None:
    state = stage.new("sn")
    node = stage.start_sn(state=state)
    uid = node.ready()["uid"]
    holds(stage, node, signal.SIGINT)
    again = stage.start_sn(state=state)
    assert again.ready()["uid"] == uid
    assert "organisation a is admitted" in node.err.read_text()
    holds(stage, again, signal.SIGTERM)


@pytest.mark.slow
def test_at_any_moment(stage: Stage) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(12):
        node = rng.choice([stage.start_sn, lambda: stage.start_sl(["together", name(stage), 1, 0])])()
        number = rng.choice(list(CODES))
        threading.Event().wait(rng.uniform(0.3, 2.5))
        ended = node.signalled(number)
        assert ended.seconds < ENDS_S, (SEED, ended)
        # before the first line of ours runs, Python's or the system's own way is taken
        assert ended.code in (CODES[number], -number), (SEED, ended)
        whole(node.state)
        stage.check_nothing_left()
