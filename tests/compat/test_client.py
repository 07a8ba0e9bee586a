"""`swarmlearning.client.swarm`: HPE's words, and a platform of one's own by the base class."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from swarm.callbacks.arguments import Given, parse
from swarm.compat.swarmlearning.client.swarm import (
    CheckinModel,
    HFMode,
    SLMergeMethod,
    SLPlatforms,
    SwarmCallbackBase,
    SwarmError,
)
from swarm.errors import SwarmError as OurError

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."


class Line:
    """A model of two numbers: y = slope · x + rise."""

    def __init__(self, slope=0.0, rise=0.0):
        self.slope, self.rise = np.array([slope], np.float32), np.array(rise, np.float64)


class Mine(SwarmCallbackBase):
    platformArguments = frozenset({"unit"})

    def _verifyAndSetPlatformContext(self, params):
        if params.get("unit", "m") != "m":
            raise SwarmError(f"unit {params['unit']} is not possible")

    def _getValidationDataForAdaptiveSync(self, valData, valBatchSize):
        return [*valData, valBatchSize]

    def _saveModelWeightsToDict(self):
        return {"slope": self.model.slope, "rise": self.model.rise}

    def _loadModelWeightsFromDict(self, inDict):
        self.model.slope, self.model.rise = inDict["slope"], inDict["rise"]

    def _calculateLocalLossAndMetrics(self):
        x, y, _ = self.valData
        return float(np.mean((self.model.slope[0] * x + self.model.rise - y) ** 2)), 0.5


def mine(**keywords):
    return Mine(2, 2, "lines", {"model": Line(1.0, 2.0), "logger": logging.getLogger("test.mine"), **keywords})


def train(callback, batches=5):
    callback.on_train_begin()
    for batch in range(batches):
        callback.model.slope += 1
        callback.on_batch_end(batch)
    callback.on_epoch_end(0)
    callback.on_train_end()


def test_names_and_numbers_are_hpes():
    assert {one.name: one.value for one in CheckinModel} == {"inactive": 1, "active": 2, "snapshot": 3}
    assert [one.name for one in SLPlatforms] == ["TF", "KERAS", "PYTORCH", "HF_TRANSFORMER"]
    assert [str(one) for one in SLMergeMethod] == [
        "SLMergeMethod.mean", "SLMergeMethod.coordmedian", "SLMergeMethod.geomedian",
    ]  # fmt: skip
    assert {one.name: one.value for one in HFMode} == {"full": 1, "peft": 2}
    assert SwarmError is OurError


def test_a_member_is_taken_where_its_name_is():
    given = {"mergeMethod": SLMergeMethod.geomedian, "checkinModelOnTrainEnd": CheckinModel.active}
    arguments = parse(Given(1, 2, "c", given), {}, evaluates=True)
    assert (arguments.options.mergeMethod, arguments.checkinModelOnTrainEnd) == ("geomedian", "active")


def test_a_platform_of_ones_own_merges_every_n_batches_and_ends_with_the_final_model(node, log):
    node.merge = lambda arrays: {name: np.full_like(array, 7) for name, array in arrays.items()}
    callback = mine(adsValData=(np.ones(3), np.ones(3)), adsValBatchSize=8)
    train(callback)
    assert [(one.kind, one.batches, one.epochs) for one in node.syncs] == [
        ("begin", 0, 0), ("sync", 2, 0), ("sync", 4, 0), ("end", 5, 1),
    ]  # fmt: skip
    assert node.received[0] == {"slope": np.float32(1), "rise": np.float64(2)}
    assert node.received[-1]["slope"] == 8
    assert (callback.model.slope.dtype, callback.model.rise.dtype, callback.model.rise.shape) == ("f4", "f8", ())
    assert (callback.model.slope, callback.model.rise) == (7, 7)
    assert "merged model: loss 169.0000, metric 0.5000" in log.messages
    assert node.syncs[2].metrics == {"val_loss": 169.0, "val_metric": 0.5}
    assert log.messages[-1] == FINAL
    assert callback.training_over


def test_weights_that_read_back_otherwise_are_an_error_that_names_the_tensor(node, monkeypatch):
    monkeypatch.setattr(Mine, "_loadModelWeightsFromDict", lambda self, inDict: None)
    node.merge = lambda arrays: {name: array + 1 for name, array in arrays.items()}
    with pytest.raises(SwarmError, match=r'tensor "\w+" reads back other values than were loaded'):
        train(mine())


def test_what_the_platform_refuses_leaves_no_session_behind(node, log):
    with pytest.raises(SwarmError, match="unit km is not possible"):
        mine(unit="km")
    assert node.gone_event.wait(5)
    mine(unit="m", unti="m")._training.close()
    assert "SwarmCallback does not know the argument unti: it has no effect; did you mean unit?" in log.messages


def test_the_base_class_alone_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        SwarmCallbackBase(1, 2)


def test_loopback_trains_alone(monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "True")
    callback = mine()
    train(callback)
    assert (callback.model.slope, callback._training.epochs) == (6, 1)
