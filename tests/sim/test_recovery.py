"""Forced recoveries in the simulator: they are really played, ledgers really part, and their checker can fail."""

from __future__ import annotations

import pytest

from tests.sim.checkers_recovery import Parted
from tests.sim.commitments import drawn as drawn_commitments
from tests.sim.recovery import SHARE, drawn
from tests.sim.scenario import Lean, Scenario
from tests.sim.test_sim import FIRST, KEPT_DEAD, Made

FOUND = [
    3,  # a node whose joining was stored, and not known to be decided, could not be promoted
    4,  # a voter by an entry that it did not know to be decided was put out, and never heard of it
    1112,  # compacted entries that were given up passed for those that go on, and their node was made a voter
    1159,  # a node that had joined in what was given up waited for words that nobody sent it
    1240,  # a node that had answered just before and was gone became one of two voters
    2185,  # a Ready for a round that was given up counted in the one that took its place
    2284,  # an operator that listened in what was given up only: its tasks waited for ever
    66696,  # no fault of the product: nobody started a node again that was joining as all whom it knew were lost
]


@pytest.mark.parametrize("seed", FOUND)
def test_worlds_with_a_forced_recovery_keep_their_promises(seed):
    scenario = Scenario(seed, lean=Lean(recovery=True))
    report = scenario.run()
    assert report.clean, (report.seed, report.failed, [str(each) for each in report.violations], report.open)
    kinds = [entry.kind for entry in scenario.world.history.entries.values()]
    assert kinds.count("ForcedRecovery") >= 1
    assert len({node.program.values for node in scenario.sls}) == 1


def test_in_many_of_them_something_is_given_up_and_who_had_it_comes_back_and_lists_it():
    parted = listed = 0
    for seed in range(12):
        scenario = Scenario(seed, lean=Lean(recovery=True))
        assert scenario.run().clean, seed
        history = scenario.world.history
        parted += bool(Parted(history).lost)
        listed += sum(len(fact[5]) for fact in history.facts if fact[0] == "came_back")
    assert parted >= 3
    assert listed > parted


def test_a_seed_with_a_recovery_has_one_history_with_shared_replicas_and_without():
    worlds = [Scenario(5, lean=Lean(recovery=True), shared=shared) for shared in (True, False)]
    assert [world.run().clean for world in worlds] == [True, True]
    one, other = (world.world.history.trace_hash() for world in worlds)
    assert one == other


def test_some_worlds_have_one_and_those_that_found_bugs_before_there_were_any_do_not():
    having = [seed for seed in range(2000) if drawn(seed, always=False)]
    assert 0.5 * SHARE < len(having) / 2000 < 2 * SHARE
    for seed, lean in KEPT_DEAD:
        if lean == Lean():
            assert drawn(seed, always=False) is None
            assert drawn_commitments(seed, always=False) is None


# ---- the checker, with histories made by hand


class Recovered(Made):
    """After the entries of `Made` two more that one network node applied, and a recovery in their place on another."""

    def __init__(self) -> None:
        super().__init__()
        self.common = self._head
        self.lost = [self.entry("a", "Suspect", {"contract": "digits"}) for _ in range(2)]
        self.history.facts = [fact for fact in self.history.facts if fact[0] != "outcome" or fact[4] not in self.lost]
        self.acknowledged = self.history.entries[self.lost[0]]
        self.fact("acknowledged", "sl-1", "a", self.acknowledged.proposal, self.acknowledged.index, True)

    def recovers(self, term=1 << 32 | 1):
        self._head, self._index = self.common, self._index - 2
        claim = type("Claim", (), {"uid": "person", "kind": "ForcedRecovery", "body": {}})
        self._index += 1
        hash_ = b"r" * 32
        self.history.entry(hash_, self._head, self._index, term, b"recovery", claim)
        self.history.applied(2.0, "sn-2", self._index, hash_, True, ())
        self._head = hash_
        return self

    def comes_back(self, *listed, first=1):
        self.history.facts.append(("came_back", 3.0, "sn-1", "sn", first, listed))
        return self


def test_what_a_recovery_gave_up_may_be_lost_and_is_listed():
    made = Recovered().recovers()
    assert made.comes_back(*made.lost).said() == []


def _nobody_recovered(made):
    made.recovers(term=1)


def _three_ledgers(made):
    made.recovers()
    claim = type("Claim", (), {"uid": "a", "kind": "Suspect", "body": {}})
    made.history.entry(b"t" * 32, made.common, made._index, 1, b"t", claim)
    made.history.applied(1.5, "sn-3", made._index, b"t" * 32, True, ())


def _listed_nowhere(made):
    made.recovers().comes_back(made.lost[0])


def _listed_though_kept(made):
    made.recovers().comes_back(*made.lost, made.common)


def _kept_and_lost(made):
    made.fact("acknowledged", "sl-1", "b", b"nobody has this", made._index - 3, True)
    made.recovers()
    made.fact("acknowledged", "sl-1", "b", made.history.entries[made.common].proposal, made._index - 1, False)


def _given_what_was_given_up(made):
    made.recovers()
    made.fact("read", "a", made._head)
    made.told("a", digest=FIRST, values=(1.0, 2.0))


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (_nobody_recovered, "nobody has recovered anything"),
        (_three_ledgers, "there are three ledgers"),
        (_listed_nowhere, "and lists entry 7 nowhere"),
        (_listed_though_kept, "which is not lost"),
        (_kept_and_lost, "was told to sl-1 as False, and counts as True"),
        (_given_what_was_given_up, "was given a model that no round had committed by then"),
    ],
)
def test_what_a_recovery_may_not_do_is_looked_at(breaks, said):
    made = Recovered()
    breaks(made)
    assert any(said in text for text in made.said()), made.said()
