"""What two of five can do that send their update times minus ten: ruin a mean, and no robust method."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.core.merge import METHODS, Members
from swarm.core.merge.method import may_be_faulty

SIZE = 20_000
ROBUST = [name for name, method in METHODS.items() if method.robust]


def merged(name: str, rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    between = ((wide[:, None] - wide[None]) ** 2).sum(2)
    out = np.empty(SIZE, np.float32)
    METHODS[name].kernel(Members((1,) * len(rows), may_be_faulty(len(rows), 2), between))("float32", list(rows), out)
    return out.astype(np.float64)


@pytest.fixture
def rows() -> np.ndarray:
    """Updates of five that have learned much the same; two of them turned round and ten times as long."""
    generator = np.random.default_rng(66)
    updates = generator.standard_normal(SIZE) + 0.5 * generator.standard_normal((5, SIZE))
    updates[:2] *= -10
    return updates.astype(np.float32)


def direction(update: np.ndarray, honest: np.ndarray) -> float:
    """1: as the honest ones go on the average; -1: against them."""
    return float(update @ honest / np.linalg.norm(update) / np.linalg.norm(honest))


def test_r066_the_mean_goes_against_what_the_honest_have_learned(rows):
    honest = rows[2:].astype(np.float64).mean(axis=0)
    found = merged("mean", rows)
    assert direction(found, honest) < -0.8
    assert np.linalg.norm(found) > 3 * np.linalg.norm(honest)


@pytest.mark.parametrize("name", ROBUST)
def test_r066_robust_methods_go_with_the_honest(rows, name):
    """A median of five with two at one end is the third of three: turned less than a quarter of the way."""
    honest = rows[2:].astype(np.float64).mean(axis=0)
    found = merged(name, rows)
    assert direction(found, honest) > 0.7
    apart = np.linalg.norm(rows[2:] - honest, axis=1).max()
    assert np.linalg.norm(found - honest) < 2.5 * apart
