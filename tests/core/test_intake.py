"""A member that proposes without end: its line is bounded, and it holds others up by a bounded number of entries."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.core import intake
from swarm.core.asking import Answered, Asked, AskedTogether, Declined, NotLeading, TurnedAway
from swarm.core.intake import Intake
from tests.core.orderers import Hand, Sn, joining, propose
from tests.core.scene import Actor

UNDER_WAY, LINE = 32, 100
FLOOD = 500


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> Hand:
    hand = Hand(3)
    hand.begin()
    monkeypatch.setattr(intake, "UNDER_WAY_MAX", UNDER_WAY)
    monkeypatch.setattr(intake, "LINE_MAX", LINE)
    return hand


class Member:
    """What it asks who leads, all together, and what it is told."""

    def __init__(self, hand: Hand, leader: Sn, by: bytes, first: int) -> None:
        self.hand, self.leader, self.by, self.first = hand, leader, by, first
        self.actor = Actor("sl", f"sl-{first}")
        self.raws: list[bytes] = []

    def ask(self, count: int) -> None:
        """Each of them accepted however often it comes: it joins again."""
        body = joining(self.actor)
        self.raws += [propose(self.actor, "NodeJoined", body, self.hand.network_id) for _ in range(count)]
        self.again(list(range(len(self.raws) - count, len(self.raws))))

    def again(self, places: list[int]) -> None:
        asked = tuple(Asked(self.first + at, self.raws[at], self.leader.wall_ms, self.by) for at in places)
        self.leader.handle(AskedTogether(asked))

    def told(self, kind: type) -> dict[int, Any]:
        """By the place of the proposal."""
        answers = self.leader.answers
        mine = {at: answers.get(self.first + at) for at in range(len(self.raws))}
        return {at: answer for at, answer in mine.items() if isinstance(answer, kind)}

    def forget_turned_away(self) -> list[int]:
        places = list(self.told(TurnedAway))
        for at in places:
            del self.leader.answers[self.first + at]
        return places


def test_r069_who_floods_the_ledger_is_turned_away_and_others_wait_for_a_bounded_number_of_entries(three: Hand) -> None:
    leader = three.leader
    hostile, other = Member(three, leader, b"b", 10_000), Member(three, leader, b"c", 20_000)
    hostile.ask(FLOOD)
    assert len(hostile.told(TurnedAway)) == FLOOD - UNDER_WAY - LINE
    last = leader.orderer.last_index
    other.ask(3)
    three.settle()
    indexes = [answer.outcome.index for answer in other.told(Answered).values()]
    assert len(indexes) == 3
    # What was under way when it came, a turn of the other's before each of its own, and what was made as they went by.
    assert max(indexes) <= last + UNDER_WAY + 2 * 3
    # Nothing is lost: what was turned away is taken when it is asked again, as often as that needs.
    while places := hostile.forget_turned_away():
        hostile.again(places)
        three.settle()
    outcomes = [answer.outcome for answer in hostile.told(Answered).values()]
    assert len({outcome.index for outcome in outcomes}) == FLOOD
    assert three.level()


def test_a_leader_that_is_replaced_tells_everybody_in_line_whom_to_ask(three: Hand) -> None:
    old = three.leader
    hostile = Member(three, old, b"b", 10_000)
    three.cut_off.add(old.uid)
    hostile.ask(UNDER_WAY + LINE)
    assert not hostile.told(NotLeading)
    three.run(6, until=lambda: old.orderer.role != "leader")
    assert len(hostile.told(NotLeading)) == UNDER_WAY + LINE


def test_what_nobody_can_have_signed_leaves_the_line_with_that_answer(three: Hand) -> None:
    leader = three.leader
    hostile = Member(three, leader, b"b", 10_000)
    hostile.ask(UNDER_WAY)
    hostile.raws.append(b"")
    hostile.again([UNDER_WAY])
    assert not hostile.told(Declined)
    three.settle()
    assert list(hostile.told(Declined)) == [UNDER_WAY]


def unsigned(hand: Hand, count: int) -> list[bytes]:
    """Of somebody who has not joined."""
    stranger = Actor("sl", "sl-stranger")
    return [propose(stranger, "NodeLeft", {}, hand.network_id) for _ in range(count)]


def test_what_nobody_can_have_signed_has_a_bound_while_it_waits_for_what_is_under_way(three: Hand) -> None:
    leader = three.leader
    other, hostile = Member(three, leader, b"c", 10_000), Member(three, leader, b"b", 20_000)
    other.ask(1)
    hostile.raws = unsigned(three, FLOOD)
    hostile.again(list(range(FLOOD)))
    assert len(hostile.told(TurnedAway)) == FLOOD - LINE
    three.settle()
    assert len(hostile.told(Declined)) == LINE


def test_what_nobody_can_have_signed_is_refused_once_what_was_under_way_is_applied_whatever_came_since(
    three: Hand,
) -> None:
    leader = three.leader
    other, hostile = Member(three, leader, b"c", 10_000), Member(three, leader, b"b", 20_000)
    other.ask(1)
    hostile.raws = unsigned(three, 1)
    hostile.again([0])
    other.ask(1)
    three.settle()
    told = [number for number in leader.answers if number >= 10_000]
    assert told == [10_000, 20_000, 10_001], "not judged again and again, as long as anything is under way"
    assert list(hostile.told(Declined)) == [0]


# ---- the lines alone


def asked(number: int, by: bytes, size: int = 1) -> Asked:
    return Asked(number, bytes(size), 0, by)


def drained(lines: Intake) -> list[int]:
    numbers: list[int] = []
    while (one := lines.next(0)) is not None:
        numbers.append(one.number)
    return numbers


def test_each_organisation_has_its_turn_and_its_own_come_in_order() -> None:
    lines = Intake()
    for number, by in enumerate([b"a", b"a", b"a", b"b", b"a", b"c", b"b"], 1):
        assert lines.line_up(asked(number, by))
    assert drained(lines) == [1, 4, 6, 2, 7, 3, 5]
    assert lines.lets_through(0)


def test_a_line_is_bounded_in_number_and_in_bytes_and_no_line_bounds_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LINE_MAX", 2)
    monkeypatch.setattr(intake, "LINE_BYTES_MAX", 10)
    lines = Intake()
    assert [lines.line_up(asked(number, b"a")) for number in (1, 2, 3)] == [True, True, False]
    assert [lines.line_up(asked(number, b"b", 6)) for number in (4, 5)] == [True, False]
    lines.forget(4)
    assert lines.line_up(asked(5, b"b", 6)), "who gives up makes room"
    assert sorted(drained(lines)) == [1, 2, 5]


def test_when_there_was_no_room_half_of_it_has_to_be_free_before_the_next_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "UNDER_WAY_MAX", 8)
    lines = Intake()
    assert lines.lets_through(7)
    assert not lines.lets_through(8)
    assert lines.line_up(asked(1, b"a"))
    assert lines.next(5) is None
    assert lines.next(4) == asked(1, b"a")
    assert lines.lets_through(7)


def test_all_who_wait_in_a_line_or_for_an_entry_are_let_go() -> None:
    lines = Intake()
    lines.line_up(asked(1, b"a"))
    assert lines.hold(5, asked(2, b"a"))
    assert lines.hold(6, asked(3, b"b"))
    lines.forget(3)
    assert sorted(lines.release()) == [1, 2]
    assert lines.release() == lines.due(9) == drained(lines) == []
