"""A scikit-learn estimator as named arrays: the attributes that ``partial_fit`` trains, in and out.

Used by ``callbacks/sklearn``. Guarantees: arrays are written in place, because estimators hold them elsewhere too; what
an estimator calls its classes is a part of the contract, so peers that number them otherwise are refused, named; what
cannot be averaged is refused before anything is opened.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from swarm.callbacks import sklearn_optimizer
from swarm.callbacks.checkpoint import Arrays
from swarm.callbacks.local import Names, parted
from swarm.callbacks.sklearn_evaluation import Evaluation
from swarm.errors import BadInput, ModelError

_LINEAR, _LAYERS = ("coef_", "intercept_"), ("coefs_", "intercepts_")
_WEIGHTS = {"BaseSGD": _LINEAR, "BaseMultilayerPerceptron": _LAYERS}
"""By the class of scikit-learn that SGD*, Perceptron and PassiveAggressive*, or MLP*, come from."""
_TREES = ("xgboost", "lightgbm", "catboost")
_SHOWN = 200


class SklearnModel:
    def __init__(
        self,
        estimator: Any,
        weight_attrs: Sequence[str] | None,
        initData: Any,
        classes: Any,
        evaluation: Evaluation | None,
    ) -> None:
        self.estimator = estimator
        self._attributes = _attributes(estimator, weight_attrs)
        self.initial = initData
        """(x, y) to train on where there are no weights yet."""
        self.classes = classes
        self._evaluation = evaluation

    def prepare(self) -> None:
        """Give the estimator weights, if it has none yet, by training on the data that are there for it."""
        if self.initial is not None and not all(hasattr(self.estimator, name) for name in self._attributes):
            self.partial_fit(*self.initial)

    def partial_fit(self, x: Any, y: Any) -> None:
        takes = inspect.signature(self.estimator.partial_fit).parameters
        keywords = {"classes": self.classes} if self.classes is not None and "classes" in takes else {}
        self.estimator.partial_fit(x, y, **keywords)

    # ---- weights

    def read(self, staying: Names) -> tuple[Arrays, Arrays]:
        arrays = {**self._class_mark(), **{name: np.asarray(value) for name, _, _, value in self._places()}}
        return parted(arrays, staying(arrays))

    def load(self, part: Arrays) -> None:
        for name, holder, key, value in self._places():
            if name not in part:
                continue
            if isinstance(value, np.ndarray) and value.flags.writeable:
                np.copyto(value, part[name], casting="equiv")
                continue
            new = part[name].copy() if isinstance(value, np.ndarray) else part[name].dtype.type(part[name])
            new = new.item() if isinstance(value, int | float) and not isinstance(value, np.generic) else new
            if isinstance(key, int):
                holder[key] = new
            else:
                setattr(holder, key, new)

    def _places(self) -> Iterator[tuple[str, Any, str | int, Any]]:
        """Name, and who holds the value under which name or number."""
        for attribute in self._attributes:
            if not hasattr(self.estimator, attribute):
                raise ModelError(
                    f"{type(self.estimator).__name__} has no {attribute} yet, so there is nothing to merge",
                    hint="call partial_fit once with classes=…, or give SwarmCallback(…, initData=(x, y), classes=…)",
                )
            value = getattr(self.estimator, attribute)
            if not isinstance(value, list):
                yield attribute, self.estimator, attribute, value
                continue
            for number, one in enumerate(value):
                yield f"{attribute}.{number}", value, number, one

    def _class_mark(self) -> Arrays:
        """A tensor without elements whose name says which classes there are, in their order."""
        classes = getattr(self.estimator, "classes_", None)
        if not isinstance(classes, np.ndarray):
            return {}
        text = ", ".join(str(one) for one in classes.ravel())
        if len(text) > _SHOWN or not text.isprintable():
            text = f"{classes.size} of sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        return {f"classes {text}": np.zeros(0, np.uint8)}

    # ---- what a checkpoint keeps of the optimizer, and evaluation

    def optimizer(self) -> Arrays:
        return sklearn_optimizer.read(self.estimator)

    def load_optimizer(self, kept: Arrays) -> None:
        sklearn_optimizer.load(self.estimator, kept)

    def evaluate(self) -> Mapping[str, float]:
        return self._evaluation(self.estimator) if self._evaluation is not None else {}


def _attributes(estimator: Any, given: Sequence[str] | None) -> tuple[str, ...]:
    kind = type(estimator)
    if any(base.__module__.split(".")[0] in _TREES for base in kind.__mro__):
        raise BadInput(
            f"{kind.__name__} grows trees, and trees of several peers have no mean", hint="SGDClassifier, MLP…"
        )
    if given is not None:
        if isinstance(given, str) or not given or not all(isinstance(one, str) for one in given):
            raise BadInput(f"weight_attrs has to be a list of names of attributes, received {given!r:.80}")
        return tuple(given)
    if not hasattr(estimator, "partial_fit"):
        raise BadInput(
            f"{kind.__name__} has no partial_fit: it trains in one go, and nothing can be merged in between",
            hint='SGDClassifier(loss="log_loss") is a logistic regression that trains batch by batch',
        )
    if getattr(estimator, "average", False):
        raise BadInput(
            f"{kind.__name__}(average={estimator.average}) trains other weights than it predicts with",
            hint="average=False: the swarm averages",
        )
    for base in kind.__mro__:
        if base.__name__ in _WEIGHTS:
            return _WEIGHTS[base.__name__]
    raise BadInput(f"what {kind.__name__} trains is not known", hint='name its attributes: weight_attrs=["coef_"]')
