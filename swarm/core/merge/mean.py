"""Weighted mean, element by element: z = Σ wᵢ·xᵢ / Σ wᵢ, in the order given.

A method of its own, and the last step of all others, which put in what they have chosen or mixed. Guarantees: the same
bits on every machine and for every way of cutting a model into chunks (numpy ufuncs in fixed order; no BLAS, no sum()).

    floats   accumulated in float64, rounded once to the element type, ties to even (equal inputs of at most 32 bits
             stay as they are)
    integers the exact rational mean, rounded once, ties to even (equal inputs stay as they are, at any size)
    bool     true where at least half of the weight is

Weights are divided by their greatest common divisor first, so equal weights are a plain mean. Weight 0 does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np

from swarm.core.merge.method import Array, Kernel, Members, Method
from swarm.core.tensors import FLOATS

BLOCK = 1 << 14
"""Elements merged at once: few enough that what is at work stays in a core's own cache."""

_EXACT_MAX = 1 << 31
"""Of the whole weight: up to here its square fits into 64 bits."""

Weighed = tuple[Array, int | Array]
"""Elements, and what each of them weighs: one number, or one an element (int64)."""


def kernel(members: Members) -> Kernel:
    def merged(dtype: str, parts: Sequence[Array], out: Array) -> None:
        merge(dtype, parts, members.weights, out)

    return merged


def merge(dtype: str, parts: Sequence[Array], weights: Sequence[int], out: Array) -> None:
    """The mean of ``parts`` (stored elements, all of one type and length) into ``out``, which is none of them."""
    assert len(parts) == len(weights), (len(parts), len(weights))
    assert all(weight >= 0 for weight in weights), weights
    divisor = gcd(*weights)
    assert divisor > 0, "all weights are 0"
    counted = [(part, weight // divisor) for part, weight in zip(parts, weights, strict=True) if weight]
    total = sum(weight for _, weight in counted)
    for start in range(0, len(out), BLOCK):
        block = slice(start, start + BLOCK)
        combine(dtype, [(part[block], weight) for part, weight in counted], total, out[block])


def combine(dtype: str, parts: Sequence[Weighed], total: int, out: Array) -> None:
    """The mean of these, in one go; the weights of each element make up ``total``."""
    if dtype in FLOATS:
        _floats(dtype, parts, total, out)
    elif dtype == "bool":
        _bools(parts, total, out)
    else:
        _integers(dtype, parts, total, out)


def _floats(dtype: str, parts: Sequence[Weighed], divisor: int, out: Array) -> None:
    total = np.empty(len(out), np.float64)
    term = np.empty(len(out), np.float64)
    for index, (part, weight) in enumerate(parts):
        target = term if index else total
        np.copyto(target, readable(dtype, part))
        if not isinstance(weight, int) or weight != 1:
            np.multiply(target, weight, out=target)
        if index:
            np.add(total, term, out=total)
    if divisor != 1:
        np.divide(total, divisor, out=total)
    rounded(dtype, total, out)


def as_float64(dtype: str, stored: Array) -> Array:
    """Stored floats as numbers to count with, exactly."""
    return readable(dtype, stored).astype(np.float64)


def rounded(dtype: str, values: Array, out: Array) -> None:
    """Numbers in float64 as stored elements of a float type, rounded once, ties to even."""
    out[:] = to_bfloat16(values) if dtype == "bfloat16" else values


def readable(dtype: str, stored: Array) -> Array:
    """Stored floats as numbers, of whatever type holds them."""
    return from_bfloat16(stored) if dtype == "bfloat16" else stored


def _integers(dtype: str, parts: Sequence[Weighed], total: int, out: Array) -> None:
    """Exact: x = W·q + r, so Σwx/W = Σwq + Σwr/W. The first sum may wrap around on its way; what it ends at fits."""
    if total > _EXACT_MAX:
        _large(parts, total, out)
        return
    wide = np.uint64 if dtype == "uint64" else np.int64
    divisor = wide(total)
    whole, rest = np.zeros(len(out), wide), np.zeros(len(out), wide)
    for part, weight in parts:
        times = wide(weight) if isinstance(weight, int) else weight.astype(wide)
        quotient, remainder = np.divmod(part.astype(wide), divisor)
        whole += quotient * times
        rest += remainder * times
    more, rest = np.divmod(rest, divisor)
    whole += more
    double = rest * wide(2)
    whole += (double > divisor) | ((double == divisor) & (whole % wide(2) == 1))
    out[:] = whole.astype(out.dtype)


def _large(parts: Sequence[Weighed], total: int, out: Array) -> None:
    """The same with Python's integers: Σ w·r may be as large as the square of the whole weight."""
    weighed = [
        (part.tolist(), [weight] * len(part) if isinstance(weight, int) else weight.tolist()) for part, weight in parts
    ]
    for at in range(len(out)):
        whole, rest = divmod(sum(values[at] * weights[at] for values, weights in weighed), total)
        out[at] = whole + (2 * rest > total or (2 * rest == total and whole % 2 == 1))


def _bools(parts: Sequence[Weighed], total: int, out: Array) -> None:
    ayes = np.zeros(len(out), np.int64)
    for part, weight in parts:
        ayes += part.astype(np.int64) * weight
    out[:] = 2 * ayes >= total


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def to_bfloat16(values: Array) -> Array:
    """Rounded once: by way of a float32 rounded to odd, which keeps what the last rounding has to know."""
    near = values.astype(np.float32)
    back = near.astype(np.float64)
    bits = near.view(np.uint32)
    bits -= np.abs(back) > np.abs(values)
    bits |= back != values
    bits += np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (bits >> np.uint32(16)).astype(np.uint16)


MEAN = Method(kernel, robust=False, tells=True)
