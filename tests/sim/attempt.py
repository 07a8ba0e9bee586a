"""One attempt of one round on one learning node: the product's `Exchanging`, with simulated bytes around it.

It stands in for ``runtime/exchange``. A leaf of the model is one number. Replies carry what is there so far, and, with
the end of a shard, its owner's signature under it. A node that lies does it here, in what it serves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from swarm.core import exchanging_steps as x
from swarm.core import member_steps as m
from swarm.core.events import SnapMade
from swarm.core.exchanging import Exchanging
from swarm.core.exchanging_places import Place
from swarm.core.merge.mean import merge as mean
from swarm.core.spans import Spans
from swarm.core.tensors import LEAF_BYTES
from tests.sim import commitments
from tests.sim.codec import signature
from tests.sim.history import Values

if TYPE_CHECKING:
    from tests.sim.learning import Learning
    from tests.sim.sl import LearningNode

AGAIN_S = (0.05, 0.2, 1.5)
"""More of what grows, what is not there yet, what has had no reply."""
MERGE_S = 0.0004


class Want(NamedTuple):
    """``what``: an offer's or a shard's bytes ``start`` to ``stop``, or (of a ``digest``) a whole model."""

    what: str
    contract: str
    digest: str = ""
    round: int = -1
    attempt: int = -1
    of: str = ""
    start: int = 0
    stop: int = 0


class Bytes(NamedTuple):
    """What is there from the start of what was wanted; ``proof`` once it is all of it. ``shown``: that these are leaves
    of what was offered, where the offer has a root."""

    values: Values
    proof: Proof | None
    shown: bytes = b""


@dataclass(frozen=True, slots=True)
class Proof:
    """An owner's signature under a shard: nobody else can make one."""

    owner: str
    snap: bytes
    """The snap's entry: after a forced recovery there may be another one of that round and attempt."""
    start: int
    values: Values


