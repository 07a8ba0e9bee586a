"""Training programs: arguments, weights, contracts, deaths (situations 55, 56, 70, 99 and 100)."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from swarm.callbacks.flight import Flight
from swarm.callbacks.swarm import Swarm
from swarm.core import openings
from swarm.core.rules import KNOWN
from swarm.core.tensors import Schema
from swarm.runtime import channel
from swarm.wire.tensorbytes import initial_base
from tests.bad_input.identity import Author, Network
from tests.bad_input.messages import Told, case, refused
from tests.bad_input.stage import TRAINING, Stage

# ---- arguments of SwarmCallback and Swarm

ARGUMENTS: dict[str, dict[str, Any]] = {
    "syncFrequency of 0": {"syncFrequency": 0},
    "minPeers of 0": {"minPeers": 0},
    "minPeers that is not whole": {"minPeers": 2.5},
    "no trainingContract": {"trainingContract": ""},
    "totalEpochs below 0": {"totalEpochs": -1},
    "checkinModelOnTrainEnd": {"checkinModelOnTrainEnd": "latest"},
    "nodeWeightage of 0": {"nodeWeightage": 0},
    "nodeWeightage in words": {"nodeWeightage": "much"},
    "mergeMethod that does not exist": {"mergeMethod": "median"},
    "useAdaptiveSync by no rule": {"useAdaptiveSync": "often"},
    "commitments": {"commitments": "some"},
    "onTooFewPeers": {"onTooFewPeers": "panic"},
    "tooFewPeersSeconds below 0": {"tooFewPeersSeconds": -1},
    "tooFewPeersSeconds in words": {"tooFewPeersSeconds": "ten"},
    "initialModel": {"initialModel": "best"},
    "topology": {"topology": "ring"},
    "organisations that are no list": {"organisations": 3},
}


def made(stage: Stage, **given: Any) -> Told:
    """What a program is told that makes such a callback, alone or not."""
    stage.patch.setenv("SWARM_LOOPBACK", "true")
    quiet = logging.getLogger("test.bad_input")
    quiet.setLevel(logging.CRITICAL)
    return refused(lambda: Swarm(**{"minPeers": 2, "trainingContract": "c", "logger": quiet, **given}))


for what, given in ARGUMENTS.items():
    case(f"callback: {what}")(lambda stage, given=given: made(stage, **given))  # type: ignore[misc]


@case("SWARM_TOO_FEW_PEERS_S in words")
def _(stage: Stage) -> Told:
    stage.patch.setenv("SWARM_TOO_FEW_PEERS_S", "soon")
    return made(stage)


# ---- no learning node


@case("callback without a learning node", process=True)
def _(stage: Stage) -> Told:
    return stage.start([TRAINING, "exits", "c", 0]).ended().told


@case("callback with the export lines of a learning node that has ended")
def _(stage: Stage) -> Told:
    environment = {channel.PATH_VARIABLE: str(stage.directory / "s")}
    return refused(lambda: channel.connect(environment, lambda level, text: None))


@case("a second program at one learning node", process=True)
def _(stage: Stage) -> Told:
    return stage.train("twice", "twice").told


@case("sync before start", process=True, slow=True)
def _(stage: Stage) -> Told:
    return stage.train("syncs_before_start", "early").told


# ---- weights


@case("r055 NaN in the weights", process=True)
def _(stage: Stage) -> Told:
    return stage.train("diverges", "nan", 1, "nan").told


@case("r055 infinity in the weights, and a program that hides the error", process=True)
def _(stage: Stage) -> Told:
    return stage.train("hides_it", "inf").told


@case("NaN in the first weights", process=True, slow=True)
def _(stage: Stage) -> Told:
    return stage.train("begins_with_nan", "nan-0").told


@case("r055 numbers in the weights that no sum holds")
def _(stage: Stage) -> Told:
    numbers = schema(w=np.zeros(2))
    flight = Flight(cast(channel.Channel, SimpleNamespace(out=memoryview(bytearray(numbers.nbytes)))), numbers)
    return refused(lambda: flight.pack({"w": np.full(2, 1e300)}))


@case("r070 a layer was added after the start", process=True)
def _(stage: Stage) -> Told:
    return stage.train("grows_a_layer", "grown").told


@case("r070 a layer changed its shape after the start", process=True, slow=True)
def _(stage: Stage) -> Told:
    return stage.train("changes_shape", "shaped").told


def schema(**arrays: Any) -> Schema:
    return Schema.of({name: np.asarray(array) for name, array in arrays.items()})


@case("weights that are objects")
def _(stage: Stage) -> Told:
    return refused(lambda: schema(w=np.array([{}, None], dtype=object)))


@case("weights that are texts")
def _(stage: Stage) -> Told:
    return refused(lambda: schema(w=np.array(["a"])))


@case("no weights at all")
def _(stage: Stage) -> Told:
    return refused(schema)


@case("a tensor with an empty name")
def _(stage: Stage) -> Told:
    return refused(lambda: schema(**{"": np.zeros(3)}))


# ---- what does not fit the contract

MODEL = schema(kernel=np.zeros((4, 3), np.float32), bias=np.zeros(3, np.float32))
OTHER_MODELS = {
    "another shape": schema(kernel=np.zeros((4, 3), np.float32), bias=np.zeros(5, np.float32)),
    "another element type": schema(kernel=np.zeros((4, 3), np.float64), bias=np.zeros(3, np.float32)),
    "another name": schema(kernel=np.zeros((4, 3), np.float32), beta=np.zeros(3, np.float32)),
    "another order": schema(bias=np.zeros(3, np.float32), kernel=np.zeros((4, 3), np.float32)),
    "a layer too few": schema(kernel=np.zeros((4, 3), np.float32)),
    "a layer too many": schema(
        kernel=np.zeros((4, 3), np.float32), bias=np.zeros(3, np.float32), top=np.zeros(3, np.float32)
    ),
}
OTHER_OPTIONS: dict[str, dict[str, Any]] = {
    "another minPeers": {"minPeers": 3},
    "another onTooFewPeers": {"onTooFewPeers": "stop"},
    "another topology": {"topology": "sharded"},
}


class Contracted(Network):
    """A network with a contract that organisation a's learning node has opened."""

    def __init__(self, stage: Stage, rules: int = 1, **options: Any) -> None:
        super().__init__(stage, 1, rules)
        self.first = self.join(Author(stage.a, "sl", stage.new("sl")))
        self.second = self.join(Author(stage.b, "sl", stage.new("sl")))
        assert self.proposed(self.first, "Enrolled", self.enrolment(**options)).accepted

    def enrolment(self, model: Schema = MODEL, contract: str = "digits", **options: Any) -> dict[str, Any]:
        return {
            "contract": contract,
            "schema": model.to_wire(),
            "hash": "sha256",
            "initial_base": initial_base(model, "sha256"),
            "options": {"minPeers": 2, **options},
            "weight": 1,
            "syncFrequency": 10,
            "data_address": "127.0.0.1:1",
        }

    def refusal(self, kind: str, body: dict[str, Any]) -> Told:
        """What the second learning node is told."""
        error = self.proposed(self.second, kind, body).error()
        assert error is not None
        return Told.by(error)


