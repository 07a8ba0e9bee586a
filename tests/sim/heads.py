"""What network nodes tell each other of a forced recovery, before any word about the order of entries is taken.

It stands in for ``nodes/sn_heads`` and ``nodes/sn_return``, in worlds that have a forced recovery; one object for each
life of a node. Who voted, and does not in the epoch that it hears of, comes back under another key, as a learner.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from swarm.core.claims import EntryHeader, Verified
from swarm.core.ledger import Ledger
from swarm.core.ordering import EpochProven, epoch_of
from swarm.errors import BadInput, SwarmError
from tests.sim.codec import Codec

if TYPE_CHECKING:
    from tests.sim.sn import NetworkNode

EVERY_S = 3.0
AGAIN_S = 0.5
JUDGE_S = 0.3
RETURN_S = 0.5

Told = tuple[bytes, int, int]
"""The entry of the forced recovery, if one is known; the epoch and the last entry of the own ledger."""


class Heads:
    def __init__(self, node: NetworkNode) -> None:
        self._node = node
        self._met: set[tuple[str, int]] = set()
        self._theirs: dict[str, tuple[int, int]] = {}
        self._asked_s: dict[str, float] = {}
        self._raw = b""
        self._proven = 0
        self._deciding: tuple[str, ...] = ()
        if node.kept_recovery:
            self.recovered(node.kept_recovery)

    def tick(self) -> None:
        for other in self._node.around.sns:
            if other is not self._node:
                self._ask(other)
        self._node.later(EVERY_S, self.tick)

    def hears(self, sender: str) -> bool:
        """Whether this node takes that one's words about the order of entries."""
        other = self._node.around.uids[sender]
        if (other.name, other.life) not in self._met:
            if self._node.now_s - self._asked_s.get(other.name, -AGAIN_S) >= AGAIN_S:
                self._ask(other)
            return False
        orderer = self._node.orderer
        known = orderer.ledger.nodes.get(sender)
        ours = sender in (*orderer.consensus.voters, *self._to_come) or (known is not None and not known.gone)
        return ours or not orderer.head or self._behind()

    def _behind(self) -> bool:
        ledger = self._node.orderer.ledger
        own = (ledger.epoch, ledger.head_index)
        return any(head > own for uid, head in self._theirs.items() if uid in ledger.nodes or uid in self._to_come)

    @property
    def _to_come(self) -> tuple[str, ...]:
        """Who decides since a recovery that this node has been shown, and whom its ledger may not have yet."""
        return self._deciding if self._proven > self._node.orderer.ledger.epoch else ()

    # ---- the exchange

    def _ask(self, other: NetworkNode) -> None:
        node = self._node
        self._asked_s[other.name] = node.now_s
        node.around.network.send(node, other, _asked, other, node, node.life, self._told())

    def _told(self) -> Told:
        ledger = self._node.orderer.ledger
        return self._raw, ledger.epoch, ledger.head_index

    def answer(self, other: NetworkNode, life: int, told: Told) -> None:
        reply, node = self._told(), self._node
        if self.take(other, life, told):
            node.around.network.send(node, other, _answered, other, node, node.life, reply)

    def take(self, other: NetworkNode, life: int, told: Told) -> bool:
        raw, *head = told
        self._theirs[other.uid] = (head[0], head[1])
        if raw and not self._check(raw):
            return False
        self._met.add((other.name, life))
        return True

    # ---- recoveries

    def recovered(self, raw: bytes) -> None:
        """One has been applied, or proven: who missed it is shown this entry."""
        epoch = epoch_of(self._node.around.codec.entries[raw][0].term)
        if epoch >= self._proven:
            codec = self._node.around.codec
            self._raw, self._proven, self._node.kept_recovery = raw, epoch, raw
            self._deciding = (codec.proposals[codec.entries[raw][1]].body["uid"],)
            self._node.happened(EpochProven(epoch))

    def _check(self, raw: bytes) -> bool:
        """Whether what is told is taken; a recovery that this node has missed is judged first."""
        node, header = self._node, self._node.around.codec.entries[raw][0]
        ledger = node.orderer.ledger
        if epoch_of(header.term) <= max(ledger.epoch, self._proven) or not ledger.head_index:
            return True
        try:
            claim = judged(node.around.codec, raw, ledger)
        except SwarmError:
            if header.index > ledger.head_index + 1:  # what allows it may stand in entries that are not here yet
                node.later(JUDGE_S, self._judge, raw)
            return False
        self._follow(raw, claim)
        return node.alive

    def _judge(self, raw: bytes) -> None:
        """By the entries that the other side has behind the own ones."""
        node, header = self._node, self._node.around.codec.entries[raw][0]
        ledger = node.orderer.ledger
        if ledger.head_hash not in before(node.around.codec, header):
            return
        try:
            claim = judged(node.around.codec, raw, node.around.chain.replayed(header.prev_hash))
        except SwarmError as error:
            node.note("unjudged", error.message)
            return
        self._follow(raw, claim)

    def _follow(self, raw: bytes, claim: Verified) -> None:
        node = self._node
        voters = (*node.orderer.ledger.voters, *node.orderer.consensus.voters)  # as its log has them, decided or not
        given_up = node.orderer.head >= node.around.codec.entries[raw][0].index
        if given_up or (node.uid in voters and claim.body["uid"] != node.uid):
            come_back(node, raw)
        else:
            self.recovered(raw)


def _asked(node: NetworkNode, other: NetworkNode, life: int, told: Told) -> None:
    assert node.heads is not None
    node.heads.answer(other, life, told)


def _answered(node: NetworkNode, other: NetworkNode, life: int, told: Told) -> None:
    assert node.heads is not None
    node.heads.take(other, life, told)


def judged(codec: Codec, raw: bytes, ledger: Ledger) -> Verified:
    """As `nodes/sn_recovery` does it. Raises SwarmError when nobody with the right to it can have proposed it."""
    header, proposal = codec.entries[raw]
    claim = codec.claim(header, proposal, ledger)
    if not isinstance(claim, Verified) or claim.body["epoch"] != epoch_of(header.term):
        raise BadInput("a forced recovery that nobody can have signed")
    ledger.must_take_recovery(replace(claim, body={**claim.body, "epoch": ledger.epoch + 1}))
    return claim


def before(codec: Codec, header: EntryHeader) -> set[bytes]:
    """All entries that this one stands behind."""
    hashes, at = set(), header.prev_hash
    while any(at):
        hashes.add(at)
        at = codec.entries[at][0].prev_hash
    return hashes


def come_back(node: NetworkNode, raw: bytes) -> None:
    """The node's directory is set aside, and what it alone has is listed."""
    kept = before(node.around.codec, node.around.codec.entries[raw][0])
    disk = node.disk
    stored = [disk.entry(index).hash for index in range(disk.first_index, disk.last_index + 1)]
    node.note("came_back", node.uid, disk.first_index, tuple(hash_ for hash_ in stored if hash_ not in kept))
    disk.damaged = True
    node.crash(power=False)
    node.world.after(RETURN_S, node.around.weather.revive, node)


def superseded(node: NetworkNode) -> None:
    """It follows somebody whose ledger does not have what this one has committed."""
    come_back(node, node.kept_recovery)
