"""Groups that have lost their newest model: what goes up then, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.core import member_steps as m
from swarm.core.events import Contributor, SnapMade
from swarm.core.rules import KNOWN
from tests.core.play import UPPER, Play, Seat


def lose(play: Play, seat: Seat) -> None:
    """The node of this member begins anew, and finds nobody who has the group's newest model."""
    play.restart(seat)
    group = seat.member.contract
    play.tell(play.scene.told(seat.actor, "Missing", {"contract": group.name, "digest": group.base}))


def contributed(play: Play, seat: Seat) -> list[Contributor]:
    """What the node gives to merges of the upper contract from now on."""
    found: list[Contributor] = []
    tell = play.tell

    def heard(events: list[Any]) -> None:
        snaps = [event for event in events if isinstance(event, SnapMade) and event.contract == UPPER]
        found.extend(each for snap in snaps for each in snap.members if each.uid == seat.actor.uid)
        tell(events)

    play.tell = heard  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("lost", ["what it has merged", "what came from above"])
def test_a_group_that_has_lost_its_model_takes_the_newest_from_above_and_brings_nothing_there_a_second_time(lost: str):
    play = Play({"eu": [1], "us": [1]}, every=1, syncs=6)
    leader, group = play.seats[0], play.seats[0].member.contract
    above = contributed(play, leader)
    stage = "down" if lost == "what it has merged" else "up"
    while not group.level.handed or group.level.stage != stage or group.offers:
        play.step()
    lose(play, leader)
    assert (group.level.stage, group.level.weight) == ("down", 0)
    climb, climbs = play.climb, list[m.Climb]()
    play.climb = lambda seat, effect: (seat.contract == "eu" and climbs.append(effect), climb(seat, effect))  # type: ignore
    play.run()
    assert [effect.again for effect in climbs[:2]] == [True, False]
    assert len(above) == len({each.digest for each in above}) > 3
    assert play.seats[0].answers[-1] == play.seats[1].answers[-1]


@pytest.mark.parametrize("rules", [3, KNOWN])
def test_what_is_left_of_a_group_that_has_met_no_other_goes_up_with_its_weight(rules: int):
    play = Play({"eu": [2, 3], "us": [1]}, every=2, syncs=6, rules=rules)
    leader, group = play.seats[0], play.seats[0].member.contract
    above = contributed(play, leader)
    models: list[str] = []
    while group.level.stage != "down":
        play.step()
        models = [*models, group.base] if group.base not in models else models
    for seat in play.seats[:2]:
        lose(play, seat)
    initial, left, gone = models
    assert (group.base, group.level.stage, group.level.weight) == (left, "down", 5000), (initial, gone)
    play.run()
    assert [(each.digest, each.weight) for each in above[:1]] == [(left, 5000)]
    assert len({seat.answers[-1] for seat in play.seats}) == 1


def test_what_a_group_has_left_goes_up_as_ever_in_a_ledger_of_earlier_rules():
    play = Play({"eu": [1], "us": [1]}, every=1, syncs=6, rules=3)
    leader, group = play.seats[0], play.seats[0].member.contract
    while not group.level.handed or group.level.stage != "down" or group.offers:
        play.step()
    lose(play, leader)
    assert (group.level.stage, group.level.weight) == ("down", 1000)


def test_a_group_that_has_lost_one_of_several_merges_goes_on_from_the_one_before():
    play = Play({"eu": [1], "us": [1]}, every=3, syncs=9)
    leader, group = play.seats[0], play.seats[0].member.contract
    while not group.level.handed or group.base == group.level.handed or group.offers:
        play.step()
    lose(play, leader)
    assert (group.level.stage, group.base) == ("up", group.level.handed)
    play.run()
    assert play.seats[0].answers[-1] == play.seats[1].answers[-1]


def test_a_group_that_nobody_holds_any_model_of_begins_anew():
    play = Play({"eu": [1], "us": [1]}, every=2, syncs=6)
    leader, group = play.seats[0], play.seats[0].member.contract
    while not group.has_model or group.offers:
        play.step()
    lose(play, leader)
    assert (group.level.stage, group.level.weight, group.has_model) == ("up", 0, False)
    play.run()
    assert play.seats[0].answers[-1] == play.seats[1].answers[-1]


@pytest.mark.parametrize(("rules", "forgotten"), [(4, False), (KNOWN, True)])
def test_a_group_that_has_lost_all_it_had_forgets_what_came_from_above(rules: int, forgotten: bool):
    """Else its leader, begun anew, takes the next merge for the one that is in the upper contract's model already."""
    play = Play({"eu": [1], "us": [1]}, every=1, syncs=6, rules=rules)
    leader, group = play.seats[0], play.seats[0].member.contract
    while not group.level.handed or group.offers:
        play.step()
    lose(play, leader)
    while group.has_model:
        play.tell(play.scene.told(leader.actor, "Missing", {"contract": group.name, "digest": group.base}))
    assert (group.level.handed == "") == forgotten
