"""The file of a task with roles: what it may say, and what is said of one with faults."""

import pytest

from swarm.core.roles import Role
from swarm.errors import BadInput
from swarm.wire import channels, documents, rolesfile

GOOD = b"""\
Name: cartpole
TaskType: RUN_SWARM
Author: alice
Prereq: ROOTTASK
Outcome: cartpole
Body:
  Description: a pole that is to stay upright
  Code: ./code
  Envvars: {SEED: 0}
  Restart: 3
  Roles:
    - {Name: coordinator, Lead: true, Command: [python, coordinate.py]}
    - {Name: learner, Replicas: 2, Needs: [coordinator], Merge: param, Restart: 1, Command: [python, learn.py]}
    - Name: collector
      Replicas: {min: 1, max: 8, start: 2}
      Needs: [coordinator]
      Resources: {cpu: 2}
      Command: [python, collect.py, 0.10]
    - {Name: hospital, Owner: participant, Replicas: {min: 0, max: 4}, Command: [python, own.py]}
  Clean: none
  StopOn: {metric: reward, ge: 195}
"""


WIDE = b"".join(b"    - {Name: r%d, Replicas: 1000, Command: [python]}\n" % number for number in range(10))


def read(text: bytes) -> rolesfile.RolesFile:
    document = documents.read(text, "roles.yaml")
    assert rolesfile.is_meant(document)
    return rolesfile.of_document(document)


def faults(text: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read(text)
    return caught.value.message


def test_a_file_says_who_runs_and_what_the_ledger_has_to_know():
    task = rolesfile.parse(GOOD, "roles.yaml")
    assert (task.name, task.author) == ("cartpole", "alice")
    assert task.body.roles() == (
        Role("coordinator", lead=True, restart=3),
        Role("learner", low=2, high=2, start=2, needs=("coordinator",), restart=1, contract="param"),
        Role("collector", low=1, high=8, start=2, needs=("coordinator",), restart=3, cpu=2),
        Role("hospital", "participant", low=0, high=4, start=0, restart=3),
    )
    assert task.body.named("collector").Command == ("python", "collect.py", "0.10")
    assert (task.body.StopOn, task.body.Clean) == (rolesfile.Goal("reward", 195.0), "none")
    assert task.body.StartWithin == 120


def test_a_body_comes_back_from_the_ledger_as_it_was():
    body = rolesfile.parse(GOOD, "roles.yaml").body
    assert rolesfile.body_of(rolesfile.to_wire(body), "cartpole") == body


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"Needs: [coordinator]\n", b"Needs: [actor]\n", "role collector needs actor, which is no role of this task"),
        (b"max: 8, start: 2", b"max: 8, start: 9", "role collector starts with 9 slots, expected 1 to 8"),
        (b"Name: learner", b"Name: coordinator", "two roles have the name coordinator"),
        (b"Replicas: 2", b"Replicas: none", 'roles.yaml:13: Body.Roles[1].Replicas is "none", expected a whole number'),
        (b"Name: hospital", b"Name: 9", "Body.Roles[3].Name is"),
        (b"Name: cartpole\n", b'Name: "2"\n', "is made of digits alone, as ids are"),
        (b"a pole that is to stay upright", b'"\\e[2J"', "Body.Description is"),
        (b"Merge: param", b"Merge: A b", "the name of a contract"),
        (b"  Clean: none", b"  Clean: maybe", "Body.Clean is"),
        (b"  Clean: none", b"  Claen: none", 'unknown key "Claen"'),
        (
            b"  Clean: none",
            b"  Entrypoint: python3",
            "Body has Roles and Entrypoint: a RUN_SWARM task is of HPE's form",
        ),
        (b"ge: 195", b"le: 195", '"ge" is missing'),
    ],
)
def test_a_fault_is_said_with_its_line(changed: bytes, into: bytes, said: str):
    assert changed in GOOD
    assert said in faults(GOOD.replace(changed, into, 1))


def test_hpes_form_is_no_task_with_roles():
    said = faults(b"Name: a\nTaskType: RUN_SWARM\nBody:\n  Command: x.py\n  Entrypoint: python3\n")
    assert said == "roles.yaml: this RUN_SWARM task is of HPE's form, which is assigned to a taskrunner"


