"""How long each stream of an attempt is to take: what the slowest link needs, or nothing is said."""

from dataclasses import replace

import pytest

from swarm.core.events import Contributor, Shard, SnapMade
from swarm.core.exchanging import AT_ONCE
from swarm.core.exchanging_pace import FREE, HASTE, even_s
from swarm.core.tensors import LEAF_BYTES, split

MB = 10**6
LEAVES = 240
NBYTES = LEAVES * LEAF_BYTES


def snap(rates, round_=1):
    members = tuple(Contributor(f"m{index:03d}", 1000, "", "", rate) for index, rate in enumerate(rates))
    spans = split(LEAVES, [1] * len(rates))
    shards = tuple(Shard(member.uid, *span) for member, span in zip(members, spans, strict=True))
    return SnapMade("c", round_, 0, members, shards, "sharded", "")


def test_all_streams_end_when_the_slowest_link_does():
    assert even_s(snap([MB] * 4), NBYTES) == pytest.approx(1.5 * NBYTES / MB / HASTE)
    assert even_s(snap([4 * MB, 4 * MB, 4 * MB, MB]), NBYTES) == pytest.approx(1.5 * NBYTES / MB / HASTE)


def test_what_travels_counts_and_not_what_is_merged():
    assert even_s(snap([MB] * 4), NBYTES // 4) == pytest.approx(even_s(snap([MB] * 4), NBYTES) / 4)


def test_half_of_the_time_where_all_contributions_come_before_all_shards():
    assert even_s(snap([MB] * 4), NBYTES, judges=True) == pytest.approx(even_s(snap([MB] * 4), NBYTES) / 2)


def test_no_more_than_some_are_under_way_at_once():
    peers = 2 * AT_ONCE + 1
    assert even_s(snap([MB] * peers), NBYTES) == pytest.approx((2 - 2 / peers) * NBYTES / MB / HASTE / 2, rel=0.1)


@pytest.mark.parametrize(
    "attempt",
    [snap([MB, MB, 0, MB]), snap([MB] * 4, FREE), replace(snap([MB] * 4), shards=(), topology="broadcast"), snap([MB])],
    ids=["rates unknown", "free round", "small model", "alone"],
)
def test_nothing_is_said(attempt):
    assert even_s(attempt, NBYTES) == 0.0
