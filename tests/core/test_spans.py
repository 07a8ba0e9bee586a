"""Ranges that are added in any order are the set of their numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from swarm.core.spans import Spans

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)
a_range = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)


def numbers(spans: Spans) -> set[int]:
    return {number for start, stop in spans for number in range(start, stop)}


@given(added=ranges, window=a_range)
def test_it_is_the_set_of_the_numbers_that_were_added(added, window) -> None:
    spans, expected = Spans(added), {number for start, stop in added for number in range(start, stop)}
    start, stop = window
    inside = set(range(start, stop))
    assert numbers(spans) == expected
    assert len(spans) == len(expected)
    assert spans.covers(start, stop) == (inside <= expected)
    assert numbers(spans.within(start, stop)) == inside & expected
    assert {n for first, last in spans.gaps(start, stop) for n in range(first, last)} == inside - expected


@given(added=ranges)
def test_the_same_set_is_kept_as_the_same_ranges(added) -> None:
    spans = Spans(added)
    pairs = list(spans)
    assert all(last < first for (_, last), (first, _) in pairwise(pairs)), "apart from each other"
    assert all(start < stop for start, stop in pairs)
    assert spans == Spans(reversed(added))
