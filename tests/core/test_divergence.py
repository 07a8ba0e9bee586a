"""States that differ after the same entry: who is outvoted, and what is said of it."""

import pytest

from swarm.core.divergence import Divergence

VOTERS = ("a", "b", "c")


def point(digest, index=20, hash=b"h"):
    return index, 1, hash, digest


def told(*words):
    divergence = Divergence()
    for uid, other, signed in words:
        divergence.differs(uid, point("mine"), point(other), signed=signed)
    return divergence


@pytest.mark.parametrize(
    ("words", "outvoted"),
    [
        ([("b", "theirs", True), ("c", "theirs", True)], "theirs"),
        ([("b", "theirs", True)], ""),
        ([("b", "theirs", True), ("c", "third", True)], ""),
        ([("b", "theirs", True), ("c", "theirs", False)], ""),
        ([("b", "theirs", True), ("x", "theirs", True)], ""),
        ([("b", "theirs", False), ("c", "theirs", True), ("b", "theirs", True)], "theirs"),
    ],
)
def test_only_the_signed_word_of_a_majority_of_the_voters_outvotes(words, outvoted):
    assert told(*words).outvoted(point("mine"), VOTERS) == outvoted


def test_what_was_said_of_another_entry_outvotes_nobody():
    divergence = told(("b", "theirs", True), ("c", "theirs", True))
    assert not divergence.outvoted(point("mine", index=40), VOTERS)


def test_equal_states_and_other_histories_are_no_divergence():
    divergence = Divergence()
    assert not divergence.differs("b", point("mine"), point("mine"), signed=True)
    assert not divergence.differs("b", point("mine"), point("theirs", hash=b"other"), signed=True)
    assert not divergence.differs("b", point("mine"), point("theirs", index=40), signed=True)
    assert not divergence.notes(str)


def test_it_is_news_once_and_over_when_they_agree_again():
    divergence = Divergence()
    assert divergence.differs("b", point("mine"), point("theirs"), signed=False)
    assert not divergence.differs("b", point("mine"), point("theirs"), signed=False)
    (note,) = divergence.notes(lambda uid: f"sn-{uid}")
    assert note.startswith("the state of the ledger after entry 20 differs: it is mine here and theirs at sn-b")
    divergence.agrees("b", 10)
    assert divergence.notes(str)
    divergence.agrees("b", 40)
    assert not divergence.notes(str)
