"""``ModelCheckpoint("best.hdf5")`` and ``ModelCheckpoint("dir")``: Keras 3 refuses such names before anything is saved.

The callback saves by ``model.save`` and ``model.save_weights``, which take them here (`saving`).
"""

from __future__ import annotations

import functools
import os
from typing import Any

import keras

from swarm.compat.swarmlearning.keras2.replacing import Replacing, warn_once
from swarm.compat.swarmlearning.keras2.saving import WEIGHTS

_GONE = {
    "period": "the argument period of ModelCheckpoint has no effect: it saves after every epoch",
    "options": "the argument options of ModelCheckpoint has no effect in Keras 3",
}


def install(replacing: Replacing) -> None:
    kind = keras.callbacks.ModelCheckpoint
    replacing.put(kind, "__init__", _taking_old_names(kind.__init__))


def _taking_old_names(plain: Any) -> Any:
    @functools.wraps(plain)
    def __init__(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
        for name in _GONE.keys() & kwargs.keys():
            warn_once(_GONE[name])
            kwargs.pop(name)
        path = os.fspath(filepath)
        weights_only = kwargs.get("save_weights_only", args[3] if len(args) > 3 else False)
        wanted = (WEIGHTS,) if weights_only else (".keras", ".h5")
        if path.endswith(wanted):
            plain(self, filepath, *args, **kwargs)
            return
        warn_once(f"ModelCheckpoint with a name that does not end in {wanted[0]}: saved as model.save takes that name")
        plain(self, path + wanted[0], *args, **kwargs)
        self.filepath = path

    return __init__
