"""The cap: a third of the weight at most, in whole numbers, and nothing is changed that need not be."""

from hypothesis import given
from hypothesis import strategies as st

from swarm.core.weightcap import capped

PEERS = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 100_000)), min_size=1, max_size=9)


def totals(peers: list[tuple[str, int]], weights: dict[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, (organisation, weight) in enumerate(peers):
        if weight:
            found[organisation] = found.get(organisation, 0) + weights[str(number)]
    return found


@given(PEERS)
def test_no_organisation_of_three_or_more_has_more_than_a_third(peers: list[tuple[str, int]]) -> None:
    given_ = {str(number): weight for number, (_, weight) in enumerate(peers)}
    found = capped(given_, {str(number): name for number, (name, _) in enumerate(peers)})
    before, after = totals(peers, given_), totals(peers, found)
    assert all((found[uid] > 0) == (weight > 0) and found[uid] <= weight for uid, weight in given_.items())
    if len(before) < 3 or 3 * max(before.values()) <= sum(before.values()):
        assert found == given_
        return
    assert 3 * max(after.values()) <= sum(after.values()) + 4 * len(peers), "but for what rounding takes"
    third = max(after.values())
    for name, weight in before.items():
        assert after[name] == weight or after[name] >= third - len(peers), "who is lowered has a third"


def test_golden_shares() -> None:
    organisations = {"1": "a", "2": "b", "3": "c", "4": "c"}
    assert capped({"1": 800, "2": 100, "3": 60, "4": 40}, organisations) == {"1": 100, "2": 100, "3": 60, "4": 40}
    assert capped({"1": 450, "2": 450, "3": 60, "4": 40}, organisations) == {"1": 100, "2": 100, "3": 60, "4": 40}
    assert capped({"1": 30, "2": 30, "3": 300, "4": 100}, organisations) == {"1": 30, "2": 30, "3": 22, "4": 7}
    assert capped({"1": 800, "2": 100, "3": 0, "4": 0}, organisations) == {"1": 800, "2": 100, "3": 0, "4": 0}
