"""``model.save("dir")`` and ``model.save_weights("name")`` without an extension, as Keras 2 took them.

A model becomes a directory with what a ``.keras`` file holds, which is Keras 3's own form of a directory: programs
without any of this read it by ``load_model("dir")`` too (Keras 3.4 and later; before, `load_model` here does). It is no
TensorFlow SavedModel: ``model.export("dir")`` writes one of those. Weights get the extension that Keras 3 wants, also
where they are read.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from swarm.compat.swarmlearning.keras2.replacing import Replacing, warn_once

EXTENSIONS = (".keras", ".h5", ".hdf5")
WEIGHTS = ".weights.h5"
_LOSSES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
}
_OF_KERAS_2 = ("save_format", "signatures", "options", "save_traces", "include_optimizer")


def install(replacing: Replacing) -> None:
    replacing.put(keras.Model, "save", _saving(keras.Model.save))
    plain = keras.models.save_model
    replacing.everywhere("save_model", plain, _saving(plain))
    loading = _naming_losses(keras.models.load_model)
    if "zipped" not in inspect.signature(plain).parameters:  # nor are directories read
        loading = _loading(loading)
    replacing.everywhere("load_model", keras.models.load_model, loading)
    replacing.put(keras.Model, "save_weights", _saving_weights(keras.Model.save_weights))
    replacing.put(keras.Model, "load_weights", _loading_weights(keras.Model.load_weights))


def _saving(plain: Any) -> Any:
    @functools.wraps(plain)
    def save(model: Any, filepath: Any, overwrite: bool = True, *args: Any, **kwargs: Any) -> None:
        path = os.fspath(filepath)
        if path.endswith(EXTENSIONS) or "zipped" in kwargs or "://" in path:
            plain(model, filepath, overwrite, *args, **kwargs)
            return
        warn_once(
            "model.save without an extension: a directory in the form of Keras 3, which load_model reads; "
            "model.export writes a SavedModel"
        )
        others = {name: value for name, value in kwargs.items() if name not in _OF_KERAS_2}
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path) as place:
            file = os.path.join(place, "model.keras")
            plain(model, file, overwrite, *args, **others)
            with zipfile.ZipFile(file) as packed:
                packed.extractall(path)

    return save


def _naming_losses(plain: Any) -> Any:
    """HDF5 files say losses by the short names that programs use, and Keras 3 knows only the long ones there."""

    @functools.wraps(plain)
    def load(filepath: Any, *args: Any, **kwargs: Any) -> Any:
        if os.fspath(filepath).endswith(EXTENSIONS[1:]) and not args:
            own = {short: getattr(keras.losses, long) for short, long in _LOSSES.items()}
            kwargs["custom_objects"] = own | (kwargs.get("custom_objects") or {})
        return plain(filepath, *args, **kwargs)

    return load


def _loading(plain: Any) -> Any:
    @functools.wraps(plain)
    def load(filepath: Any, *args: Any, **kwargs: Any) -> Any:
        if not os.path.isfile(os.path.join(filepath, "config.json")):
            return plain(filepath, *args, **kwargs)
        with tempfile.TemporaryDirectory() as place:
            file = os.path.join(place, "model.keras")
            os.replace(shutil.make_archive(os.path.join(place, "model"), "zip", filepath), file)
            return plain(file, *args, **kwargs)

    return load


def _saving_weights(plain: Any) -> Any:
    @functools.wraps(plain)
    def save_weights(model: Any, filepath: Any, overwrite: bool = True, *args: Any, **kwargs: Any) -> Any:
        path = os.fspath(filepath)
        if path.endswith(WEIGHTS) or "max_shard_size" in kwargs:
            return plain(model, filepath, overwrite, *args, **kwargs)
        warn_once(f"model.save_weights without {WEIGHTS}: that is added to the name")
        return plain(model, with_extension(path), overwrite)

    return save_weights


def _loading_weights(plain: Any) -> Any:
    @functools.wraps(plain)
    def load_weights(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        path = os.fspath(filepath)
        if not os.path.exists(path) and os.path.exists(with_extension(path)):
            path = with_extension(path)
        return plain(model, path, *args, **kwargs)

    return load_weights


def with_extension(path: str) -> str:
    """``a`` and ``a.h5`` as ``a.weights.h5``."""
    for extension in EXTENSIONS:
        path = path.removesuffix(extension)
    return path + WEIGHTS
