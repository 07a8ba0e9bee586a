"""Orderers in one hand: their disks, messages, clocks and whoever asks them, without keys, sockets or files."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack

from swarm.core.asking import (
    Answer,
    Answered,
    Asked,
    Breathed,
    Clocked,
    Fetched,
    Install,
    Installed,
    Keep,
    Publish,
    RecoveryAsked,
    Restored,
)
from swarm.core.claims import Blank, Claim, EntryHeader, Unverified, Verified
from swarm.core.kinds import INTRODUCTIONS
from swarm.core.ledger import Ledger
from swarm.core.orderer import Effect, Event, Orderer
from swarm.core.ordering import (
    Append,
    FetchSnapshot,
    LogEntry,
    Message,
    ReadAsked,
    Received,
    Role,
    Send,
    Stored,
)
from swarm.core.rules import KNOWN
from swarm.core.snapshot import Snapshot
from swarm.core.voters import FOLLOWED
from tests.core.scene import Actor, anchored
from tests.core.storedlog import Mark, StoredLog

TICK_S = 0.1


class PlainCodec:
    """Proposals say who speaks, and are believed."""

    def make(self, index: int, term: int, time: int, prev_hash: bytes, proposal: bytes) -> LogEntry:
        raw = msgpack.packb([index, term, time, prev_hash, proposal])
        return LogEntry(index, term, hashlib.sha256(raw).digest(), raw, self._voters(proposal))

    def _voters(self, proposal: bytes) -> tuple[str, ...] | None:
        if not proposal:
            return None
        uid, _, _, kind, body, *_ = msgpack.unpackb(proposal)
        named = {"Genesis": [uid], "Configuration": body.get("voters"), "ForcedRecovery": [body.get("uid")]}.get(kind)
        return tuple(named) if named else None

    def read(self, entry: LogEntry) -> tuple[EntryHeader, bytes]:
        index, term, time, prev_hash, proposal = msgpack.unpackb(entry.raw)
        return EntryHeader(index, term, time, prev_hash, entry.hash), proposal

    def claim(self, header: EntryHeader, proposal: bytes, ledger: Ledger) -> Claim:
        if not proposal:
            return Blank()
        uid, incarnation, seq, kind, body, network_id, identity, node_key = msgpack.unpackb(proposal)
        if kind not in INTRODUCTIONS and uid not in ledger.nodes:
            return Unverified(f"{uid} has not joined")
        author = Actor(*identity) if kind in INTRODUCTIONS else None
        return Verified(
            uid, incarnation, seq, kind, body, network_id, hashlib.sha256(proposal).digest(),
            author.identity if author else None, node_key,
            (anchored("a"),) if kind == "Genesis" else (),
        )  # fmt: skip


def propose(actor: Actor, kind: str, body: dict[str, Any], network_id: bytes, seq: int = 0) -> bytes:
    if not seq:
        actor.seq += 1
        seq = actor.seq
    who = [actor.identity.role, actor.identity.name, actor.identity.organisation]
    key = actor.node_key if kind in INTRODUCTIONS else b""
    return bytes(msgpack.packb([actor.uid, actor.incarnation, seq, kind, body, network_id, who, key]))


def joining(actor: Actor, rules: int = 1) -> dict[str, Any]:
    return {
        "chain": [b"certificate"], "node_key": actor.node_key, "role": actor.identity.role,
        "addresses": ["127.0.0.1:1"], "incarnation": actor.incarnation,
        **({"rules": rules} if rules > 1 else {}),
    }  # fmt: skip


class Disk(StoredLog):
    """A log in memory; what is submitted waits until the test lets it be written."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshot: Snapshot | None = None
        self.waiting: deque[tuple[Callable[[], None], Event]] = deque()

    @property
    def snapshot_index(self) -> int:
        return self.snapshot.index if self.snapshot else 0

    def keep(self, snapshot: Snapshot, behind: int) -> None:
        self.snapshot = snapshot
        self.raise_floor(snapshot.index - behind)

    def install(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.replace(Mark(snapshot.index, snapshot.term, snapshot.hash, snapshot.voters))


class Sn:
    def __init__(self, hand: Hand, name: str) -> None:
        self.hand = hand
        self.actor = Actor("sn", name)
        self.uid = self.actor.uid
        self.disk = Disk()
        self.wall_ms = 1_000_000
        self.alive = False
        self.start()

    def start(self) -> None:
        self.answers: dict[int, Answer] = {}
        self.published: list[Publish] = []
        self.roles: list[Role] = []
        self.alive = True
        self.disk.waiting.clear()
        self.orderer = Orderer(
            self.uid, self.actor.incarnation, self.disk, PlainCodec(), self._sign,
            term=self.disk.term, vote=self.disk.vote, commit=max(self.disk.commit, min(1, self.disk.last_index)),
            founder=self.actor.identity.name == "sn-1", breath=self.hand.breath,
            snapshot_every=self.hand.snapshot_every,
        )  # fmt: skip

    def _sign(self, kind: str, body: dict[str, Any], seq: int) -> bytes:
        return propose(self.actor, kind, body, self.hand.network_id, seq)

    @property
    def ledger(self) -> Ledger:
        return self.orderer.ledger

    def handle(self, event: Event) -> None:
        if not self.alive:
            return
        for effect in self.orderer.handle(event):
            self._perform(effect)
        self.orderer.consensus.check()
        if self.orderer.head:
            self.ledger.check()
            if self.ledger.rules.active >= FOLLOWED:
                assert self.ledger.voters == self.disk.voters_at(self.orderer.head)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Append():
                self.disk.waiting.append((lambda: self.disk.write(effect), Stored(effect.number)))
            case Send():
                self.hand.messages.append((self.uid, effect.to, effect.message))
            case _ if isinstance(effect, Answer):
                assert effect.number not in self.answers, "one answer each"
                self.answers[effect.number] = effect
            case Publish():
                self.published.append(effect)
            case Role():
                self.roles.append(effect)
            case Keep():
                self.disk.keep(effect.snapshot, self.hand.kept_behind)
            case FetchSnapshot():
                other = self.hand.of(effect.sender).disk.snapshot
                assert other is not None
                assert other.index >= effect.index
                self.hand.later.append(lambda: self.handle(Fetched(other)))
            case Install():
                snapshot = effect.snapshot
                self.disk.waiting.append((lambda: self.disk.install(snapshot), Installed(snapshot)))
            case Restored():
                self.published.clear()


class Hand:
    """Everything happens when it is told to; ``settle`` lets all go through that is not held back."""

    def __init__(
        self, count: int, *, breath: int = 32, snapshot_every: int = 10**9, kept_behind: int = 2, rules: int = KNOWN
    ) -> None:
        self.rules = rules
        self.breath, self.snapshot_every, self.kept_behind = breath, snapshot_every, kept_behind
        self.now_s = 0.0
        self.network_id = b""
        self.messages: deque[tuple[str, str, Message]] = deque()
        self.later: list[Callable[[], None]] = []
        self.cut_off: set[str] = set()
        self.frozen: set[str] = set()
        """Disks that write nothing."""
        self._number = 0
        self.sns = [Sn(self, f"sn-{number}") for number in range(1, count + 1)]

    def of(self, uid: str) -> Sn:
        return next(sn for sn in self.sns if sn.uid == uid)

    @property
    def leader(self) -> Sn:
        leading = [sn for sn in self.sns if sn.alive and sn.orderer.role == "leader" and sn.uid not in self.cut_off]
        return max(leading, key=lambda sn: sn.orderer.consensus.term)

    # ---- making things happen

    def settle(self) -> None:
        busy = True
        while busy:
            busy = bool(self.later)
            while self.later:
                self.later.pop(0)()
            for sn in self.sns:
                while sn.alive and sn.disk.waiting and sn.uid not in self.frozen:
                    write, stored = sn.disk.waiting.popleft()
                    write()
                    sn.handle(stored)
                    busy = True
                while sn.alive and sn.orderer.behind:
                    sn.handle(Breathed())
            while self.messages:
                sender, to, message = self.messages.popleft()
                busy = True
                if not {sender, to} & self.cut_off:
                    self.of(to).handle(Received(sender, message))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s and not until():
            self.now_s += TICK_S
            for sn in self.sns:
                sn.wall_ms += int(TICK_S * 1000)
                sn.handle(Clocked(self.now_s, sn.wall_ms))
            self.settle()

    def ask(self, sn: Sn, raw: bytes) -> int:
        self._number += 1
        sn.handle(Asked(self._number, raw, sn.wall_ms))
        return self._number

    def read(self, sn: Sn) -> int:
        self._number += 1
        sn.handle(ReadAsked(self._number))
        return self._number

    def recover(self, sn: Sn, raw: bytes) -> int:
        self._number += 1
        sn.handle(RecoveryAsked(self._number, raw, sn.wall_ms))
        return self._number

    def told(self, sn: Sn, raw: bytes) -> Answered:
        """What becomes of a proposal that somebody waits for."""
        number = self.ask(sn, raw)
        self.run(5, until=lambda: number in sn.answers)
        answer = sn.answers[number]
        assert isinstance(answer, Answered), answer
        return answer

    # ---- the usual beginning

    def begin(self) -> None:
        """The first founds the network, the others join, in their order; three and more elect."""
        first = self.sns[0]
        self.run(3, until=lambda: first.orderer.role == "leader")
        body = {"rules": self.rules, "anchors": [anchored("a").certificate], "created": 0}
        body["joined"] = joining(first.actor, self.rules)
        assert self.told(first, propose(first.actor, "Genesis", body, b"")).outcome.accepted
        self.network_id = first.ledger.network_id
        for sn in self.sns[1:]:
            assert self.told(self.leader, self.join(sn.actor)).outcome.accepted
        voters = {1: 1, 2: 1, 3: 3, 4: 3}.get(len(self.sns), 5)
        self.run(20, until=lambda: len(self.leader.ledger.voters) == voters)
        assert len(self.leader.ledger.voters) == voters
        self.run(1)
        for sn in self.sns:
            sn.actor.seq = 1

    def join(self, actor: Actor) -> bytes:
        return propose(actor, "NodeJoined", joining(actor, self.rules), self.network_id)

    def crash(self, sn: Sn) -> None:
        sn.alive = False

    def restart(self, sn: Sn) -> None:
        sn.actor.restart()
        sn.start()

    def level(self) -> bool:
        heads = {(sn.orderer.head, sn.ledger.head_hash) for sn in self.sns if sn.alive}
        return len(heads) == 1
