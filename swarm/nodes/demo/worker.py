"""The demo's training program: a plain Keras script; the lines marked (swarm) make it one peer of a swarm.

Run by the demo's task as `python3 -m swarm.nodes.demo.worker DIRECTORY`. With the data there (shard.npz, test.npz) it
trains three times from the same initial weights with the same number of steps: alone on its own shard (SWARM_LOOPBACK),
in the swarm, and, if it finds all the data for the comparison (pooled.npz), pooled. It writes progress.jsonl as it
goes, and weights.npz: the final weights. Killed and started again it goes on where it was. Where the training in the
swarm lasts until it is told that it is enough (--until), that comes first, and alone it trains as many epochs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from swarm.callbacks.keras import SwarmCallback
from swarm.callbacks.keras_model import tensor_name

Array = np.ndarray[Any, Any]

BATCH = 32
TEST_BATCH = 512
HIDDEN = 64
LEARNING_RATE = 0.1
SYNC_EVERY = 12  # batches
ENDLESS = 100_000  # epochs


class Progress(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Loss and accuracy of each epoch, one JSON object a line."""

    def __init__(self, path: Path, phase: str) -> None:
        super().__init__()
        self._path = path
        self._phase = phase

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        self.say("epoch", epoch=epoch + 1, loss=logs.get("loss"), accuracy=logs.get("val_accuracy"))

    def say(self, event: str, **fields: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "phase": self._phase, **fields}) + "\n")


class Pace(keras.callbacks.Callback):  # type: ignore[misc]
    """As much time between merges as a larger model would take."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._batches = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches += 1
        if self._seconds and self._batches % SYNC_EVERY == 0:
            time.sleep(self._seconds)


class Until(keras.callbacks.Callback):  # type: ignore[misc]
    """Not before so many epochs, and not before the file is there."""

    def __init__(self, epochs: int, file: Path) -> None:
        super().__init__()
        self._epochs = epochs
        self._file = file

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch + 1 >= self._epochs and self._file.exists():
            self.model.stop_training = True


def build(features: int, classes: int, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(HIDDEN, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    given = arguments()
    here = given.directory
    said = here / "progress.jsonl"
    test = untuned(tf.data.Dataset.from_tensor_slices(load(here / "test.npz")).batch(TEST_BATCH))

    def train(
        phase: str, data: Path, *callbacks: keras.callbacks.Callback, begin_at: int = 0, epochs: int = given.epochs
    ) -> keras.Model:
        progress = Progress(said, phase)
        progress.say("begun", epochs=given.epochs if epochs == ENDLESS else epochs)
        begun = time.monotonic()
        x, y = load(data)
        model = build(x.shape[1], given.classes, given.seed)
        history = model.fit(
            batches(x, y, given.seed),
            epochs=epochs,
            initial_epoch=begin_at,
            steps_per_epoch=given.steps,
            validation_data=test,
            verbose=0,
            callbacks=[progress, *callbacks],
        )
        accuracy = model.evaluate(test, verbose=0)[1]
        trained = begin_at + len(history.epoch)
        progress.say("done", accuracy=accuracy, epochs=trained, seconds=time.monotonic() - begun)
        return model

    def join() -> SwarmCallback:  # (swarm)
        return SwarmCallback(
            syncFrequency=SYNC_EVERY,
            minPeers=given.min_peers or given.peers,
            trainingContract="demo",
            totalEpochs=given.epochs,
            checkpoint_dir=here / "checkpoints",
        )

    def train_alone(epochs: int) -> None:
        os.environ["SWARM_LOOPBACK"] = "true"
        train("alone", here / "shard.npz", join(), epochs=epochs)
        del os.environ["SWARM_LOOPBACK"]

    def train_in_the_swarm() -> None:
        member = join()  # (swarm)
        callbacks = [Pace(given.pace), member]  # (swarm)
        epochs = given.epochs
        if given.until:
            callbacks, epochs = [Until(given.epochs, here / given.until), *callbacks], ENDLESS
        model = train("swarm", here / "shard.npz", *callbacks, begin_at=member.initial_epoch, epochs=epochs)
        save(model, here / "weights.npz")

    if not given.until and not epochs_of("alone", said):
        train_alone(given.epochs)
    if not (here / "weights.npz").exists():
        train_in_the_swarm()
    if given.until and not epochs_of("alone", said):
        train_alone(epochs_of("swarm", said))
    if (here / "pooled.npz").exists():
        train("pooled", here / "pooled.npz")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="batches in an epoch")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--min-peers", type=int, help="without how many no merge is made  [default: all]")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between two merges, at least")
    parser.add_argument("--until", metavar="FILE", help="train in the swarm on after that, until it is in DIRECTORY")
    return parser.parse_args()


def epochs_of(phase: str, progress: Path) -> int:
    """How many it trained before it brought that to its end, in this process or one that was killed; 0: it has not."""
    lines = progress.read_text(encoding="utf-8").splitlines() if progress.exists() else []
    done = [line for line in map(json.loads, lines) if (line["event"], line["phase"]) == ("done", phase)]
    return int(done[-1]["epochs"]) if done else 0


def batches(x: Array, y: Array, seed: int) -> tf.data.Dataset:
    """Without end, so that every peer trains as many steps, however many examples it has."""
    return untuned(tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat().batch(BATCH))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The thread that tunes a pipeline sleeps up to a minute, and on a busy machine a training that was over waited."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def load(path: Path) -> tuple[Array, Array]:
    with np.load(path) as file:
        return file["x"], file["y"]


def save(model: keras.Model, path: Path) -> None:
    """The weights under the names that the contract gives them; the file appears whole or not at all."""
    arrays = {tensor_name(position, weight): weight.numpy() for position, weight in enumerate(model.weights)}
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    os.replace(part, path)


if __name__ == "__main__":
    main()
