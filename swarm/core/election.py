"""Elections: when a voter stands, whom others vote for, and when it has won.

Used by ``core/consensus``. An election has two stages: in the first (``pre``) a voter asks whether it would be elected,
which changes nothing; only then it begins a new term and asks for votes. So a node that was cut off does not disturb.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

from swarm.core.journal import Journal
from swarm.core.ordering import Campaign, epoch_of

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


def may_stand(uid: str, term: int, journal: Journal) -> bool:
    """A voter, by its own log, of the epoch that the log is of: what later epochs decided it does not know.

    Who is no voter by an entry that may not be committed stands, too: it may be the only one that has this entry.
    """
    if journal.last_index and epoch_of(journal.last_term) != epoch_of(term):
        return False
    return uid in journal.voters or uid in journal.voters_at(journal.commit)


def deserves_vote(sender: str, campaign: Campaign, journal: Journal) -> bool:
    """Whether the candidate has all that this node has.

    Who has the same log must be one of its voters. Who has more may know of voters that this node does not know yet;
    without its vote they could lack a majority for ever.
    """
    if epoch_of(campaign.last_term) != epoch_of(campaign.term):
        return False
    theirs, ours = (campaign.last_term, campaign.last_index), (journal.last_term, journal.last_index)
    return theirs > ours or (theirs == ours and sender in journal.voters)
