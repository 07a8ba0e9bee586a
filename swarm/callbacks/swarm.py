"""`Swarm`: the framework-free door to a swarm, numpy arrays in and out. For any training loop one writes oneself.

    with Swarm(minPeers=2, trainingContract="demo", syncFrequency=100) as swarm:
        weights = swarm.start(weights)
        for _ in range(steps):
            weights = train(weights)
            if swarm.due():
                weights = swarm.sync(weights)
            if swarm.training_over:
                break
        weights = swarm.finish(weights)

With ``overlap=True`` the same lines train on while a round is in flight: ``sync`` begins a round and returns at once,
``due`` is true again when the round has ended, and that ``sync`` returns the swarm's model with what was trained since.

``weights`` maps names to arrays of any element type that ``core/tensors`` knows; names, types and shapes are fixed by
the first ``start`` in the contract. With ``checkpoint_dir`` a program that was killed and is started again goes on from
its last sync point: ``batches_done``, ``epochs_done`` and ``optimizer`` say from where. Tensors whose names fit a
pattern of ``local_only`` stay in this program: results have them as they were passed. Guarantees: what ``finish``
returns is the model whose digest the ledger calls final; arrays that were passed are never written to, unless they are
given as ``out``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from swarm.callbacks import arguments
from swarm.callbacks.base import Session
from swarm.callbacks.checkpoint import Arrays
from swarm.callbacks.local import parted
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.core.tensors import Schema
from swarm.errors import ModelError

Weights = dict[str, np.ndarray[Any, Any]]


class Swarm:
    """One training's part in a swarm. Keyword options are those of ``SwarmCallback``, also ``checkpoint_dir``.

    ``out`` (arrays of the same names, types and shapes) takes the result in place; without it the arrays are new ones.
    When nothing was merged (loopback, or a round was given up) the result is what was passed.
    """

    def __init__(
        self,
        minPeers: int,
        trainingContract: str = DEFAULT_CONTRACT,
        *,
        syncFrequency: int = 1,
        **options: Any,
    ) -> None:
        self._result: Weights = {}
        self._out: Arrays | None = None
        self._due: Literal["", "point", "landed"] = ""
        """What `due` has said it is time for."""
        self.optimizer: Weights = {}
        """The arrays of the program's own optimizer: a checkpoint keeps what is set here, and brings it back."""
        self._session = Session(
            "Swarm",
            arguments.Given(syncFrequency, minPeers, trainingContract, options),
            known=arguments.KEYWORDS,
            load=self._load,
            optimizer=self._optimizer_arrays,
            load_optimizer=self._load_optimizer,
        )
        self.logger = self._session.logger

    @property
    def training_over(self) -> bool:
        """The swarm's training is over: ``sync`` merges no more, ``finish`` gets the final model."""
        return self._session.training_over

    @property
    def batches_done(self) -> int:
        """What the last ``sync`` was told; after a resumption what the checkpoint says, already before ``start``."""
        return self._session.batches.done

    @property
    def epochs_done(self) -> int:
        return self._session.epochs

    def start(self, weights: Mapping[str, Any], *, out: Arrays | None = None) -> Weights:
        """Enrol, and start from the swarm's model. Waits for the other peers."""
        self._begin(weights, out)
        self._session.start(*self._read())
        return self._result

    def sync(
        self,
        weights: Mapping[str, Any],
        *,
        batches: int | None = None,
        epochs: int = 0,
        metrics: Mapping[str, float] | None = None,
        out: Arrays | None = None,
    ) -> Weights:
        """Merge with the others; with ``overlap`` begin to, and take over what the round before has brought.

        ``batches``, ``epochs`` (trained so far) and ``metrics`` are for people to see; with ``useAdaptiveSync=True``
        the interval goes by ``val_loss`` of the metrics, or else ``loss``. Without ``batches`` it is those
        that `due` has counted, or ``syncFrequency`` more than last time.
        """
        session, due = self._session, self._due
        self._begin(weights, out)
        self._due = ""
        session.epochs = int(epochs) or session.epochs
        if due == "landed" and batches is None:
            session.catch_up(self._read)
            return self._result
        if not due or batches is not None:
            session.batches.done = session.batches.done + session.batches.every if batches is None else int(batches)
        session.sync(self._read, metrics or {})
        return self._result

    def due(self, batches: int = 1) -> bool:
        """Count so many more batches: is it time to call `sync`? Every ``syncFrequency`` of them, unless it adapts.

        With ``overlap`` also when the round that was begun there has ended. Never waits.
        """
        if self._session.batches.add(batches) or self._due == "point":
            self._due = "point"
        elif self._session.landed():
            self._due = "landed"
        return bool(self._due)

    def finish(self, weights: Mapping[str, Any], *, out: Arrays | None = None) -> Weights:
        """Local training has ended: wait for the others' and get the final model. Closes the session."""
        self._begin(weights, out)
        self._session.finish(self._read)
        return self._result

    def close(self) -> None:
        """Leave without the final model, if ``finish`` was not reached. Never waits."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, weights: Mapping[str, Any], out: Arrays | None) -> None:
        arrays = {name: np.asarray(value) for name, value in weights.items()}
        if out is not None:
            difference = Schema.of(arrays).first_difference(Schema.of(out))
            if difference:
                raise ModelError(f"out does not fit the weights: {difference}")
        self._out, self._result = out, arrays

    def _read(self) -> tuple[Arrays, Arrays]:
        """What is shared, and what stays here."""
        return parted(self._result, self._session.local_of(self._result))

    def _optimizer_arrays(self) -> Weights:
        return {name: np.asarray(value) for name, value in self.optimizer.items()}

    def _load_optimizer(self, kept: Arrays) -> None:
        self.optimizer = {name: view.copy() for name, view in kept.items()}

    def _load(self, part: Arrays) -> None:
        """What the part does not have stays as it was passed."""
        if self._out is None:
            self._result = {**self._result, **{name: view.copy() for name, view in part.items()}}
            return
        for name, array in {**self._result, **part}.items():
            np.copyto(self._out[name], array, casting="equiv")
        self._result = dict(self._out)