for what, model in OTHER_MODELS.items():

    @case(f"r056 the model does not fit the contract: {what}")
    def _(stage: Stage, model: Schema = model) -> Told:
        network = Contracted(stage)
        return network.refusal("Enrolled", network.enrolment(model))


for what, options in OTHER_OPTIONS.items():

    @case(f"the options do not fit the contract: {what}")
    def _(stage: Stage, options: dict[str, Any] = options) -> Told:
        network = Contracted(stage)
        return network.refusal("Enrolled", network.enrolment(**options))


@case("a contract that does not admit the organisation")
def _(stage: Stage) -> Told:
    network = Contracted(stage, organisations=["a"])
    return network.refusal("Enrolled", network.enrolment(organisations=["a"]))


@case("the name of a contract that another organisation has opened for itself")
def _(stage: Stage) -> Told:
    network = Contracted(stage, KNOWN, organisations=["a"])
    return network.refusal("Enrolled", network.enrolment(organisations=["b"]))


@case("a contract for an organisation that nobody knows")
def _(stage: Stage) -> Told:
    network = Contracted(stage)
    return network.refusal("Enrolled", network.enrolment(contract="other", organisations=["hospital-x"]))


@case("more contracts than an organisation has room for")
def _(stage: Stage) -> Told:
    network = Contracted(stage, KNOWN)
    stage.patch.setattr(openings, "OPENINGS_MAX", 10_000)
    assert network.proposed(network.second, "Enrolled", network.enrolment(contract="other")).accepted
    return network.refusal("Enrolled", network.enrolment(contract="another"))


@case("an offer to a contract without enrolment")
def _(stage: Stage) -> Told:
    base = initial_base(MODEL, "sha256")
    return Contracted(stage).refusal("Offer", {"contract": "digits", "round": 0, "base": base, "digest": base})


@case("r061 an offer for another round")
def _(stage: Stage) -> Told:
    network = Contracted(stage)
    assert network.proposed(network.second, "Enrolled", network.enrolment()).accepted
    base = initial_base(MODEL, "sha256")
    return network.refusal("Offer", {"contract": "digits", "round": 10**9, "base": base, "digest": base})


@case("the model of a program does not fit the contract", process=True)
def _(stage: Stage) -> Told:
    assert stage.train("opens", "fit", "a=float32=3", "b=float32=4,2", state=stage.new("sl")).code == 0
    return stage.train("opens", "fit", "a=float32=3", "b=float32=2,4", of=stage.b).told


@case("a contract that is finished", process=True, slow=True)
def _(stage: Stage) -> Told:
    assert stage.train("together", "done", 1, 1).code == 0
    return stage.train("together", "done", 1, 1, of=stage.b).told


@case("too few peers: nobody else comes", process=True)
def _(stage: Stage) -> Told:
    return stage.train("together", "lonely", 2, 1, environment={"SWARM_TOO_FEW_PEERS_S": "1"}).told


# ---- deaths


@case("a program that is not there", process=True)
def _(stage: Stage) -> Told:
    return stage.start_sl((), "--", "trian.py").ended().told


@case("a program that is killed", process=True)
def _(stage: Stage) -> Told:
    return stage.train("killed", "killed").told


@case("r100 a program that raises, in swarm run: the command's last words", process=True)
def _(stage: Stage) -> Told:
    words = ["-c", "from swarm.cli.main import main; main()", "run", "--peers", 1]
    ended = stage.start([*words, "--", sys.executable, TRAINING, "raises", "r100"]).ended()
    _, _, last = ended.err.rpartition("error: ")
    assert "ValueError: expected 784 columns, found 783" in last
    assert ended.out.count("Traceback") == 1  # the program's own, once
    return Told(ended.code, last.splitlines()[0])
