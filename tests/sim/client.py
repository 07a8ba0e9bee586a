"""What learning nodes, operators and commanders have in common: they follow the ledger and propose, through any SN.

As `nodes/ledgerlink` does it: a proposal's bytes are made once and asked again until they have an outcome, and the
outcome counts when the own replica has applied it; an SN that is silent for three beats is changed for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swarm.core.events import Applied, Outcome
from swarm.core.names import uid_of
from tests.sim.chain import Chain, Replica
from tests.sim.codec import Codec, identity, joined
from tests.sim.network import Network
from tests.sim.world import Process, World

if TYPE_CHECKING:
    from tests.sim.sn import NetworkNode
    from tests.sim.weather import Weather

BEAT_S = 2.0
SILENT_S = 6.0
DISAGREES_S = 0.5
RETRY_S = (0.3, 0.6, 1.2, 2.0, 3.0)
TRIES = len(RETRY_S)
"""So often the SN at hand is asked in vain, then another."""

Done = Callable[[Outcome], None]


@dataclass(slots=True)
class Surroundings:
    """What every actor of one world shares."""

    world: World
    network: Network
    codec: Codec
    chain: Chain
    weather: Weather
    sns: list[NetworkNode] = field(default_factory=list)
    uids: dict[str, Any] = field(default_factory=dict)
    """Processes by the uids that they have, or had."""
    checks: bool = False
    """Whether every machine's own invariants are looked at after every event."""
    recovers: bool = False
    """Whether there is a forced recovery, so that ledgers part."""
    removed: Callable[[str], None] = lambda uid: None
    """A network node comes back under another uid: a person has the old one removed."""


@dataclass(slots=True)
class _Waiting:
    raw: bytes
    done: Done
    tries: int = 0
    answer: Outcome | None = None


