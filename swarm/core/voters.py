"""Who decides what becomes an entry, as the ledger has it: the voters, the epoch, the network nodes admitted for good.

Kept by the ledger, read by the orderer (which proposes changes), by status and by network nodes. Guarantees: a network
node counts from its joining until an entry ends it, however long it is silent; one that was removed, or that a forced
recovery went past, never comes back under its uid, so that no vote is ever used twice.

    Genesis          the sentinel is the only voter, in epoch 0
    Configuration    the leader's own entry: who votes from here on
    ForcedRecovery   a later epoch: one node decides alone, the voters before it are removed
    SnRemoved        a person says that this node will not come back
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from swarm.core.claims import EntryHeader, Verified
from swarm.core.election import majority
from swarm.core.events import Event, NodeGone, Recovered, VotersChanged
from swarm.core.names import Identity
from swarm.core.node import Node
from swarm.core.rules import Rules
from swarm.errors import Refused

Answer = tuple[dict[str, Any], list[Event]]


FOLLOWED = 5
"""The rules with which it counts that consensus has followed a change of voters: who is removed leads until then."""
SKIPPING = 5
"""The rules with which a forced recovery may skip epochs: who learnt of one may be the only node that is left."""
SKIPS = 16
"""At most so many: else one person's word could take all the epochs that there are."""


