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

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from swarm.callbacks import arguments
from swarm.callbacks.base import Session
from swarm.callbacks.bits import same_bits
from swarm.callbacks.checkpoint import Arrays, difference
from swarm.callbacks.ending import tell_errors_as_sentences
from swarm.callbacks.keras_validation import Validation, numbers
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import BadInput, ModelError

_WITHOUT_EFFECT = frozenset(
    {"model", "tf", "sess", "hfMode", "lossFunction", "lossFunctionArgs", "metricFunction", "metricFunctionArgs"}
)
"""Arguments of HPE's other platforms, which HPE's Keras callback takes and does not use."""
BACKENDS = ("tensorflow", "jax", "torch")
KEYWORDS = arguments.KEYWORDS | _WITHOUT_EFFECT | {"adsValData", "adsValBatchSize", "ml_platform", "mlPlatform"}


class SwarmCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """HPE's ``SwarmCallback(syncFrequency, minPeers, trainingContract, **kwargs)``.

    Keywords: ``totalEpochs checkinModelOnTrainEnd nodeWeightage mergeMethod adsValData adsValBatchSize logger`` as in
    HPE Swarm Learning; ``onTooFewPeers tooFewPeersSeconds initialModel topology commitments organisations`` and ``wire
    maxDeltaNorm outer outerLearningRate outerMomentum`` (docs/MERGING.md) are the contract's options. With
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
        _check_platform(kwargs.get("ml_platform", kwargs.get("mlPlatform", "KERAS")))
        data = kwargs.get("adsValData")
        self._validation = None if data is None else Validation(data, kwargs.get("adsValBatchSize"))
        self._first_batch = 0
        self._session = Session(
            "SwarmCallback",
            syncFrequency,
            minPeers,
            trainingContract,
            kwargs,
            known=KEYWORDS,
            load=self._load,
            optimizer=self._optimizer,
            load_optimizer=self._load_optimizer,
        )
        self.logger = self._session.logger
        for name in sorted(_WITHOUT_EFFECT & kwargs.keys()):
            self.logger.info("%s has no effect with Keras", name)
        self._validated: dict[str, float] = {}
        """Loss and metrics of the last merged model."""
        if self._validation is None:
            self.logger.info("WARNING: valData is not available to compute Loss and metrics")

    @property
    def initial_epoch(self) -> int:
        """For ``fit``: how many epochs were complete at the checkpoint; 0 without one.

        The epoch that was under way begins anew; batches are counted on, so sync points stay at N, 2N, ….
        """
        return self._session.epochs

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._session.start(*self._weights())
        self._stop_when_over()
        if self._session.follows_loss and not self._session.loopback:
            self._evaluate()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._first_batch = batch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # With steps_per_execution several batches pass between the hooks, and Keras counts on past the epoch's last.
        steps = (self.params or {}).get("steps")
        last = min(batch, steps - 1) if steps else batch
        due, session = self._session.batches.add(last - self._first_batch + 1), self._session
        metrics = numbers(logs) | self._validated if due else {}
        if session.sync(self._weights, metrics) if due else session.catch_up(self._weights):
            self._stop_when_over()
            self._evaluate()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._session.epoch_ended(numbers(logs) | self._validated)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._session.finish(self._weights)

    def _stop_when_over(self) -> None:
        if self._session.training_over:
            self.logger.info("Swarm training is over. Stopping local training")
            self.model.stop_training = True

    # ---- weights; on JAX, asking for ``self.model`` brings into it what was trained, and fit goes on from that

    def _weights(self) -> tuple[Arrays, Arrays]:
        """The model's weights, without a copy where TensorFlow allows it: what is shared, and what stays here."""
        if not self.model.weights:
            raise ModelError(
                "the model has no weights yet, so there is nothing to merge",
                hint="give it an Input layer, or call model.build(shape) before fit",
            )
        local = self._local()
        named = [(name, path in local, weight) for name, path, weight in self._named(local)]
        return (
            {name: _read(weight) for name, stays, weight in named if not stays},
            {name: _read(weight) for name, stays, weight in named if stays},
        )

    def _local(self) -> frozenset[str]:
        return self._session.local_of(_path(weight) for weight in self.model.weights)

    def _named(self, local: frozenset[str]) -> Iterator[tuple[str, str, Any]]:
        """Each weight with its name and path. Shared ones are counted by themselves: peers may differ in the others."""
        shared = 0
        for position, weight in enumerate(self.model.weights):
            path = _path(weight)
            yield tensor_name(position if path in local else shared, weight), path, weight
            shared += path not in local

    def _load(self, part: Arrays) -> None:
        for name, _, weight in self._named(self._local()):
            if name not in part:
                continue
            weight.assign(part[name])
            if not same_bits(_read(weight), part[name]):
                raise ModelError(f'tensor "{name}" ({weight.path}) reads back other values than were loaded into it')

    def _optimizer(self) -> Arrays:
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None:
            return {}
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        return {tensor_name(n, variable): _read(variable) for n, variable in enumerate(optimizer.variables)}

    def _load_optimizer(self, kept: Arrays) -> None:
        other = difference(kept, self._optimizer())
        if other:
            raise ModelError(f"that of the checkpoint does not fit: {other}")
        for position, variable in enumerate(self.model.optimizer.variables if kept else ()):
            variable.assign(kept[tensor_name(position, variable)])

    def _evaluate(self) -> None:
        """Loss and metrics of the merged model."""
        if self._validation is None:
            return
        results = self._validation(self.model)
        self._validated = {f"val_{name}": value for name, value in results.items()}
        self.logger.info("merged model: %s", ", ".join(f"{name} {value:.4f}" for name, value in results.items()))
        self._session.report(self._validated)


def _check_platform(given: Any) -> None:
    platform = arguments.word(given)
    if platform == "TF":
        raise BadInput("ml_platform=TF (graphs and sessions) is not possible with Keras 3", hint="leave it out")
    if platform != "KERAS":
        raise BadInput(f"Invalid ml platform type: {platform}")
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise BadInput(
            f"Keras runs on {backend} here: SwarmCallback runs on {', '.join(BACKENDS)}",
            hint=f"set KERAS_BACKEND={BACKENDS[0]}",
        )


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
