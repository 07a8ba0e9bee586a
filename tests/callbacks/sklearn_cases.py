"""`SwarmCallback` and its trainer with scikit-learn's estimators. Run by ``test_sklearn`` in a process of its own."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from sklearn import linear_model, metrics
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor

from swarm.errors import BadInput, ModelError, SwarmError
from swarm.sklearn import SwarmCallback, SwarmSklearnTrainer

FINAL = "All peers and Swarm training rounds finished. Final Swarm model was loaded."
X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X.sum(axis=1) > 0).astype(int)
LOGGER = {"logger": logging.getLogger("test.sklearn")}
SGD = linear_model.SGDClassifier


def callback(model: Any, sync: Any = 4, peers: Any = 2, **keywords: Any) -> SwarmCallback:
    return SwarmCallback(sync, peers, model=model, **{**LOGGER, **keywords})


def fit(swarm: SwarmCallback, model: Any, **keywords: Any) -> Any:
    return SwarmSklearnTrainer(swarmCallback=swarm, model=model).fit(X, Y, **{"batch_size": 4, **keywords})


def fill(value: float):
    return lambda arrays: {name: np.full_like(array, value) for name, array in arrays.items()}


LINEAR = ["coef_", "intercept_"]
LAYERS = ["coefs_.0", "coefs_.1", "intercepts_.0", "intercepts_.1"]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (SGD(loss="log_loss"), LINEAR),
        (linear_model.SGDRegressor(), LINEAR),
        (linear_model.Perceptron(), LINEAR),
        (MLPClassifier((4,)), LAYERS),
        (MLPRegressor(hidden_layer_sizes=(4,), solver="sgd"), LAYERS),
    ],
)
def test_the_trainer_begins_merges_every_n_batches_and_ends_with_the_final_model(node, log, model, names):
    node.merge = fill(0.5)
    assert fit(callback(model), model, epochs=2) is model
    assert [(request.kind, request.batches, request.epochs) for request in node.syncs] == [
        ("begin", 0, 0), ("sync", 4, 0), ("sync", 8, 0), ("sync", 12, 1), ("sync", 16, 1), ("sync", 20, 1),
        ("end", 20, 2),
    ]  # fmt: skip
    classes = ["classes 0, 1"] if hasattr(model, "classes_") else []
    assert list(node.received[0]) == [*classes, *names]
    for later in node.received[1:-1]:  # trained for some batches, from 0.5 each time
        assert (later[names[0]] != 0.5).any()
    for name in names:
        attribute, _, number = name.partition(".")
        value = getattr(model, attribute)
        assert ((value[int(number)] if number else value) == 0.5).all()
    assert log.messages[-1] == FINAL
    model.predict(X)


def test_a_peer_weighs_as_many_as_the_trainer_has_examples(node):
    model = SGD()
    fit(callback(model, nodeWeightage="auto"), model)
    callback(model, nodeWeightage="auto", samples=7).on_train_begin()
    assert [request.weight for request in node.opens] == [40, 7]
    with pytest.raises(BadInput, match="nobody says how many it trains on"):
        callback(model, nodeWeightage="auto").on_train_begin()


def test_element_types_are_kept_and_arrays_stay_the_objects_they_are(node):
    odd = np.array([-0.0, 1e-45], np.float32)
    node.merge = lambda arrays: {name: np.resize(odd.astype(a.dtype), a.shape) for name, a in arrays.items()}
    model = MLPClassifier((4,)).partial_fit(X.astype(np.float32), Y, classes=[0, 1])
    held = model.coefs_[0]
    callback(model).on_train_begin()
    assert model.coefs_[0] is held
    assert held.dtype == np.float32
    assert held.tobytes() == np.resize(odd, held.shape).tobytes()


class Online:
    """An estimator of somebody's own: an array, numbers, and a list of arrays; it trains as if by a learning rate."""

    def __init__(self) -> None:
        self.theta_ = np.zeros(3)
        self.fixed_ = np.zeros(2)
        self.fixed_.setflags(write=False)
        self.bias_ = 0.0
        self.scale_ = np.float32(1)
        self.more_ = [np.zeros((2, 2)), 0.25]

    def partial_fit(self, x, y):
        self.theta_ += 1


def test_attributes_of_other_estimators_are_named_and_may_be_lists_and_numbers(node):
    node.merge = fill(0.5)
    model = Online()
    names = ["theta_", "fixed_", "bias_", "scale_", "more_"]
    swarm = callback(model, weight_attrs=names, weight_attrs_is_list=True)
    fit(swarm, model)
    assert list(node.received[0]) == ["theta_", "fixed_", "bias_", "scale_", "more_.0", "more_.1"]
    assert (node.received[1]["theta_"] == 4.5).all()
    assert (model.theta_ == 0.5).all()
    assert (model.fixed_ == 0.5).all()
    assert (type(model.bias_), model.bias_, type(model.scale_), model.scale_) == (float, 0.5, np.float32, 0.5)
    assert (model.more_[0] == 0.5).all()
    assert model.more_[1] == 0.5


