"""Contributions for the tests of merge methods: of every element type, and seen as exact numbers."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes  # noqa: F401 - teaches numpy the name bfloat16
import numpy as np

from swarm.core.tensors import FLOATS, STORAGE


def random_parts(dtype: str, members: int, columns: int, seed: int) -> list[np.ndarray]:
    """Stored elements, with ties, both zeros and extremes among them."""
    generator = np.random.default_rng(seed)
    if dtype in FLOATS:
        few = np.array([0.0, -0.0, 1.0, -1.0, 0.1, -1e-7, 60_000.0])
        drawn = generator.standard_normal((members, columns)) * 10.0 ** generator.integers(-4, 4, (members, columns))
        chosen = np.where(generator.random((members, columns)) < 0.4, generator.choice(few, (members, columns)), drawn)
        return [row.astype(np.dtype(dtype)).view(STORAGE[dtype]) for row in chosen]
    if dtype == "bool":
        return list(generator.integers(0, 2, (members, columns)).astype(bool))
    limits = np.iinfo(dtype)
    drawn = generator.integers(limits.min, limits.max, (members, columns), dtype, endpoint=True)
    few = np.array([limits.min, 0, 1, limits.max], dtype)
    return list(np.where(generator.random((members, columns)) < 0.4, generator.choice(few, drawn.shape), drawn))


def numbers(dtype: str, stored: np.ndarray) -> list[Fraction]:
    values = stored.view(np.dtype(dtype)) if dtype in FLOATS else stored
    return [Fraction(float(value)) if dtype in FLOATS else Fraction(int(value)) for value in values]


def stored(dtype: str, exact: list[Fraction], in_float64: list[float]) -> np.ndarray:
    """These numbers rounded once to the element type: floats by way of float64, as it is promised."""
    if dtype == "bool":
        return np.array([2 * value >= 1 for value in exact])
    if dtype not in FLOATS:
        return np.array([round(value) for value in exact], dtype)
    if dtype != "bfloat16":
        return np.array(in_float64).astype(dtype)
    return np.array([nearest_bfloat16(value) for value in in_float64], np.uint16)


def nearest_bfloat16(value: float) -> int:
    """Of all bfloat16 around the value the nearest, ties to even."""
    near = int(np.float32(value).view(np.uint32)) >> 16
    beside = [bits for bits in (near - 1, near, near + 1) if 0 <= bits <= 0xFFFF and bits & 0x7FFF < 0x7F80]
    as_number = {bits: float(np.uint16(bits).view(np.dtype("bfloat16"))) for bits in beside}
    return min(beside, key=lambda bits: (abs(as_number[bits] - value), bits & 1))
