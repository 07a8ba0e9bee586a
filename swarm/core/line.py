"""The line: who takes part in a round, where a contract merges so many of its members a round (``pickPeers``).

That is FedAvg's sampling of clients (McMahan et al. 2017, algorithm 1: a random set S_t of m clients a round): who is
not picked offers nothing, and has the model of those who are. Kept by `core/round`; drawn anew for each of them.

The order is that of SHA-256 over contract, round, the hash of the ledger's entry that began the round, and uid. That
hash covers what members signed, in an order and at a time that they did not choose: none of them can tell it before,
and try weights, keys or words until it suits. Guarantees: the same order on every node; who is picked stays so while it
is live and offers in time, since who goes makes room, who hangs goes behind all others once too few have offered for as
long as the contract bears, and who comes stands there; in the first round they stand as they came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any


class Line:
    """``picks``: how many of the line are picked; 0: there is no line, and everybody takes part."""

    def __init__(self, picks: int) -> None:
        self._picks = picks
        self._uids: list[str] = []
        self.moves = 0
        """How often it has moved up."""

    def draw(
        self, contract: str, round_: int, entry: bytes, live: Collection[str], left_out: Collection[str] = ()
    ) -> None:
        """Who is left out stands behind all others."""
        if self._picks:
            seed = f"swarm/line/1\0{contract}\0{round_}\0".encode() + entry
            self._uids = sorted(live, key=lambda uid: (uid in left_out, hashlib.sha256(seed + uid.encode()).digest()))

    def join(self, uid: str) -> None:
        """Behind all others; who stands in it keeps its place."""
        if self._picks and uid not in self._uids:
            self._uids.append(uid)

    def leave(self, uid: str) -> None:
        if uid in self._uids:
            self._uids.remove(uid)

    def can_move_up(self) -> bool:
        """Whether anybody waits who could take the place of one that is picked."""
        return 0 < self._picks < len(self._uids)

    def move_up(self, offered: Collection[str]) -> None:
        """Those who are picked and have not offered go behind all others."""
        ahead, behind = self._uids[: self._picks], self._uids[self._picks :]
        late = [uid for uid in ahead if uid not in offered]
        self._uids = [*(uid for uid in ahead if uid in offered), *behind, *late]
        self.moves += 1

    def first(self, live: Collection[str]) -> Collection[str]:
        """Who takes part: those who are picked, or all of these."""
        return self._uids[: self._picks] if self._picks else live

    def is_behind(self, uid: str) -> bool:
        """Whether it stands in line and is not picked."""
        return uid in self._uids[self._picks :]

    def holds(self, live: Collection[str]) -> bool:
        """Whether these and no others stand in it, once each."""
        return sorted(self._uids) == sorted(live)

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        return {"line": list(self._uids), "moves": self.moves} if self._picks else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._uids, self.moves = list(state.get("line", ())), state.get("moves", 0)