def test_an_estimator_without_weights_is_told_how_to_get_them_or_gets_them(node):
    with pytest.raises(ModelError, match="SGDClassifier has no coef_ yet") as raised:
        callback(SGD()).on_train_begin()
    assert "initData" in raised.value.hint
    assert node.opens == []
    callback(SGD(), initData=(X[:1], Y[:1]), classes=[0, 1, 2]).on_train_begin()
    assert [entry[0] for entry in node.opens[0].schema] == ["classes 0, 1, 2", "coef_", "intercept_"]
    assert node.opens[0].schema[1][2] == [3, 3]


def test_classes_are_part_of_the_contract_also_where_they_are_many(node):
    many = np.arange(1000)
    callback(SGD(), initData=(X[:1], Y[:1]), classes=many).on_train_begin()
    callback(SGD(), initData=(X[:1], Y[:1] + 1), classes=many + 1).on_train_begin()
    first, second = [request.schema[0][0] for request in node.opens]
    assert first.startswith("classes 1000 of sha256:")
    assert first != second


def test_an_estimator_that_changes_shape_in_mid_training_is_named(node):
    model = SGD().partial_fit(X, Y, classes=[0, 1])
    swarm = callback(model, sync=1)
    swarm.on_train_begin()
    model.coef_ = np.zeros((1, 5))
    with pytest.raises(ModelError, match=r'tensor "coef_": the contract has float64 \(1, 3\), this model .* \(1, 5\)'):
        swarm.on_batch_end()


@pytest.mark.parametrize(
    ("metric", "arguments", "expected"),
    [
        ("roc_auc_score", None, lambda m: metrics.roc_auc_score(Y, m.predict_proba(X)[:, 1])),
        ("accuracy_score", None, lambda m: metrics.accuracy_score(Y, m.predict(X))),
        ("brier_score_loss", None, lambda m: metrics.brier_score_loss(Y, m.predict_proba(X)[:, 1])),
        ("hinge_loss", None, lambda m: metrics.hinge_loss(Y, m.decision_function(X))),
        ("fbeta_score", {"beta": 2}, lambda m: metrics.fbeta_score(Y, m.predict(X), beta=2)),
    ],
)
def test_merged_models_are_evaluated_by_names_of_sklearn_metrics(node, log, metric, arguments, expected):
    model = SGD(loss="log_loss").partial_fit(X, Y, classes=[0, 1])
    swarm = callback(
        model, sync=1, adsValData=(X, Y), lossFunction="log_loss", metricFunction=metric, metricFunctionArgs=arguments
    )
    swarm.on_train_begin()
    swarm.on_batch_end()
    swarm.on_batch_end()
    told = node.syncs[-1].metrics
    assert told["val_loss"] == pytest.approx(metrics.log_loss(Y, model.predict_proba(X)))
    assert told[f"val_{metric}"] == pytest.approx(expected(model))
    assert any(line.startswith("merged model: loss ") and metric in line for line in log.messages)


@pytest.mark.parametrize("model", [SGD(loss="hinge"), linear_model.SGDRegressor(), SGD(loss="log_loss")])
def test_without_a_loss_function_the_estimators_usual_one_counts(node, model):
    swarm = callback(model, sync=1, adsValData=(X[:2], Y[:2]), useAdaptiveSync=True)
    fit(swarm, model, classes=[0, 1])
    assert node.syncs[1].metrics["val_loss"] >= 0


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"model": None}, "Sklearn model is None"),
        ({"model": linear_model.LogisticRegression()}, "LogisticRegression has no partial_fit: it trains in one go"),
        ({"model": MLPClassifier(solver="lbfgs")}, "MLPClassifier has no partial_fit"),
        ({"model": SGD(average=True)}, r"SGDClassifier\(average=True\) trains other weights than it predicts with"),
        ({"model": GradientBoostingClassifier()}, "GradientBoostingClassifier has no partial_fit"),
        ({"model": Online()}, "what Online trains is not known"),
        ({"model": Online(), "weight_attrs": "theta_"}, "weight_attrs has to be a list of names of attributes"),
        ({"adsValData": X}, r"adsValData has to be \(x, y\), received ndarray"),
        ({"initData": X}, r"initData has to be \(x, y\), received ndarray"),
        ({"adsValData": (X, Y), "metricFunction": "roc_auc"}, "metricFunction='roc_auc' is no function of sklearn"),
        ({"mlPlatform": "PYTORCH"}, "Invalid ml platform type: PYTORCH"),
        ({"sync": "often"}, "syncFrequency has to be a positive integer"),
    ],
)
def test_bad_arguments_get_one_sentence(node, keywords, sentence):
    given = {"model": SGD(), **keywords}
    with pytest.raises(BadInput, match=sentence):
        callback(**given)
    assert node.opens == []


