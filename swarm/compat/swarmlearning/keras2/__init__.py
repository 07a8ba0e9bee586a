"""What Keras 2 took and Keras 3 refuses, made to work, with one warning each.

Installed by importing ``swarmlearning.tf`` and by nothing else: programs for ``swarm.keras`` see Keras as it is.
One file a noun: `saving` (a model or weights without extension), `checkpoints` (ModelCheckpoint likewise),
`generators` (``fit_generator`` and its queue), `optimizers` (``lr``, ``decay``, ``tf.keras.optimizers.legacy``).
Nothing else needs it: first layers with ``input_shape`` work in Keras 3, and ``from tensorflow.keras…`` is TensorFlow's
own. Guarantees: what Keras 3 takes is passed on untouched; `uninstall` takes everything back.
"""

from __future__ import annotations

from swarm.compat.swarmlearning.keras2 import checkpoints, generators, optimizers, saving
from swarm.compat.swarmlearning.keras2.replacing import Replacing

_installed: list[Replacing] = []


def install() -> None:
    """Once a process."""
    if not _installed:
        replacing = Replacing()
        for part in (saving, checkpoints, generators, optimizers):
            part.install(replacing)
        _installed.append(replacing)


def uninstall() -> None:
    while _installed:
        _installed.pop().undo()
