"""What a scikit-learn estimator trains by besides its weights, as arrays: what a checkpoint keeps of it.

Used by ``callbacks/sklearn_model``. Guarantee: an estimator that is given back what was read of another one of its kind
trains on as that one would have; what does not fit is told, and then only the count of examples is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from swarm.callbacks.checkpoint import Arrays, difference
from swarm.errors import ModelError

_MOMENTS = ("ms", "vs", "velocities")
"""Of an MLP's solver, adam or sgd: an array for each of its weights."""
_SEEN = "t_"


def read(estimator: Any) -> Arrays:
    """How many examples it has seen, which learning rates go by, and the state of an MLP's solver."""
    seen = getattr(estimator, _SEEN, None)
    counted = {_SEEN: np.asarray(seen)} if isinstance(seen, int | float) else {}
    return {**counted, **_of_solver(estimator)}


def load(estimator: Any, kept: Arrays) -> None:
    """Raises ModelError where the solver is another one than that of the checkpoint."""
    if _SEEN in kept:
        setattr(estimator, _SEEN, kept[_SEEN].item())
    rest = {name: array for name, array in kept.items() if name != _SEEN}
    if other := difference(rest, _of_solver(estimator)):
        raise ModelError(f"that of the checkpoint does not fit: {other}")
    solver = getattr(estimator, "_optimizer", None)
    for name, count in _parts(solver):
        key = f"{type(solver).__name__}/{name}"
        new = rest[key].item() if count is None else [rest[f"{key}/{number}"].copy() for number in range(count)]
        setattr(solver, name, new)


def _of_solver(estimator: Any) -> Arrays:
    solver = getattr(estimator, "_optimizer", None)
    arrays: dict[str, Any] = {}
    for name, count in _parts(solver):
        key, value = f"{type(solver).__name__}/{name}", getattr(solver, name)
        several = {} if count is None else {f"{key}/{number}": array for number, array in enumerate(value)}
        arrays |= several or {key: np.asarray(value)}
    return arrays


def _parts(solver: Any) -> Iterator[tuple[str, int | None]]:
    """The attributes that training changes: of lists how many arrays they have, of numbers None."""
    if hasattr(solver, "t"):
        yield "t", None
    if getattr(solver, "lr_schedule", "constant") != "constant":
        yield "learning_rate", None
    for name in _MOMENTS:
        if isinstance(value := getattr(solver, name, None), list):
            yield name, len(value)
