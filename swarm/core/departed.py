"""Departed: the nodes that have left or are lost, and when the ledger lets go of their rows.

Kept by the ledger. Each command that steers and each learning node that begins with a new state directory is a node of
its own: what the state keeps of them has to have a bound. Guarantees: only rows go that nothing else in the ledger
names (no member's, excluded ones among them; nobody's who has made a task or has a lease), of nodes that have proposed
nothing for `node.KEPT` entries, and no network node's or operator's; nothing that such a node ever signed takes effect
a second time, since a node that is not known says with its NodeJoined how far it has read the ledger, and that has to
be as far as where the last of those proposals stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from swarm.core.claims import Verified
from swarm.core.node import KEPT, Node
from swarm.errors import Refused

SINCE = 5
"""The version of the rules that this came with."""
MOST = 1024
"""With so many rows that nobody needs, they go, all at once: a node that comes back sooner has its own again."""
ROLES = ("sl", "swci")


class Departed:
    """``nodes`` are the ledger's own. ``before``: who is not known has to have read the ledger up to this entry."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self._nodes = nodes
        self.before = 0

    def must_be_new(self, claim: Verified, head: int) -> None:
        """Refuse a NodeJoined that may have counted already, of a node whose row is gone."""
        read = claim.body.get("after", 0)
        if claim.uid in self._nodes or claim.body["role"] not in ROLES or self.before <= read <= head:
            return
        raise Refused(
            f"{claim.identity} joins having read the ledger up to entry {read}: "
            f"expected one from {self.before} to {head}",
            hint="start it again once it has read the ledger",
        )

    def let_go(self, index: int, needed: Callable[[], Collection[str]]) -> None:
        """Of the rows that nobody needs, if they are many. ``needed``: uids that the ledger names elsewhere."""
        gone = [uid for uid, node in self._nodes.items() if _is_over(node)]
        if len(gone) <= MOST:
            return
        unneeded = set(gone).difference(needed())
        if len(unneeded) > MOST:
            for uid in unneeded:
                del self._nodes[uid]
            self.before = index - KEPT

    def to_state(self) -> dict[str, int]:
        """Nothing while none is gone."""
        return {"departed": self.before} if self.before else {}

    def restore(self, state: dict[str, int]) -> None:
        self.before = state.get("departed", 0)


def _is_over(node: Node) -> bool:
    """Whether nobody waits for anything that it has proposed."""
    return node.state in ("left", "lost") and node.identity.role in ROLES and not node.outcomes.of
