"""The version of the ledger's rules: which one this swarm knows, which one a network follows, and when it changes.

Kept by the ledger; asked by the leader's initiative (which proposes the change by itself), by handshakes and by status.
Guarantees: every node judges an entry by the version that the entries before it have activated, whatever newer ones it
knows; a version is activated only when every network node and every other live node has said that it knows it; a node
that does not know what is activated applies nothing more, and says so.

    Genesis             the network begins with this version
    NodeJoined          'rules': the newest version that the process knows; left out, it is the first
    ProtocolActivated   sn, the leader by itself: from the next entry on this version holds; RulesActivated

How a release changes the rules: raise `KNOWN`, give each new kind its version in `SINCE` and each new field its own
(`Field.since`), and let whatever else comes out differently depend on ``active``. The sentences of refusals are part of
the rules, since outcomes are kept in the state; so is the form of the state. Nothing of an earlier version ever goes.
"""

from __future__ import annotations

from typing import Any

from swarm.core.claims import EntryHeader, Verified
from swarm.core.events import Event, RulesActivated
from swarm.core.fields import FIRST_RULES
from swarm.core.node import Node
from swarm.errors import Outdated, Refused

KNOWN = 5
"""The newest version that this swarm knows."""
WORK = ("WorkPut", "WorkTaken", "WorkDone", "WorkForgotten", "WorkLapsed")
SINCE: dict[str, int] = {
    **dict.fromkeys(("JobsSubmitted", "JobsStopped", "JobsRetried", "JobsDeleted"), 2),
    **dict.fromkeys(("RolesSubmitted", "RolesScaled", "GoalReached", "StartLapsed", "RunLapsed", *WORK), 3),
    **dict.fromkeys(("SlotJoined", "SlotTold"), 3),
    **dict.fromkeys(("DatasetAdded", "DatasetCommitted", "DatasetTagged", "DatasetRemoved"), 3),
    **dict.fromkeys(("JobsFinalized", "JobsStarted"), 4),
}
"""The version with which a kind of proposals came; what is not named here is of the first."""
UPGRADE = "install the release of swarm-learning that the network's other nodes run, and start it again as it was"

Answer = tuple[dict[str, Any], list[Event]]


def has_kind(kind: str, version: int) -> bool:
    return SINCE.get(kind, FIRST_RULES) <= version


def stated(joined: dict[str, Any]) -> int:
    """The newest version that a process knows, by its NodeJoined."""
    return int(joined.get("rules", FIRST_RULES))


def statement() -> dict[str, Any]:
    """What a process says of itself when it joins."""
    return {"rules": KNOWN} if KNOWN > FIRST_RULES else {}


class Rules:
    """``nodes`` are the ledger's own; ``known``: the newest version that this node knows."""

    def __init__(self, nodes: dict[str, Node], known: int) -> None:
        self.known = known
        self.active = FIRST_RULES
        self._nodes = nodes

    def attainable(self) -> int:
        """The newest version that all nodes know whom a change would put out."""
        return min((node.rules for node in self._nodes.values() if _counts(node)), default=self.active)

    def coming(self) -> int:
        """The newest version that some of them know already."""
        return max((node.rules for node in self._nodes.values() if _counts(node)), default=self.active)

    def lacking(self, version: int) -> list[Node]:
        """Who has yet to be upgraded for it."""
        return [node for _, node in sorted(self._nodes.items()) if _counts(node) and node.rules < version]

    # ---- applying

    def judging(self, kind: str, body: dict[str, Any]) -> int:
        """The version by which a proposal is judged: the Genesis brings its own. Raises Outdated."""
        version = body.get("rules") if kind == "Genesis" and not self._nodes else None  # a later one is nobody's word
        if type(version) is not int:
            return self.active
        self.must_know(version, 1)
        return version

    def begin(self, version: int, index: int = 1) -> None:
        """This version holds from entry ``index`` on. Raises Outdated."""
        self.must_know(version, index)
        self.active = version

    def activated(self, claim: Verified, header: EntryHeader) -> Answer:
        version = claim.body["rules"]
        if version <= self.active:
            raise Refused(f"the ledger follows rules version {self.active} already")
        if lacking := self.lacking(version):
            who = ", ".join(f"{node.identity} (version {node.rules})" for node in lacking[:3])
            raise Refused(f"rules version {version} cannot be activated: not all nodes know it, as {who}")
        self.begin(version, header.index + 1)
        return {}, [RulesActivated(version)]

    def must_know(self, version: int, index: int) -> None:
        """Raise when this node cannot tell what entries from ``index`` on mean."""
        if version > self.known:
            raise Outdated(
                f"from entry {index} on this network follows rules version {version}, "
                f"this release of swarm-learning knows version {self.known}",
                hint=UPGRADE,
            )

    def must_be_current(self, node: Node, kind: str) -> None:
        """Refuse what an author proposes who has yet to be upgraded."""
        if node.rules < self.active:
            raise Refused(
                f"{node.identity} proposes {kind} and knows rules version {node.rules}, "
                f"this network follows version {self.active}",
                hint=UPGRADE,
            )

    def must_join(self, claim: Verified) -> None:
        """Refuse a process that could not tell what the entries mean."""
        if stated(claim.body) < self.active:
            raise Refused(
                f"{claim.identity} knows rules version {stated(claim.body)}, this network is at {self.active}",
                hint=UPGRADE,
            )

    def check(self) -> None:
        """The invariants; called after each entry in tests and simulations."""
        assert FIRST_RULES <= self.active <= self.known, (self.active, self.known)
        assert all(node.rules >= FIRST_RULES for node in self._nodes.values())


def _counts(node: Node) -> bool:
    """A network node until an entry ends it, anybody else while it lives: a lost one may never come back."""
    return not node.gone if node.identity.role == "sn" else node.state == "live"
