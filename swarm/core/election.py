"""Elections: when a voter stands, whom others vote for, and when it has won.

Used by ``core/consensus``. An election has two stages: in the first (``pre``) a voter asks whether it would be elected,
which changes nothing; only then it begins a new term and asks for votes. So a node that was cut off does not disturb.
Guarantees: a vote is stored before it counts, the own one as well as another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

from swarm.core.journal import Journal
from swarm.core.ordering import Campaign, LogEntry, Send, epoch_of

ELECTION_MIN_S = 1.0
"""Whoever heard its leader within this time helps nobody to become another."""
ELECTION_MAX_S = 2.0


def majority(voters: Collection[str]) -> int:
    return len(voters) // 2 + 1


@lru_cache(maxsize=64)
def patience_s(uid: str, term: int) -> float:
    """How long a voter waits for a leader before it stands; not the same for two voters, nor twice for one."""
    digest = hashlib.sha256(f"{uid} {term}".encode()).digest()
    return ELECTION_MIN_S + (ELECTION_MAX_S - ELECTION_MIN_S) * int.from_bytes(digest[:4], "big") / 2**32


@dataclass(slots=True)
class Election:
    term: int
    pre: bool
    number: int = 0
    """The append with the own vote; until it is stored nobody is asked."""
    granted: set[str] = field(default_factory=set)

    def is_won(self, voters: tuple[str, ...]) -> bool:
        return len(self.granted.intersection(voters)) >= majority(voters)


def grants(sender: str, campaign: Campaign, journal: Journal) -> bool:
    """Whether this node would vote for the candidate: it has all that this node has, and the vote is free.

    Who has the same log must be one of its voters. Who has more may know of voters that this node does not know yet;
    without its vote they could lack a majority for ever.
    """
    if campaign.pre:
        free = campaign.term > journal.term
    else:
        free = campaign.term == journal.term and journal.vote in ("", sender)
    if not free or epoch_of(campaign.last_term) != epoch_of(campaign.term):
        return False
    theirs, ours = (campaign.last_term, campaign.last_index), (journal.last_term, journal.last_index)
    return theirs > ours or (theirs == ours and sender in journal.voters)


class Candidacy:
    """One node's way to lead: how long it waits, and the election that it stands in."""

    def __init__(self, uid: str, journal: Journal) -> None:
        self.election: Election | None = None
        self._uid = uid
        self._journal = journal
        self._alarm_s: float | None = None

    @property
    def stands(self) -> bool:
        return self.election is not None and not self.election.pre

    def wait(self, now_s: float) -> None:
        self._alarm_s = now_s + patience_s(self._uid, self._journal.term)

    def is_due(self, now_s: float) -> bool:
        """Nobody has led for too long (or nobody else can), and this node may."""
        if not self._may_stand():
            return False
        if self._journal.voters == (self._uid,):
            return self.election is None
        if self._alarm_s is None:
            self.wait(now_s)
            return False
        return now_s >= self._alarm_s

    def _may_stand(self) -> bool:
        """A voter, by its own log, of the epoch that the log is of: what later epochs decided it does not know.

        Who is no voter by an entry that may not be committed stands, too: it may be the only one that has this entry.
        """
        journal = self._journal
        if journal.last_index and epoch_of(journal.last_term) != epoch_of(journal.term):
            return False
        return self._uid in journal.voters or self._uid in journal.decided

    def withdraw(self) -> None:
        self.election = None

    def sound_out(self) -> None:
        """Would a majority vote for this node?"""
        self.election = Election(self._journal.term + 1, pre=True, granted={self._uid})
        self._campaign()

    def stand(self, term: int, entries: tuple[LogEntry, ...] = ()) -> None:
        """In a new term, which may begin with entries already."""
        self.election = Election(term, pre=False, number=self._journal.swear(term, self._uid, entries))

    def note_stored(self) -> bool:
        """Ask for votes once the own one is stored. Whether that one was enough."""
        election = self.election
        if election is None or election.pre or election.granted or election.number > self._journal.done:
            return False
        self._campaign()
        return self.count(self._uid)

    def count(self, uid: str) -> bool:
        """Whether this stage of the election is won."""
        assert self.election is not None
        self.election.granted.add(uid)
        return self.election.is_won(self._journal.voters)

    def _campaign(self) -> None:
        assert self.election is not None
        journal, election = self._journal, self.election
        campaign = Campaign(election.term, election.pre, journal.last_index, journal.last_term)
        for uid in journal.voters:
            if uid != self._uid:
                journal.emit(Send(uid, campaign))

    def check(self) -> None:
        if self.election is not None:
            term, vote = self._journal.term, self._journal.vote
            assert self.election.term == term + self.election.pre, "an election is for the present term"
            assert self.election.pre or vote == self._uid, "a candidate voted for itself"
