"""adsValData of Keras programs: whatever ``model.evaluate`` takes, evaluated after every merge.

Used by ``callbacks/keras``. A tuple is (x, y) or (x, y, sample_weight); a generator is read once and its batches are
kept, since every merge needs them anew; data sets and arrays are passed on. Guarantees: the metrics of the epoch under
way, and the mode of a torch module, are afterwards as they were; a model without metrics has its loss alone; data
without an end are refused before anything is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import keras
import numpy as np

from swarm.errors import BadInput

BATCHES_MAX = 1000
"""Of a generator: as many as can be kept."""

Fed = dict[str, Any]


class Validation:
    def __init__(self, data: Any, batch_size: Any) -> None:
        self._feed = _feeding(data, batch_size)

    def __call__(self, model: Any) -> dict[str, float]:
        """Loss and metrics of the model as it is, by name."""
        state = [(variable, np.array(_plain(variable))) for metric in model.metrics for variable in metric.variables]
        training = getattr(model, "training", None)  # of a torch module
        results = model.evaluate(**self._feed(), verbose=0, return_dict=True)
        for variable, value in state:
            variable.assign(value)
        if isinstance(training, bool) and keras.backend.backend() == "torch":
            model.train(training)
        return numbers(results)


def numbers(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """The entries that are one number each."""
    return {str(name): float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}


def _plain(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable.value)


def _feeding(data: Any, batch_size: Any) -> Callable[[], Fed]:
    """The arguments of ``evaluate``, for each time anew."""
    if isinstance(data, tuple | list):
        if len(data) not in (2, 3):
            raise BadInput(
                f"adsValData is a {type(data).__name__} of {len(data)}: expected (x, y) or (x, y, sample_weight)",
                hint="batches come as a data set or a generator",
            )
        fed = dict(zip(("x", "y", "sample_weight"), data, strict=False))
        return lambda: {**fed, "batch_size": batch_size}
    if isinstance(data, Iterator):
        batches = _read_once(data)
        return lambda: {"x": (batch for batch in batches), "steps": len(batches)}
    _must_end(data)
    arrays = hasattr(data, "shape") and hasattr(data, "dtype")
    return lambda: {"x": data, **({"batch_size": batch_size} if arrays else {})}


def _read_once(batches: Iterator[Any]) -> list[Any]:
    kept = list(islice(batches, BATCHES_MAX + 1))
    if not kept or len(kept) > BATCHES_MAX:
        how = f"does not end within {BATCHES_MAX} batches" if kept else "gives no batch"
        raise BadInput(
            f"adsValData is a generator that {how}",
            hint="islice(generator, n) of itertools ends after n batches; (x, y) and data sets do as well",
        )
    return kept


def _must_end(data: Any) -> None:
    cardinality = getattr(data, "cardinality", None)  # of a tf.data.Dataset: -1 is without end, -2 unknown
    endless = cardinality is not None and int(cardinality()) == -1
    if endless or (isinstance(data, keras.utils.PyDataset) and data.num_batches is None):
        raise BadInput("adsValData is a data set without an end", hint="dataset.take(n) ends after n batches")
