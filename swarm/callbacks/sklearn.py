"""`SwarmCallback` for scikit-learn's estimators that train batch by batch, and the loop around it.

    from swarm.sklearn import SwarmCallback, SwarmSklearnTrainer
    model = SGDClassifier(loss="log_loss")
    swarm = SwarmCallback(128, 2, "demo", model=model)
    SwarmSklearnTrainer(swarmCallback=swarm, model=model).fit(x, y, batch_size=32, epochs=5, classes=[0, 1])

Or call the hooks in a loop of one's own, a ``partial_fit`` a batch. Exchanged are ``coef_`` and ``intercept_`` of
SGD*, Perceptron and PassiveAggressive*, ``coefs_`` and ``intercepts_`` of MLP*, or what ``weight_attrs`` names. Trees
(XGBoost and its like) have no mean: they are refused. Guarantee: after a merge the estimator holds the swarm's model
bit for bit, or an error names the array that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from swarm.callbacks.arguments import Given
from swarm.callbacks.ending import tell_errors_as_sentences
from swarm.callbacks.hooks import Hooks
from swarm.callbacks.sklearn_evaluation import Evaluation
from swarm.callbacks.sklearn_model import SklearnModel
from swarm.callbacks.training import Framework
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import BadInput

_SKLEARN = Framework(
    "scikit-learn",
    "SKLEARN",
    frozenset(
        {
            "model", "weight_attrs", "weight_attrs_is_list", "initData", "classes", "lossFunction", "lossFunctionArgs",
            "metricFunction", "metricFunctionArgs",
        }
    ),
)  # fmt: skip


class SwarmCallback(Hooks):
    """``SwarmCallback(syncFrequency, minPeers, trainingContract, model=…, **kwargs)``; hooks as with PyTorch.

    Keywords: those of ``swarm.keras.SwarmCallback``, and: ``model``, the estimator; ``initData=(x, y)`` and ``classes``
    give it its first weights where it has none; ``weight_attrs`` names the attributes of other estimators, each of
    them an array, a number, or a list of these (HPE's ``weight_attrs_is_list`` is not needed). With ``adsValData=(x,
    y)`` merged models are evaluated: ``lossFunction`` and ``metricFunction`` are names of ``sklearn.metrics``.
    """

    def __init__(
        self, syncFrequency: int, minPeers: int, trainingContract: str = DEFAULT_CONTRACT, **kwargs: Any
    ) -> None:
        tell_errors_as_sentences()
        if kwargs.get("model") is None:
            raise BadInput("Sklearn model is None", hint="SwarmCallback(…, model=model)")
        first = kwargs.get("initData")
        if first is not None and (not isinstance(first, list | tuple) or len(first) != 2):
            raise BadInput(f"initData has to be (x, y), received {type(first).__name__}")
        self._estimator = SklearnModel(
            kwargs["model"], kwargs.get("weight_attrs"), first, kwargs.get("classes"), _evaluation(kwargs)
        )
        super().__init__(_SKLEARN, self._estimator, Given(syncFrequency, minPeers, trainingContract, kwargs))

    def on_train_begin(self, samples: int | None = None) -> None:
        """``samples``: how many examples there are to train on, for ``nodeWeightage="auto"``."""
        self._estimator.prepare()
        self._training.begin(samples)


class SwarmSklearnTrainer:
    """The training loop: ``epochs`` times all batches, in the order of the data, each a ``partial_fit``."""

    def __init__(self, swarmCallback: SwarmCallback, model: Any = None) -> None:
        if model is not None and model is not swarmCallback._estimator.estimator:
            raise BadInput("model is another one than that of swarmCallback: the swarm would not train it")
        self._swarm = swarmCallback

    def fit(self, x: Any, y: Any, batch_size: int = 32, epochs: int = 1, classes: Any = None) -> Any:
        """Train, and end with the swarm's final model, which is returned; the same object as ever.

        ``classes``: all that any peer has, for a classifier; without it those in ``y``.
        """
        swarm, estimator = self._swarm, self._swarm._estimator
        if classes is not None:
            estimator.classes = classes
        elif estimator.classes is None:
            estimator.classes = np.unique(y)
        batches = list(gen_batches(len(y), batch_size))
        if estimator.initial is None:
            estimator.initial = _rows(x, batches[0]), _rows(y, batches[0])
        swarm.on_train_begin(samples=len(y))
        for epoch in range(swarm.initial_epoch, epochs):
            for rows in batches:
                if swarm.training_over:
                    break
                estimator.partial_fit(_rows(x, rows), _rows(y, rows))
                swarm.on_batch_end()
            else:
                swarm.on_epoch_end(epoch)
        swarm.on_train_end()
        return estimator.estimator


def _rows(data: Any, rows: slice) -> Any:
    return data.iloc[rows] if hasattr(data, "iloc") else data[rows]


def _evaluation(keywords: Mapping[str, Any]) -> Evaluation | None:
    if keywords.get("adsValData") is None:
        return None
    return Evaluation(
        keywords["adsValData"], keywords.get("lossFunction"), keywords.get("lossFunctionArgs"),
        keywords.get("metricFunction"), keywords.get("metricFunctionArgs"),
    )  # fmt: skip