class Client(Process):
    def __init__(self, around: Surroundings, name: str, organisation: str) -> None:
        super().__init__(around.world, name)
        self.around = around
        self.identity = identity(self.role, name, organisation)
        self.node_key = hashlib.sha256(f"{name} {around.world.seed}".encode()).digest()
        self.uid = uid_of(self.node_key)
        around.uids[self.uid] = self
        self.starts = 0
        """On disk."""
        self._choice = around.world.random.randrange(1 << 16)

    @property
    def incarnation(self) -> bytes:
        return self.starts.to_bytes(8, "big") + bytes(8)

    # ---- life

    def on_start(self) -> None:
        self.starts += 1
        self.replica: Replica = self.around.chain.replica()
        self.lost = True
        """No SN is at hand."""
        self._seq = 0
        self._waiting: dict[int, _Waiting] = {}
        self._heard_s = self.now_s
        self._ready = False
        self._change()
        self._beat()

    def on_crash(self, power: bool) -> None:
        pass

    def on_entries(self, applied: list[Applied]) -> None:
        raise NotImplementedError

    def on_link(self) -> None:
        """``lost`` has changed."""

    def on_joined(self, outcome: Outcome) -> None:
        """The ledger knows this incarnation."""
        raise NotImplementedError

    # ---- the link

    def _change(self) -> None:
        self._choice += 1
        self.sn = self.around.sns[self._choice % len(self.around.sns)]
        self._follow()

    def _follow(self) -> None:
        self.around.network.send(self, self.sn, self.sn.followed, self, *self.replica.view.place)

    def _beat(self) -> None:
        if self.now_s - self._heard_s >= SILENT_S:
            self._heard_s = self.now_s - SILENT_S / 2
            self._set_lost(True)
            self._change()
        else:
            self.around.network.send(self, self.sn, self.sn.beaten, self, *self.replica.view.place)
        self.later(BEAT_S, self._beat)

    def _set_lost(self, lost: bool) -> None:
        if self.lost != lost:
            self.lost = lost
            self.on_link()

    def entries(self, sn: NetworkNode, after: int, raws: tuple[bytes, ...]) -> None:
        """From an SN: the entries behind ``after``; none: it lives, and this node has all that it has."""
        if sn is not self.sn:
            return
        self._heard_s = self.world.now_s
        if self.lost:
            self._set_lost(False)
        head = self.replica.view.index
        if after > head:
            self._follow()
            return
        new = raws[head - after :]
        if new and self.around.recovers and self.around.codec.entries[new[0]][0].prev_hash != self.replica.view.head:
            self.disagrees(sn)
            return
        fresh = [self.replica.take(raw) for raw in new]
        if not fresh:
            return
        if self.around.recovers:
            self.note("read", self.replica.view.head)
        self.on_entries(fresh)
        if not self._ready:  # the ledger was read as far as an SN had it
            self._ready = True
            self.propose("NodeJoined", joined(self.role, self.node_key, self.incarnation, self.rules), self.on_joined)
        if self._waiting:
            self._settle()

    def disagrees(self, sn: NetworkNode) -> None:
        """Its ledger is another one than what this node has of it."""
        if sn is self.sn and not self.lost:
            self._set_lost(True)
            self.later(DISAGREES_S, self._change)

    def declined(self, life: int, seq: int) -> None:
        """By the ledger that goes on it has not joined: it ends, and a person starts it again."""
        if self.around.recovers and life == self.life and seq in self._waiting:
            self.note("stranded", self.name)
            self.begin_anew()

    def begin_anew(self) -> None:
        """A person starts it again, since what it has of the ledger was given up."""
        self.crash(power=False)
        self.start()

    def _settle(self) -> None:
        """Whoever was answered hears it once this node has read as far as its entry."""
        head = self.replica.view.index
        for seq, waiting in list(self._waiting.items()):
            if waiting.answer is None or waiting.answer.index > head:
                continue
            if not self._bears_out(waiting):
                waiting.answer = None  # it is asked again
            elif self._waiting.pop(seq, None):
                waiting.done(waiting.answer)

    def _bears_out(self, waiting: _Waiting) -> bool:
        """Whether the own copy of the ledger has what was acknowledged: a forced recovery may have given that up."""
        assert waiting.answer is not None
        if not (self.around.recovers and waiting.answer.accepted):
            return True
        entries, at = self.around.codec.entries, self.replica.view.head
        while any(at) and entries[at][0].index > waiting.answer.index:
            at = entries[at][0].prev_hash
        return any(at) and entries[at][1] == waiting.raw

    # ---- proposing

    def propose(self, kind: str, body: dict[str, Any], done: Done = lambda outcome: None) -> None:
        self._seq += 1
        raw = self.around.codec.propose(
            self.identity, self.node_key, network_id=self.sn.network_id, uid=self.uid, incarnation=self.incarnation,
            seq=self._seq, kind=kind, body=body,
        )  # fmt: skip
        self._waiting[self._seq] = _Waiting(raw, done)
        self._ask(self._seq)

    def _ask(self, seq: int) -> None:
        waiting = self._waiting.get(seq)
        if waiting is None:
            return
        if waiting.answer is None:
            if waiting.tries and waiting.tries % TRIES == 0:
                self._leave_sn()
            self.around.network.send(self, self.sn, self.sn.asked, self, self.life, seq, waiting.raw)
        waiting.tries += 1
        self.later(RETRY_S[min(waiting.tries, len(RETRY_S)) - 1], self._ask, seq)

    def turned_away(self, life: int, seq: int) -> None:
        """The SN lives, and its ledger pauses."""
        if life == self.life and seq in self._waiting:
            self._leave_sn()

    def _leave_sn(self) -> None:
        """Another one may see a majority."""
        if len(self.around.sns) > 1:
            self._set_lost(True)
            self._change()

    def answered(self, life: int, seq: int, outcome: Outcome) -> None:
        waiting = self._waiting.get(seq)
        if life != self.life or waiting is None or waiting.answer is not None:
            return
        self.note("acknowledged", self.uid, waiting.raw, outcome.index, outcome.accepted)
        waiting.answer = outcome
        if outcome.index <= self.replica.view.index and self._bears_out(waiting):
            del self._waiting[seq]
            waiting.done(outcome)
        elif outcome.index <= self.replica.view.index:
            waiting.answer = None