FLAME = b"""\
Name: digits
TaskType: RUN_SWARM
Body:
  Roles:
    - {Name: trainer, Owner: participant, Command: [python, train.py]}
    - {Name: aggregator, Command: [python, aggregate.py]}
    - {Name: watcher, Needs: [aggregator], Command: [python, watch.py]}
  Channels:
    - {Name: digits, Between: [trainer, aggregator]}
"""


def test_roles_of_a_channel_merge_in_the_contract_of_its_name():
    body = read(FLAME).body
    assert [role.contract for role in body.roles()] == ["digits", "digits", ""]
    assert rolesfile.body_of(rolesfile.to_wire(body), "digits") == body


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"[trainer, aggregator]", b"[trainer, trainer]", "no channel leads from trainer to aggregator"),
        (b"[trainer, aggregator]", b"[trainer, coach]", "there is no role coach"),
        (b"[trainer, aggregator]", b"[trainer]", "Between"),
        (
            b"[trainer, aggregator]}",
            b"[trainer, aggregator]}\n    - {Name: up, Between: [aggregator, watcher]}",
            "the role aggregator is in the channels digits and up: a role merges in one, or leads the groups of one",
        ),
        (b"Owner: participant", b"Merge: other", "merges in other and is in the channel digits"),
    ],
)
def test_a_graph_in_which_nobody_could_merge_is_refused(changed: bytes, into: bytes, said: str):
    assert changed in FLAME
    assert said in faults(FLAME.replace(changed, into))


GROUPS = b"""\
Name: digits
TaskType: RUN_SWARM
Body:
  Roles:
    - {Name: trainer, Owner: participant, Replicas: {min: 3, max: 9}, Command: [python, train.py]}
    - {Name: leader, Replicas: 2, Command: [python, lead.py]}
    - {Name: watcher, Needs: [leader], Command: [python, watch.py]}
  Channels:
    - {Name: digits, Between: [trainer, leader], GroupBy: [eu, us]}
    - {Name: all, Between: [leader, leader], GroupBy: [default], Every: 5}
"""


def test_each_group_merges_in_a_contract_of_its_own_and_leaders_meet_above():
    body = read(GROUPS).body
    trainer, leader, watcher = body.roles()
    assert (trainer.contract, leader.contract, watcher.contract) == ("digits", "digits", "")
    upper = {"SWARM_UPPER": "all", "SWARM_UPPER_EVERY": "5", "SWARM_UPPER_PEERS": "2"}
    eu = {"SWARM_CONTRACT": "digits-eu", "SWARM_GROUP": "eu", **upper}
    us = {"SWARM_CONTRACT": "digits-us", "SWARM_GROUP": "us", **upper}
    assert [channels.environment(body, trainer, index) for index in range(3)] == [eu, us, eu]
    assert [channels.environment(body, leader, index) for index in range(2)] == [
        {**eu, "SWARM_LEADS": "true"}, {**us, "SWARM_LEADS": "true"}
    ]  # fmt: skip
    assert channels.environment(body, watcher, 0) == {"SWARM_CONTRACT": ""}
    assert rolesfile.body_of(rolesfile.to_wire(body), "digits") == body


def test_groups_without_an_upper_channel_are_the_same_graph_once_for_each():
    body = read(
        GROUPS.replace(b"    - {Name: all, Between: [leader, leader], GroupBy: [default], Every: 5}\n", b"")
    ).body
    told = [channels.environment(body, role, index) for role in body.roles()[:2] for index in range(2)]
    assert told == [{"SWARM_CONTRACT": f"digits-{group}", "SWARM_GROUP": group} for group in ("eu", "us")] * 2


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"Every: 5", b"Every: 0", "Every"),
        (b"Replicas: 2", b"Replicas: 3", "leads the groups eu, us of channel digits: expected Replicas: 2"),
        (b"[eu, us]", b"[eu, eu]", "the channel digits has a group twice: eu, eu"),
        (b"[eu, us]", b"[eu, A b]", "GroupBy"),
        (b"[default]", b"[east, west]", "is in the channels digits and all: a role merges in one, or leads the groups"),
        (b"[trainer, leader], GroupBy", b"[trainer, trainer], GroupBy", "Every of channel all has no meaning"),
        (b"[leader, leader]", b"[leader, watcher]", "watcher is in the channel all, in which leader leads groups"),
        (b"Name: all", b"Name: digits-eu", "two channels, or groups of them, would merge in one contract, digits-eu"),
        (b"[leader, leader]", b"[leader, coach]", "there is no role coach"),
        (b"Replicas: 2, Command: [python, lead.py]", b"Merge: all, Replicas: 2, Command: [python, lead.py]",
         "the role leader merges in all and is in the channel digits"),
        (b"Needs: [leader], ", b"", "no channel leads from trainer to watcher"),
    ],
)  # fmt: skip
def test_groups_that_could_not_meet_are_refused(changed: bytes, into: bytes, said: str):
    assert changed in GROUPS
    assert said in faults(GROUPS.replace(changed, into))


