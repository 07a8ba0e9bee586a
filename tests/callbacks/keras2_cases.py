"""Idioms of Keras 2 that `swarmlearning.tf` makes work, in whole programs. Run by ``test_keras`` in its process."""

from __future__ import annotations

import runpy
import sys
import textwrap
import warnings

import keras
import numpy as np
import pytest

from swarm.compat.swarmlearning import keras2
from swarm.compat.swarmlearning.keras2 import replacing

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)

BEGINNING = """
import tensorflow as tf
from tensorflow.keras.optimizers.legacy import SGD
from tensorflow.keras.models import Sequential, load_model, save_model
from tensorflow.keras.layers import Dense, Dropout
from swarmlearning.tf import SwarmCallback
import logging, os, numpy as np

x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
y = x.sum(axis=1, keepdims=True)

def batches():
    while True:
        for at in range(0, 40, 4):
            yield x[at:at + 4], y[at:at + 4]
"""
GENERATORS = """
swarmCallback = SwarmCallback(syncFrequency=4, minPeers=2, mlPlatform='KERAS', adsValData=(x, y), adsValBatchSize=8,
                              totalEpochs=2, nodeWeightage=50, mergeMethod='mean', logger=logging.getLogger('test.old'))
swarmCallback.logger.setLevel(logging.DEBUG)
swarmCallback.logger.info('the program speaks')
model = Sequential([Dense(4, activation='relu', input_shape=(3,)), Dropout(0.1), Dense(1)])
model.compile(optimizer=SGD(lr=0.05, decay=0.01, momentum=0.9, nesterov=True), loss='mse', metrics=['mae'])
rates = [float(model.optimizer.learning_rate)]
model.fit_generator(batches(), steps_per_epoch=10, epochs=2, verbose=0, callbacks=[swarmCallback], workers=4,
                    use_multiprocessing=False)
rates.append(float(model.optimizer.learning_rate))
scores = model.evaluate_generator(batches(), 3, verbose=0)
predicted = model.predict_generator(batches(), steps=2)
where = os.path.join(os.environ['SCRATCH_DIR'], 'deep', 'saved')
model.save(where, save_format='tf', include_optimizer=True)
model.save(where)
save_model(model, where + '2')
same = np.array_equal(load_model(where).predict(x, verbose=0), model.predict(x, verbose=0))
model.save_weights(where + '-weights')
model.load_weights(where + '-weights')
"""


@pytest.fixture
def old(monkeypatch, tmp_path):
    """Run a program as `swarm compat` does; its globals. Afterwards Keras is as it was."""
    monkeypatch.setenv("SCRATCH_DIR", str(tmp_path / "scratch"))
    from swarm.runtime import importpath

    monkeypatch.syspath_prepend(importpath.DIRECTORY)
    monkeypatch.setattr(replacing, "_said", set())

    def run(text: str) -> dict:
        for name in [name for name in sys.modules if name.split(".")[0] == "swarmlearning"]:
            del sys.modules[name]
        script = tmp_path / "train.py"
        script.write_text(BEGINNING + textwrap.dedent(text), encoding="utf-8")
        return runpy.run_path(str(script), run_name="__main__")

    yield run
    keras2.uninstall()


def told(caught) -> list[str]:
    return [str(one.message) for one in caught if "[swarmlearning.tf]" in str(one.message)]


