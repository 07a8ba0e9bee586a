"""Handwritten digits with Keras, in a swarm: an ordinary script, but for the three lines marked (swarm).

Environment variables: DATA_DIR, a folder with mnist*.npz (x_train y_train x_test y_test, as Keras' mnist.npz); without
one it trains on scikit-learn's 1,797 digits. SHARE, which part of the examples is this peer's: 1/2, 2/2. MAX_EPOCHS,
MIN_PEERS. SCRATCH_DIR, where the final model is saved. Alone: SWARM_LOOPBACK=true python mnist_tf.py
"""

import os
from pathlib import Path

import keras
import numpy as np

from swarm.keras import SwarmCallback  # (swarm)

BATCH = 32
SYNC_EVERY = 16  # batches


def load():
    """(x_train, y_train), (x_test, y_test), the images as rows of numbers from 0 to 1."""
    files = sorted(Path(os.environ.get("DATA_DIR", "app-data")).glob("mnist*.npz"))
    if files:
        with np.load(files[0]) as data:
            train, test = (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        train, test = (digits.images[360:], digits.target[360:]), (digits.images[:360], digits.target[:360])
    scale = train[0].max()
    return tuple(((x.reshape(len(x), -1) / scale).astype("float32"), y.astype("int64")) for x, y in (train, test))


def share(x, y):
    """This peer's part."""
    part, parts = (int(number) for number in os.environ.get("SHARE", "1/1").split("/"))
    return x[part - 1 :: parts], y[part - 1 :: parts]


def main():
    epochs = int(os.environ.get("MAX_EPOCHS", "4"))
    (x_train, y_train), (x_test, y_test) = load()
    print(f"examples: {len(x_train)}, {len(x_test)} to test with", flush=True)
    x_train, y_train = share(x_train, y_train)

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input(x_train.shape[1:]),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    swarm = SwarmCallback(  # (swarm)
        syncFrequency=SYNC_EVERY,
        minPeers=int(os.environ.get("MIN_PEERS", "2")),
        adsValData=(x_test, y_test),
        totalEpochs=epochs,
    )
    model.fit(x_train, y_train, batch_size=BATCH, epochs=epochs, verbose=2, callbacks=[swarm])  # (swarm)

    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"final model: loss {loss:.3f}, accuracy {accuracy:.3f}", flush=True)
    place = Path(os.environ.get("SCRATCH_DIR", ".")) / "mnist_tf.keras"
    place.parent.mkdir(parents=True, exist_ok=True)
    model.save(place)
    print(f"saved {place}", flush=True)


if __name__ == "__main__":
    main()
