"""Loss and metric of an estimator on validation data: HPE's ``adsValData=(x, y)``, by names of ``sklearn.metrics``.

Used by ``callbacks/sklearn``. Guarantee: each function gets what it measures (classes, probabilities or scores), which
its own signature says.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn import metrics

from swarm.errors import BadInput

_PROBABILITIES = {"log_loss", "d2_log_loss_score"}
"""Some versions of scikit-learn call what these take y_pred."""


class Evaluation:
    def __init__(
        self,
        data: Any,
        lossFunction: str | None,
        lossFunctionArgs: Mapping[str, Any] | None,
        metricFunction: str | None,
        metricFunctionArgs: Mapping[str, Any] | None,
    ) -> None:
        if not isinstance(data, list | tuple) or len(data) != 2:
            raise BadInput(f"adsValData has to be (x, y), received {type(data).__name__}")
        self._x, self._y = data
        self._loss = _function(lossFunction, "lossFunction") if lossFunction is not None else None
        self._loss_arguments = dict(lossFunctionArgs or {})
        self._metric = _function(metricFunction, "metricFunction") if metricFunction is not None else None
        self._metric_arguments = dict(metricFunctionArgs or {})

    def __call__(self, estimator: Any) -> dict[str, float]:
        loss = self._loss or _default(estimator)
        results = {"loss": self._of(estimator, loss, self._loss_arguments)}
        if self._metric is not None:
            results[self._metric.__name__] = self._of(estimator, self._metric, self._metric_arguments)
        return results

    def _of(self, estimator: Any, function: Callable[..., Any], arguments: dict[str, Any]) -> float:
        wanted = list(inspect.signature(function).parameters)
        if function.__name__ in _PROBABILITIES and "labels" in wanted:
            arguments = {"labels": estimator.classes_, **arguments}  # the data may lack some
        return float(np.mean(function(self._y, _given(estimator, self._x, wanted[1], function), **arguments)))


def _given(estimator: Any, x: Any, wanted: str, function: Callable[..., Any]) -> Any:
    name = function.__name__
    if name in _PROBABILITIES or wanted.startswith("y_prob"):
        methods = ["predict_proba"]
    elif wanted == "y_score":
        methods = ["predict_proba", "decision_function"]
    else:
        methods = ["decision_function"] if wanted == "pred_decision" else ["predict"]
    for method in methods:
        if hasattr(estimator, method):
            given = getattr(estimator, method)(x)
            return given[:, 1] if method == "predict_proba" and given.ndim == 2 and given.shape[1] == 2 else given
    raise BadInput(f"{name} needs {methods[0]}, which this {type(estimator).__name__} does not have")


def _default(estimator: Any) -> Callable[..., Any]:
    if not hasattr(estimator, "classes_"):
        return _function("mean_squared_error", "lossFunction")
    return _function("log_loss" if hasattr(estimator, "predict_proba") else "zero_one_loss", "lossFunction")


def _function(name: Any, argument: str) -> Callable[..., Any]:
    function = getattr(metrics, name, None) if isinstance(name, str) else None
    if not inspect.isfunction(function):
        near = difflib.get_close_matches(str(name), dir(metrics), n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        raise BadInput(f"{argument}={name!r:.80} is no function of sklearn.metrics", hint=hint)
    return function
