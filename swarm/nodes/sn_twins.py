"""Node keys that two processes hold: what network nodes tell each other of it, beside their heads.

Used by ``nodes/sn_heads``. Who has turned a process away, because another one with its node key lives, tells that one,
and hands its word on with the next refusal: so who is turned away is shown that its own key has spoken, and need not
believe who turns it away. Guarantee: nothing of it is kept but the last word of each node key.
"""

from __future__ import annotations

from typing import Any

from swarm.runtime.control import Link
from swarm.runtime.tls import Local
from swarm.wire.twins import INCARNATION, speaks_against, twin_word


class Twins:
    def __init__(self, local: Local) -> None:
        self._state, self._doubles = local.state, local.acquaintances.doubles
        self._other = self._word = b""

    def told(self, link: Link) -> dict[str, Any]:
        """``double``: whom this node has turned away for who is at the other end; ``word``: its own, if it has such a
        double itself."""
        other, _ = self._doubles.get(link.peer.node_key, (b"", b""))
        return {"double": b"" if other == link.peer.incarnation else other, "word": self._word}

    def take(self, link: Link, body: dict[str, Any]) -> None:
        state, key = self._state, link.peer.node_key
        double, word = body.get("double"), body.get("word")
        if isinstance(double, bytes) and len(double) == INCARNATION and double not in (self._other, state.incarnation):
            self._other = double
            self._word = twin_word(state.node_key, state.network_id, state.incarnation, double)
        other, known = self._doubles.get(key, (b"", b""))
        if isinstance(word, bytes) and other and word != known and speaks_against(word, key, state.network_id, other):
            self._doubles[key] = other, word

    def speak_against_this(self, proof: bytes) -> bool:
        """Whether another process with this node key runs, by its own word."""
        state = self._state
        return speaks_against(proof, state.node_public, state.network_id, state.incarnation)
