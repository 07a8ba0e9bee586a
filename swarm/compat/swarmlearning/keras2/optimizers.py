"""Optimizers as Keras 2 took them: ``lr=``, ``decay=``, ``optimizer.lr``, and those of ``tf.keras.optimizers.legacy``.

``decay`` is the schedule that it was: the rate of step t is lr / (1 + decay · t) (Keras 2's ``_decayed_lr``).
A legacy class is the one of the same name in Keras 3; its updates are the same formulas.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import keras

from swarm.compat.swarmlearning.keras2.replacing import Replacing, warn_once

LEGACY = ("Adagrad", "Adam", "Ftrl", "RMSprop", "SGD", "Optimizer")


def install(replacing: Replacing) -> None:
    for kind in {value for value in vars(keras.optimizers).values() if _is_optimizer(value)}:
        replacing.put(kind, "__init__", _taking_old_arguments(kind.__init__))
    if not hasattr(keras.optimizers.Optimizer, "lr"):
        replacing.put(keras.optimizers.Optimizer, "lr", property(_rate, _set_rate))
    backend = sys.modules.get("keras.src.legacy.backend")  # TensorFlow's ``K`` has it from there
    if backend is not None:
        replacing.everywhere("set_value", backend.set_value, _set_value(backend.set_value))
    legacy = getattr(keras.optimizers, "legacy", None)
    for name in LEGACY if legacy is not None else ():
        refusing = getattr(legacy, name, None)
        if refusing is not None and not _is_optimizer(refusing):
            replacing.everywhere(name, refusing, _as_of_old(name))


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)


def _taking_old_arguments(plain: Any) -> Any:
    @functools.wraps(plain)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **(_today(args, kwargs) if {"lr", "decay"} & kwargs.keys() else kwargs))

    return __init__


def _today(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords in Keras 3's words."""
    given = dict(kwargs)
    if "lr" in given:
        warn_once("the argument lr of optimizers is learning_rate in Keras 3")
        given.setdefault("learning_rate", given.pop("lr"))
    decay = given.pop("decay", None)
    if decay:
        warn_once("the argument decay of optimizers is the schedule InverseTimeDecay in Keras 3")
        if args:
            raise TypeError("decay needs the learning rate by name: learning_rate=…")
        given["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(
            given.get("learning_rate", 0.001), decay_steps=1, decay_rate=decay
        )
    return given


def _rate(optimizer: Any) -> Any:
    warn_once("the attribute lr of optimizers is learning_rate in Keras 3")
    return optimizer.learning_rate


def _set_rate(optimizer: Any, rate: Any) -> None:
    warn_once("the attribute lr of optimizers is learning_rate in Keras 3")
    optimizer.learning_rate = rate


def _set_value(plain: Any) -> Any:
    @functools.wraps(plain)
    def set_value(x: Any, value: Any) -> None:
        if isinstance(x, keras.Variable):  # whose dtype is a word, which the plain one does not expect
            x.assign(value)
        else:
            plain(x, value)

    return set_value


def _as_of_old(name: str) -> Any:
    kind = getattr(keras.optimizers, name)

    class OfOld(kind):  # type: ignore[misc, valid-type]  # a class that is found by its name
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            warn_once(f"optimizers.legacy.{name} is optimizers.{name} of Keras 3 here")
            if cls is OfOld:
                return kind(*args, **kwargs)  # a model that is saved with it needs nothing of this to be loaded
            return super().__new__(cls)

    OfOld.__name__ = OfOld.__qualname__ = name
    return OfOld
