"""Who may do what: the default is no."""

import pytest

from swarm.core.kinds import FIELDS
from swarm.core.names import ROLES
from swarm.core.policy import RULES, allowed, membership, roles


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_in_the_table_is_denied(role):
    assert not allowed("reboot", role)
    assert not allowed("propose", "admin")
    assert not allowed("", role)


def test_r043_ordering_and_forwarding_are_for_network_nodes_only():
    for verb in ("raft", "forward", "alive", "entries", "WindowClosed", "DeadlinePassed", "NodeLost", "Genesis"):
        assert [role for role in ROLES if allowed(verb, role)] == ["sn"], verb


def test_taking_part_in_a_round_needs_role_and_membership():
    for kind in ("Offer", "Ready", "Suspect", "Missing", "Leave", "weights"):
        assert [role for role in ROLES if allowed(kind, role)] == ["sl"], kind
        assert membership(kind) == "member"


def test_every_kind_of_the_ledger_has_a_row_and_names_its_roles():
    for kind in FIELDS:
        assert roles(kind) in ("sn", "sl", "swop", "swci", "swci or swop", "sl or sn or swci or swop")
    assert roles("reboot") == "nobody"
    assert all(granted <= set(ROLES) for granted, _ in RULES.values())


def test_work_is_steered_by_command_interfaces_and_run_by_operators():
    for kind in ("TaskCreated", "TaskAssigned", "TaskrunnerCreated", "ContractCreated"):
        assert [role for role in ROLES if allowed(kind, role)] == ["swci"], kind
    for kind in ("TaskBodyAppended", "TaskFinalized", "TaskDeleted"):
        assert (membership(kind), roles(kind)) == ("task's organisation", "swci"), kind
    assert membership("TaskrunnerReset") == "taskrunner's organisation"
    for kind in ("SlotReported", "TaskDeclined"):
        assert (membership(kind), roles(kind)) == ("holder", "swop"), kind
    assert roles("SwopListening") == "swop"
    assert roles("LeaseEnded") == "sn"
