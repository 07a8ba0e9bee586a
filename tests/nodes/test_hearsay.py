"""By what network nodes say a follower ends: most of them have to say it, and to show who they are."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.errors import IdentityError, Outdated, Replaced, RunsTwice, Unreachable
from swarm.nodes.hearsay import NotAdmitted, TurnedAway

KINDS = [Outdated, Replaced, RunsTwice]


def of(count: int) -> Any:
    return SimpleNamespace(sns=lambda: [(f"sn-{number}", b"") for number in range(count)])


def by(uid: str, error: IdentityError) -> IdentityError:
    error.said_by = uid
    return error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "needed"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_most_network_nodes_have_to_turn_a_follower_away(count: int, needed: int, kind: type[IdentityError]) -> None:
    turned_away, ledger = TurnedAway(), of(count)
    for number in range(needed - 1):
        for _ in range(3):
            assert not turned_away.heard(by(f"sn-{number}", kind("no")), ledger)
    assert turned_away.heard(by(f"sn-{needed - 1}", kind("no")), ledger)


def test_that_another_process_lives_and_that_it_has_taken_the_place_is_one_thing_and_an_old_release_another() -> None:
    turned_away, ledger = TurnedAway(), of(3)
    assert not turned_away.heard(by("sn-0", Replaced("no")), ledger)
    assert not turned_away.heard(by("sn-1", Outdated("no")), ledger)
    assert turned_away.heard(by("sn-2", RunsTwice("no")), ledger)


@pytest.mark.parametrize("error", [by("sn-9", Replaced("no")), Replaced("no"), by("sn-1", IdentityError("no"))])
def test_no_stranger_nobody_and_nothing_else_counts(error: IdentityError) -> None:
    turned_away, ledger = TurnedAway(), of(2)
    turned_away.heard(by("sn-0", Replaced("no")), ledger)
    assert not turned_away.heard(error, ledger)
    assert not turned_away.heard(Unreachable("gone"), ledger)


def test_who_was_let_in_has_to_be_turned_away_anew() -> None:
    turned_away, ledger = TurnedAway(), of(2)
    turned_away.heard(by("sn-0", Replaced("no")), ledger)
    turned_away.let_in()
    assert not turned_away.heard(by("sn-1", Replaced("no")), ledger)
    assert turned_away.heard(by("sn-0", Replaced("no")), ledger)


def test_one_network_node_of_two_that_refuses_a_certificate_ends_nobody_however_often_it_does() -> None:
    not_admitted, ledger = NotAdmitted(logging.getLogger("swarm.SL")), of(2)
    answer = Unreachable("no answer")
    answer.__cause__ = IdentityError("no")
    for uid in ("sn-0", "sn-0", "sn-9"):
        not_admitted.heard(answer, by_link(uid), ledger)
    not_admitted.heard(Unreachable("gone"), by_link("sn-1"), ledger)
    with pytest.raises(IdentityError, match=r"^no$"):
        not_admitted.heard(answer, by_link("sn-1"), ledger)


def by_link(uid: str) -> Any:
    return SimpleNamespace(peer=SimpleNamespace(uid=uid, identity=f"{uid} (b)"))
