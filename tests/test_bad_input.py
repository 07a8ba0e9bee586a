"""Whatever a person does wrong: one sentence, a hint, the right exit code, no traceback, nothing left running.

Every case is in tests/bad_input, every message in tests/messages.txt, compared word for word; see tests/bad_input/
messages for how to write that file anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bad_input import identity, nodes, programs, registry, roles, tasks
from tests.bad_input.messages import CASES, UPDATING, Case, golden, write_golden, written
from tests.bad_input.stage import TRAINING, Stage, shared_stage, stage

__all__ = ["shared_stage", "stage"]  # fixtures

ROOMS = (identity, nodes, programs, registry, roles, tasks)  # each adds its cases when it is imported


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


# ---- what is more than a message


def test_r099_a_hospital_whose_training_diverges_withdraws_and_the_others_go_on(stage: Stage) -> None:
    gate = stage.new("gate")
    healthy = [stage.start_sl(["together_until", "r099", 2, gate], of=of) for of in (stage.a, stage.b)]
    for node in healthy:
        node.says("merged")
    ill = stage.train("diverges", "r099", 2, "nan", 2)
    assert ill.told.code == 7
    assert "this peer leaves the swarm; the others go on without it" in ill.out
    gate.parent.mkdir()
    gate.touch()
    for node in healthy:
        ended = node.ended()
        assert ended.code == 0, ended.err
        assert "finished" in ended.out
    stage.check_nothing_left()


def test_r100_a_program_that_raises_ends_its_node_with_its_code_and_its_last_lines(stage: Stage) -> None:
    state = stage.new("sl")
    ended = stage.train("raises", "r100-sl", state=state)
    assert ended.code == 1
    assert ended.err.count("Traceback") == ended.err.count("ValueError: expected 784 columns, found 783") == 1
    assert ended.err.rstrip().endswith("ERROR : the training program ended with exit code 1")
    assert "error: " not in ended.err
    assert "ValueError: expected 784 columns, found 783" in (state / "logs" / "swarm.log").read_text()
    stage.check_nothing_left()


def test_a_programs_own_exit_code_is_its_nodes(stage: Stage) -> None:
    assert stage.train("exits", "own-code", 5).code == 5


def test_swarm_debug_shows_the_traceback_too(stage: Stage) -> None:
    ended = stage.start([TRAINING, "exits", "c", 0], environment={"SWARM_DEBUG": "1"}).ended()
    assert ended.code == 4
    assert "Traceback" in ended.err
    assert ended.err.count("\nerror: no swarm learning node") == 1


def test_a_programs_own_hook_keeps_its_errors(stage: Stage) -> None:
    node = stage.start([TRAINING, "with_a_hook", "c"], environment={"SWARM_LOOPBACK": "true"})
    assert node.ended().code == 1
    assert (node.state.parent / "hooked").read_text() == "KeyError"


@pytest.mark.slow
def test_r099_keras_a_loss_that_is_nan(stage: Stage) -> None:
    program = TRAINING.with_name("keras_training.py")
    gate = stage.new("gate")
    healthy = [stage.start_sl(["healthy", gate], of=of, script=program) for of in (stage.a, stage.b)]
    ill = stage.start_sl(["ill", gate], script=program).ended()
    assert ill.told.code == 7
    assert 'the weights in tensor "0:sequential/dense/kernel" are not finite' in ill.told.message
    gate.parent.mkdir()
    gate.touch()
    for node in healthy:
        ended = node.ended()
        assert ended.code == 0, ended.err
        assert "All peers and Swarm training rounds finished. Final Swarm model was loaded." in ended.out
    stage.check_nothing_left()