def test_trees_are_refused_with_the_reason(node):
    kind = type("XGBClassifier", (), {"__module__": "xgboost.sklearn"})
    with pytest.raises(BadInput, match="XGBClassifier grows trees, and trees of several peers have no mean"):
        callback(kind())


def test_a_trainer_of_another_model_is_refused_and_a_metric_that_the_model_cannot_give(node):
    with pytest.raises(BadInput, match="model is another one than that of swarmCallback"):
        SwarmSklearnTrainer(swarmCallback=callback(SGD()), model=SGD())
    model = SGD(loss="hinge")
    with pytest.raises(SwarmError, match="log_loss needs predict_proba, which this SGDClassifier does not have"):
        fit(callback(model, adsValData=(X, Y), lossFunction="log_loss"), model)


def test_a_training_that_was_killed_goes_on_with_its_counters(node, tmp_path, log):
    model = SGD(loss="log_loss")
    plain, kept = model.partial_fit, {"sync": 4, "checkpoint_dir": tmp_path}
    calls = []

    def partial_fit(x, y, classes):
        calls.append(x)
        if len(calls) == 16:  # in the second epoch, after the sync point at batch 12
            raise KeyboardInterrupt
        return plain(x, y, classes=classes)

    model.partial_fit = partial_fit
    with pytest.raises(KeyboardInterrupt):
        fit(callback(model, **kept), model, epochs=2)
    seen = model.t_
    again = SGD(loss="log_loss")
    resumed = callback(again, **kept)
    assert resumed.initial_epoch == 1
    resumed.close()
    resumed = callback(again, **kept)
    again.partial_fit(X[:4], Y[:4], classes=[0, 1])
    resumed.on_train_begin()
    assert again.t_ == seen - 8
    assert any("after 12 batches and 1 epochs" in line for line in log.messages)


@pytest.mark.parametrize(
    "solver", [{"solver": "adam"}, {"solver": "sgd"}, {"solver": "sgd", "learning_rate": "invscaling"}]
)
def test_a_network_that_was_killed_goes_on_as_if_it_had_not_been(node, tmp_path, log, solver):
    def trained(first: int, last: int, **keywords: Any) -> Any:
        model = MLPClassifier((4,), random_state=0, shuffle=False, **solver)
        swarm = callback(model, initData=(X[:4], Y[:4]), classes=[0, 1], **keywords)
        swarm.on_train_begin()
        for at in range(first, last, 4):
            model.partial_fit(X[at : at + 4], Y[at : at + 4])
            swarm.on_batch_end()
        swarm.close()
        return model

    through, kept = trained(0, 32), {"checkpoint_dir": tmp_path}
    trained(0, 16, **kept)
    again = trained(16, 32, **kept)
    assert any("after 4 batches" in line and "its weights and its optimizer state" in line for line in log.messages)
    for name in ("coefs_", "intercepts_"):
        for one, other in zip(getattr(through, name), getattr(again, name), strict=True):
            assert one.tobytes() == other.tobytes()
    assert again.t_ == through.t_


def test_of_another_solvers_checkpoint_the_count_of_examples_is_taken_and_the_rest_told(node, tmp_path, log):
    first, other = (MLPClassifier((4,), solver=solver) for solver in ("adam", "sgd"))
    swarm = callback(first, checkpoint_dir=tmp_path)
    swarm.on_train_end = swarm.close
    fit(swarm, first)
    callback(other, checkpoint_dir=tmp_path, initData=(X[:4], Y[:4]), classes=[0, 1]).on_train_begin()
    assert any("a new optimizer state (that of the checkpoint does not fit: " in line for line in log.messages)
    assert other.t_ == 4 + 8 * 4, "the trainer begins with a batch that is there for the weights"


def test_when_the_swarm_is_over_the_trainer_stops(node, log):
    node.answer = lambda number, request: {"training_over": number >= 3}
    model = SGD()
    fit(callback(model), model, epochs=50)
    assert [request.batches for request in node.syncs] == [0, 4, 8, 8]
    assert log.messages[-1] == FINAL


def test_loopback_trains_alone_as_without_a_swarm(monkeypatch):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    model, same = SGD(random_state=0), SGD(random_state=0)
    fit(callback(model, adsValData=(X, Y)), model, epochs=2)
    same.partial_fit(X[:4], Y[:4], classes=[0, 1])
    for at in [*range(0, 40, 4)] * 2:
        same.partial_fit(X[at : at + 4], Y[at : at + 4])
    assert model.coef_.tobytes() == same.coef_.tobytes()
