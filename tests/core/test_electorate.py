"""Who should vote, and the steps that lead there: never two at once, never through a state that cannot decide."""

from __future__ import annotations

import random

import pytest

from swarm.core.electorate import BEHIND_MAX, PASSING_S, VOTERS_MAX, Electorate, needed_first, wanted

A, B, C, D = b"A", b"B", b"C", b"D"


def sns(*organisations: bytes) -> list[tuple[str, bytes]]:
    return [(f"sn-{number}", organisation) for number, organisation in enumerate(organisations, 1)]


@pytest.mark.parametrize(
    ("organisations", "expected"),
    [
        ([A], "1"),
        ([A, B], "1"),
        ([A, B, C], "1 2 3"),
        ([A, A, A, A], "1 2 3"),
        ([A, B, C, D], "1 2 3"),
        ([A, A, A, A, A], "1 2 3 4 5"),
        ([A, A, B, B, B, B], "1 2 3 4 5"),
        ([A, A, B, C], "1 3 4"),
        ([A, A, A, B, C, C], "1 2 4 5 6"),
        ([A, A, A, B, C], "1 4 5"),  # five would need a third of A
        ([A, A, A, A, A, B, C, D], "1 2 6 7 8"),
    ],
)
def test_who_is_wanted(organisations: list[bytes], expected: str) -> None:
    uids = tuple(f"sn-{number}" for number in expected.split())
    assert set(wanted(sns(*organisations), "sn-1")) == set(uids)


