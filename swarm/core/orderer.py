"""The pure heart of a network node: the order of the entries, the ledger that they make, and who waits for what.

Driven by ``runtime/driver``, and by the simulator, which runs this very class. Guarantees:

* an outcome is answered only for an entry that is committed and applied here; the same proposal gets the same outcome,
  through whichever node and under whichever leader it is asked again;
* who waits is answered: with the outcome, or, as soon as this node leads no longer, with whom to ask; while more is
  asked than it can do, organisations have their turns, and one that asks too much is turned away (``core/intake``);
* entries follow the last one in index, hash and time; a term begins with a blank entry, so that what earlier leaders
  left behind is decided at once;
* an event applies ``breath`` entries at most, none before what others wait for: ``Breathed`` goes on while ``behind``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from swarm.core.asking import (
    Answered,
    Asked,
    AskedTogether,
    AskingEffect,
    AskingEvent,
    Blocked,
    Breathed,
    Clocked,
    ClockJudged,
    Declined,
    Fetched,
    GaveUp,
    Heard,
    Install,
    Installed,
    Keep,
    NotLeading,
    Paused,
    Publish,
    ReadReady,
    RecoveryAsked,
    Restored,
    TurnedAway,
)
from swarm.core.claims import Blank, EntryHeader, Unverified, Verified
from swarm.core.codec import Codec
from swarm.core.consensus import Consensus
from swarm.core.electorate import needed_first
from swarm.core.events import NodeGone, NodeKnown
from swarm.core.initiative import Initiative
from swarm.core.intake import Intake
from swarm.core.ledger import Ledger
from swarm.core.ordering import (
    INNER,
    Append,
    Configured,
    Fit,
    Log,
    LogEntry,
    Promoted,
    Proposed,
    Readable,
    ReadAsked,
    Received,
    Role,
    Send,
    SnapshotFailed,
    SnapshotInstalled,
    Stored,
    Superseded,
    Ticked,
    first_term,
)
from swarm.core.ordering import Effect as ConsensusEffect
from swarm.core.ordering import Event as ConsensusEvent
from swarm.core.pending import Pending
from swarm.core.reads import Reads
from swarm.core.recovery import recoverable, taken_over
from swarm.core.snapshot import Snapshot, restored, taken
from swarm.core.timekeeper import Propose
from swarm.errors import Refused, SwarmError

BREATH = 32
SNAPSHOT_EVERY = 10_000

LEAVING = frozenset({Append, Send})
"""Effects that others wait for."""

Event = AskingEvent | ConsensusEvent
Effect = AskingEffect | ConsensusEffect


class Orderer:
    """``log`` shows what is stored; term, vote and commit are what the store held at start, and ``ledger`` the state of
    its snapshot. ``own_proposal`` signs what this process proposes, given kind, body and seq (from 2 on)."""

    def __init__(
        self,
        uid: str,
        incarnation: bytes,
        log: Log,
        codec: Codec,
        own_proposal: Callable[[str, dict[str, object], int], bytes],
        *,
        term: int,
        vote: str,
        commit: int,
        ledger: Ledger | None = None,
        network_id: bytes = b"",
        founder: bool = False,
        breath: int = BREATH,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self.uid = uid
        self.ledger = ledger or Ledger()
        self.consensus = Consensus(uid, log, term=term, vote=vote, commit=commit, founder=founder)
        self._incarnation = incarnation
        self._log, self._codec = log, codec
        self._own_proposal = own_proposal
        self._network_id = network_id
        self._breath, self._snapshot_every = breath, snapshot_every
        self._seq = 1  # 1 is the introduction of this incarnation
        self._pending = Pending()
        self._made: list[LogEntry] = []  # pending, and not yet proposed to consensus
        self._intake = Intake()
        self._reads = Reads()
        self._initiative: Initiative | None = None
        self._learners: tuple[str, ...] = ()
        self._blocked, self._clock_good = Blocked(), True
        self._coming: Snapshot | None = None  # is to take the log's place
        self._now_s, self._wall_ms = 0.0, 0
        self._effects: list[Effect] = []

    # ---- what others ask

    @property
    def role(self) -> str:
        return self.consensus.role

    @property
    def leader(self) -> str:
        """Who leads as far as this node knows; empty: nobody."""
        return self.consensus.leader

    @property
    def head(self) -> int:
        return self.ledger.head_index

    @property
    def behind(self) -> bool:
        """There are committed entries to apply."""
        return self.ledger.head_index < self.consensus.commit

    @property
    def last_index(self) -> int:
        """Of the last entry stored or under way."""
        return self.consensus.last_index

    def handle(self, event: Event) -> list[Effect]:
        match event:  # the everyday ones first
            case Received() | Stored():
                self._step(event)
            case Breathed():
                pass
            case Asked():
                self._admit(event)
            case AskedTogether():
                for asked in event.asked:
                    self._admit(asked)
            case RecoveryAsked():
                self._wall_ms = event.wall_ms
                self._recover(event)
            case GaveUp():
                self._forget(event.number)
            case Heard():
                if self._initiative is not None:
                    self._propose(self._initiative.heard(event, self._now_s))
            case Clocked():
                self._clock(event)
            case Blocked():
                self._blocked = event
                self._step(Fit(not event.reason and self._clock_good))
            case ClockJudged():
                self._clock_good = event.good
                self._step(Fit(event.good and not self._blocked.reason))
            case ReadAsked():
                self._read(event)
            case Fetched():
                restored(event.snapshot)  # before it replaces anything
                self._coming = event.snapshot
            case Installed():
                self._install(event)
            case _:
                self._step(event)
        self._flush()
        if self.behind and (isinstance(event, Breathed) or LEAVING.isdisjoint(map(type, self._effects))):
            self._apply()
        if self._reads:
            self._effects.extend(map(ReadReady, self._reads.ready(self.head)))
        if self._coming is not None and not self.behind:  # what is committed is read from the log that is to go
            self._replace_log(self._coming)
        effects, self._effects = self._effects, []
        return effects

    # ---- asking

    def _admit(self, asked: Asked) -> None:
        if self.role != "leader" or self._intake.lets_through(len(self._pending)):
            self._ask(asked)
        elif not self._intake.line_up(asked):
            self._effects.append(TurnedAway(asked.number))

    def _ask(self, asked: Asked, *, anew: bool = False) -> None:
        self._wall_ms = asked.wall_ms
        header = self._pending.due(self.consensus.term, asked.wall_ms)
        claim = self._codec.claim(header, asked.raw, self.ledger)
        if isinstance(claim, Verified) and (recorded := self.ledger.outcome_of_same(claim)) is not None:
            self._effects.append(Answered(asked.number, recorded))
        elif self.role != "leader":
            self._effects.append(NotLeading(asked.number, self.leader))
        elif not asked.raw:
            self._effects.append(Declined(asked.number, Refused.code, "an empty proposal", ""))
        elif isinstance(claim, Unverified) and self._pending and not anew:  # it may rest on what is under way
            if not self._intake.hold(self._pending.index, asked):
                self._effects.append(TurnedAway(asked.number))
        elif isinstance(claim, Unverified):
            self._effects.append(Declined(asked.number, claim.code, claim.reason, claim.hint))
        elif isinstance(claim, Verified) and (why := self._why_not(claim)):
            self._effects.append(Declined(asked.number, Refused.code, why, ""))
        elif index := self._pending.index_of(claim.digest):
            self._pending.wait(index, asked.number)
        elif self._blocked.reason:
            self._effects.append(Paused(asked.number, self._blocked.reason, self._blocked.hint))
        else:
            self._pending.wait(self._append(asked.raw, claim), asked.number)

    def _why_not(self, claim: Verified) -> str:
        """What must not become an entry: consensus follows it though the ledger refuses it, or cannot bear it now."""
        kind, voters = claim.kind, self.consensus.voters
        if kind in ("Configuration", "ForcedRecovery") or (kind == "Genesis" and self._pending.index):
            return f"a {kind} cannot be proposed to the leader"
        silent = needed_first(claim.body.get("uid"), voters, self.consensus.behind()) if kind == "SnRemoved" else ()
        names = ", ".join(str(self.ledger.nodes[uid].identity) for uid in silent)
        return names and f"too few of the others would be left to decide: start {names}, or remove it first"

    def _forget(self, number: int) -> None:
        self._pending.forget(number)
        self._intake.forget(number)
        self._reads.forget(number)

    def _read(self, event: ReadAsked) -> None:
        if self.role != "leader":
            self._effects.append(NotLeading(event.number, self.leader))
        else:
            self._reads.begin(event.number)
            self._step(event)

    # ---- consensus

    def _flush(self) -> None:
        """Entries made one after the other are proposed in one piece, before anything else happens."""
        if made := self._made:
            self._made = []
            self._step(Proposed(tuple(made)))

    def _step(self, event: ConsensusEvent) -> None:
        self._flush()
        effects = self.consensus.handle(event)
        self._effects.extend([effect for effect in effects if type(effect) not in INNER])
        for effect in effects:  # only now: what follows from them comes behind all of them
            if isinstance(effect, Role):
                self._take_role(effect)
            elif isinstance(effect, Readable):
                self._reads.confirm(effect.number, effect.index)
            elif isinstance(effect, Superseded):
                self._release(effect.peer)

    def _take_role(self, role: Role) -> None:
        if role.name != "leader":
            self._initiative = None
            self._release(role.leader)
            return
        self._initiative = Initiative(self.ledger, self.uid, self._incarnation)
        self._follow_log()
        self._configure()
        if self._pending.index:  # the very first entry is the genesis
            self._append(b"")

    def _release(self, leader: str) -> None:
        """Whoever waits asks again, there or here."""
        numbers = [*self._pending.release(), *self._intake.release(), *self._reads.release()]
        self._effects.extend(NotLeading(number, leader) for number in numbers)

    def _follow_log(self) -> None:
        last = self.consensus.last_index
        if last > self.head:
            self._pending.follow(self._codec.read(self.consensus.entry(last))[0])
        elif self.head:
            self._pending.follow(EntryHeader(self.head, 0, self.ledger.time, b"", self.ledger.head_hash))

    def _recover(self, asked: RecoveryAsked) -> None:
        """A person has decided that this node decides alone, in a new epoch."""
        self._follow_log()
        due = self._pending.due(self.consensus.term, asked.wall_ms)
        try:
            over = taken_over(self.ledger, self.consensus, self._codec)
            claim = self._codec.claim(due, asked.raw, over)
            if isinstance(claim, Verified) and (recorded := self.ledger.outcome_of_same(claim)) is not None:
                self._effects.append(Answered(asked.number, recorded))
                return
            recovery = recoverable(claim, self.consensus)
            over.must_take_recovery(recovery)  # all of it: consensus does not ask the ledger
        except SwarmError as error:
            self._effects.append(Declined(asked.number, error.code, error.message, error.hint))
            return
        due = replace(due, term=first_term(recovery.body["epoch"]))
        entry = self._codec.make(due.index, due.term, due.time, due.prev_hash, asked.raw)
        self._step(Promoted(entry))  # whoever waited until now asks again
        self._pending.made(replace(due, hash=entry.hash), recovery.digest)
        self._pending.wait(entry.index, asked.number)

    def _append(self, raw: bytes, claim: Verified | Blank | None = None) -> int:
        """``claim``: what was verified just now, at the time that the entry will bear."""
        due = self._pending.due(self.consensus.term, self._wall_ms)
        entry = self._codec.make(due.index, due.term, due.time, due.prev_hash, raw)
        header = EntryHeader(due.index, due.term, due.time, due.prev_hash, entry.hash)
        same_state = self.head + 1 == due.index
        self._pending.made(header, claim.digest if claim else b"", claim if same_state else None)
        self._made.append(entry)
        return entry.index

    # ---- leading

    def _clock(self, event: Clocked) -> None:
        self._now_s, self._wall_ms = event.now_s, event.wall_ms
        self._step(Ticked(event.now_s))
        if self._initiative is None or self._blocked.reason:
            return
        self._propose(self._initiative.tick(event.now_s, self.consensus))

    def _propose(self, proposals: list[Propose]) -> None:
        for proposal in proposals:
            if self.role != "leader":
                return
            self._seq += 1
            self._append(self._own_proposal(proposal.kind, proposal.body, self._seq))

    # ---- applying

    def _apply(self) -> None:
        for index in range(self.head + 1, min(self.consensus.commit, self.head + self._breath) + 1):
            self._take(self.consensus.entry(index))
        while (asked := self._intake.next(len(self._pending))) is not None:
            self._ask(asked)
        self._flush()

    def _take(self, entry: LogEntry) -> None:
        header, proposal = self._codec.read(entry)
        if entry.index == 1 and self._network_id and entry.hash != self._network_id:
            raise Refused(
                f"a ledger of network {entry.hash.hex()[:16]}, this node belongs to {self._network_id.hex()[:16]}",
                hint="use another --state DIR for another network",
            )
        claim = self._pending.claim_of(entry.index) or self._codec.claim(header, proposal, self.ledger)
        applied = self.ledger.apply(header, claim)
        if entry.index == 1 and not applied.outcome.accepted:
            raise Refused(f"the ledger's first entry begins no network: {applied.outcome.reason}")
        self._effects.extend([Answered(number, applied.outcome) for number in self._pending.settle(entry.index)])
        self._effects.append(Publish(entry, header, proposal, applied))
        for asked in self._intake.due(entry.index):
            self._ask(asked, anew=True)
        if entry.voters is not None or any(isinstance(event, NodeKnown | NodeGone) for event in applied.events):
            self._configure()
        if self._initiative is not None:
            self._propose(self._initiative.applied(applied.events))
        if entry.index % self._snapshot_every == 0:
            self._effects.append(Keep(taken(self.ledger, entry.term, self._log.voters_at(entry.index))))

    def _configure(self) -> None:
        """All admitted network nodes store the entries; a lost one remains: only leaving ends that."""
        learners = tuple(sorted(uid for uid, _ in self.ledger.sns() if uid not in self.consensus.voters))
        if learners != self._learners:
            self._learners = learners
            self._step(Configured(learners))

    # ---- snapshots

    def _replace_log(self, snapshot: Snapshot) -> None:
        self._coming = None
        if self.consensus.fetching and snapshot.index > self.consensus.commit:
            self._effects.append(Install(snapshot))
        else:
            self._step(SnapshotFailed())

    def _install(self, event: Installed) -> None:
        snapshot = event.snapshot
        self.ledger = restored(snapshot)
        self._effects.append(Restored())
        self._step(SnapshotInstalled(snapshot.index, snapshot.term, snapshot.hash, snapshot.voters))
        self._configure()
