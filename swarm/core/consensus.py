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

from collections import deque

from swarm.core.election import ELECTION_MIN_S, Election, deserves_vote, may_stand, patience_s
from swarm.core.following import Following, Place
from swarm.core.journal import Journal
from swarm.core.leadership import IN_STEP_S, Leadership
from swarm.core.ordering import (
    Answer,
    Ballot,
    Campaign,
    Commit,
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
    Send,
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
        self.term = term
        self.vote = vote
        self.learners: tuple[str, ...] = ()
        self.refused = False
        """This node and another hold different ledgers."""
        self.ended = False
        """It does nothing more: it led on with less than it had, or has been superseded."""
        self.heard_s = float("-inf")
        """When a leader was last heard, on the clock of the ticks."""
        self._journal = Journal(log, commit=commit, founders=(uid,) if founder else ())
        self._now_s = 0.0
        self._alarm_s: float | None = None  # when this voter has waited long enough for a leader
        self._fit = True
        self._following = Following(self._journal, "")
        self._election: Election | None = None
        self._leadership: Leadership | None = None
        self._fetching = False
        self._owed: deque[tuple[int, str, Message]] = deque()  # what leaves once the append of this number is stored
        self._effects: list[Effect] = []
        self._sworn = 0  # the append that holds the present term and vote
        self._role = Role(self.role, term, "")

    # ---- what others ask

    @property
    def role(self) -> str:
        if self._leadership is not None:
            return "leader"
        if self._election is not None and not self._election.pre:
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
        effects = self._effects.copy()
        self._effects.clear()  # and not replaced: the leadership adds to it, too
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
            case Entries():
                if self._follows(sender, message):
                    self._receive_entries(message)
            case SnapshotOffered():
                if self._follows(sender, message):
                    self._receive_offer(message)
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
        elif self._fit and not self._fetching and may_stand(self.uid, self.term, self._journal):
            if self.voters == (self.uid,):
                if self._election is None:
                    self._stand()
            elif self._alarm_s is None:
                self._wait()
            elif self._now_s >= self._alarm_s:
                self._sound_out()

    # ---- terms and roles

    def _wait(self) -> None:
        self._alarm_s = self._now_s + patience_s(self.uid, self.term)

    def _enter(self, term: int, leader: str = "") -> None:
        """A later term has begun elsewhere."""
        self.term, self.vote = term, ""
        self._swear()
        self._settle_for(leader)

    def _settle_for(self, leader: str) -> None:
        """Lead no more, stand no more, follow this leader (or nobody for now)."""
        self._leadership = self._election = None
        self._following = Following(self._journal, leader)
        self._wait()
        self._note_role()

    def _note_role(self) -> None:
        role = Role(self.role, self.term, self.leader)
        if role != self._role:
            self._role = role
            self._effects.append(role)

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

    def _sound_out(self) -> None:
        """No leader for too long: would a majority vote for this node?"""
        self._settle_for("")
        self._election = Election(self.term + 1, pre=True, granted={self.uid})
        self._campaign()

    def _stand(self) -> None:
        self.term += 1
        self.vote = self.uid
        self._following = Following(self._journal, "")
        self._election = Election(self.term, pre=False, number=self._swear())
        self._wait()
        self._note_role()

    def _campaign(self) -> None:
        assert self._election is not None
        journal, election = self._journal, self._election
        campaign = Campaign(election.term, election.pre, journal.last_index, journal.last_term)
        for uid in self.voters:
            if uid != self.uid:
                self._effects.append(Send(uid, campaign))

    def _count(self, uid: str) -> None:
        assert self._election is not None
        self._election.granted.add(uid)
        if not self._election.is_won(self.voters):
            return
        if self._election.pre:
            self._stand()
        else:
            self._lead()

    def _lead(self) -> None:
        self._election = None
        self._leadership = Leadership(self.uid, self.term, self._journal, self._now_s, self._effects.append)
        self._note_role()
        self._leadership.set_followers(self.learners)

    def _promote(self, entry: LogEntry) -> None:
        epoch = epoch_of(entry.term)
        assert entry.index == self.last_index + 1, "it follows the log"
        assert epoch > epoch_of(self.term), "a recovery begins a new epoch"
        assert (entry.term, entry.voters) == (first_term(epoch), (self.uid,)), "this node alone decides from here on"
        assert not self._fetching, "the log is not about to be replaced"
        self._settle_for("")
        self.term, self.vote = entry.term, self.uid
        self._election = Election(self.term, pre=False, number=self._journal.number + 1)
        self._sworn = self._save(self.last_index, (entry,))
        self._note_role()

    def _receive_campaign(self, sender: str, campaign: Campaign) -> None:
        loyal = self._leadership is not None or (
            self._following.leader not in ("", sender) and self._now_s - self.heard_s < ELECTION_MIN_S
        )
        granted = not loyal and deserves_vote(sender, campaign, self._journal)
        if campaign.pre:
            granted = granted and campaign.term > self.term
        elif not loyal:
            if campaign.term > self.term:
                self._enter(campaign.term)
            granted = granted and campaign.term == self.term and self.vote in ("", sender)
            if granted and not self.vote:
                self.vote = sender
                self._swear()
                self._wait()
        self._send_stored(sender, Ballot(campaign.term if granted else self.term, campaign.pre, granted))

    def _receive_ballot(self, sender: str, ballot: Ballot) -> None:
        election = self._election
        if ballot.term > self.term and not (ballot.pre and ballot.granted):
            self._enter(ballot.term)
        elif election is not None and ballot.granted and (ballot.term, ballot.pre) == (election.term, election.pre):
            self._count(sender)

    # ---- leading

    def _propose(self, entries: tuple[LogEntry, ...]) -> None:
        leadership = self._leadership
        assert leadership is not None, "only the leader makes entries"
        for place, entry in enumerate(entries, self.last_index + 1):
            assert (entry.index, entry.term) == (place, self.term), "entries follow the log, in the leader's term"
            if entry.voters is not None and self.last_index:
                assert leadership.may_change, "one change of the voters at a time, and none before the term has begun"
                assert len({*entry.voters} ^ {*self.voters}) <= 1, "one voter comes or goes at a time"
        self._save(self.last_index, entries)

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
            self._send_stored(sender, Answer(self.term, message.stamp, False, 0, self.stored, 0))
            return False
        if sender == self._following.leader and message.term == self.term:
            self.heard_s = self._now_s
            self._wait()
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
            self._send_stored(sender, conflict)
            return False
        return True

    def _receive_entries(self, message: Entries) -> None:
        following = self._following
        place = Place(False, last=self.stored) if self._fetching else following.place(message)
        if place.conflict:
            self._disagree(following.leader, message.term, place.conflict)
        if self.ended:
            return
        if place.found:
            number = self._save(place.after, place.entries) if place.entries else self._sworn
        else:
            number = self._journal.number
        following.note(message, place, number)
        self._settle()

    def _receive_offer(self, message: SnapshotOffered) -> None:
        journal, following, index = self._journal, self._following, message.index
        conflict = 0
        found = index <= journal.kept
        if journal.first_index - 1 <= index <= journal.last_index:
            same = journal.hash_at(index) == message.hash
            conflict = index if found and not same else 0
            found = same
        if conflict:
            self._disagree(following.leader, message.term, conflict)
        elif not found and epoch_of(message.term) > epoch_of(journal.last_term) and self.uid in self.voters:
            self._supersede(following.leader, message.term, 0)  # what it decided itself can no longer be compared
        elif not found and not self._fetching:
            self._fetching = True
            self._effects.append(FetchSnapshot(following.leader, index, message.hash))
        if not self.ended:
            following.note_snapshot(message, found, conflict, journal.number)
            self._settle()

    def _note_installed(self, event: SnapshotInstalled) -> None:
        self._fetching = False
        self._journal.install(event.index, event.term, event.voters)
        if event.term > self.term:
            self._enter(event.term)
        self._following.note_installed(event.index, self._sworn)
        self._note_role()
        self._settle()

    def _settle(self) -> None:
        """Commit and answer as far as things are stored."""
        following, journal = self._following, self._journal
        if following.committed > journal.commit:
            journal.commit = following.committed
            self._effects.append(Commit(journal.commit))
        if following.leader and (answer := following.answer(self.term)) is not None:
            self._effects.append(Send(following.leader, answer))

    # ---- different ledgers

    def _disagree(self, peer: str, term: int, index: int) -> None:
        if epoch_of(term) > epoch_of(self._journal.term_at(index)):
            self._supersede(peer, term, index - 1)
        elif not self.refused:
            self._refuse(peer, index)

    def _refuse(self, peer: str, index: int) -> None:
        self.refused = True
        self._effects.append(Refuse(peer, index))
        if self._leadership is not None:
            self._end()

    def _supersede(self, peer: str, term: int, index: int) -> None:
        self._effects.append(Superseded(peer, index, epoch_of(term)))
        self._end()

    def _end(self) -> None:
        self._settle_for("")
        self._owed.clear()
        self.ended = True

    # ---- storing

    def _swear(self) -> int:
        """Store term and vote."""
        self._sworn = self._save(self.last_index, ())
        return self._sworn

    def _save(self, after: int, entries: tuple[LogEntry, ...]) -> int:
        voters = self.voters
        append = self._journal.append(self.term, self.vote, after, entries)
        self._effects.append(append)
        if self.voters != voters:
            self._note_members()
        return append.number

    def _send_stored(self, to: str, message: Message) -> None:
        """As soon as this term and vote are stored."""
        if self._sworn <= self._journal.done:
            self._effects.append(Send(to, message))
        else:
            self._owed.append((self._sworn, to, message))

    def _note_stored(self, number: int) -> None:
        self._journal.note_stored(number)
        if self.ended:
            return
        while self._owed and self._owed[0][0] <= number:
            _, to, message = self._owed.popleft()
            self._effects.append(Send(to, message))
        if self._leadership is not None:
            self._leadership.advance()
            self._check_removed()
            return
        self._settle()
        election = self._election
        if election is not None and not election.pre and not election.granted and number >= election.number:
            self._campaign()
            self._count(self.uid)

    # ---- for tests and the simulator

    def check(self) -> None:
        """Every invariant that this node can see of itself."""
        self._journal.check()
        assert self.term >= self._journal.last_term, "no entry is of a term to come"
        assert self._sworn <= self._journal.number
        if self._leadership is not None:
            assert self._election is None, "a leader stands no more"
            assert self.vote == self.uid, "a leader voted for itself"
            assert self._sworn <= self._journal.done, "and had that stored"
            assert self._leadership.term == self.term, "a leader leads in the present term"
            self._leadership.check()
        if self._election is not None:
            assert self._election.term == self.term + self._election.pre, "an election is for the present term"
            assert self._election.pre or self.vote == self.uid, "a candidate voted for itself"
        assert not self.ended or self.role in ("follower", "learner"), "who is ended leads nobody"
        assert self._role == Role(self.role, self.term, self.leader), "whatever changes is said"
