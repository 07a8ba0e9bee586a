"""A training's points, whatever the framework: begin, each batch, each epoch, end.

Used by ``callbacks/torch``, ``transformers`` and ``sklearn``, which give a `Model` (how weights leave the framework and
return) and call the points from their hooks. Guarantees: what is loaded is read back and compared bit for bit; every
merged model is evaluated once, if there is anything to evaluate it on; in loopback nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from swarm.callbacks import arguments
from swarm.callbacks.base import Session
from swarm.callbacks.bits import same_bits
from swarm.callbacks.checkpoint import Arrays
from swarm.callbacks.local import Names
from swarm.errors import BadInput, ModelError

_HPES = frozenset(
    {
        "model", "tf", "sess", "hfMode", "lossFunction", "lossFunctionArgs", "metricFunction", "metricFunctionArgs",
        "adsValBatchSize",
    }
)  # fmt: skip
"""HPE's arguments that mean something on some platforms only; the others take them and do not use them."""
_EVERYWHERE = arguments.KEYWORDS | _HPES | {"adsValData", "ml_platform", "mlPlatform"}


class Model(Protocol):
    """A framework's model as named arrays."""

    def read(self, staying: Names) -> tuple[Arrays, Arrays]:
        """The weights as they are now, without a copy where the framework allows it: those that are shared, and those
        that stay here, as ``staying`` picks them by their names."""

    def load(self, part: Arrays) -> None:
        """Put these into the model, where they live; they are views that the next merge overwrites. Called after
        `read`."""

    def optimizer(self) -> Arrays:
        """What a checkpoint keeps of the optimizer; nothing if it cannot be kept."""

    def load_optimizer(self, kept: Arrays) -> None:
        """Raises ModelError when it is of another optimizer."""

    def evaluate(self) -> Mapping[str, float]:
        """Loss and metrics of the model as it is, by name; nothing without data."""


Metrics = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Framework:
    """``platform`` is HPE's name for it; ``keywords`` are the arguments that it uses beside those of all callbacks."""

    name: str
    platform: str
    keywords: frozenset[str]


class Training:
    def __init__(
        self,
        framework: Framework,
        model: Model,
        given: arguments.Given,
    ) -> None:
        keywords = given.keywords
        platform = arguments.word(keywords.get("ml_platform", keywords.get("mlPlatform", framework.platform)))
        if platform != framework.platform:
            raise BadInput(f"Invalid ml platform type: {platform}")
        self._model = model
        self._session = Session(
            "SwarmCallback",
            given,
            known=_EVERYWHERE | framework.keywords,
            load=self._load,
            optimizer=model.optimizer,
            load_optimizer=model.load_optimizer,
        )
        self.logger = self._session.logger
        for name in sorted((_HPES - framework.keywords) & keywords.keys()):
            self.logger.info("%s has no effect with %s", name, framework.name)
        if keywords.get("adsValData") is None:
            self.logger.info("WARNING: valData is not available to compute Loss and metrics")
        self._trained: Mapping[str, float] = {}
        """What its framework said of the training when it was last asked."""
        self._validated: Mapping[str, float] = {}
        """Loss and metrics of the last merged model."""

    @property
    def over(self) -> bool:
        """The swarm's training is over: there are no more merges, `end` gets the final model."""
        return self._session.training_over

    @property
    def epochs(self) -> int:
        """Complete ones, also of the run before that a checkpoint is from."""
        return self._session.epochs

    def begin(self, samples: int | None = None) -> None:
        """``samples``: how many examples there are to train on, if the framework tells."""
        self._session.samples = samples
        self._session.start(*self._read())
        if self._session.follows_loss:
            self._evaluate()

    def batch(self, count: int = 1, metrics: Metrics = dict) -> None:
        """So many more batches were trained: merge when it is time to, or take over a round that has ended.

        ``metrics`` tells how training goes; it is asked when that is to be said.
        """
        session = self._session
        if session.batches.add(count):
            self._trained = metrics()
            ended = session.sync(self._read, {**self._trained, **self._validated})
        else:
            ended = session.catch_up(self._read)
        if ended:
            self._evaluate()

    def epoch(self, metrics: Metrics = dict) -> None:
        self._trained = metrics()
        self._session.epoch_ended({**self._trained, **self._validated})

    def end(self) -> None:
        self._session.finish(self._read, self._evaluate)

    def close(self) -> None:
        """Leave without the final model. Never waits."""
        self._session.close()

    def _read(self) -> tuple[Arrays, Arrays]:
        return self._model.read(self._session.local_of)

    def _load(self, part: Arrays) -> None:
        self._model.load(part)
        shared, local = self._read()
        now = {**shared, **local}
        for name, array in part.items():
            if not same_bits(now[name], array):
                raise ModelError(f'tensor "{name}" reads back other values than were loaded into it')

    def _evaluate(self) -> None:
        if self._session.loopback:
            return
        results = self._model.evaluate()
        self._validated = {f"val_{name}": value for name, value in results.items()}
        if results:
            self._session.report({**self._trained, **self._validated})
            self.logger.info("merged model: %s", ", ".join(f"{name} {value:.4f}" for name, value in results.items()))