def test_the_sentinel_comes_first_and_if_it_left_who_joined_first() -> None:
    assert wanted(sns(A, B), "sn-2") == ("sn-2",)
    assert wanted(sns(A, B), "sn-9") == ("sn-1",)
    assert wanted([], "sn-1") == ()
    assert wanted(sns(A, A, B, C), "sn-2")[0] == "sn-2"


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_holds_for_any_network(seed: int) -> None:
    drawn = random.Random(seed)
    for _ in range(200):
        admitted = sns(*(drawn.choice([A, B, C, D]) for _ in range(drawn.randint(1, 9))))
        chosen = wanted(admitted, "sn-1")
        assert len(chosen) in (1, 3, 5)
        assert "sn-1" in chosen
        if len({anchor for _, anchor in admitted}) >= 3:
            anchors = [anchor for uid, anchor in admitted if uid in chosen]
            assert all(anchors.count(anchor) <= (len(chosen) - 1) // 2 for anchor in anchors) or len(chosen) == 1
            assert len(chosen) >= 3


class Steps:
    """An electorate whose proposals are followed at once."""

    def __init__(self, voters: str, wanted: str, behind: dict[str, int]) -> None:
        self.electorate = Electorate()
        self.voters, self.wanted, self.behind = tuple(voters), tuple(wanted), behind
        self.in_step: set[str] | None = None  # all that answer
        self.removed = ""
        self.now_s = 0.0

    def tick(self, seconds: float = 0.1, *, settled: bool = True, changing: bool = False) -> str | None:
        self.now_s += seconds
        in_step = set(self.behind) if self.in_step is None else self.in_step
        state = (self.wanted, self.voters, self.behind, in_step, self.removed)
        voters = self.electorate.tick(self.now_s, *state, settled=settled, changing=changing)
        if voters is None:
            return None
        self.voters = voters
        return "".join(voters)


def test_from_one_to_three_only_when_both_are_ready() -> None:
    steps = Steps("a", "abc", {"a": 0, "b": 0})
    assert steps.tick() is None
    steps.behind["c"] = BEHIND_MAX + 1
    assert steps.tick() is None
    steps.behind["c"] = BEHIND_MAX
    assert steps.tick() == "ab"
    assert steps.tick() == "abc"
    assert steps.tick() is None


def test_from_one_to_three_only_with_those_that_store_what_the_one_voter_does() -> None:
    """One that has answered just now, and is gone, would be one of two that decide only together."""
    steps = Steps("a", "abcd", {"a": 0, "b": 0, "c": 0})
    steps.in_step = {"c"}
    assert steps.tick() is None
    steps.behind["d"] = 0
    steps.in_step = {"c", "d"}
    assert steps.tick() == "ac"
    steps.in_step = set()  # with more than one voter there is no such thing
    assert steps.tick() == "acb"


def test_two_voters_are_given_up_if_the_third_does_not_come() -> None:
    steps = Steps("a", "abc", {"a": 0, "b": 0, "c": 0})
    assert steps.tick() == "ab"
    del steps.behind["c"]
    assert steps.tick() is None
    assert steps.tick(PASSING_S - 1) is None
    assert steps.tick(1) == "a"
    assert steps.tick() is None


def test_the_time_of_two_voters_begins_anew_each_time() -> None:
    steps = Steps("ab", "abc", {"a": 0, "b": 0})
    assert steps.tick() is None
    steps.behind["c"] = 0
    assert steps.tick(PASSING_S - 1) == "abc"
    assert steps.tick() is None
    steps.voters = ("a", "b")
    del steps.behind["c"]
    assert steps.tick() is None
    assert steps.tick(PASSING_S - 1) is None
    assert steps.tick(1) == "a"


def test_one_change_at_a_time_and_none_before_the_term_has_begun() -> None:
    steps = Steps("abc", "abcde", dict.fromkeys("abcde", 0))
    assert steps.tick(settled=False) is None
    assert steps.tick(changing=True) is None
    assert steps.tick() == "abcd"
    assert steps.tick() == "abcde"


def test_who_left_goes_when_the_successor_is_in() -> None:
    steps = Steps("abc", "abd", {"a": 0, "b": 0})
    assert steps.tick() is None
    steps.behind["d"] = 5
    assert steps.tick() == "abcd"
    assert steps.tick() == "abd"


def test_five_voters_never_become_six() -> None:
    steps = Steps("abcde", "abcdf", dict.fromkeys("abcdef", 0))
    assert steps.tick() == "abcd"
    assert steps.tick() == "abcdf"


def test_the_silent_ones_go_first() -> None:
    steps = Steps("abc", "a", {"a": 0, "c": 0})
    assert steps.tick() == "ac"
    assert steps.tick() == "a"


def test_of_those_that_answer_who_was_removed_goes_first() -> None:
    """It may be stopped at any moment, and two would decide only together."""
    steps = Steps("abc", "a", {"a": 0, "b": 0, "c": 0})
    steps.removed = "c"
    assert steps.tick() == "ab"
    steps = Steps("abc", "a", {"a": 0, "c": 0})
    steps.removed = "c"
    assert steps.tick() == "ac", "b is silent, and would be needed"


def test_no_step_into_a_state_that_could_not_decide() -> None:
    steps = Steps("abc", "b", {"a": 0, "c": 0})  # b is wanted, and silent
    assert steps.tick() is None
    steps.behind["b"] = 0
    assert steps.tick() == "bc"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_wanted_is_reached_one_by_one_when_all_answer(seed: int) -> None:
    drawn = random.Random(seed)
    uids = "abcdefg"
    goals = ["a", *("".join(drawn.sample(uids, count)) for count in (3, 5, 1, 3, 5, 3))]
    steps = Steps(goals[0], goals[0], dict.fromkeys(uids, 0))
    for goal in goals:
        steps.wanted = tuple(goal)
        for _ in range(20):
            before = set(steps.voters)
            steps.tick(1.0)
            assert len(before ^ set(steps.voters)) <= 1
            assert 1 <= len(steps.voters) <= VOTERS_MAX
        assert set(steps.voters) == set(goal)


@pytest.mark.parametrize(
    ("uid", "voters", "answering", "first"),
    [
        ("b", "abc", "abc", ""),
        ("b", "abc", "ab", "c"),  # a and c would have to decide, and c is silent
        ("c", "abc", "ab", ""),  # the silent one itself may go
        ("b", "abcde", "abc", "de"),
        ("b", "abcde", "abcd", ""),
        ("d", "abcde", "abc", ""),
        ("b", "abcd", "abc", ""),
        ("a", "a", "a", ""),  # its successor takes over before it goes
        ("x", "abc", "ab", ""),  # it does not vote
        (None, "abc", "ab", ""),
    ],
)
def test_who_has_to_come_back_before_a_voter_may_go(uid: str, voters: str, answering: str, first: str) -> None:
    assert "".join(needed_first(uid, tuple(voters), dict.fromkeys(answering, 0))) == first
