"""Whatever a person does wrong: one sentence, a hint, the right exit code, no traceback, nothing left running.

Every case is in tests/bad_input, every message in tests/messages.txt, compared word for word; see tests/bad_input/
messages for how to write that file anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bad_input import identity, nodes
from tests.bad_input.messages import CASES, UPDATING, Case, golden, write_golden, written
from tests.bad_input.stage import Stage, staged

ROOMS = (identity, nodes)  # each adds its cases when it is imported


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    try:
        yield shared_stage
    finally:
        shared_stage.clear()


@pytest.fixture(scope="module")
def blocks() -> Iterator[dict[str, str]]:
    told: dict[str, str] = {}
    yield told
    if UPDATING:
        write_golden(told)


@pytest.mark.parametrize(
    "case", [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.slow else []) for one in CASES.values()]
)
def test_the_message_is_the_one_in_the_golden_file(case: Case, stage: Stage, blocks: dict[str, str]) -> None:
    told = case.act(stage)
    if case.process:
        stage.check_nothing_left()
    blocks[case.name] = written(told, stage.places)
    assert UPDATING or blocks[case.name] == golden().get(case.name)


def test_the_golden_file_has_exactly_the_cases() -> None:
    assert UPDATING or list(golden()) == list(CASES)
