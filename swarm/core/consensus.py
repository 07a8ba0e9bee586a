"""The order of the ledger's entries: a Raft machine, run by each network node.

Driven by ``core/orderer``: every event goes through ``handle``, and the effects that come back are performed in their
order. Guarantees, whatever is lost, doubled, reordered, cut or crashes:

* nothing leaves this node (no answer, vote or term) before it is stored here: *persist before send*; a leader's entries
  may, while others vote too: its own copy does not count before it is stored;
* at most one node leads in a term, elected by a majority of the voters, and it has every entry that was committed;
* an entry is committed only when a majority of the voters has stored it, and, while one voter decides alone, every
  learner *in step* too: one that keeps answering within a second and has all that was committed before;
* what is committed here is never replaced: who is asked to gives up nothing, and says where the logs differ;
* a later epoch is entered only when its recovery has been proven, whoever speaks of it.

Entries are identified by their hash, which covers all that came before, so equal hashes mean equal logs. Voters are
those of the log's latest entry that names some, committed or not. Voters and learners differ in nothing but votes:

    learner --named by an entry--> follower --no leader heard, majority would agree--> candidate --majority--> leader
    any role --later term, or a leader of this one--> follower    leader --majority silent for 2 s--> follower
"""

from __future__ import annotations

from swarm.core.election import ELECTION_MIN_S, grants
from swarm.core.following import Place
from swarm.core.leadership import Leadership
from swarm.core.ordering import (
    Answer,
    Ballot,
    Campaign,
    Configured,
    Effect,
    Entries,
    EpochProven,
    Event,
    FetchSnapshot,
    Fit,
    LogEntry,
    Message,
    Promoted,
    Proposed,
    ReadAsked,
    Received,
    SnapshotFailed,
    SnapshotInstalled,
    SnapshotOffered,
    Stored,
    Ticked,
    epoch_of,
    first_term,
    leaps,
)
from swarm.core.standing import Standing


class Consensus(Standing):
    """One node's part. ``log`` shows what is stored; term, vote and commit are what the store held at start.

    A ``founder`` is its own only voter until the first entry, which it makes, says so.
    """

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
            case EpochProven():
                self._proven = max(self._proven, event.epoch)
            case SnapshotInstalled():
                self._note_installed(event)
            case SnapshotFailed():
                self._fetching = False

    def _receive(self, sender: str, message: Message) -> None:
        if self.last_index and leaps(message.term, self.term, self._proven):
            return  # a broken memory or disk speaks, or an epoch that nobody has signed: as good as lost
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

    # ---- elections

    def _stand(self) -> None:
        self._settle_for("")
        self._candidacy.stand(self.term + 1)
        self._candidacy.wait(self._now_s)
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
        if election is None or sender not in self.voters:
            return
        if ballot.term > self.term and not (ballot.pre and ballot.granted):
            self._enter(ballot.term)
        elif ballot.granted and (ballot.term, ballot.pre) == (election.term, election.pre):
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
        else:
            leadership.advance()

    def _receive_answer(self, sender: str, answer: Answer) -> None:
        leadership = self._leadership
        if leadership is None or not leadership.tells(sender):
            return
        if leadership.lets_go(sender):  # all that counts of its word is that it knows
            if answer.term == self.term and not answer.conflict:
                leadership.take(sender, answer)
        elif answer.conflict:
            self._refuse(sender, answer.conflict)
        elif answer.term > self.term:
            self._enter(answer.term)
        elif answer.term == self.term and answer.match > self.last_index:
            self._refuse(sender, self.last_index + 1)  # this node has led in this term before, and forgotten it
        elif answer.term == self.term:
            leadership.take(sender, answer)
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
        if self._leadership is not None and message.term == self.term:  # two recoveries in one epoch
            self._refuse(sender, self._leadership.start)
            return False
        if not self._may_lead(sender, message):
            return False
        if message.term > self.term:
            self._enter(message.term, sender)
        else:
            self._settle_for(sender)
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
