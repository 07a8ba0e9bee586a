"""A hospital's training with Keras: keras_training.py healthy|ill GATE

`ill`: one of its columns is not a number, so its loss is not one either. The others train until the file GATE is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

from swarm.keras import SwarmCallback


class Gate(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        if Path(sys.argv[2]).exists():
            self.model.stop_training = True


rng = np.random.default_rng(0)
x = rng.standard_normal((64, 8)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
if sys.argv[1] == "ill":
    x[:, 3] = np.nan
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
callback = SwarmCallback(syncFrequency=2, minPeers=2, trainingContract="r099-keras")
model.fit(x, y, batch_size=16, epochs=10_000, verbose=0, callbacks=[Gate(), callback])
