"""A Keras model as named arrays: all of its weights, in and out, on TensorFlow, JAX and torch.

Used by ``callbacks/keras``. Guarantees: a weight has the same name in all processes that build the same model; what
stays in one program changes no name of what is shared; nothing is copied on the way out where the backend allows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from swarm.callbacks.checkpoint import Arrays, difference
from swarm.callbacks.keras_validation import Validation
from swarm.callbacks.local import Names
from swarm.errors import ModelError


class KerasModel:
    """``model`` is the one that Keras gives the callback; on JAX, asking brings into it what was trained."""

    def __init__(self, callback: keras.callbacks.Callback, validation: Validation | None) -> None:
        self._callback = callback
        self._validation = validation
        self._local: frozenset[str] = frozenset()
        """The paths of what stays here."""

    @property
    def _model(self) -> Any:
        return self._callback.model

    def read(self, staying: Names) -> tuple[Arrays, Arrays]:
        if not self._model.weights:
            raise ModelError(
                "the model has no weights yet, so there is nothing to merge",
                hint="give it an Input layer, or call model.build(shape) before fit",
            )
        self._local = staying(_path(weight) for weight in self._model.weights)
        named = [(name, path in self._local, weight) for name, path, weight in self._named()]
        return (
            {name: _read(weight) for name, stays, weight in named if not stays},
            {name: _read(weight) for name, stays, weight in named if stays},
        )

    def load(self, part: Arrays) -> None:
        for name, _, weight in self._named():
            if name in part:
                weight.assign(part[name])

    def _named(self) -> Iterator[tuple[str, str, Any]]:
        """Each weight with its name and path. Shared ones are counted by themselves: peers may differ in the others."""
        shared = 0
        for position, weight in enumerate(self._model.weights):
            path = _path(weight)
            yield tensor_name(position if path in self._local else shared, weight), path, weight
            shared += path not in self._local

    def optimizer(self) -> Arrays:
        optimizer = getattr(self._model, "optimizer", None)
        if optimizer is None:
            return {}
        if not optimizer.built:
            optimizer.build(self._model.trainable_variables)
        return {tensor_name(n, variable): _read(variable) for n, variable in enumerate(optimizer.variables)}

    def load_optimizer(self, kept: Arrays) -> None:
        other = difference(kept, self.optimizer())
        if other:
            raise ModelError(f"that of the checkpoint does not fit: {other}")
        for position, variable in enumerate(self._model.optimizer.variables if kept else ()):
            variable.assign(kept[tensor_name(position, variable)])

    def evaluate(self) -> Mapping[str, float]:
        return self._validation(self._model) if self._validation is not None else {}


def tensor_name(position: int, weight: Any) -> str:
    """A weight's name in the contract: equal in all processes that build the same model.

    Keras numbers what has no name of its own by what was built before it in the process (``dense_3``), so numbers go;
    the position keeps names apart.
    """
    return f"{position}:{_path(weight)}"


def _path(weight: Any) -> str:
    return re.sub(r"_[0-9]+(?=_|/|$)", "", weight.path)


def _read(weight: Any) -> np.ndarray[Any, Any]:
    """Without a copy where the backend allows it; a device's weights come to the host."""
    if keras.backend.backend() == "tensorflow":
        return np.asarray(keras.ops.convert_to_tensor(weight.value))
    return np.asarray(keras.ops.convert_to_numpy(weight.value))