def test_a_program_full_of_keras_2_trains_in_a_swarm_with_one_warning_each(node, log, old):
    node.merge = lambda arrays: {name: np.full_like(array, 0.25) for name, array in arrays.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = old(GENERATORS)
    assert [one.batches for one in node.syncs] == [0, 4, 8, 12, 16, 20, 20]
    assert node.opens[0].weight == 50
    assert all((weight == 0.25).all() for weight in ended["model"].get_weights())
    assert "the program speaks" in log.messages
    assert ended["rates"] == pytest.approx([0.05, 0.05 / (1 + 0.01 * 20)])
    assert (len(ended["scores"]), ended["predicted"].shape, ended["same"]) == (2, (8, 1), True)
    lines = told(caught)
    assert len(lines) == len(set(lines)) == 10, "\n".join(lines)
    assert {one.filename.rpartition("/")[2] for one in caught if "[swarmlearning.tf]" in str(one.message)} == {
        "train.py"
    }


CHECKPOINTS = """
from tensorflow.keras.callbacks import EarlyStopping, ModelCheckpoint
from tensorflow.keras import backend as K
os.makedirs(os.environ['SCRATCH_DIR'])
os.chdir(os.environ['SCRATCH_DIR'])
model = Sequential([Dense(1, input_shape=(3,))])
model.compile(optimizer=tf.keras.optimizers.SGD(0.01), loss='mse')
model.fit(x, y, epochs=2, verbose=0, validation_split=0.2, callbacks=[
    SwarmCallback(syncFrequency=4, minPeers=2),
    ModelCheckpoint('best-{epoch:02d}.hdf5', monitor='val_loss', save_best_only=True, period=1),
    ModelCheckpoint(filepath='latest'),
    ModelCheckpoint('weights.ckpt', 'val_loss', 0, False, True),
    EarlyStopping(monitor='val_loss', patience=5, restore_best_weights=True)])
K.set_value(model.optimizer.lr, 0.125)
rates = [float(K.get_value(model.optimizer.lr))]
model.optimizer.lr = 0.25
rates.append(float(model.optimizer.learning_rate))
model.load_weights('weights.ckpt')
kept = [load_model(name).count_params() for name in ('best-01.hdf5', 'latest')]
"""


def test_checkpoints_have_the_names_that_programs_give_them_and_rates_are_set_as_ever(old, monkeypatch, tmp_path):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    monkeypatch.chdir(tmp_path)  # and back
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = old(CHECKPOINTS)
    assert (ended["kept"], ended["rates"]) == ([4, 4], [0.125, 0.25])
    lines = told(caught)
    assert len(lines) == len(set(lines)) == 6, "\n".join(lines)


def test_what_keras_2_saved_is_read_by_a_program_that_knows_nothing_of_it(old, monkeypatch, tmp_path):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    old(GENERATORS)
    keras2.uninstall()
    model = keras.models.load_model(tmp_path / "scratch" / "deep" / "saved")
    assert type(model.optimizer) is keras.optimizers.SGD
    assert model.predict(X[:2], verbose=0).shape == (2, 1)


def test_afterwards_keras_is_as_it_was(old, tmp_path, monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    before = {name: vars(keras.Model).get(name) for name in ("save", "fit", "save_weights")}
    old("pass")
    assert hasattr(keras.Model, "fit_generator")
    keras2.uninstall()
    assert {name: vars(keras.Model).get(name) for name in before} == before
    assert not hasattr(keras.Model, "fit_generator")
    assert not hasattr(keras.optimizers.Optimizer, "lr")
    with pytest.raises(ValueError, match="not recognized"):
        keras.optimizers.SGD(lr=0.1)


def test_what_keras_3_takes_is_passed_on_untouched(old, tmp_path, monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    old("pass")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.5, weight_decay=0.1), loss="mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y, verbose=0)
        for name in ("m.keras", "m.h5"):
            model.save(tmp_path / name)
        model.save_weights(tmp_path / "m.weights.h5")
        model.load_weights(tmp_path / "m.weights.h5")
    assert told(caught) == []
    assert float(model.optimizer.learning_rate) == 0.5
    with pytest.raises(ValueError, match="not recognized"):
        keras.optimizers.Adam(rate=0.1)


def test_graphs_and_sessions_are_refused_in_a_sentence(old, monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    from swarm.errors import BadInput

    with pytest.raises(BadInput, match=r"ml_platform=TF .* is not possible with Keras 3"):
        old("SwarmCallback(4, 2, ml_platform='TF', tf=tf, sess=tf.compat.v1.Session())")
