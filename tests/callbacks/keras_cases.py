"""`SwarmCallback` in real ``fit`` calls on TensorFlow. Run by ``test_keras`` in a process of its own."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest

from swarm.callbacks import keras as module
from swarm.callbacks.checkpoint import Checkpoints
from swarm.callbacks.keras_model import tensor_name
from swarm.errors import ModelError, SwarmError, Unreachable
from swarm.keras import SwarmCallback

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."
STOP = "Swarm training is over. Stopping local training"
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def callback(sync: Any = 4, peers: Any = 2, **keywords: Any) -> SwarmCallback:
    return SwarmCallback(sync, peers, **{"logger": logging.getLogger("test.keras"), **keywords})


def small(**compile_with: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse", **compile_with)
    return model


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 1, **keywords: Any) -> Any:
    return model.fit(X, Y, batch_size=4, epochs=epochs, callbacks=list(callbacks), verbose=0, shuffle=False, **keywords)


def fill(value: float):
    return lambda arrays: {name: np.full_like(array, value) for name, array in arrays.items()}


def test_begin_every_n_batches_across_epochs_and_end(node, log):
    model = small()
    fit(model, callback(sync=4), epochs=2)  # 2 epochs of 10 batches
    asked = [(request.kind, request.batches, request.epochs) for request in node.syncs]
    assert asked == [
        ("begin", 0, 0), ("sync", 4, 0), ("sync", 8, 0), ("sync", 12, 1), ("sync", 16, 1), ("sync", 20, 1),
        ("end", 20, 2),
    ]  # fmt: skip
    assert node.syncs[1].metrics["loss"] > 0
    assert log.messages[-1] == FINAL
    assert log.messages[10].startswith("WARNING: totalEpochs is not given")
    assert log.messages[13:15] == [
        "***** Is Swarm callback in loopback mode: False *****",
        "WARNING: valData is not available to compute Loss and metrics",
    ]


def test_training_goes_on_from_the_merged_weights_and_ends_with_the_final_ones(node):
    node.merge = fill(0.5)
    model = small()
    fit(model, callback(sync=4))
    begin, first, second, end = node.received
    assert not np.allclose(begin["0:sequential/dense/kernel"], 0.5)
    for later in (first, second, end):  # trained for some batches, from 0.5 each time
        assert 0 < np.abs(later["0:sequential/dense/kernel"] - 0.5).max() < 0.4
    assert all((weight == 0.5).all() for weight in model.get_weights())
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].said_bye


def test_the_model_does_not_live_in_the_shared_memory(node):
    node.merge = fill(0.5)
    model = small()
    buffers = []
    plain_sync = node.sync

    async def sync(session, request):
        buffers.append(session.incoming)
        return await plain_sync(session, request)

    node.sync = sync
    fit(model, callback())
    buffers[-1][:] = bytes(len(buffers[-1]))
    assert all((weight == 0.5).all() for weight in model.get_weights())


class Mixed(keras.layers.Layer):
    """One weight of each element type, trainable or not, one of them without extent, one without a name."""

    def build(self, shape):
        for number, dtype in enumerate(["float16", "bfloat16", "float32", "float64", "int8", "int64", "bool"]):
            self.add_weight(shape=(2, 3), dtype=dtype, initializer="zeros", trainable=False, name=f"kind_{number}_x")
        self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x):
        return x


def mixed() -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), Mixed(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)])
    model.add(keras.layers.Dense(1))
    model.compile(optimizer="adam", loss="mse")
    return model


def test_every_element_type_is_kept_bit_for_bit_and_statistics_are_exchanged(node):
    random = np.random.default_rng(1)

    def merge(arrays):
        merged = {}
        for name, array in arrays.items():
            bits = random.integers(0, 2 if array.dtype == bool else 100, array.shape, dtype=np.uint8)
            merged[name] = bits.astype(array.dtype)
        return merged

    node.merge = merge
    model = mixed()
    fit(model, callback(sync=100))
    final = node.received[-1]
    dtypes = [array.dtype.name for array in final.values()]
    assert dtypes[:8] == ["float16", "bfloat16", "float32", "float64", "int8", "int64", "bool", "int32"]
    assert final["7:sequential/mixed/variable"].shape == ()
    assert any("moving_variance" in name for name in final)
    assert not any("seed" in name for name in final)
    assert len(final) == len(model.weights) == 14


def test_negative_zero_and_subnormal_numbers_survive(node):
    odd = np.array([-0.0, 1e-45, -1e-42], np.float32)
    node.merge = lambda arrays: {name: np.resize(odd, array.shape) for name, array in arrays.items()}
    model = small()
    fit(model, callback(sync=100))
    for weight in model.get_weights():
        assert weight.tobytes() == np.resize(odd, weight.shape).tobytes()


def build_all() -> list[keras.Model]:
    stream = keras.Input((4, 3))
    x = keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))(stream)
    x = keras.layers.MultiHeadAttention(2, 2)(x, x)
    x = keras.layers.Dense(2, name="block_2_conv1")(keras.layers.GlobalAveragePooling1D()(x))
    functional = keras.Model(stream, keras.layers.Dense(1)(keras.layers.LayerNormalization()(x)))
    return [small(), mixed(), functional]


def test_names_are_the_same_whatever_was_built_before_in_the_process():
    first = build_all()
    for _ in range(12):
        mixed()
    second = build_all()
    for a, b in zip(first, second, strict=True):
        names = [tensor_name(n, weight) for n, weight in enumerate(a.weights)]
        assert names == [tensor_name(n, weight) for n, weight in enumerate(b.weights)]
        assert len(set(names)) == len(names) > 0
        assert [w.path for w in a.weights] != [w.path for w in b.weights]  # else this proves nothing
    assert any("block_conv1/kernel" in name for name in names)


def test_when_the_swarm_is_over_training_stops_and_the_final_model_is_loaded(node, log):
    node.answer = lambda number, request: {"training_over": number >= 3}
    node.merge = fill(0.25)
    model = small()
    history = fit(model, callback(sync=4), epochs=50)
    assert len(history.epoch) == 1
    assert [request.batches for request in node.syncs] == [0, 4, 8, 8]
    assert log.messages.count(STOP) == 1
    assert log.messages[-1] == FINAL
    assert all((weight == 0.25).all() for weight in model.get_weights())


def test_a_peer_that_comes_when_all_is_over_gets_the_final_model_and_the_warning(node, log):
    node.opened = {"finished": True}
    node.answer = lambda number, request: {"training_over": True, "how": "adopted"}
    node.merge = fill(0.125)
    model = small()
    fit(model, callback(sync=1), epochs=50)
    assert [request.kind for request in node.syncs] == ["begin", "end"]
    assert "Swarm training is over before local training. Exit gracefully." in log.messages
    assert all((weight == 0.125).all() for weight in model.get_weights())


class Poison(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if batch == 2:
            kernel = self.model.layers[1].kernel
            kernel.assign(np.full(kernel.shape, np.nan))


def test_weights_that_became_nan_end_the_training_and_the_swarm_is_told_why(node, log):
    with pytest.raises(ModelError, match=r'the weights in tensor "\d:sequential/dense/(kernel|bias)" are not finite'):
        fit(small(), Poison(), callback(sync=4))
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].withdrew.code == 7
    assert "are not finite" in node.gone_sessions[0].withdrew.reason
    assert "this peer leaves the swarm; the others go on without it" in log.messages


def test_r099_terminate_on_nan_withdraws_instead_of_spoiling_the_final_model(node, log):
    with pytest.raises(ModelError, match="are not finite"):
        fit(small(), Poison(), keras.callbacks.TerminateOnNaN(), callback(sync=1000), epochs=5)
    assert [request.kind for request in node.syncs] == ["begin"]
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].withdrew.code == 7
    assert FINAL not in log.messages


def test_weights_that_read_back_otherwise_are_an_error_that_names_the_tensor(node, monkeypatch):
    model = small()
    weight = model.weights[2]
    plain = weight.assign
    monkeypatch.setattr(weight, "assign", lambda value: plain(np.nextafter(value, np.inf, dtype=np.float32)))
    with pytest.raises(SwarmError, match=r'tensor "2:sequential/dense/kernel" reads back other values'):
        fit(model, callback())
    assert node.gone_event.wait(5)
    assert node.gone_sessions[0].withdrew is not None


def test_loopback_trains_alone_after_the_arguments_were_checked(monkeypatch, log):
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    monkeypatch.setenv("SWARM_LOOPBACK", "TRUE")
    with pytest.raises(SwarmError, match="syncFrequency has to be a positive integer"):
        callback(sync=0)
    alone = callback()
    model, same = small(), small()
    same.set_weights(model.get_weights())
    fit(model, alone, epochs=2)
    fit(same, epochs=2)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), same.get_weights(), strict=True))
    assert alone._training.epochs == 2
    assert FINAL not in log.messages


def test_without_a_learning_node_the_constructor_says_how_to_start(monkeypatch):
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    with pytest.raises(Unreachable, match="no swarm learning node"):
        callback()


def test_several_batches_in_one_step_all_count(node):
    fit(small(steps_per_execution=3), callback(sync=4))  # steps end at batches 3, 6, 9, 10
    assert [request.batches for request in node.syncs] == [0, 6, 9, 10]


def test_validation_data_is_evaluated_after_a_merge_and_the_epochs_metrics_stay_as_they_are(node, log):
    model, same = small(metrics=["mae"]), small(metrics=["mae"])
    same.set_weights(model.get_weights())
    evaluated = fit(model, callback(sync=4, adsValData=(X[:8], Y[:8]), adsValBatchSize=4))
    plain = fit(same)
    assert evaluated.history == plain.history
    lines = [line for line in log.messages if line.startswith("merged model: ")]
    assert len(lines) == 3  # at batches 4 and 8, and at the end
    assert "loss " in lines[0]
    assert "mae " in lines[0]


def test_epochs_and_figures_are_told_to_whoever_looks(node):
    model = small(metrics=["mae"])
    fit(model, callback(sync=4, totalEpochs=2, adsValData=(X[:8], Y[:8])), epochs=2)
    assert node.gone_event.wait(5)
    report = node.gone_sessions[0].report
    assert (report.batches, report.epochs, report.total_epochs) == (20, 2, 2)
    assert {"loss", "mae", "val_loss", "val_mae"} == report.metrics.keys()


def test_a_model_without_weights_is_refused_before_anything_is_opened(node):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Flatten()])
    model.compile(loss="mse")
    with pytest.raises(ModelError, match="the model has no weights yet"):
        fit(model, callback())
    assert node.opens == []


@pytest.mark.parametrize("argument", ["ml_platform", "mlPlatform"])
def test_platforms_are_hpes_but_without_graphs_and_sessions(node, argument):
    callback(**{argument: "KERAS"})
    with pytest.raises(SwarmError, match="Invalid ml platform type: PYTORCH"):
        callback(**{argument: "PYTORCH"})
    with pytest.raises(SwarmError, match=r"ml_platform=TF .* is not possible with Keras 3"):
        callback(**{argument: "TF"})


def test_another_backend_is_refused_not_merged_wrongly(monkeypatch):
    monkeypatch.setattr(module.keras.backend, "backend", lambda: "openvino")
    with pytest.raises(SwarmError, match="Keras runs on openvino here: SwarmCallback runs on tensorflow, jax, torch"):
        callback()


def batches(count):
    return ((X[at : at + 4], Y[at : at + 4]) for at in range(0, 4 * count, 4))


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]


def dataset(count):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X[: 4 * count], Y[: 4 * count])).batch(4)


@pytest.mark.parametrize(
    "data",
    [
        lambda: (X[:8], Y[:8]), lambda: [X[:8], Y[:8]], lambda: (X[:8], Y[:8], np.ones(8)), lambda: batches(2),
        lambda: dataset(2), lambda: Rows(),
    ],
)  # fmt: skip
def test_validation_data_come_in_all_forms_that_evaluate_takes(node, log, data):
    model = small()  # without metrics
    fit(model, callback(sync=4, adsValData=data(), adsValBatchSize=4))
    lines = [line for line in log.messages if line.startswith("merged model: ")]
    assert len(lines) == 3
    assert log.messages[-2:] == [lines[-1], FINAL]
    assert lines[-1] == f"merged model: loss {node.gone_sessions[0].report.metrics['val_loss']:.4f}"
    assert node.syncs[2].metrics["val_loss"] != node.gone_sessions[0].report.metrics["val_loss"]
    loss = model.evaluate(X[:8], Y[:8], verbose=0)
    assert node.gone_sessions[0].report.metrics["val_loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (lambda: (X, Y, X, Y), r"adsValData is a tuple of 4: expected \(x, y\)"),
        (lambda: iter(()), "adsValData is a generator that gives no batch"),
        (lambda: (batch for _ in iter(int, 1) for batch in batches(1)), "does not end within 1000 batches"),
        (lambda: dataset(1).repeat(), "a data set without an end"),
    ],
)
def test_validation_data_that_cannot_be_evaluated_are_refused_before_training(node, data, text):
    with pytest.raises(SwarmError, match=text):
        callback(adsValData=data())
    assert not node.opens


def test_hpes_arguments_of_other_platforms_are_taken_and_said_to_have_no_effect(node, log):
    callback(hfMode="full", lossFunction="MSELoss", maxPeers=3)
    assert "hfMode has no effect with Keras" in log.messages
    assert "lossFunction has no effect with Keras" in log.messages
    assert any("does not know the argument maxPeers" in line for line in log.messages)


def test_the_logger_can_be_reached_and_an_exception_in_fit_passes_through(node):
    swarm_callback = callback()
    assert swarm_callback.logger is logging.getLogger("test.keras")

    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("the script's own mistake")

    with pytest.raises(RuntimeError, match="own mistake"):
        fit(small(), swarm_callback, Fails())


class Dies(keras.callbacks.Callback):
    """In the second epoch, after its fifth batch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 15:
            raise KeyboardInterrupt


