"""Methods that judge whole contributions: what central computations on the vectors find, and what they promise."""

import itertools

import numpy as np
import pytest

from swarm.core.merge import METHODS, Members, affine, clipping, geomedian, krum, mixing
from swarm.core.merge.method import may_be_faulty
from swarm.core.tensors import STORAGE
from tests.core.merge.contributions import random_parts

GEOMETRIC = [name for name, method in METHODS.items() if method.distances]
SIZE = 3000


def vectors(members: int, seed: int, outliers: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    made = generator.standard_normal(SIZE) + 0.3 * generator.standard_normal((members, SIZE))
    made[:outliers] *= -4.0
    return made.astype(np.float32)


def members_of(rows: np.ndarray, weights: list[int] | None = None, faulty: int | None = None) -> Members:
    wide = rows.astype(np.float64)
    between = ((wide[:, None] - wide[None]) ** 2).sum(2)
    weights = weights or [1] * len(rows)
    return Members(tuple(weights), may_be_faulty(len(rows)) if faulty is None else faulty, between)


def merged(name: str, rows: np.ndarray, weights: list[int] | None = None, faulty: int | None = None) -> np.ndarray:
    out = np.empty(rows.shape[1], np.float32)
    METHODS[name].kernel(members_of(rows, weights, faulty))("float32", list(rows), out)
    return out


def central(name: str, rows: np.ndarray, weights: list[int], faulty: int) -> np.ndarray:
    """In float64 and on the vectors, as the papers write it."""
    wide, shares, count = rows.astype(np.float64), np.array(weights) / np.sum(weights), len(rows)
    far = np.linalg.norm(wide[:, None] - wide[None], axis=2)
    match name:
        case "krum" | "multikrum":
            scores = [
                np.sort(row)[1 : max(count - faulty - 2, 1) + 1].dot(np.sort(row)[1 : max(count - faulty - 2, 1) + 1])
                for row in far
            ]
            best = np.argsort(scores, kind="stable")[: 1 if name == "krum" else count - faulty]
            return np.average(wide[best], axis=0, weights=shares[best])
        case "geomedian":
            z = shares @ wide
            for _ in range(2000):
                pulls = shares / np.maximum(np.linalg.norm(wide - z, axis=1), 1e-12)
                z = pulls @ wide / pulls.sum()
            return z
        case "centeredclip":
            v = wide[np.argmin(far @ shares)]
            for _ in range(clipping.STEPS):
                norms = np.linalg.norm(wide - v, axis=1)
                order = np.argsort(norms)
                radius = norms[order][np.searchsorted(np.cumsum(shares[order]), 0.5 - 1e-12)]
                pulls = shares * np.minimum(1.0, radius / np.maximum(norms, 1e-300))
                v = v + (pulls[:, None] * (wide - v)).sum(0)
            return v
        case "nnm+trimmedmean":
            nearest = np.argsort(far, axis=1, kind="stable")[:, : count - faulty]
            mixed = np.stack([np.average(wide[mix], axis=0, weights=shares[mix]) for mix in nearest])
            order = np.argsort(mixed, axis=0)
            values, upto = np.take_along_axis(mixed, order, 0), np.cumsum(shares[order], axis=0)
            cut = min(np.sort(shares)[count - faulty :].sum(), 0.5 - 1e-9)
            kept = np.diff(np.clip(upto, cut, 1 - cut), axis=0, prepend=cut)
            return (kept * values).sum(0) / (1 - 2 * cut)
    raise AssertionError(name)


@pytest.mark.parametrize("weights", [[1] * 10, [5, 1, 3, 2, 1, 1, 4, 2, 2, 3]])
@pytest.mark.parametrize("outliers", [0, 2])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_it_is_what_a_central_computation_on_the_vectors_finds(name: str, outliers: int, weights: list) -> None:
    rows = vectors(10, 4, outliers)
    expected = central(name, rows, weights, 3)
    assert np.allclose(merged(name, rows, weights), expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("members", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_equal_contributions_stay_as_they_are(name: str, members: int) -> None:
    row = vectors(1, 5)[0]
    assert merged(name, np.stack([row] * members)).tobytes() == row.tobytes()


@pytest.mark.parametrize("name", GEOMETRIC)
def test_few_distinct_contributions_are_no_trouble(name: str) -> None:
    a, b = vectors(2, 6)
    for rows, weights in (([a, b], [1, 1]), ([a, b], [1, 3])):
        result = merged(name, np.stack(rows), weights)
        assert np.all(result >= np.minimum(a, b))
        assert np.all(result <= np.maximum(a, b))


@pytest.mark.parametrize("far", [-100.0, 1e9, 1e30])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_equal_honest_members_are_the_answer_beside_one_that_is_not(name: str, far: float) -> None:
    """In the first round of weights that all have begun with, say: half of the pairs are equal then, or more."""
    honest = vectors(1, 6)[0]
    bad = (honest * np.float32(far)).astype(np.float32)
    for at in range(4):
        rows = np.stack([honest] * 4)
        rows[at] = bad
        for weights in ([1, 1, 1, 1], [2, 2, 2, 1], [3, 3, 3, 4]):
            assert merged(name, rows, weights).tobytes() == honest.tobytes(), (at, weights)


def test_whoever_shares_the_place_of_the_geometric_median_counts_by_weight() -> None:
    """Which shows in integers and booleans only: the floats are equal."""
    a, b = vectors(2, 6)
    found = geomedian.coefficients(members_of(np.stack([a, b, a, a]), [1, 3, 4, 3]))
    assert found == [1 / 8, 0.0, 4 / 8, 3 / 8]


@pytest.mark.parametrize("coefficients", [geomedian.coefficients, clipping.coefficients])
def test_of_two_equal_weights_it_is_the_mean(coefficients) -> None:
    a, b = vectors(2, 6)
    assert coefficients(members_of(np.stack([a, b]))) == [0.5, 0.5]


@pytest.mark.parametrize("places", ["ab", "abcd", "aabb", "aabbc", "abcde"])
@pytest.mark.parametrize("coefficients", [geomedian.coefficients, clipping.coefficients])
def test_the_order_of_the_members_has_no_part_in_it(coefficients, places: str) -> None:
    of = dict(zip("abcde", vectors(5, 11), strict=True))
    of["c"], of["d"] = (of["a"] + of["b"]) / 2 + of["e"], (of["a"] + of["b"]) / 2 - of["e"]  # as far from a as from b
    rows = np.stack([of[place] for place in places])
    expected = affine.whole(coefficients(members_of(rows)))
    for order in itertools.permutations(range(len(rows))):
        found = affine.whole(coefficients(members_of(rows[list(order)])))
        assert [abs(found[order.index(i)] - expected[i]) <= 1 for i in order], order


@pytest.mark.parametrize("name", GEOMETRIC)
def test_three_of_ten_that_send_whatever_they_like_move_it_by_little(name: str) -> None:
    honest = vectors(7, 8)
    for bad in (honest.mean(0) * -100, honest.mean(0) + 1e30, np.zeros(SIZE), honest[0] * 1e6):
        rows = np.stack([*[bad.astype(np.float32)] * 3, *honest])
        assert moved(merged(name, rows), honest) <= 2.5, bad[:3]


@pytest.mark.parametrize("radius", [1e3, 1e6, 1e9, 1e20, 1e30])
@pytest.mark.parametrize(("count", "bad"), [(3, 1), (4, 1), (5, 2), (7, 3), (10, 3), (21, 10)])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_faulty_members_far_from_all_and_from_one_another_move_it_by_little(
    name: str, count: int, bad: int, radius: float
) -> None:
    """Most pairs have one of them: what is common among the distances is theirs, not that of the honest."""
    honest, apart = vectors(count - bad, 9), np.random.default_rng(10).standard_normal((bad, SIZE))
    rows = np.stack([*(radius * apart).astype(np.float32), *honest])
    assert moved(merged(name, rows, faulty=bad), honest) <= 1.5


@pytest.mark.parametrize("radius", [1e3, 1e6, 1e9, 1e12])
def test_the_geometric_median_bears_all_but_half_that_agree(radius: float) -> None:
    for count, bad in ((9, 4), (13, 6), (21, 10)):
        honest = vectors(count - bad, count)
        rows = np.stack([*[np.full(SIZE, radius, np.float32)] * bad, *honest])
        assert moved(merged("geomedian", rows), honest) <= 3


def moved(found: np.ndarray, honest: np.ndarray) -> float:
    """How far from the honest members' mean, in distances of the furthest of them."""
    middle = honest.astype(np.float64).mean(0)
    return float(np.linalg.norm(found - middle) / np.linalg.norm(honest - middle, axis=1).max())


@pytest.mark.parametrize("name", GEOMETRIC)
def test_the_order_of_the_members_changes_no_bit(name: str) -> None:
    for seed in range(5):
        rows, weights = vectors(9, seed, 2), np.random.default_rng(seed).integers(1, 9, 9)
        order = np.random.default_rng(seed).permutation(9)
        once, again = merged(name, rows, weights.tolist()), merged(name, rows[order], weights[order].tolist())
        assert once.tobytes() == again.tobytes()


@pytest.mark.parametrize("dtype", sorted(STORAGE))
@pytest.mark.parametrize("name", GEOMETRIC)
def test_every_type_is_merged_and_no_cut_changes_a_bit(name: str, dtype: str) -> None:
    parts, members = random_parts(dtype, 7, 40_000, 2), members_of(vectors(7, 1, 2))
    kernel, whole = METHODS[name].kernel(members), np.empty(40_000, STORAGE[dtype])
    kernel(dtype, parts, whole)
    halves = np.empty_like(whole)
    for cut in (slice(0, 12_345), slice(12_345, None)):
        kernel(dtype, [part[cut] for part in parts], halves[cut])
    assert halves.tobytes() == whole.tobytes()


def test_krum_golden() -> None:
    points = np.array([[0.0], [0.1], [0.2], [1.0], [50.0]], np.float32)
    members = members_of(points, faulty=1)  # two nearest each
    assert np.allclose(krum.scores(members), [0.05, 0.02, 0.05, 1.45, 2401 + 49.8**2], rtol=1e-5)
    assert merged("krum", points, faulty=1).tolist() == [np.float32(0.1)]
    assert np.allclose(merged("multikrum", points, [1, 1, 2, 4, 9], faulty=1), [(0.1 + 0.4 + 4) / 8])


def test_the_geometric_median_of_a_triangle_is_its_fermat_point() -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]], np.float32)
    assert np.allclose(merged("geomedian", corners), corners.mean(0), atol=1e-7)
    right = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]], np.float32)
    z = merged("geomedian", right).astype(np.float64)
    directions = [(corner - z) / np.linalg.norm(corner - z) for corner in right]
    assert np.linalg.norm(sum(directions)) < 1e-5  # 120 degrees between every two
    heavy = merged("geomedian", right, [5, 1, 1])  # more than all others together: its holder alone decides
    assert np.linalg.norm(heavy) < 1e-4


def test_the_steps_of_the_geometric_median_reach_it() -> None:
    for seed in range(20):
        weights = np.random.default_rng(seed).integers(1, 100, 10).tolist()
        members = members_of(vectors(10, seed, seed % 4), weights)
        found = geomedian.coefficients(members)
        pulls = [w / far for w, far in zip(affine.shares(members), affine.apart(members.between, found), strict=True)]
        again = [pull / sum(pulls) for pull in pulls]
        assert max(abs(a - b) for a, b in zip(found, again, strict=True)) < 2**-31


def test_neighbours_are_the_nearest_and_oneself() -> None:
    points = np.array([[0.0], [1.0], [3.0], [10.0]], np.float32)
    members = members_of(points, faulty=1)
    assert [mixing.neighbours(members, i) for i in range(4)] == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [1, 2, 3]]
