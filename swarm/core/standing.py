"""What a node is in the order of the ledger: its term and role, whom it follows, whom it disagrees with.

The base of ``core/consensus``, which takes the events. Guarantees: a node has one role at a time; every change of role,
term or leader is said; a disagreement is said once, and who has been superseded never takes part again.
"""

from __future__ import annotations

from swarm.core.election import Candidacy
from swarm.core.following import Following
from swarm.core.journal import Journal
from swarm.core.leadership import IN_STEP_S, Leadership
from swarm.core.ordering import Effect, Log, LogEntry, Refuse, Role, Superseded, epoch_of


class Standing:
    def __init__(self, uid: str, log: Log, *, term: int, vote: str, commit: int, founder: bool = False) -> None:
        self.uid = uid
        self.learners: tuple[str, ...] = ()
        self.refused = False
        """This node and another hold different ledgers."""
        self.ended = False
        """It does nothing more: it has been superseded."""
        self.heard_s = float("-inf")
        """When a leader was last heard, on the clock of the ticks."""
        self._effects: list[Effect] = []
        self._journal = Journal(uid, log, self._emit, term=term, vote=vote, commit=commit, founder=founder)
        self._now_s = 0.0
        self._fit = True
        self._following = Following(self._journal, "")
        self._candidacy = Candidacy(uid, self._journal)
        self._leadership: Leadership | None = None
        self._fetching = False
        self._proven = 0
        """The latest epoch whose recovery this node has seen signed. What its own term is of was so before."""
        self._role = Role(self.role, term, "")

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    # ---- what others ask

    @property
    def term(self) -> int:
        return self._journal.term

    @property
    def vote(self) -> str:
        return self._journal.vote

    @property
    def role(self) -> str:
        if self._leadership is not None:
            return "leader"
        if self._candidacy.stands:
            return "candidate"
        return "follower" if self.uid in self.voters else "learner"

    @property
    def leader(self) -> str:
        """Empty while it is not known."""
        return self.uid if self._leadership is not None else self._following.leader

    @property
    def voters(self) -> tuple[str, ...]:
        return self._journal.voters

    @property
    def leaving(self) -> tuple[str, ...]:
        """On the leader: who is none of the network's nodes any longer, and has yet to be told."""
        return self._leadership.leaving if self._leadership is not None else ()

    @property
    def commit(self) -> int:
        return self._journal.commit

    @property
    def stored(self) -> int:
        return self._journal.stored

    @property
    def last_index(self) -> int:
        return self._journal.last_index

    def entry(self, index: int) -> LogEntry:
        """From the log's first index to ``last_index``."""
        return self._journal.entry(index)

    def hash_at(self, index: int) -> bytes:
        return self._journal.hash_at(index)

    @property
    def in_step(self) -> tuple[str, ...]:
        return self._leadership.copies if self._leadership is not None else ()

    @property
    def one_copy(self) -> bool:
        """What is acknowledged now may be stored by one node only."""
        if len(self.voters) > 1:
            return False
        if self._leadership is not None:
            return not self.in_step
        return self._following.one_copy or self._now_s - self.heard_s > IN_STEP_S

    @property
    def committed_own_term(self) -> bool:
        return self._leadership is not None and self._leadership.settled

    @property
    def changing(self) -> bool:
        """A change of the voters is under way."""
        return self._leadership is not None and self._leadership.changing

    @property
    def fetching(self) -> bool:
        """A snapshot is to take the log's place."""
        return self._fetching

    def behind(self) -> dict[str, int]:
        """On the leader: how many entries each node lacks that answers."""
        return self._leadership.behind() if self._leadership is not None else {}

    # ---- terms and roles

    def _enter(self, term: int, leader: str = "") -> None:
        """A later term has begun elsewhere."""
        self._journal.swear(term, "")
        self._settle_for(leader)

    def _settle_for(self, leader: str) -> None:
        """Lead no more, stand no more, follow this leader (or nobody for now)."""
        self._leadership = None
        self._candidacy.withdraw()
        self._candidacy.wait(self._now_s)
        self._following = Following(self._journal, leader)
        self._note_role()

    def _note_role(self) -> None:
        role = Role(self.role, self.term, self.leader)
        if role != self._role:
            self._role = role
            self._emit(role)

    def _note_members(self) -> None:
        """The voters or the learners have changed, maybe."""
        if self._leadership is not None:
            self._leadership.set_followers(self.learners)
            self._check_removed()
        else:
            self._note_role()

    def _check_removed(self) -> None:
        if self._leadership is not None and self._leadership.removed:
            self._settle_for("")

    # ---- different ledgers

    def _disagree(self, peer: str, term: int, index: int) -> None:
        if epoch_of(term) > epoch_of(self._journal.term_at(index)):
            self._supersede(peer, term, index - 1)
        else:
            self._refuse(peer, index)

    def _refuse(self, peer: str, index: int) -> None:
        """Said once. Nobody signs such a word: what ends who decides alone is found in signed heads, outside."""
        if not self.refused:
            self._emit(Refuse(peer, index))
        self.refused = True

    def _supersede(self, peer: str, term: int, index: int) -> None:
        self._emit(Superseded(peer, index, epoch_of(term)))
        self._end()

    def _end(self) -> None:
        self._settle_for("")
        self._journal.hush()
        self.ended = True

    # ---- for tests and the simulator

    def check(self) -> None:
        """Every invariant that this node can see of itself."""
        self._journal.check()
        self._candidacy.check()
        if self._leadership is not None:
            assert self._candidacy.election is None, "a leader stands no more"
            assert self.vote == self.uid, "a leader voted for itself"
            assert self._journal.sworn <= self._journal.done, "and had that stored"
            assert self._leadership.term == self.term, "a leader leads in the present term"
            removed = self.uid not in self.voters and self.committed_own_term and not self.changing
            assert not removed, "who has been removed leads no more"
            self._leadership.check()
        assert not self.ended or self.role in ("follower", "learner"), "who is ended leads nobody"
        assert self._role == Role(self.role, self.term, self.leader), "whatever changes is said"
