"""`SwarmCallback` for Keras 3 on TensorFlow, JAX and torch: makes ``model.fit`` a part of a swarm, as HPE's does.

    from swarm.keras import SwarmCallback
    model.fit(x, y, callbacks=[SwarmCallback(syncFrequency=128, minPeers=2, trainingContract="demo")])

Train begin starts from the swarm's model, every ``syncFrequency`` batches (counted across epochs) the weights are
merged, and train end waits for the others and loads the final model. With ``overlap=True`` training goes on meanwhile:
the merge is begun at the sync point, and what it changes is added as soon as it is there (docs/MERGING.md).

Put it last among the callbacks: one that changes weights at train end (``EarlyStopping(restore_best_weights=True)``)
would undo the final model otherwise.

Exchanged are all of ``model.weights``, trainable or not (BatchNormalization's statistics, integer counters), each in
its own element type. Not exchanged: the optimizer's state, metrics, and the state of random seeds (equal dropout masks
on all peers would serve nobody). Guarantee: after a merge the model holds the swarm's model bit for bit, or an error
names the tensor that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from swarm.callbacks import arguments
from swarm.callbacks.arguments import Given
from swarm.callbacks.ending import tell_errors_as_sentences
from swarm.callbacks.keras_model import KerasModel
from swarm.callbacks.keras_validation import Validation, numbers
from swarm.callbacks.training import Framework, Training
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import BadInput

BACKENDS = ("tensorflow", "jax", "torch")
_KERAS = Framework("Keras", "KERAS", frozenset({"adsValBatchSize"}))


class SwarmCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """HPE's ``SwarmCallback(syncFrequency, minPeers, trainingContract, **kwargs)``.

    Keywords: ``totalEpochs checkinModelOnTrainEnd nodeWeightage mergeMethod adsValData adsValBatchSize logger`` as in
    HPE Swarm Learning; ``onTooFewPeers tooFewPeersSeconds initialModel topology commitments organisations`` and ``wire
    maxDeltaNorm outer outerLearningRate outerMomentum pickPeers asyncGoal`` (docs/MERGING.md) are the contract's. With
    ``adsValData`` every merged model is evaluated, and loss and metrics are logged. ``overlap``: train on while a round
    is in flight.
    ``local_only`` is a list of patterns (``*batch_normalization*``): weights whose path, without Keras' numbers, fits
    one of them stay here (FedBN, heads and adapters of one's own).
    ``useAdaptiveSync``: True lets the interval follow the loss on ``adsValData``, "drift" how far the changes of the
    members are from each other.
    With ``checkpoint_dir`` weights, optimizer state and counters are kept at every sync point; a program that is
    started again goes on from there: ``model.fit(…, initial_epoch=callback.initial_epoch)``.
    """

    def __init__(
        self, syncFrequency: int, minPeers: int, trainingContract: str = DEFAULT_CONTRACT, **kwargs: Any
    ) -> None:
        super().__init__()
        tell_errors_as_sentences()
        _check_platform(kwargs.get("ml_platform", kwargs.get("mlPlatform")))
        data = kwargs.get("adsValData")
        validation = None if data is None else Validation(data, kwargs.get("adsValBatchSize"))
        self._first_batch = 0
        given = Given(syncFrequency, minPeers, trainingContract, kwargs)
        self._training = Training(_KERAS, KerasModel(self, validation), given)
        self.logger = self._training.logger

    @property
    def initial_epoch(self) -> int:
        """For ``fit``: how many epochs were complete at the checkpoint; 0 without one.

        The epoch that was under way begins anew; batches are counted on, so sync points stay at N, 2N, ….
        """
        return self._training.epochs

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._training.begin()
        self._stop_when_over()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._first_batch = batch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # With steps_per_execution several batches pass between the hooks, and Keras counts on past the epoch's last.
        steps = (self.params or {}).get("steps")
        last = min(batch, steps - 1) if steps else batch
        self._training.batch(last - self._first_batch + 1, lambda: numbers(logs))
        self._stop_when_over()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._training.epoch(lambda: numbers(logs))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._training.end()

    def _stop_when_over(self) -> None:
        if self._training.over and not self.model.stop_training:
            self.logger.info("Swarm training is over. Stopping local training")
            self.model.stop_training = True


def _check_platform(given: Any) -> None:
    if arguments.word(given) == "TF":
        raise BadInput("ml_platform=TF (graphs and sessions) is not possible with Keras 3", hint="leave it out")
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise BadInput(
            f"Keras runs on {backend} here: SwarmCallback runs on {', '.join(BACKENDS)}",
            hint=f"set KERAS_BACKEND={BACKENDS[0]}",
        )
