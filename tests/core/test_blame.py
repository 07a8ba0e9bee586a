"""Who is left out of the next attempt, by what its members say about each other."""

from hypothesis import given
from hypothesis import strategies as st

from swarm.core.blame import fewest, furthest_behind, most_suspected

UIDS = ["a", "b", "c", "d", "e"]


def test_only_those_that_most_name_are_blamed():
    suspects = {"a": ("b", "c"), "d": ("e",)}
    assert most_suspected(suspects, UIDS) == ["a"]
    assert most_suspected({}, UIDS) == []
    assert most_suspected(dict.fromkeys(UIDS, ("a",)), UIDS) == []


def test_of_a_cut_pair_the_one_that_has_trouble_with_more_goes():
    suspects = {"a": ("b",), "b": ("a",), "c": ("a",)}
    assert fewest(suspects, UIDS, 2) == ["a"]


@given(
    st.dictionaries(st.sampled_from(UIDS), st.sets(st.sampled_from(UIDS), min_size=1, max_size=4).map(tuple)),
    st.integers(1, 5),
)
def test_those_who_go_leave_nobody_of_the_most_suspected_accused_by_who_stays_unless_too_few_would(suspects, least):
    suspects = {uid: tuple(sorted(set(by) - {uid})) for uid, by in suspects.items() if set(by) - {uid}}
    named, gone = most_suspected(suspects, UIDS), fewest(suspects, UIDS, least)
    assert set(gone) <= set(named)
    assert bool(gone) == bool(named)
    assert gone == sorted(gone)
    stay = set(UIDS) - set(gone)
    accused = [uid for uid in named if uid in stay and set(suspects[uid]) & stay]
    assert len(stay) >= min(least, len(UIDS) - 1) or len(gone) == 1
    assert not accused or len(stay) <= least


def test_who_owes_by_far_the_most_is_named_and_nobody_when_all_are_slow():
    due = {"a": 100, "b": 100, "c": 100}
    assert furthest_behind({"a": 90, "b": 10, "c": 0}, due) == "a"
    assert furthest_behind({"a": 90, "b": 80, "c": 85}, due) == ""
    assert furthest_behind({"a": 50, "b": 50, "c": 100}, due) == "c"  # holds up its own shard, and theirs
    assert furthest_behind({}, due) == ""
    assert furthest_behind({"a": 90}, {"a": 100}) == ""
