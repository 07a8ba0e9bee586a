"""A swarm for each value: what becomes of a task's roles, and what cannot be one."""

import pytest

from swarm.errors import BadInput
from swarm.wire import rolesfile
from swarm.wire.variants import variants
from tests.wire.test_rolesfile import FLAME, GOOD, faults, read

SWEEP = b"""\
Name: lr
TaskType: RUN_SWARM
Body:
  ForEach: {"%LR": [0.1, 1, a b]}
  Envvars: {RATE: "%LR"}
  Roles:
    - {Name: learner, Replicas: 2, Command: [python, learn.py, --lr=%LR], Merge: param}
    - {Name: watcher, Needs: [learner], Command: [python, watch.py], Envvars: {OF: "x%LR"}}
"""


def test_a_swarm_for_each_value_has_contracts_of_its_own_and_its_value_put_in():
    task = read(SWEEP)
    each = variants(task)
    assert [value for value, _ in each] == ["0.1", "1", "a b"]
    for index, (value, body) in enumerate(each):
        assert [role.contract for role in body.roles()] == [f"param.{index}", ""]
        assert body.named("learner").Command == ("python", "learn.py", f"--lr={value}")
        assert (body.Envvars, body.named("watcher").Envvars) == ({"RATE": value}, {"OF": f"x{value}"})
        assert rolesfile.body_of_run(rolesfile.to_wire(body), "lr", body.roles()) == body, "as the ledger has it"
    assert variants(read(GOOD)) == []


def test_how_a_swarm_ends_is_said_for_each_of_them():
    ends = b"  MaxRunTime: 60\n  Clean: all\n  StopOn: {metric: accuracy, ge: 0.95}\n  Roles:"
    task = read(SWEEP.replace(b"  Roles:", ends))
    for _, body in variants(task):
        assert (body.MaxRunTime, body.Clean) == (60, "all")
        assert body.StopOn is not None
        assert (body.StopOn.metric, body.StopOn.ge) == ("accuracy", 0.95)
        assert rolesfile.body_of(rolesfile.to_wire(body), "lr") == body, "as the ledger has it"


def test_a_channels_contract_is_each_swarms_own_too():
    text = FLAME.replace(b"Owner: participant, ", b"").replace(b"train.py]", b"train.py, '%LR']")
    each = variants(read(text.replace(b"  Roles:", b'  ForEach: {"%LR": [1, 2]}\n  Roles:')))
    assert [[role.contract for role in body.roles()] for _, body in each] == [
        ["digits.0", "digits.0", ""],
        ["digits.1", "digits.1", ""],
    ]


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"--lr=%LR", b"--lr=1", ""),
        (b"Replicas: 2", b"Owner: participant", "the role learner is of participants, who join one swarm"),
        (b"[0.1, 1, a b]", b"user.alice.rates", "ForEach names the dataset user.alice.rates"),
        (b'"%LR": [', b'"%RATE": [', "%RATE stands for something, and no role's Command or Envvars name it"),
    ],
)
def test_what_cannot_be_a_swarm_for_each_value_is_refused(changed: bytes, into: bytes, said: str):
    text = SWEEP.replace(changed, into, 1)
    if said:
        assert said in faults(text)
    else:
        assert read(text).body.ForEach, "named elsewhere it is enough"


def test_a_contract_whose_name_leaves_no_room_and_too_many_swarms_are_refused():
    with pytest.raises(BadInput, match=r"swarm 0 of task lr would merge in p+\.0, expected the name of a contract"):
        variants(read(SWEEP.replace(b"Merge: param", b"Merge: " + b"p" * 63)))
    many = ", ".join(map(str, range(1001))).encode()
    with pytest.raises(BadInput, match="makes 1001 swarms, expected at most 1000"):
        variants(read(SWEEP.replace(b"0.1, 1, a b", many)))
    wide = SWEEP.replace(b"0.1, 1, a b", many.removesuffix(b", 1000")).replace(b"Replicas: 2", b"Replicas: 10")
    with pytest.raises(BadInput, match="makes 1000 swarms with 11000 slots, expected at most 10000"):
        variants(read(wide))


def test_a_sweep_that_no_client_took_apart_is_not_run():
    body = read(SWEEP).body
    with pytest.raises(BadInput, match="was submitted as one swarm and has ForEach"):
        rolesfile.body_of_run(rolesfile.to_wire(body), "lr", body.roles())


def test_an_outcome_is_kept_and_data_for_all_roles_are_refused():
    assert read(GOOD.replace(b"Outcome: cartpole", b"Outcome: a model")).outcome == "a model"
    said = faults(GOOD.replace(b"  Restart: 3\n", b'  Data: {"%DATA": user.alice.mnist}\n', 1))
    assert said.startswith("roles.yaml: Body has Roles and Data: datasets are of one organisation")
