"""A network node: the product's `Orderer`, with simulated IO around it in the place of ``runtime/driver``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from swarm.core.asking import (
    Answered,
    Asked,
    AskedTogether,
    Blocked,
    Breathed,
    Clocked,
    ClockJudged,
    Declined,
    Fetched,
    Heard,
    Install,
    Keep,
    NotLeading,
    Paused,
    Publish,
    ReadReady,
    RecoveryAsked,
    Restored,
    TurnedAway,
)
from swarm.core.entrytime import EntryTime
from swarm.core.events import Outcome, Recovered
from swarm.core.ledger import Ledger
from swarm.core.names import uid_of
from swarm.core.orderer import Orderer
from swarm.core.ordering import (
    Answer,
    Append,
    FetchSnapshot,
    Message,
    ReadAsked,
    Received,
    Refuse,
    Role,
    Send,
    SnapshotFailed,
    Superseded,
)
from swarm.core.snapshot import Snapshot, restored
from swarm.core.voters import FOLLOWED
from tests.sim.asker import Asker
from tests.sim.codec import ORGANISATIONS, anchored, identity, joined
from tests.sim.disk import SnDisk
from tests.sim.heads import Heads, superseded
from tests.sim.world import Process

if TYPE_CHECKING:
    from tests.sim.client import Client, Surroundings

TICK_S, IDLE_TICK_S = 0.4, 0.5
PUSH_S = 0.05
GATHER_S = 0.02
"""Proposals that come to who leads within this become entries in one piece."""
LIFE_EVERY = 2
CLOCK_EVERY = 4
CLOCK_OFF_S = 120.0
JOIN_AGAIN_S, FOUND_AGAIN_S = 1.5, 0.1
SNAPSHOT_S = 2.0
BACKFILL_S = 1.0
FULL_S = 0.25
"""How often a full disk is tried again."""


class NetworkNode(Process):
    role = "sn"

    def __init__(
        self, around: Surroundings, name: str, organisation: str, *, founder: bool, snapshot_every: int
    ) -> None:
        super().__init__(around.world, name)
        self.around = around
        self.identity = identity("sn", name, organisation)
        self.network_id = b""
        self._founder = founder
        self._snapshot_every = snapshot_every
        self._keys = 0
        self._rebirth()

    def _rebirth(self) -> None:
        """A new state directory: a new node key, nothing stored."""
        self._keys += 1
        self.node_key = hashlib.sha256(f"{self.name} {self._keys} {self.world.seed}".encode()).digest()
        self.uid = uid_of(self.node_key)
        self.starts = 0
        self.disk = SnDisk(self.world.random, self.note)
        self.kept_recovery = b""
        """The entry of the newest forced recovery that it knows of. On disk."""
        self.around.uids[self.uid] = self

    @property
    def incarnation(self) -> bytes:
        return self.starts.to_bytes(8, "big") + bytes(8)

    def entry_ms(self) -> int:
        return self.wall_ms - self._time.ahead_ms(self.wall_ms, int(self.now_s * 1000))

    # ---- life

    def on_start(self) -> None:
        if self.disk.damaged:
            self.note("rejoined", self.uid)
            self.around.removed(self.uid)
            self._rebirth()
        self.starts += 1
        self._number = 0
        self._askers: dict[int, Asker] = {}
        self._gathered: list[Asked] = []
        self._followers: dict[str, list[Any]] = {}
        self._heard: dict[str, None] = {}
        self.answered_s: dict[str, float] = {}
        """When another one answered last in the present term."""
        self._ticks = 0
        self._pushing = False
        self._blocked = self._fetching = False
        self._clock_good, self._time = True, EntryTime()
        self._checked = 0
        snapshot = self.disk.snapshot
        ledger = restored(snapshot) if snapshot else Ledger(self.rules)
        self.first_raw, self.raws = self.disk.published()
        fresh = self._founder and self._keys == 1 and not self.disk.last_index
        self.orderer = Orderer(
            self.uid, self.incarnation, self.disk, self.around.codec, self._own_proposal,
            term=self.disk.term, vote=self.disk.vote, commit=max(self.disk.known, ledger.head_index),
            ledger=ledger, network_id=self.network_id, founder=fresh, snapshot_every=self._snapshot_every,
        )  # fmt: skip
        self._founding = fresh
        self._introduction = b""
        self.heads: Heads | None = None
        if self.around.recovers:
            self.heads = Heads(self)
        if self.first_raw:
            self.later(BACKFILL_S, self._fill)
        self._handle(Breathed())
        self._tick()
        if self.heads is not None:
            self.heads.tick()
        self._introduce()

    def on_crash(self, power: bool) -> None:
        lost, torn = self.disk.crash(torn=self.trap == "torn")
        self.trap = ""
        self.around.weather.count("unsynced_write_lost", lost > 0)
        self.around.weather.count("torn_write", torn > 0)

    def _own_proposal(self, kind: str, body: dict[str, Any], seq: int) -> bytes:
        self.note("own_proposal", kind, body.get("slot", body.get("uid", "")))
        return self._propose(kind, body, seq)

    def _propose(self, kind: str, body: dict[str, Any], seq: int) -> bytes:
        network_id = b"" if kind == "Genesis" else self.network_id
        return self.around.codec.propose(
            self.identity, self.node_key, network_id=network_id, uid=self.uid, incarnation=self.incarnation,
            seq=seq, kind=kind, body=body,
        )  # fmt: skip

    def _introduce(self) -> None:
        """Until the ledger knows this incarnation. Whoever leads is asked, or any other SN."""
        node = self.orderer.ledger.nodes.get(self.uid)
        if node is not None and node.incarnation == self.incarnation:
            return
        if self._founding or self.network_id:
            self._introduction = self._introduction or self._introduced()
            self._ask(Asker(self, self.life, 0, self._introduction, 2))
        elif len(self.around.sns) > 1:
            other = self.world.random.choice([sn for sn in self.around.sns if sn is not self])
            self.around.network.send(self, other, other.greeted, self)
        self.later(JOIN_AGAIN_S if self.network_id else FOUND_AGAIN_S, self._introduce)

    def _introduced(self) -> bytes:
        own = joined("sn", self.node_key, self.incarnation, self.rules)
        if not self._founding:
            return self._propose("NodeJoined", own, 1)
        anchors = [anchored(each).certificate for each in ORGANISATIONS]
        genesis = {"rules": self.rules, "anchors": anchors, "joined": own, "created": self.entry_ms()}
        return self._propose("Genesis", genesis, 1)

    def greeted(self, other: NetworkNode) -> None:
        """A handshake: who knows no network yet takes this one's."""
        if self.network_id:
            self.around.network.send(self, other, other.belongs, self.network_id)

    def belongs(self, network_id: bytes) -> None:
        self.network_id = self.network_id or network_id

    def _tick(self) -> None:
        if self.disk.full != self._blocked:
            self._blocked = self.disk.full
            self._handle(Blocked("the disk is full" if self.disk.full else ""))
        if self._ticks % CLOCK_EVERY == 0:
            self._judge_clock()
        self._handle(Clocked(self.now_s, self.entry_ms()))
        self._ticks += 1
        if self._ticks % LIFE_EVERY == 0:
            self._tell_life()
        self.later(TICK_S if self.orderer.role == "leader" else IDLE_TICK_S, self._tick)

    def _judge_clock(self) -> None:
        """Against the median of the voters', as far as they answer."""
        voters = [self.around.uids[uid] for uid in self.orderer.consensus.voters if uid in self.around.uids]
        clocks = sorted(sn.skew_s for sn in voters if sn.alive)
        good = not clocks or abs(self.skew_s - clocks[len(clocks) // 2]) <= CLOCK_OFF_S
        if good != self._clock_good:
            self._clock_good = good
            self._handle(ClockJudged(good))

    # ---- what others send

    def received(self, sender: str, to: str, message: Message) -> None:
        if to == self.uid and (self.heads is None or self.heads.hears(sender)):
            if isinstance(message, Answer) and message.term == self.orderer.consensus.term:
                self.answered_s[sender] = self.now_s
            self._handle(Received(sender, message))

    def happened(self, event: Any) -> None:
        """What it has found out about others; behind what happens at this moment."""
        self.later(0.0, self._handle, event)

    def recovery_asked(self, person: Any, life: int, number: int, raw: bytes) -> None:
        self._number += 1
        self._askers[self._number] = Asker(person, life, number, raw, 0)
        self._handle(RecoveryAsked(self._number, raw, self.entry_ms()))

    def asked(self, client: Client, life: int, seq: int, raw: bytes) -> None:
        self._heard[client.uid] = None
        self._ask(Asker(client, life, seq, raw, 1))

    def read(self, reader: Client, life: int, ticket: int) -> None:
        """A read that must not be older than anything acknowledged before it was asked."""
        self._ask(Asker(reader, life, ticket, b"", 1))

    def forwarded(self, origin: NetworkNode, life: int, number: int, raw: bytes, hops: int) -> None:
        self._ask(Asker(origin, life, number, raw, hops))

    def answered(self, life: int, number: int, outcome: Outcome) -> None:
        """From the SN that this one has asked for another."""
        asker = self._askers.pop(number, None) if life == self.life else None
        if asker is not None:
            self._answer(asker, outcome)

    def turned_away(self, life: int, number: int) -> None:
        """The ledger takes nothing now, here or where this one asked."""
        asker = self._askers.pop(number, None) if life == self.life else None
        if asker is not None and asker.raw and asker.who is not self:
            self.around.network.send(self, asker.who, asker.who.turned_away, asker.life, asker.number)

    def declined(self, life: int, number: int) -> None:
        """It may not become an entry, by the ledger here or where this one asked."""
        asker = self._askers.pop(number, None) if life == self.life else None
        if asker is not None and asker.raw and asker.who is not self:
            self.around.network.send(self, asker.who, asker.who.declined, asker.life, asker.number)

    def was_read(self, life: int, number: int, index: int) -> None:
        asker = self._askers.pop(number, None) if life == self.life else None
        if asker is not None:
            self.around.network.send(self, asker.who, asker.who.was_read, asker.life, asker.number, index)

    def followed(self, client: Client, head: int, hash_: bytes) -> None:
        if self.heads is not None and not self._goes_on(head, hash_):
            self.around.network.send(self, client, client.disagrees, self)
            return
        self._followers[client.name] = [client, head]
        self._feed(self._followers[client.name], always=True)

    def _goes_on(self, head: int, hash_: bytes) -> bool:
        """Whether this node's ledger begins as one does that ends with this entry, as far as it can tell."""
        at = head - self.first_raw
        return at <= 0 or (at <= len(self.raws) and self.raws[at - 1] == hash_)

    def beaten(self, client: Client, head: int, hash_: bytes) -> None:
        self._heard[client.uid] = None
        self.followed(client, head, hash_)

    def heard(self, uids: tuple[str, ...]) -> None:
        if self.orderer.role == "leader":
            for uid in uids:
                self.world.history.heard[self.name, uid].append(self.now_s)
        self._handle(Heard(uids))

    def snapshot_asked(self, asker: NetworkNode, life: int, index: int) -> None:
        snapshot = self.disk.snapshot
        if snapshot is not None and snapshot.index >= index:
            self.around.network.send(self, asker, asker.snapshot_came, life, snapshot)

    def snapshot_came(self, life: int, snapshot: Snapshot) -> None:
        if life == self.life and self._fetching:
            self._fetching = False
            self._handle(Fetched(snapshot))

    def _fetch_failed(self) -> None:
        if self._fetching:
            self._fetching = False
            self._handle(SnapshotFailed())

    # ---- asking

    def _ask(self, asker: Asker) -> None:
        self._number += 1
        self._askers[self._number] = asker
        if not asker.raw or self.orderer.role != "leader":
            self._handle(asker.asked(self._number, self.entry_ms()) if asker.raw else ReadAsked(self._number))
            return
        self._gathered.append(asker.asked(self._number, self.entry_ms()))
        if len(self._gathered) == 1:
            self.later(GATHER_S, self._ask_together)

    def _ask_together(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._handle(AskedTogether(tuple(gathered)))

    def _answer(self, asker: Asker, outcome: Outcome) -> None:
        if asker.who is not self:
            self.around.network.send(self, asker.who, asker.who.answered, asker.life, asker.number, outcome)

    def _pass_on(self, number: int, leader: str) -> None:
        """What this SN cannot answer itself: whoever leads can. A newcomer knows nobody: any other may know."""
        asker = self._askers[number]
        other = self.around.uids.get(leader, self)
        if other is self and asker.who is self and len(self.around.sns) > 1:
            other = self.world.random.choice([sn for sn in self.around.sns if sn is not self])
        if other is self or not asker.hops:
            del self._askers[number]
        else:
            self.around.network.send(self, other, other.forwarded, self, self.life, number, asker.raw, asker.hops - 1)

    # ---- performing

    def _handle(self, event: Any) -> None:
        for effect in self.orderer.handle(event):
            self._perform(effect)
        while self.alive and self.orderer.behind:
            for effect in self.orderer.handle(Breathed()):
                self._perform(effect)
        if self.uid in self.around.weather.leaving:
            self._end_if_over()
        if self.around.checks:
            self.orderer.consensus.check()
            if self.orderer.head != self._checked:
                self._checked = self.orderer.head
                ledger = self.orderer.ledger
                ledger.check()
                if ledger.rules.active >= FOLLOWED and ledger.head_index >= self.disk.floor.index:
                    assert ledger.voters == self.disk.voters_at(ledger.head_index)

    def _end_if_over(self) -> None:
        """It was removed, and decides nothing any longer."""
        if self.orderer.ledger.voting.is_over(self.uid, self.orderer.consensus.voters):
            self.later(0.0, self.retire)

    def retire(self) -> None:
        """It ends, and another one begins in its place with an empty directory."""
        self.note("retired", self.uid)
        self.disk.damaged = True
        self.crash(power=False)
        self.around.weather.revive(self)

    def _perform(self, effect: Any) -> None:
        match effect:
            case Send():
                other = self.around.uids.get(effect.to)
                if other is not None:
                    self.around.network.send(self, other, other.received, self.uid, effect.to, effect.message)
            case Publish():
                self._published(effect)
            case Append():
                self.disk.note_commit(self.orderer.head)
                self._store(effect)
            case Answered():
                asker = self._askers.pop(effect.number, None)
                if asker is not None:
                    self._answer(asker, effect.outcome)
            case NotLeading():
                if effect.number in self._askers:
                    self._pass_on(effect.number, effect.leader)
            case Paused() | TurnedAway():
                self.turned_away(self.life, effect.number)
            case Declined():
                self.declined(self.life, effect.number)
            case ReadReady():
                asker = self._askers.pop(effect.number)
                head = self.orderer.head
                self.around.network.send(self, asker.who, asker.who.was_read, asker.life, asker.number, head)
            case Role():
                self.note("role", self.uid, effect.name, effect.term)
            case Keep():
                self.disk.keep(effect.snapshot)
            case FetchSnapshot():
                other = self.around.uids.get(effect.sender)
                if other is not None:
                    self.around.network.send(self, other, other.snapshot_asked, self, self.life, effect.index)
                self._fetching = True
                self.later(SNAPSHOT_S, self._fetch_failed)
            case Install():
                self._store(effect.snapshot)
            case Restored():
                self.raws, self.first_raw = [], self.orderer.head
                self.later(BACKFILL_S, self._fill)
                self.note("restored", self.uid, self.orderer.head)
            case Refuse() | Superseded():
                self.note("differs", self.uid, effect.peer, effect.index)
                if self.heads is not None and isinstance(effect, Superseded):
                    superseded(self)

    def _fill(self) -> None:
        """Have from others what lies behind the snapshot that this node began with, as `runtime/backfill` does it."""
        if self.first_raw:
            before = self.around.codec.chain(self.raws[0] if self.raws else self.orderer.ledger.head_hash)
            self.raws, self.first_raw = before[: self.first_raw] + self.raws, 0

    def _store(self, write: Append | Snapshot) -> None:
        self.disk.submit(write)
        self._write()

    def _write(self) -> None:
        if write_s := self.disk.begin():
            self.later(write_s, self._written)
            if self.trap:
                self.around.weather.sprung(self, write_s)

    def _written(self) -> None:
        if self.disk.full:
            self.later(FULL_S, self._written)
            return
        done = self.disk.end()
        self._write()
        for event in done:
            self._handle(event)

    def _published(self, effect: Publish) -> None:
        header = effect.header
        applied = effect.applied
        self.world.history.applied(
            self.now_s, self.name, header.index, header.hash, applied.outcome.accepted, applied.events
        )
        if header.index == 1:
            self.network_id = header.hash
        assert self.first_raw + len(self.raws) == header.index - 1
        self.raws.append(effect.entry.raw)
        if self.heads is not None and any(isinstance(event, Recovered) for event in applied.events):
            self.heads.recovered(effect.entry.raw)
        if self._followers and not self._pushing:
            self._pushing = True
            self.later(PUSH_S, self._push)

    def _push(self) -> None:
        self._pushing = False
        for follower in self._followers.values():
            self._feed(follower)

    def _feed(self, follower: list[Any], *, always: bool = False) -> None:
        client, sent = follower
        head = self.first_raw + len(self.raws)
        if sent < self.first_raw or (sent >= head and not always):
            return
        follower[1] = max(sent, head)
        fresh = tuple(self.raws[sent - self.first_raw :]) if sent < head else ()
        self.around.network.send(self, client, client.entries, self, sent, fresh)

    def _tell_life(self) -> None:
        """Whose signs of life came here, to whoever leads."""
        uids, self._heard = tuple(self._heard), {}
        if not uids:
            return
        leader = self.around.uids.get(self.orderer.leader)
        if leader is self:
            self.heard(uids)
        elif leader is not None:
            self.around.network.send(self, leader, leader.heard, uids)
