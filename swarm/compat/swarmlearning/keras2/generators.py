"""``fit_generator``, ``evaluate_generator``, ``predict_generator``, and the queue arguments that went with them.

Keras 3's ``fit``, ``evaluate`` and ``predict`` take generators; how many workers fill a queue is said by the data set
(``PyDataset(workers=…)``), so ``max_queue_size``, ``workers`` and ``use_multiprocessing`` have no effect here.
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from swarm.compat.swarmlearning.keras2.replacing import Replacing, warn_once

OF_THE_QUEUE = ("max_queue_size", "workers", "use_multiprocessing")
METHODS = ("fit", "evaluate", "predict")


def install(replacing: Replacing) -> None:
    for name in METHODS:
        method = _without_queue(getattr(keras.Model, name))
        replacing.put(keras.Model, name, method)
        if not hasattr(keras.Model, f"{name}_generator"):
            replacing.put(keras.Model, f"{name}_generator", _of_generator(method, name))


def _without_queue(plain: Any) -> Any:
    @functools.wraps(plain)
    def method(model: Any, *args: Any, **kwargs: Any) -> Any:
        for name in OF_THE_QUEUE:
            if name in kwargs:
                warn_once(f"{name} has no effect: in Keras 3 the data set says it, as in PyDataset(workers=4)")
                kwargs.pop(name)
        return plain(model, *args, **kwargs)

    return method


_PARAMETERS = {
    "fit": ("steps_per_epoch", "epochs", "verbose", "callbacks", "validation_data", "validation_steps",
            "validation_freq", "class_weight", *OF_THE_QUEUE, "shuffle", "initial_epoch"),
    "evaluate": ("steps", "callbacks", *OF_THE_QUEUE, "verbose"),
    "predict": ("steps", "callbacks", *OF_THE_QUEUE, "verbose"),
}  # fmt: skip
"""What followed the generator, in Keras 2's order."""


def _of_generator(method: Any, name: str) -> Any:
    def of_generator(model: Any, generator: Any, *args: Any, **kwargs: Any) -> Any:
        warn_once(f"model.{name}_generator is model.{name} in Keras 3, which takes generators")
        given = dict(zip(_PARAMETERS[name], args, strict=False)) | kwargs
        return method(model, generator, **given)

    of_generator.__name__ = f"{name}_generator"
    return of_generator