class Attempt:
    def __init__(self, learning: Learning, snap: SnapMade, own: Values, before: Attempt | None) -> None:
        self.learning = learning
        self.node = node = learning.node
        self.snap = snap
        self.own = own
        self.over = self.answered = False
        nbytes = node.terms.leaves * LEAF_BYTES
        same = before is not None and before.snap.round == snap.round
        kept: dict[str, Spans] = before.machine.kept() if same and before else {}
        self.machine = Exchanging(snap, node.uid, nbytes, kept)
        self.came: dict[str, list[float]] = before.came if same and before else {}
        """Contributions, as far as they are here."""
        self.came[node.uid] = list(own)
        self.result = [0.0] * node.terms.leaves
        self._proofs: dict[tuple[str, int], Proof] = {}
        self._upto: dict[int, int] = {}
        """How far my shards may be served, by where they start."""
        self._digests = {member.uid: member.digest for member in snap.members}
        self._roots = {member.uid: member.root for member in snap.members}
        self._requests: dict[x.Pull, int] = {}

    def begin(self) -> None:
        self._perform_all(self.machine.begin(self.node.now_s))

    def tick(self) -> None:
        self._happened(x.Ticked())

    def held(self, uid: str) -> None:
        self._happened(x.Held(uid))

    def _happened(self, event: x.Event) -> None:
        if not self.over:
            effects = self.machine.handle(event, self.node.now_s)
            if self.node.around.checks:
                self.machine.check()
            self._perform_all(effects)

    def _perform_all(self, effects: list[x.Effect]) -> None:
        for effect in effects:
            if not self.over:
                self._perform(effect)

    def _perform(self, effect: x.Effect) -> None:
        match effect:
            case x.Pull():
                self._pull(effect, effect.start)
            case x.Stop():
                self.node.requests.pop(self._requests.pop(effect.pull, 0), None)
                self._happened(x.Failed(effect.pull, effect.reason))
            case x.Merge():
                spoilt = self._merge(effect)
                merged = x.Spoilt(spoilt, "it sent NaN") if spoilt else x.Merged(effect.start)
                self.node.later(MERGE_S, self._happened, merged)
            case x.Serve():
                self._upto[effect.shard] = effect.upto
            case x.Blame():
                snap = self.snap
                self.learning.happened(m.Stalled(snap.round, snap.attempt, effect.uid, effect.reason, effect.alive))
            case x.Finish():
                self._finish()

    # ---- pulling

    def _pull(self, pull: x.Pull, upto: int) -> None:
        snap = self.snap
        digest = self._digests[pull.of] if pull.what == "offer" else ""
        want = Want(pull.what, snap.contract, digest, snap.round, snap.attempt, pull.of, upto, pull.stop)
        source = self.node.around.uids[pull.source]
        self._requests[pull] = self.node.request(
            source, want, lambda reply: self._replied(pull, upto, reply), AGAIN_S[2]
        )

    def _replied(self, pull: x.Pull, upto: int, reply: Any) -> None:
        if self.over:
            return
        match reply:
            case None:
                self._pull(pull, upto)
            case "not yet":
                self._happened(x.Arrived(pull, upto))
                self._again(AGAIN_S[1], pull, upto)
            case Bytes():
                self._take(pull, upto, reply)
            case _:
                self._happened(x.Failed(pull, str(reply)))

    def _again(self, delay_s: float, pull: x.Pull, upto: int) -> None:
        self._requests[pull] = 0
        self.node.later(delay_s, self._pull_on, pull, upto)

    def _pull_on(self, pull: x.Pull, upto: int) -> None:
        if not self.over and pull in self._requests:
            self._pull(pull, upto)

    def _take(self, pull: x.Pull, upto: int, reply: Bytes) -> None:
        first = upto // LEAF_BYTES
        if not self._committed_to(pull, first, reply):
            self._unmask(pull)
            return
        place = self.result
        if pull.what == "offer":
            place = self.came.setdefault(pull.of, [0.0] * len(self.own))
        place[first : first + len(reply.values)] = reply.values
        upto += len(reply.values) * LEAF_BYTES
        self._happened(x.Arrived(pull, upto))
        if self.over:
            return
        if upto < pull.stop:
            self._again(AGAIN_S[0], pull, upto)
        elif self._good(pull, reply):
            self._requests.pop(pull, None)
            self._happened(x.Verified(pull))
        else:
            self._unmask(pull)

    def _unmask(self, pull: x.Pull) -> None:
        self._requests.pop(pull, None)
        self.node.note("unmasked", self.node.uid, pull.source, pull.what, self.snap.round)
        self._happened(x.Failed(pull, f"what it sent of its {pull.what} is not what was promised", bad=True))

    def _committed_to(self, pull: x.Pull, first: int, reply: Bytes) -> bool:
        """Whether these leaves of a contribution are those of the root that was offered, if there is one."""
        root = self._roots[pull.of] if pull.what == "offer" else b""
        return not root or commitments.belong(root, len(self.own), first, reply.values, reply.shown)

    def _good(self, pull: x.Pull, reply: Bytes) -> bool:
        first, stop = pull.start // LEAF_BYTES, pull.stop // LEAF_BYTES
        if pull.what == "shard":
            proof = reply.proof
            if proof != Proof(pull.of, self.snap.entry, pull.start, tuple(self.result[first:stop])):
                return False
            self._proofs[pull.of, pull.start] = proof
            return True
        if self.snap.topology == "broadcast" and not self._roots[pull.of]:
            promised = self.node.world.history.models[self._digests[pull.of]]
            return tuple(self.came[pull.of]) == promised
        return True

    # ---- merging

    def _merge(self, merge: x.Merge) -> str:
        """Who sent what cannot be merged, if anybody did."""
        leaves = slice(merge.start // LEAF_BYTES, merge.stop // LEAF_BYTES)
        for uid, _ in merge.parts:
            if not all(map(math.isfinite, self.came[uid][leaves])):
                return uid
        parts = [np.array(self.came[uid][leaves], np.float32) for uid, _ in merge.parts]
        out = np.empty(len(parts[0]), np.float32)
        mean("float32", parts, [weight for _, weight in merge.parts], out)
        self.result[leaves] = out.tolist()
        return ""

    def _finish(self) -> None:
        values = self.learning.stepped(self.snap.base, tuple(self.result))
        digest = self.node.record(values)
        if not self.learning.hold(digest, values):
            self.node.give_up("no room for the result")
            return
        self.learning.note("holds", self.snap.round, self.snap.attempt, digest)
        result = m.Merged(self.snap.round, self.snap.attempt, digest, tuple(self._shards()))
        lies = len(self.snap.members) > 1 and self._lies("ready")  # who merges alone is all that there is to agree
        self.learning.happened(self._misstated(result) if lies else result)

    def _misstated(self, result: m.Merged) -> m.Merged:
        """What nobody holds, in a shard that somebody else owns."""
        mine = [shard.owner == self.node.uid for shard in self.snap.shards]
        pieces = [p if own else hashlib.sha256(p).digest() for p, own in zip(result.shards, mine, strict=True)]
        self.node.note("lied", self.node.uid, "ready", True)
        false = hashlib.sha256(f"{result.digest} {self.node.uid}".encode()).hexdigest()
        return replace(result, digest=f"blake3:{false}", shards=tuple(pieces))

    def _shards(self) -> Iterator[bytes]:
        for shard in self.snap.shards:
            yield _digest_of(tuple(self.result[shard.first_leaf : shard.stop_leaf]))

    def evidence(self, shards: Iterable[int]) -> Iterator[dict[str, Any]]:
        """What the owners of these shards, by number in the snap, signed for what they sent here."""
        snap = self.snap
        where = {"contract": snap.contract, "round": snap.round, "attempt": snap.attempt, "snap": snap.entry}
        for index in shards:
            shard = snap.shards[index]
            proof = self._proofs.get((shard.owner, shard.first_leaf * LEAF_BYTES))
            if proof is not None:
                body = {**where, "shard": index, "uid": shard.owner}
                digest = _digest_of(proof.values)
                yield {**body, "first": {"digest": digest, "signature": signature(body, digest)}}

    # ---- serving

    def serve(self, asker: LearningNode, want: Want) -> Any:
        if (self.snap.round, self.snap.attempt) != (want.round, want.attempt):
            return "that attempt is over here"
        first, stop = want.start // LEAF_BYTES, want.stop // LEAF_BYTES
        if want.what == "offer":
            if self.answered or self._digests[self.node.uid] != want.digest:
                return "the round is over"
            shown = commitments.proof(self.own, first, stop) if self._roots[self.node.uid] else b""
            return Bytes(self._told(asker, "contribution", self.own[first:stop]), None, shown)
        if want.of != self.node.uid:
            return self._relay(want, first, stop)
        shard = next((each for each in self.machine.mine if each.start <= want.start < each.stop), None)
        upto = self._upto.get(shard.start, 0) if shard else 0
        if shard is None or upto <= want.start:
            return "not yet"
        values = self._told(asker, "shard", tuple(self.result[first : min(upto, want.stop) // LEAF_BYTES]))
        whole = upto == shard.stop and want.stop == shard.stop
        before = tuple(self.result[shard.start // LEAF_BYTES : first])
        if not whole:
            return Bytes(values, None)
        proof = Proof(self.node.uid, self.snap.entry, shard.start, before + values)
        self._sign(shard, proof)
        return Bytes(values, proof)

    def _sign(self, shard: Place, proof: Proof) -> None:
        if self.node.terms.full:
            snap, index = self.snap, self.machine.shards.index(shard)
            body = {"contract": snap.contract, "round": snap.round, "attempt": snap.attempt, "snap": snap.entry}
            self.node.around.codec.sign({**body, "shard": index, "uid": self.node.uid}, _digest_of(proof.values))

    def _relay(self, want: Want, first: int, stop: int) -> Any:
        for (of, start), proof in self._proofs.items():
            if of == want.of and start <= want.start < start + len(proof.values) * LEAF_BYTES:
                return Bytes(tuple(self.result[first:stop]), proof)
        return "that shard is not here"

    def _lies(self, what: str) -> bool:
        chance = self.node.lies.get(what, 0.0)
        if not chance or self.node.world.random.random() >= chance:
            return False
        self.node.around.weather.count("lie")
        return True

    def _told(self, asker: LearningNode, what: str, values: Values) -> Values:
        """The truth; now and then a liar tells something else, and each asker another."""
        if what == "contribution" and asker.uid in self.node.spoils:
            self.node.around.weather.count("lie")
            return (math.nan, *values[1:])
        if not values or not self._lies(what):
            return values
        checked = what == "contribution" and (self.snap.topology == "broadcast" or self.node.terms.full)
        self.node.note("lied", self.node.uid, what, checked)
        return (values[0] + 1.0 + self.node.world.random.randint(0, 9), *values[1:])


def _digest_of(values: Values) -> bytes:
    """Of a shard."""
    return hashlib.sha256(repr(list(values)).encode()).digest()
