"""How programs train, as any network node tells who asks: by whom, of what form, and never in the ledger."""

from __future__ import annotations

import pytest

from swarm.core import policy
from swarm.errors import BadInput
from swarm.nodes.trainings import Trainings, checked, told
from swarm.runtime.tls import Peer
from swarm.wire.messages import Report
from tests.core.scene import Actor, Scene

REPORT = Report(40, 2, 5, {"loss": 0.5, "mae": 3.0, "val_loss": 0.25, "val_mae": 2.0})
SAID = {
    "contract": "demo", "batches": 40, "completed_epochs": 2, "total_epochs": 5, "loss": 0.25, "metric": 2.0,
    "metric_name": "val_mae",
}  # fmt: skip


class Link:
    def __init__(self, actor):
        self.peer = Peer(actor.identity, actor.node_key, actor.uid, "", actor.incarnation, b"", ())
        self.told = []

    def tell(self, verb, body):
        self.told.append((verb, body))


@pytest.fixture
def scene():
    made = Scene()
    made.sl, made.other = Actor("sl", "sl-1"), Actor("sn", "sn-2", "b")
    for actor in (made.sl, made.other):
        assert made.join(actor).accepted
    return made


def test_the_merged_models_figures_come_before_those_of_the_batches():
    assert told("demo", REPORT) == SAID
    assert told("demo", Report(4, 0, 0, {"loss": 0.5, "accuracy": 0.75})) == {
        "contract": "demo", "batches": 4, "completed_epochs": 0, "total_epochs": 0, "loss": 0.5, "metric": 0.75,
        "metric_name": "accuracy",
    }  # fmt: skip
    for metrics in ({}, {"loss": float("nan")}):
        assert not {"loss", "metric"} & told("demo", Report(0, 0, 0, metrics)).keys()


def test_a_report_reaches_the_network_node_and_through_it_the_others(scene):
    link, elsewhere = Link(scene.sl), Link(scene.other)
    here, there = Trainings(lambda: scene.ledger, lambda: [elsewhere]), Trainings(lambda: scene.ledger, list)
    here.listeners()["training"](link, SAID)
    for verb, body in elsewhere.told:
        there.listeners()[verb](Link(scene.other), body)
    shown = {name: value for name, value in SAID.items() if name != "contract"}
    assert here.of("demo", scene.sl.uid) == there.of("demo", scene.sl.uid) == shown
    assert here.of("another", scene.sl.uid) is None
    assert not there._others()


def test_nothing_is_kept_of_whom_the_ledger_does_not_know_as_a_learning_node(scene):
    trainings = Trainings(lambda: scene.ledger, list)
    for actor in (Actor("sl", "sl-9"), scene.other):
        trainings.listeners()["training"](Link(actor), SAID)
        assert trainings.of("demo", actor.uid) is None


@pytest.mark.parametrize(
    "change",
    [
        {"loss": float("inf")}, {"loss": "low"}, {"metric": True}, {"batches": -1}, {"completed_epochs": None},
        {"contract": "c" * 161}, {"contract": 7}, {"metric_name": ["mae"]},
        {"metric_name": "\x1b[2J"}, {"contract": "a\nb"}, {"loss": 10**400},
    ],
)  # fmt: skip
def test_another_form_is_refused(change):
    assert checked({**SAID, "more": 1}) == SAID
    with pytest.raises(BadInput, match="another form"):
        checked({**SAID, **change})


def test_a_learning_node_speaks_for_itself_only():
    assert [role for role in ("sn", "sl", "swop", "swci") if policy.allowed("training", role)] == ["sl"]
    assert policy.allowed("training_elsewhere", "sn")
    assert policy.membership("training_elsewhere") == "admitted"
