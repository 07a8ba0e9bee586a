"""Every merge method once more, in one place and by other code: what the bench holds the swarm's results against.

Used by `swarm.nodes.bench.inputs`. Members of equal weight, float32. Written from the papers' definitions with numpy's
sort, sum and matrix products over whole tensors; it shares nothing with `swarm.core.merge` but the definitions: members
in uid order, float64 until the one rounding at the end, coefficients in units of 2^-28 in lowest terms, how many steps;
and with `swarm.core.quantise` where leaves and blocks begin and what a block is scaled by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Model = dict[str, Array]
UNITS = 2.0**28
WEISZFELD_STEPS, CLIPPING_STEPS = 128, 24
WEISZFELD_START, WEISZFELD_COUNTED = 64, 2.0**30


def merged(method: str, models: Sequence[Model]) -> Iterator[Array]:
    """The merged tensors, in order."""
    if method in BY_ELEMENT:
        yield from (by_element(method, tensors) for tensors in zip(*(each.values() for each in models), strict=True))
        return
    count = len(models)
    faulty = (count - 1) // 3
    far = distances(models)
    for name in models[0]:
        columns = [model[name].astype(np.float64) for model in models]
        if method == "nnm+trimmedmean":
            near = [sorted(np.argsort(row, kind="stable")[: count - faulty].tolist()) for row in far]
            whole = _trimmed([_combined([columns[i] for i in mix], [1.0] * len(mix)) for mix in near], faulty)
        else:
            shares = COEFFICIENTS[method](far, faulty)
            units = np.round(shares / shares.sum() * UNITS).astype(np.int64)
            whole = _combined(columns, (units // np.gcd.reduce(units)).tolist())
        yield whole.astype(np.float32)


def by_element(method: str, tensors: Sequence[Array]) -> Array:
    """By a method that looks at each element alone: the merge of the members' tensors, or of any one part of them."""
    columns = [tensor.astype(np.float64) for tensor in tensors]
    return BY_ELEMENT[method](columns).astype(np.float32)


def distances(models: Sequence[Model]) -> Array:
    flat = [np.concatenate([array.ravel() for array in model.values()]).astype(np.float64) for model in models]
    return np.array([[np.linalg.norm(one - other) for other in flat] for one in flat])


def _combined(columns: Sequence[Array], weights: Sequence[float]) -> Array:
    total = np.zeros_like(columns[0])
    for column, weight in zip(columns, weights, strict=True):
        total = total + column * weight
    return np.asarray(total / np.sum(weights))


def _trimmed(columns: Sequence[Array], faulty: int) -> Array:
    left = list(np.sort(columns, axis=0)[faulty : len(columns) - faulty])
    return _combined(left, [1.0] * len(left))


def _middle(columns: Sequence[Array]) -> Array:
    count = len(columns)
    middle = np.sort(columns, axis=0)[(count - 1) // 2 : count // 2 + 1]
    return np.asarray((middle[0] + middle[-1]) / 2)


BY_ELEMENT: Mapping[str, Callable[[Sequence[Array]], Array]] = {
    "mean": lambda columns: _combined(columns, [1.0] * len(columns)),
    "coordmedian": _middle,
    "trimmedmean": lambda columns: _trimmed(columns, (len(columns) - 1) // 3),
}


def _krum(far: Array, faulty: int, chosen: int) -> Array:
    neighbours = max(len(far) - faulty - 2, 1)
    scores = (np.sort(far, axis=1)[:, 1 : neighbours + 1] ** 2).sum(axis=1)
    best = np.argsort(_in_digits(scores), kind="stable")[:chosen]
    return np.isin(np.arange(len(far)), best).astype(np.float64)


def _to(far: Array, shares: Array) -> Array:
    """How far each is from the point with these shares."""
    squares = far**2
    return np.asarray(np.sqrt(np.maximum(squares @ shares - shares @ squares @ shares / 2, 0.0)))


def _geomedian(far: Array, faulty: int) -> Array:
    to_medoid = far[_medoid(far)]
    scale = np.sort(to_medoid)[len(far) // 2]
    near = to_medoid <= WEISZFELD_START * scale
    shares = np.where(near, 1 / near.sum(), 0.0)
    for _ in range(WEISZFELD_STEPS if scale > 0 else 0):
        pulls = (to_medoid <= WEISZFELD_COUNTED * scale) / np.maximum(_to(far, shares), 1e-6 * scale)
        shares = pulls / pulls.sum()
    return shares


def _medoid(far: Array) -> int:
    return int(np.argmin(_in_digits(far.sum(axis=1))))


def _in_digits(numbers: Array) -> Array:
    """To twelve digits of the middle one: what differs by less is equal, and the first comes first."""
    unit = float(np.median(numbers) or numbers.max() or 1.0)
    return np.asarray(np.round(numbers / unit, 12))


def _centered(far: Array, faulty: int) -> Array:
    sums = _in_digits(far.sum(axis=1))
    least = np.asarray(sums == sums.min(), np.float64)
    shares: Array = least / least.sum()
    for _ in range(CLIPPING_STEPS):
        to_centre = _to(far, shares)
        radius = np.sort(to_centre)[(len(far) - 1) // 2]
        pulls = np.minimum(1.0, radius / np.maximum(to_centre, 1e-300)) / len(far)
        shares = shares * (1 - pulls.sum()) + pulls
    return shares


COEFFICIENTS = {
    "krum": lambda far, faulty: _krum(far, faulty, 1),
    "multikrum": lambda far, faulty: _krum(far, faulty, len(far) - faulty),
    "geomedian": _geomedian,
    "centeredclip": _centered,
}


# ---- what a contract's ``wire`` makes of them

LEAF_BYTES, TENSORS_FROM, BLOCK = 65536, 64, 1024


def as_sent(wire: str, model: Model, base: Model) -> Model:
    """The model as those read it who got it in this form: as far from the base as the form can say."""
    read, at = {}, 0
    for name, array in model.items():
        read[name] = np.array(array)
        away = base[name].ravel().astype(np.float64) - array.ravel().astype(np.float64)
        for first, last in _stretches(at, array.size):
            said = away[first:last]
            if wire == "bf16" or last - first > 1:  # of one element a scale and a byte are more than it is itself
                said = _in_eight_digits(said) if wire == "bf16" else _in_steps(said)
                read[name].reshape(-1)[first:last] = (base[name].ravel()[first:last] - said).astype(np.float32)
        at += -(-array.nbytes // TENSORS_FROM) * TENSORS_FROM
    return read


def _stretches(at: int, size: int) -> Iterator[tuple[int, int]]:
    """The elements of a tensor that begins at this byte, by leaf."""
    leaves = range(LEAF_BYTES, at + 4 * size, LEAF_BYTES)
    yield from pairwise([0, *((leaf - at) // 4 for leaf in leaves if leaf > at), size])


def _in_eight_digits(values: Array) -> Array:
    """Rounded to eight binary digits, fewer below the smallest normal number: bfloat16."""
    _, exponents = np.frexp(values)
    unit = np.ldexp(1.0, np.maximum(exponents, -125) - 8)
    return np.asarray(np.rint(values / unit) * unit)


def _in_steps(values: Array) -> Array:
    """Each block of 1024 in 127 steps up to its largest."""
    starts = np.arange(0, len(values), BLOCK)
    steps = (np.maximum.reduceat(np.abs(values), starts) / 127).astype(np.float32)
    step = np.repeat(steps, np.diff([*starts, len(values)])).astype(np.float64)
    return np.asarray(np.rint(np.divide(values, step, out=np.zeros_like(values), where=step > 0)) * step)
