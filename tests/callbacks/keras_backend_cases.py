"""`SwarmCallback` in ``fit`` on JAX and torch. Run by ``test_keras_backends`` in a process for each."""

from __future__ import annotations

import logging
import os

import keras
import numpy as np
import pytest

from swarm.callbacks.checkpoint import Checkpoints
from swarm.keras import SwarmCallback

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def callback(**keywords) -> SwarmCallback:
    return SwarmCallback(4, 2, logger=logging.getLogger("test.keras"), **keywords)


def model() -> keras.Model:
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    made = keras.Sequential(layers)
    made.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    return made


def fit(made, *callbacks, **keywords):
    return made.fit(X, Y, batch_size=4, callbacks=list(callbacks), verbose=0, shuffle=False, **keywords)


def fill(value):
    return lambda arrays: {name: np.full_like(array, value) for name, array in arrays.items()}


def test_it_is_the_backend_that_was_asked_for():
    assert keras.backend.backend() == os.environ["KERAS_BACKEND"] != "tensorflow"


def test_training_goes_on_from_the_merged_weights_and_ends_with_the_final_ones(node):
    node.merge = fill(0.5)
    made = model()
    fit(made, callback(), epochs=2)
    assert [request.batches for request in node.syncs] == [0, 4, 8, 12, 16, 20, 20]
    for later in node.received[1:-1]:  # trained for some batches, from 0.5 each time
        assert 0 < np.abs(later["0:sequential/dense/kernel"] - 0.5).max() < 0.4
    assert (node.received[-1]["0:sequential/dense/kernel"] == 0.5).all()
    assert all((np.asarray(weight) == 0.5).all() for weight in made.get_weights())


def test_validation_after_a_merge_changes_nothing_of_the_training(node, log):
    made, same = model(), model()
    same.set_weights(made.get_weights())
    evaluated = fit(made, callback(adsValData=(X[:8], Y[:8]), adsValBatchSize=4))
    plain = fit(same)
    assert evaluated.history["loss"] == pytest.approx(plain.history["loss"], rel=1e-5)
    assert evaluated.history["mae"] == pytest.approx(plain.history["mae"], rel=1e-5)
    assert len([line for line in log.messages if line.startswith("merged model: loss")]) == 3
    for a, b in zip(made.get_weights(), same.get_weights(), strict=True):
        assert np.allclose(a, b, rtol=1e-5)


class Dies(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen == 15:
            raise KeyboardInterrupt


def test_a_training_that_was_killed_goes_on_with_its_optimizer(node, tmp_path, log):
    kept = {"checkpoint_dir": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        fit(model(), callback(**kept), Dies(), epochs=3)
    checkpoint = Checkpoints(tmp_path / "kept", logging.getLogger("test.keras")).newest()
    assert (checkpoint.batches, checkpoint.epochs) == (12, 1)
    resumed, made = callback(**kept), model()
    fit(made, resumed, epochs=3, initial_epoch=resumed.initial_epoch)
    assert int(keras.ops.convert_to_numpy(made.optimizer.iterations)) == 12 + 20
