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

from swarm.callbacks.arguments import Given
from swarm.callbacks.checkpoint import Arrays
from swarm.callbacks.local import Names, parted
from swarm.callbacks.training import Framework, Training
from swarm.core.agreement import DEFAULT_CONTRACT
from swarm.errors import SwarmError


class SwarmCallbackBase(ABC):
    """``params`` holds further keywords, as HPE's own subclasses pass them; both ways may be mixed."""

    platform: ClassVar[str] = "KERAS"
    """What programs of this platform may say as ``ml_platform``."""
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
        framework = Framework(type(self).__name__, self.platform, _MEANT | self.platformArguments)
        given = Given(syncFrequency, minPeers, trainingContract, keywords)
        self._training = Training(framework, _Mine(self), given)
        self.logger = self._training.logger
        try:
            self._verifyAndSetPlatformContext(keywords)
            if keywords.get("adsValData") is not None:
                data, batch_size = keywords["adsValData"], keywords.get("adsValBatchSize")
                self.valData = self._getValidationDataForAdaptiveSync(data, batch_size)
        except BaseException:
            self._training.close()
            raise

    @property
    def training_over(self) -> bool:
        """The swarm's training is over: further batches are merged no more."""
        return self._training.over

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

    # ---- the hooks; what a framework passes to them is not looked at

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._training.begin()

    def on_batch_end(self, *_: Any, **__: Any) -> None:
        self._training.batch()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self._training.epoch()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._training.end()


_MEANT = frozenset({"model", "adsValBatchSize"})


class _Mine:
    """A subclass's model as `callbacks/training` sees it."""

    def __init__(self, callback: SwarmCallbackBase) -> None:
        self._callback = callback

    def read(self, staying: Names) -> tuple[Arrays, Arrays]:
        arrays = {name: np.asarray(value) for name, value in self._callback._saveModelWeightsToDict().items()}
        return parted(arrays, staying(arrays))

    def load(self, part: Arrays) -> None:
        self._callback._loadModelWeightsFromDict({name: view.copy() for name, view in part.items()})

    def optimizer(self) -> Arrays:
        return {}

    def load_optimizer(self, kept: Arrays) -> None:
        """A checkpoint keeps weights and counters."""

    def evaluate(self) -> Mapping[str, float]:
        if self._callback.valData is None:
            return {}
        loss, metrics = self._callback._calculateLocalLossAndMetrics()
        named = metrics if isinstance(metrics, Mapping) else {} if metrics is None else {"metric": metrics}
        return {"loss": float(loss), **{str(name): float(value) for name, value in named.items()}}
