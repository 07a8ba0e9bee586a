"""What an offer tells of the round before: a loss in millionths, or how far the own change was from the merged one."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio

from swarm.core import clip
from swarm.core.tensors import Schema
from swarm.nodes.models import Models
from swarm.nodes.offering import Offering
from swarm.wire import tensorbytes
from tests.core.member_world import BASE, RESULT, trained

ARRAYS = {"w": np.zeros(40_000, np.float32), "h": np.zeros(3, np.float16), "n": np.zeros(3, np.int64)}
SCHEMA = Schema.of(ARRAYS)


def packed(value: float) -> memoryview:
    buffer = memoryview(bytearray(SCHEMA.nbytes))
    tensorbytes.pack(SCHEMA, {name: np.full_like(array, value) for name, array in ARRAYS.items()}, buffer)
    return buffer


def offering(rule: str, own: float = 0.0) -> Offering:
    contract = SimpleNamespace(schema=SCHEMA, options=SimpleNamespace(useAdaptiveSync=rule), offers={})
    parts: list[Any] = [SimpleNamespace(out=packed(own)), contract, {}]
    offers = SimpleNamespace(root=lambda *of: {})
    rates = SimpleNamespace(told=lambda others: {}, doubted=lambda claims: {})
    return Offering(*parts, offers, rates)  # type: ignore[arg-type]


def told(one: Offering) -> int | None:
    return trio.run(one.completed, {"digest": "d", "base": "b"}, {}).get("measured")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"loss": 0.5, "val_loss": 0.25}, 250_000),
        ({"loss": 0.5}, 500_000),
        ({"accuracy": 1.0}, None),
        ({"val_loss": math.nan}, None),
        ({"val_loss": math.inf}, None),
        ({"val_loss": -1.0}, None),
        ({"val_loss": 1e300}, 10**15),
    ],
)
def test_a_loss_is_told_in_millionths_and_what_is_none_is_not(metrics, expected) -> None:
    one = offering("hpe")
    one.asked(metrics)
    assert told(one) == expected
    other = offering("fixed")
    other.asked(metrics)
    assert told(other) is None


def test_a_change_counts_all_floats_and_nothing_else() -> None:
    assert clip.squares(SCHEMA, 0, SCHEMA.nbytes, packed(3), packed(1)) == 4 * 40_003


def test_drift_is_told_once_with_the_next_offer() -> None:
    one = offering("drift", own=3.0)
    one.asked({})
    one.merged(packed(1), packed(2))
    assert told(one) is None, "the offer of the round itself is made already"
    one.asked({})
    assert told(one) == 4000
    one.asked({})
    assert told(one) is None


def test_drift_of_a_merge_that_came_to_nothing_is_not_told() -> None:
    one = offering("drift", own=3.0)
    one.merged(packed(1), packed(2))
    one.came_to_nothing()
    one.asked({})
    assert told(one) is None


def test_a_merge_that_changed_nothing_has_no_drift() -> None:
    one = offering("drift", own=3.0)
    one.merged(packed(1), packed(1))
    one.asked({})
    assert told(one) is None


def test_an_offer_throws_away_what_nothing_rests_on_and_one_that_is_out_of_date_nothing(tmp_path: Path) -> None:
    contract, models = trained().contract, Models(tmp_path, 8)
    decided, moved, old = (f"blake3:{'def'[n] * 64}" for n in range(3))
    for digest in (decided, moved, old, RESULT):
        models.hold(models.incoming(), digest)
    one = Offering(SimpleNamespace(out=b""), contract, models, *[SimpleNamespace()] * 2)  # type: ignore[arg-type]
    held = {digest: models.get(digest) for digest in (decided, moved, old, RESULT)}

    one.keeps({"round": contract.round - 1, "base": contract.base, "digest": decided}, decided)
    one.keeps({"round": contract.round, "base": BASE, "digest": decided}, decided)
    assert {digest: models.get(digest) for digest in held} == held

    one.keeps({"round": contract.round, "base": contract.base, "digest": moved}, decided)
    assert [models.get(digest) is not None for digest in held] == [True, True, False, True]