class Voters:
    """``nodes`` are the ledger's own. ``lost_after``: the last entry that the latest forced recovery took over."""

    def __init__(self, nodes: dict[str, Node], rules: Rules) -> None:
        self._nodes, self._rules = nodes, rules
        self.sentinel = ""
        self.uids: tuple[str, ...] = ()
        self.epoch = 0
        self.lost_after = 0

    def found(self, uid: str) -> None:
        self.sentinel, self.uids = uid, (uid,)

    def sns(self) -> list[tuple[str, bytes]]:
        """The admitted network nodes with their organisations' anchors, in the order in which they joined."""
        admitted = [(node.joined, uid) for uid, node in self._nodes.items() if node.identity.role == "sn"]
        return [(uid, self._nodes[uid].identity.anchor) for _, uid in sorted(admitted) if not self._nodes[uid].gone]

    def is_over(self, uid: str, followed: Collection[str]) -> bool:
        """Whether this node was removed, and has handed over what it decided. ``followed``: the voters of consensus."""
        node, voters = self._nodes.get(uid), self.uids if self._rules.active >= FOLLOWED else followed
        return node is not None and node.state == "removed" and uid not in voters

    def believes(self, uid: str, said_by: Collection[str], followed: Collection[str]) -> bool:
        """Whether this node has it from others that it was removed: from a majority, or from one of them where its own
        ledger says so, too. Nobody's word ends who decides alone."""
        node, others = self._nodes.get(uid), [other for other, _ in self.sns() if other != uid]
        needed = 1 if node is not None and node.state == "removed" else majority(others)
        return tuple(followed) != (uid,) and sum(other in said_by for other in others) >= needed

    # ---- the kinds

    def is_followed(self, kind: str) -> bool:
        """Whether it has decided already who decides, whoever proposes it: the ledger may only say so, too."""
        return kind == "Configuration" and self._rules.active >= FOLLOWED

    def configured(self, claim: Verified, header: EntryHeader) -> Answer:
        """Consensus has followed it already, when it was appended; so nothing but nonsense is refused."""
        uids = tuple(claim.body["voters"])
        strangers = [uid for uid in uids if uid not in self._nodes or self._nodes[uid].identity.role != "sn"]
        if strangers or len(set(uids)) != len(uids):
            raise Refused(f"a configuration of voters that are no network nodes, or twice the same: {', '.join(uids)}")
        self.uids = uids
        return {}, [VotersChanged(uids)]

    def removed(self, claim: Verified, header: EntryHeader) -> Answer:
        uid, author = claim.body["uid"], self._nodes[claim.uid].identity
        node = self._admitted(uid)
        self._check_right(claim.kind, author, node.identity)
        if [each for each, _ in self.sns()] == [uid]:
            raise Refused(f"{node.identity} cannot be removed: it is the only network node")
        return {}, [self.end(uid, f"removed by {author}")]

    def recovered(self, claim: Verified, header: EntryHeader) -> Answer:
        self.check_recovery(claim)
        uid = claim.body["uid"]
        ended = tuple(other for other in self.uids if other != uid)
        self.epoch, self.lost_after = claim.body["epoch"], claim.body["lost_after"]
        self.found(uid)
        reason = f"forced recovery of the ledger by {claim.identity}: {claim.body['reason']}"
        gone: list[Event] = [self.end(other, reason) for other in ended]
        return {}, [
            Recovered(self.epoch, uid, self.lost_after, ended, claim.body["reason"]),
            *gone,
            VotersChanged((uid,)),
        ]

    def check_recovery(self, claim: Verified, were: Collection[str] = ()) -> None:
        """Raise what stands against this forced recovery, as far as the ledger knows. ``were``: who counts as admitted,
        since it was where the recovery stands, which is not at the ledger's end."""
        assert claim.identity is not None, "it introduces its author"
        body, node = claim.body, self._admitted(claim.body["uid"], were)
        self._check_right(claim.kind, claim.identity, node.identity)
        skips = body["epoch"] - self.epoch - 1
        if not 0 <= skips <= (SKIPS if self._rules.active >= SKIPPING else 0):
            raise Refused(
                f"a forced recovery into epoch {body['epoch']}: the ledger is in epoch {self.epoch}",
                hint="somebody else has recovered it meanwhile: see swarm status",
            )

    def end(self, uid: str, reason: str) -> NodeGone:
        """For good: its uid is not taken back."""
        self._nodes[uid].state = "removed"
        self.succeed(uid)
        return NodeGone(uid, reason)

    def succeed(self, uid: str) -> None:
        """If that was the sentinel, the one that joined first of those that are left takes its place."""
        left = self.sns()
        if self.sentinel == uid and left:
            self.sentinel = left[0][0]

    # ---- keeping

    def to_state(self) -> list[Any]:
        return [self.sentinel, list(self.uids), self.epoch, self.lost_after]

    def restore(self, state: list[Any]) -> None:
        self.sentinel, uids, self.epoch, self.lost_after = state
        self.uids = tuple(uids)

    def check(self) -> None:
        """The invariants; called after each entry in tests and simulations."""
        assert len(set(self.uids)) == len(self.uids)
        assert all(self._nodes[uid].identity.role == "sn" for uid in (*self.uids, self.sentinel))
        assert self.sentinel in dict(self.sns()) or not self.sns()

    def check_sentinels(self, kind: str, author: Identity) -> None:
        """Raise unless the author is of the sentinel's organisation."""
        sentinel = self._nodes[self.sentinel].identity
        if author.anchor != sentinel.anchor:
            whose = f"the sentinel's organisation {sentinel.organisation}"
            raise Refused(f"{author} may not propose {kind}: only a {author.role} of {whose} may")

    def check_voter(self, claim: Verified, author: Identity) -> None:
        """Raise unless the author votes: who leads does, and only who leads times anything."""
        if claim.uid not in self.uids:
            raise Refused(f"{author} may not propose {claim.kind}: only a network node that votes on the order may")

    def _admitted(self, uid: str, were: Collection[str] = ()) -> Node:
        node = self._nodes.get(uid)
        if node is None or node.identity.role != "sn" or (node.gone and uid not in were):
            raise Refused(f"{uid} is no network node of this ledger", hint="swarm nodes lists them")
        return node

    def _check_right(self, kind: str, author: Identity, whose: Identity) -> None:
        sentinel = self._nodes[self.sentinel].identity
        if author.anchor not in (sentinel.anchor, whose.anchor):
            raise Refused(
                f"{author} may not propose {kind} for {whose}: only a swci of {whose.organisation} "
                f"or of the sentinel's organisation {sentinel.organisation} may"
            )
