"""The order of the ledger's entries: a Raft machine, run by each network node.

Driven by ``core/orderer``: every event goes through ``handle``, and the effects that come back are performed in their
order. Guarantees, whatever is lost, doubled, reordered, cut or crashes:

* nothing leaves this node (no entry, answer, vote or term) before it is stored here: *persist before send*;
* at most one node leads in a term, elected by a majority of the voters, and it has every entry that was committed;
* an entry is committed only when a majority of the voters has stored it, and, while one voter decides alone, every
  learner *in step* too: one that keeps answering within a second and has all that was committed before;
* what is committed here is never replaced: who is asked to gives up nothing, and says where the logs differ.

Entries are identified by their hash, which covers all that came before, so equal hashes mean equal logs. Voters are
those of the log's latest entry that names some, committed or not. Voters and learners differ in nothing but votes:

    learner --named by an entry--> follower --no leader heard, majority would agree--> candidate --majority--> leader
    any role --later term, or a leader of this one--> follower    leader --majority silent for 2 s--> follower
"""

from __future__ import annotations

from swarm.core.election import ELECTION_MIN_S, Candidacy, grants
from swarm.core.following import Following, Place
from swarm.core.journal import Journal
from swarm.core.leadership import IN_STEP_S, Leadership
from swarm.core.ordering import (
    Answer,
    Ballot,
    Campaign,
    Configured,
    Effect,
    Entries,
    Event,
    FetchSnapshot,
    Fit,
    Log,
    LogEntry,
    Message,
    Promoted,
    Proposed,
    ReadAsked,
    Received,
    Refuse,
    Role,
    SnapshotFailed,
    SnapshotInstalled,
    SnapshotOffered,
    Stored,
    Superseded,
    Ticked,
    epoch_of,
    first_term,
)