def test_a_group_nobody_is_in_is_refused():
    alone = b"    - {Name: all, Between: [leader, leader], GroupBy: [default], Every: 5}\n"
    few = GROUPS.replace(alone, b"").replace(b"{min: 3, max: 9}", b"1").replace(b"Replicas: 2", b"Replicas: 1")
    assert "nobody is in the group us of channel digits: it has slots for 1" in faults(few)


def test_a_group_has_the_slots_of_its_indices():
    body = read(GROUPS).body
    trainer = body.roles()[0]
    assert channels.indices(body, trainer, "us", "digits") == [1, 3, 5, 7]
    with pytest.raises(BadInput, match="the role trainer of task digits has the groups eu, us, asked for asia"):
        channels.indices(body, trainer, "asia", "digits")
    with pytest.raises(BadInput, match="the role watcher of task digits has no groups"):
        channels.indices(body, body.roles()[2], "eu", "digits")


@pytest.mark.parametrize(("option", "variable"), [("pickPeers", "SWARM_PICK_PEERS"), ("asyncGoal", "SWARM_ASYNC_GOAL")])
def test_how_many_members_make_a_round_is_said_for_the_programs_of_a_channel(option: str, variable: str):
    text = GROUPS.replace(b"    - {Name: all, Between: [leader, leader], GroupBy: [default], Every: 5}\n", b"")
    body = read(text.replace(b"GroupBy: [eu, us]", b"GroupBy: [eu, us], %s: 5" % option.encode())).body
    trainer, _, watcher = body.roles()
    assert channels.environment(body, trainer, 1)[variable] == "5"
    assert variable not in channels.environment(body, watcher, 0)
    assert rolesfile.body_of(rolesfile.to_wire(body), "digits") == body


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"pickPeers: 6", "pickPeers=6 of a group of channel digits is not possible: expected 5 or less"),
        (b"asyncGoal: 6", "asyncGoal=6 of a group of channel digits is not possible: expected 5 or less"),
        (b"pickPeers: 0", "pickPeers"),
        (b"pickPeers: 2, asyncGoal: 2", "pickPeers=2 and asyncGoal=2 of channel digits are not possible together"),
    ],
)
def test_rounds_of_more_members_than_there_are_slots_are_refused(said: bytes, fault: str):
    flat = GROUPS.replace(b"    - {Name: all, Between: [leader, leader], GroupBy: [default], Every: 5}\n", b"")
    assert fault in faults(flat.replace(b"GroupBy: [eu, us]", b"GroupBy: [eu, us], " + said))


def test_groups_that_meet_merge_with_all_members():
    said = faults(GROUPS.replace(b"GroupBy: [eu, us]", b"GroupBy: [eu, us], pickPeers: 2"))
    assert "pickPeers=2 of channel digits is not possible where groups meet: all members merge there" in said


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"Needs: [coordinator], Merge", b"Needs: [coordinator, coordinator], Merge", "role learner needs coordinator"),
        (b"    - Name: collector", WIDE + b"    - Name: collector", "the roles may have 10015 slots, expected at most"),
    ],
)
def test_what_is_too_much_of_roles_is_refused_in_a_file_and_read_where_an_older_ledger_has_it(
    changed: bytes, into: bytes, said: str
):
    text = GOOD.replace(changed, into)
    assert f"roles.yaml: Body: {said}" in faults(text)
    assert rolesfile.body_of(documents.read(text, "roles.yaml").value["Body"], "cartpole")
