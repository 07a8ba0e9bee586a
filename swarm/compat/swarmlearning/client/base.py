"""`SwarmCallbackBase`: what a platform without a callback of its own is brought into a swarm by.

    class Mine(SwarmCallbackBase):
        def _saveModelWeightsToDict(self):               # {name: array}
            return {"w": self.model.w, "b": self.model.b}

        def _loadModelWeightsFromDict(self, inDict):     # the merged model, arrays of the same names, types and shapes
            self.model.w, self.model.b = inDict["w"], inDict["b"]

    swarm = Mine(syncFrequency=128, minPeers=2, model=model)

The training loop then calls the four hooks, as with PyTorch: ``on_train_begin``, ``on_batch_end`` after every batch,
``on_epoch_end``, ``on_train_end``; when ``training_over`` it may stop. Guarantee: after a merge the model holds the
swarm's model bit for bit, or an error names the tensor that differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from swarm.callbacks import arguments
from swarm.callbacks.base import Session
from swarm.callbacks.bits import same_bits
from swarm.callbacks.checkpoint import Arrays
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import ModelError, SwarmError

KEYWORDS = arguments.KEYWORDS | {"adsValData", "adsValBatchSize", "ml_platform", "mlPlatform", "model"}


class SwarmCallbackBase(ABC):
    """``params`` holds further keywords, as HPE's own subclasses pass them; both ways may be mixed."""

    platformArguments: ClassVar[frozenset[str]] = frozenset()
    """Keywords of this platform alone: others that are unknown are warned of."""

    def __init__(
        self,
        syncFrequency: int,
        minPeers: int,
        trainingContract: str = DEFAULT_CONTRACT,
        params: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        keywords = {**(params or {}), **kwargs}
        self.model = keywords.get("model")
        self.valData: Any = None
        """What `_getValidationDataForAdaptiveSync` made of adsValData."""
        self._validated: dict[str, float] = {}
        self._session = Session(
            "SwarmCallback",
            syncFrequency,
            minPeers,
            trainingContract,
            keywords,
            known=KEYWORDS | self.platformArguments,
            load=self._load,
            optimizer=dict,
            load_optimizer=lambda kept: None,
        )
        self.logger = self._session.logger
        try:
            self._verifyAndSetPlatformContext(keywords)
            if keywords.get("adsValData") is not None:
                given = (keywords["adsValData"], keywords.get("adsValBatchSize"))
                self.valData = self._getValidationDataForAdaptiveSync(*given)
        except BaseException:
            self._session.close()
            raise

    @property
    def training_over(self) -> bool:
        """The swarm's training is over: further batches are merged no more."""
        return self._session.training_over

    # ---- for subclasses

    def _verifyAndSetPlatformContext(self, params: Mapping[str, Any]) -> None:  # noqa: B027  # most have nothing
        """Look at the keywords of this platform; raise SwarmError for what is wrong with them."""

    def _getValidationDataForAdaptiveSync(self, valData: Any, valBatchSize: Any) -> Any:
        """What `_calculateLocalLossAndMetrics` is to find in ``self.valData``."""
        return valData

    @abstractmethod
    def _saveModelWeightsToDict(self) -> Mapping[str, Any]:
        """The weights by name: anything that numpy makes an array of, without a change of type."""

    @abstractmethod
    def _loadModelWeightsFromDict(self, inDict: dict[str, Any]) -> None:
        """Put these arrays, which are the model's own to keep, into the model; tensors that stay here are not in it."""

    def _calculateLocalLossAndMetrics(self) -> tuple[float, Any]:
        """Loss, and a metric or a map of them, of the model on ``self.valData``."""
        raise SwarmError(f"adsValData is given, and {type(self).__name__} has no _calculateLocalLossAndMetrics")

    # ---- the hooks

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._session.start(*self._read())
        if self._session.follows_loss and not self._session.loopback:
            self._evaluate()

    def on_batch_end(self, *_: Any, **__: Any) -> None:
        session = self._session
        due = session.batches.add(1)
        if session.sync(self._read, self._validated) if due else session.catch_up(self._read):
            self._evaluate()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self._session.epochs += 1

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._session.finish(self._read)

    # ---- how

    def _read(self) -> tuple[Arrays, Arrays]:
        weights = {name: np.asarray(value) for name, value in self._saveModelWeightsToDict().items()}
        local = self._session.local_of(weights)
        return (
            {name: array for name, array in weights.items() if name not in local},
            {name: array for name, array in weights.items() if name in local},
        )

    def _load(self, part: Arrays) -> None:
        self._loadModelWeightsFromDict({name: view.copy() for name, view in part.items()})
        shared, local = self._read()
        held = {**shared, **local}
        for name, view in part.items():
            if not same_bits(held[name], view):
                raise ModelError(f'tensor "{name}" reads back other values than were loaded into it')

    def _evaluate(self) -> None:
        if self.valData is None:
            return
        loss, metrics = self._calculateLocalLossAndMetrics()
        named = dict(metrics) if isinstance(metrics, Mapping) else {} if metrics is None else {"metric": metrics}
        self._validated = {"val_loss": float(loss), **{f"val_{name}": float(value) for name, value in named.items()}}
        shown = ", ".join(f"{name.removeprefix('val_')} {value:.4f}" for name, value in self._validated.items())
        self.logger.info("merged model: %s", shown)