class Sees(keras.callbacks.Callback):
    """The optimizer as it is when training goes on."""

    def on_train_batch_begin(self, batch, logs=None):
        if not hasattr(self, "optimizer"):
            self.optimizer = [keras.ops.convert_to_numpy(variable) for variable in self.model.optimizer.variables]


def with_adam() -> keras.Model:
    model = small()
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    return model


def test_a_training_that_was_killed_goes_on_with_its_optimizer_counters_and_epoch(node, tmp_path, log):
    kept = {"sync": 4, "checkpoint_dir": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        fit(with_adam(), callback(**kept), Dies(), epochs=3)
    checkpoint = Checkpoints(tmp_path / "kept", logging.getLogger("test.keras")).newest()
    assert (checkpoint.batches, checkpoint.epochs) == (12, 1)
    resumed, sees = callback(**kept), Sees()
    assert resumed.initial_epoch == 1
    fit(with_adam(), resumed, sees, epochs=3, initial_epoch=resumed.initial_epoch)
    for seen, array in zip(sees.optimizer, checkpoint.optimizer.values(), strict=True):
        assert seen.dtype == array.dtype
        assert seen.tobytes() == array.tobytes()
    assert int(sees.optimizer[0]) == 12
    asked = [(request.kind, request.batches, request.epochs) for request in node.syncs[4:]]
    assert asked == [
        ("begin", 12, 1), ("sync", 16, 1), ("sync", 20, 1), ("sync", 24, 2), ("sync", 28, 2), ("sync", 32, 2),
        ("end", 32, 3),
    ]  # fmt: skip
    assert any(line.startswith("resumed from the checkpoint of round 4, after 12 batches") for line in log.messages)
    assert callback(**kept).initial_epoch == 0  # that training has ended


def test_a_second_fit_of_the_same_callback_takes_part_anew(node, log):
    model, both = small(), callback(sync=4)
    fit(model, both)
    fit(model, both)
    assert len(node.opens) == 2
    asked = [(request.kind, request.batches, request.epochs) for request in node.syncs]
    assert asked == 2 * [("begin", 0, 0), ("sync", 4, 0), ("sync", 8, 0), ("end", 10, 1)]


def test_a_second_fit_in_a_finished_contract_gets_the_final_model_and_trains_no_more(node, log):
    model, both = small(), callback(sync=4)
    fit(model, both)
    node.opened = {"finished": True}
    node.answer = lambda number, request: {"training_over": True, "how": "adopted"}
    node.merge = fill(0.5)
    history = fit(model, both, epochs=5)
    assert len(history.epoch) <= 1
    assert all((weight == 0.5).all() for weight in model.get_weights())


class Restores(keras.callbacks.EarlyStopping):
    """Stops after its second epoch, and brings back the weights of its first."""

    def __init__(self):
        super().__init__(monitor="loss", mode="max", patience=1, restore_best_weights=True)


@pytest.mark.parametrize("last", [True, False])
def test_after_early_stopping_the_final_model_is_there_if_the_callback_is_the_last(node, last):
    node.merge = fill(0.25)
    model = small()
    swarm_callback = callback(sync=1000)
    fit(model, *([Restores(), swarm_callback] if last else [swarm_callback, Restores()]), epochs=9)
    assert [(request.kind, request.batches) for request in node.syncs] == [("begin", 0), ("end", 20)]
    assert all((weight == 0.25).all() for weight in model.get_weights()) is last


def test_checkpoints_of_keras_have_what_was_trained_from_the_merged_model(node, tmp_path):
    node.merge = fill(0.25)
    model = small()
    saves = keras.callbacks.ModelCheckpoint(tmp_path / "m.keras", monitor="loss", mode="max", save_best_only=False)
    fit(model, saves, callback(sync=10))
    saved = keras.models.load_model(tmp_path / "m.keras")
    assert [np.abs(weight - 0.25).max() < 0.3 for weight in saved.get_weights()] == [True] * 4
    assert all((weight == 0.25).all() for weight in model.get_weights())


def test_another_optimizer_begins_anew_and_that_is_said(node, tmp_path, log):
    kept = {"sync": 4, "checkpoint_dir": tmp_path / "kept"}
    with pytest.raises(KeyboardInterrupt):
        fit(with_adam(), callback(**kept), Dies(), epochs=3)
    fit(small(), callback(**kept))
    (line,) = [line for line in log.messages if line.startswith("resumed")]
    assert "a new optimizer state (that of the checkpoint does not fit: tensor 1: it has" in line


def test_with_overlap_training_goes_on_and_the_model_ends_as_the_final_one(node):
    node.merge = fill(0.5)
    model = small()
    fit(model, callback(sync=4, overlap=True), epochs=2)
    assert [(request.kind, request.batches) for request in node.syncs] == [
        ("begin", 0), *(("sync", batches) for batches in (4, 8, 12, 16, 20)), ("end", 20),
    ]  # fmt: skip
    *synced, end = node.received[1:]
    for later in synced:  # each time 0.5, and what was trained since the sync point before
        assert 0 < np.abs(later["0:sequential/dense/kernel"] - 0.5).max() < 0.4
    assert (end["0:sequential/dense/kernel"] == 0.5).all(), "nothing was trained after the last sync point"
    assert all((weight == 0.5).all() for weight in model.get_weights())


def with_norm(*, extra: bool) -> keras.Model:
    layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    layers += [keras.layers.BatchNormalization()] if extra else []
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    return model


def test_local_layers_stay_and_peers_with_others_of_them_have_the_same_contract(node):
    node.merge = fill(0.5)
    local = {"sync": 4, "local_only": ["*batch_normalization*"]}
    for extra in (False, True):
        model = with_norm(extra=extra)
        fit(model, callback(**local))
        shared = [weight for weight in model.weights if "batch_normalization" not in weight.path]
        assert all((np.asarray(weight) == 0.5).all() for weight in shared)
        assert not any((np.asarray(weight) == 0.5).all() for weight in model.layers[1].weights)
    assert node.opens[0].schema == node.opens[1].schema
    assert [name for name, *_ in node.opens[0].schema] == [
        "0:sequential/dense/kernel", "1:sequential/dense/bias", "2:sequential/dense/kernel", "3:sequential/dense/bias",
    ]  # fmt: skip
    with pytest.raises(SwarmError, match=r'the pattern "\*batchnorm\*" fits none of the 8 tensors'):
        fit(with_norm(extra=False), callback(local_only="*batchnorm*"))


def test_adaptive_sync_tells_the_loss_on_the_validation_data_from_the_first_sync_on(node, log):
    node.answer = lambda number, request: {"interval": 500 if number > 1 else 1000}
    model = small()
    fit(model, callback(sync=4, useAdaptiveSync=True, adsValData=(X, Y)))
    synced = [request for request in node.syncs if request.kind == "sync"]
    assert [request.batches for request in synced] == [4, 6, 8, 10]
    losses = [request.metrics["val_loss"] for request in synced]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]
    assert "Merge Done: RVInt [cur: 4 Nxt: 2]" in log.messages
