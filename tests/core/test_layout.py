"""Who merges how much, by the rates of the links: the closed form, its limits, and that it is whole numbers only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.events import Contributor, Shard, SnapMade
from swarm.core.layout import (
    BELIEVED_BYTES_PER_S,
    DOUBT,
    SLOWEST_BYTES_PER_S,
    believed,
    doubted,
    expected_s,
    shares,
)
from swarm.core.tensors import LEAF_BYTES, split

MB = 10**6


def fractions(rates):
    numbers = shares(rates)
    assert all(type(number) is int and number >= 0 for number in numbers)
    return [number / sum(numbers) for number in numbers]


def slowest(rates, shared):
    """The time of the whole for these shares, in seconds a byte of the model."""
    return max((1 + (len(rates) - 2) * share) / rate for rate, share in zip(rates, shared, strict=True))


def snap(rates, leaves=0):
    """An attempt of members with these rates, sharded when there are leaves."""
    members = tuple(Contributor(f"m{index:03d}", 1000, "", "", rate) for index, rate in enumerate(rates))
    ranges = split(leaves, shares(rates)) if leaves else []
    shards = tuple(Shard(member.uid, *span) for member, span in zip(members, ranges, strict=False))
    return SnapMade("c", 0, 0, members, shards, "sharded" if leaves else "broadcast", "")


@pytest.mark.parametrize("rates", [[], [5], [5, 700], [0, 0, 0, 0], [40, 40, 40]])
def test_equal_links_or_unknown_ones_share_equally(rates):
    assert len(set(shares(rates))) <= 1


def test_the_shares_are_those_of_the_closed_form():
    """Below the limit of 2/N they are the formula's own: T = 2(N-1)d / sum of the rates."""
    rates = [80, 100, 120, 100]
    time = 2 * 3 / sum(rates)
    assert fractions(rates) == pytest.approx([(time * rate - 1) / 2 for rate in rates])


def test_a_slow_peer_merges_nothing_and_costs_one_model_each_way():
    rates = [1, 100, 100, 100, 100]
    shared = fractions(rates)
    assert shared[0] == 0
    assert slowest(rates, shared) == 1.0


def test_a_fast_link_never_merges_more_than_twice_its_part():
    shared = fractions([10**9, 10, 10, 10, 10])
    assert shared[0] == pytest.approx(2 / 5)
    assert shared[1:] == pytest.approx([3 / 20] * 4)


def test_who_has_measured_nothing_counts_like_the_middle_one():
    assert shares([10, 0, 30, 20]) == shares([10, 20, 30, 20])


def told(claims, links):
    """What each says of the others whose links do this, in fact, by member: equal parts to all."""
    streams = len(links) - 1
    return {one: doubted(claims, {uid: links[uid] / streams for uid in links if uid != one}) for one in claims}


def test_a_claim_that_all_others_saw_to_be_untrue_is_not_believed_and_one_that_is_nearly_true_is():
    links = {"a": 30 * MB, "b": 30 * MB, "c": 3 * MB, "d": 30 * MB}
    claims = {**links, "c": 1 << 50, "d": DOUBT * 30 * MB}
    seen = told(claims, links)
    assert seen == {"a": {"c": MB}, "b": {"c": MB}, "c": {}, "d": {"c": MB}}
    assert believed(claims, seen) == [30 * MB, 30 * MB, 3 * MB, DOUBT * 30 * MB]
    assert shares(believed(claims, seen))[2] == 0, "as slow as it is, it merges nothing"


def test_nobody_is_disbelieved_while_one_other_has_no_doubts_nor_by_who_has_seen_nothing():
    claims = {"a": 1 << 50, "b": MB, "c": MB, "d": MB}
    doubts = {"b": {"a": MB}, "c": {"a": MB}}
    assert believed(claims, doubts) == [1 << 50, MB, MB, MB], "d's link may be the only one that is not in the way"
    assert believed(claims, {**doubts, "d": {"a": 2 * MB}}) == [6 * MB, MB, MB, MB]
    assert doubted(claims, {}) == {}
    assert believed({"a": 5}, {}) == [5]


@given(st.lists(st.integers(1, 1 << 50), min_size=2, max_size=12))
def test_who_says_the_truth_is_believed(rates):
    links = {f"m{index:02d}": rate for index, rate in enumerate(rates)}
    seen = told(links, links)
    assert believed(links, seen) == rates or min(rates) < len(rates), "streams of less than a byte a second are none"


@given(st.lists(st.integers(1, 1 << 50), min_size=3, max_size=40), st.integers(1, 5000))
def test_no_share_is_above_the_limit_and_every_leaf_has_an_owner(rates, leaves):
    shared = shares(rates)
    assert all(len(rates) * number <= 2 * sum(shared) for number in shared)
    sizes = [stop - start for start, stop in split(leaves, shared)]
    assert sum(sizes) == leaves
    assert all(size <= 2 * leaves / len(rates) + 1 for size in sizes)


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=8), st.integers(0, 7), st.integers(0, 7))
def test_no_leaf_given_to_another_makes_the_slowest_faster(rates, giver, taker):
    """The time is the smallest there is: to take from whoever is last helps only where the limit stands against it."""
    shared = fractions(rates)
    giver, taker, moved = giver % len(rates), taker % len(rates), 1e-3
    if giver == taker or shared[giver] < moved or shared[taker] + moved > 2 / len(rates):
        return
    other = [share - moved * (index == giver) + moved * (index == taker) for index, share in enumerate(shared)]
    assert slowest(rates, other) >= slowest(rates, shared) * (1 - 1e-9)


def test_an_attempt_lasts_as_long_as_its_slowest_member_moves_bytes():
    leaves = 100
    nbytes = leaves * LEAF_BYTES
    assert expected_s(snap([MB] * 4, leaves), nbytes) == pytest.approx(1.5 * nbytes / MB)
    assert expected_s(snap([MB] * 4), nbytes) == pytest.approx(3 * nbytes / MB)
    assert expected_s(snap([MB], leaves), nbytes) == 0.0


def test_links_are_believed_to_do_something_and_no_claim_puts_a_deadline_off_for_ever():
    assert expected_s(snap([0, 0]), MB) == MB / BELIEVED_BYTES_PER_S
    assert expected_s(snap([1, MB]), MB) == MB / SLOWEST_BYTES_PER_S