class Consensus:
    """One node's part. ``log`` shows what is stored; term, vote and commit are what the store held at start.

    A ``founder`` is its own only voter until the first entry, which it makes, says so.
    """

    def __init__(self, uid: str, log: Log, *, term: int, vote: str, commit: int, founder: bool = False) -> None:
        self.uid = uid
        self.learners: tuple[str, ...] = ()
        self.refused = False
        """This node and another hold different ledgers."""
        self.ended = False
        """It does nothing more: it led on with less than it had, or has been superseded."""
        self.heard_s = float("-inf")
        """When a leader was last heard, on the clock of the ticks."""
        self._effects: list[Effect] = []
        founders = (uid,) if founder else ()
        self._journal = Journal(log, self._emit, term=term, vote=vote, commit=commit, founders=founders)
        self._now_s = 0.0
        self._fit = True
        self._following = Following(self._journal, "")
        self._candidacy = Candidacy(uid, self._journal)
        self._leadership: Leadership | None = None
        self._fetching = False
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

    # ---- events

    def handle(self, event: Event) -> list[Effect]:
        if isinstance(event, Ticked):
            self._now_s = max(self._now_s, event.now_s)
        if isinstance(event, Stored):
            self._note_stored(event.number)
        elif not self.ended:
            self._take(event)
        effects, self._effects = self._effects, []
        return effects

    def _take(self, event: Event) -> None:
        match event:
            case Received():
                self._receive(event.sender, event.message)
            case Proposed():
                self._propose(event.entries)
            case Ticked():
                self._tick()
            case Configured():
                self.learners = event.learners
                self._note_members()
            case Fit():
                self._fit = event.stands
                self._tick()
            case ReadAsked() if self._leadership is not None:
                self._leadership.read(event.number)
            case Promoted():
                self._promote(event.entry)
            case SnapshotInstalled():
                self._note_installed(event)
            case SnapshotFailed():
                self._fetching = False

    def _receive(self, sender: str, message: Message) -> None:
        match message:
            case Entries() | SnapshotOffered():
                self._receive_word(sender, message)
            case Answer():
                self._receive_answer(sender, message)
            case Campaign():
                self._receive_campaign(sender, message)
            case Ballot():
                self._receive_ballot(sender, message)

    def _tick(self) -> None:
        if self._leadership is not None:
            self._leadership.tick(self._now_s)
            if self._leadership.lost_majority or (not self._fit and self._leadership.others_can_lead):
                self._settle_for("")
        elif self._fit and not self._fetching and self._candidacy.is_due(self._now_s):
            if self.voters == (self.uid,):
                self._stand()
            else:
                self._settle_for("")
                self._candidacy.sound_out()

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

    # ---- elections

    def _stand(self) -> None:
        self._settle_for("")
        self._candidacy.stand(self.term + 1)
        self._note_role()

    def _promote(self, entry: LogEntry) -> None:
        epoch = epoch_of(entry.term)
        assert entry.index == self.last_index + 1, "it follows the log"
        assert epoch > epoch_of(self.term), "a recovery begins a new epoch"
        assert (entry.term, entry.voters) == (first_term(epoch), (self.uid,)), "this node alone decides from here on"
        assert not self._fetching, "the log is not about to be replaced"
        self._settle_for("")
        self._candidacy.stand(entry.term, (entry,))
        self._note_role()

    def _lead(self) -> None:
        self._candidacy.withdraw()
        self._leadership = Leadership(self.uid, self._journal, self._now_s)
        self._note_role()
        self._leadership.set_followers(self.learners)

    def _receive_campaign(self, sender: str, campaign: Campaign) -> None:
        heard = self._now_s - self.heard_s < ELECTION_MIN_S and self._following.leader not in ("", sender)
        loyal = heard or self._leadership is not None
        if campaign.term > self.term and not campaign.pre and not loyal:
            self._enter(campaign.term)
        granted = not loyal and grants(sender, campaign, self._journal)
        if granted and not campaign.pre and not self.vote:
            self._journal.swear(self.term, sender)
            self._candidacy.wait(self._now_s)
        self._journal.send(sender, Ballot(campaign.term if granted else self.term, campaign.pre, granted))

    def _receive_ballot(self, sender: str, ballot: Ballot) -> None:
        election = self._candidacy.election
        if ballot.term > self.term and not (ballot.pre and ballot.granted):
            self._enter(ballot.term)
        elif election is not None and ballot.granted and (ballot.term, ballot.pre) == (election.term, election.pre):
            if self._candidacy.count(sender) and election.pre:
                self._stand()
            elif self._candidacy.stands and election.is_won(self.voters):
                self._lead()

    # ---- leading

    def _propose(self, entries: tuple[LogEntry, ...]) -> None:
        leadership = self._leadership
        assert leadership is not None, "only the leader makes entries"
        for place, entry in enumerate(entries, self.last_index + 1):
            assert (entry.index, entry.term) == (place, self.term), "entries follow the log, in the leader's term"
            if entry.voters is not None and self.last_index:
                assert leadership.may_change, "one change of the voters at a time, and none before the term has begun"
                assert len({*entry.voters} ^ {*self.voters}) <= 1, "one voter comes or goes at a time"
        voters = self.voters
        self._journal.append(self.last_index, entries)
        if self.voters != voters:
            self._note_members()

    def _receive_answer(self, sender: str, answer: Answer) -> None:
        if self._leadership is not None and answer.conflict:
            self._refuse(sender, answer.conflict)
        elif answer.term > self.term:
            self._enter(answer.term)
        elif self._leadership is not None and answer.term == self.term:
            self._leadership.take(sender, answer)
            self._check_removed()

    # ---- following

    def _follows(self, sender: str, message: Entries | SnapshotOffered) -> bool:
        """Whether this is the leader's word; a later term is entered."""
        if message.term < self.term:
            self._journal.send(sender, Answer(self.term, message.stamp, False, 0, self.stored, 0))
            return False
        if sender == self._following.leader and message.term == self.term:
            self.heard_s = self._now_s
            self._candidacy.wait(self._now_s)
            return True
        if not self._may_lead(sender, message):
            return False
        if message.term > self.term:
            self._enter(message.term, sender)
        elif self._leadership is None:
            self._settle_for(sender)
        else:  # two recoveries in one epoch
            self._refuse(sender, self._leadership.start)
            return False
        self.heard_s = self._now_s
        return True

    def _may_lead(self, sender: str, message: Entries | SnapshotOffered) -> bool:
        journal = self._journal
        if self.voters and sender not in self.voters:
            # Another leads only by entries that this node does not have.
            return message.term > journal.last_term or message.last > journal.last_index
        kept_term = journal.term_at(journal.kept)
        if message.last >= journal.kept or message.term <= kept_term:
            return True
        if epoch_of(message.term) == epoch_of(kept_term):  # elected with less than what was committed before
            self._disagree(sender, message.term, message.last + 1)
            conflict = Answer(self.term, message.stamp, False, 0, self.stored, message.last + 1)
            self._journal.send(sender, conflict)
            return False
        return True

    def _receive_word(self, sender: str, message: Entries | SnapshotOffered) -> None:
        if not self._follows(sender, message):
            return
        following, voters = self._following, self.voters
        lets_go = self._fetching and isinstance(message, Entries)  # what it would append to is to be replaced
        place = Place(False, last=self.stored) if lets_go else following.place(message)
        if place.conflict:
            self._disagree(sender, message.term, place.conflict)
        elif isinstance(message, SnapshotOffered) and not place.found and not self._fetching:
            self._fetch(sender, message)
        if not self.ended:
            following.take(message, place)
            if self.voters != voters:
                self._note_role()
            following.settle()

    def _fetch(self, sender: str, message: SnapshotOffered) -> None:
        if epoch_of(message.term) > epoch_of(self._journal.last_term) and self.uid in self.voters:
            self._supersede(sender, message.term, 0)  # nothing is left to compare with what it decided
        else:
            self._fetching = True
            self._emit(FetchSnapshot(sender, message.index, message.hash))

    def _note_installed(self, event: SnapshotInstalled) -> None:
        self._fetching = False
        self._journal.install(event.index, event.term, event.voters)
        if event.term > self.term:
            self._enter(event.term)
        self._note_role()
        if self._following.leader:
            self._following.note_installed(event.index)
            self._following.settle()

    # ---- different ledgers

    def _disagree(self, peer: str, term: int, index: int) -> None:
        if epoch_of(term) > epoch_of(self._journal.term_at(index)):
            self._supersede(peer, term, index - 1)
        elif not self.refused:
            self._refuse(peer, index)

    def _refuse(self, peer: str, index: int) -> None:
        self.refused = True
        self._emit(Refuse(peer, index))
        if self._leadership is not None:
            self._end()

    def _supersede(self, peer: str, term: int, index: int) -> None:
        self._emit(Superseded(peer, index, epoch_of(term)))
        self._end()

    def _end(self) -> None:
        self._settle_for("")
        self._journal.hush()
        self.ended = True

    # ---- storing

    def _note_stored(self, number: int) -> None:
        self._journal.note_stored(number)
        if self.ended:
            return
        if self._leadership is not None:
            self._leadership.advance()
            self._check_removed()
            return
        self._following.settle()
        if self._candidacy.note_stored():
            self._lead()

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
            self._leadership.check()
        assert not self.ended or self.role in ("follower", "learner"), "who is ended leads nobody"
        assert self._role == Role(self.role, self.term, self.leader), "whatever changes is said"
