"""Openings: how many bytes of contracts an organisation may have in the ledger, and who has named those without any.

Kept by `core/contracts`. Every network node and every follower keeps a contract's tensors for as long as it is open,
and holds them in each snapshot: so there is a bound, as there is for tasks (`core/bodies`). A contract counts for the
organisation that enrolled first, a member for its own one, a name that nobody has opened for who created it, or had
opened it before. Guarantees: what is refused has changed nothing, and a reset is never refused. What is too much
already, of before there was a bound, stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from swarm.core.contract import Contract
from swarm.core.names import Identity
from swarm.core.node import Node
from swarm.core.rules import Rules
from swarm.core.tensors import Schema
from swarm.errors import Refused

OPENINGS_MAX = 64 << 20
"""Bytes of one organisation's: over a thousand contracts of 200 tensors each."""
CONTRACT_BYTES = 4096
"""Of each, besides its tensors: its options, its round and the models that its members keep."""
TENSOR_BYTES, EXTENT_BYTES = 256, 32
"""Of each tensor, besides its name: much more in memory than on the wire, where it may have ten."""
MEMBER_BYTES = 1024
NAME_BYTES = 512
SINCE = 5
"""The version of the rules that this came with."""


class Openings:
    """``open``, ``nodes`` and ``rules`` are the ledger's own."""

    def __init__(self, opened: Mapping[str, Contract], nodes: Mapping[str, Node], rules: Rules) -> None:
        self._open, self._nodes, self._rules = opened, nodes, rules
        self._named: dict[str, bytes] = {}
        """By name, the anchor of who has created a contract that nobody has opened, or had opened it."""
        self._kept: Counter[bytes] = Counter()
        """By anchor, so that nobody adds it up for each new one."""

    def must_have_room(self, more: int, identity: Identity) -> None:
        """Raises Refused where so many bytes are too many."""
        kept = self._kept[identity.anchor]
        if self._rules.active >= SINCE and kept + more > OPENINGS_MAX:
            raise Refused(
                f"the contracts of {identity.organisation} take {kept} bytes in the ledger, "
                f"and {more} more are over {OPENINGS_MAX}",
                hint="swarm contract reset NAME forgets the tensors and members of one that is over",
            )

    def enrolled(self, contract: Contract, uid: str) -> None:
        """This member is new; with the first one, the contract is."""
        if len(contract.members) == 1:
            self._forget(contract.name)
            self._kept[self._opener(contract)] += contract_bytes(contract.schema)
        self._kept[self._nodes[uid].identity.anchor] += MEMBER_BYTES

    def created(self, name: str, anchor: bytes) -> None:
        if self._rules.active >= SINCE:
            self._named[name] = anchor
            self._kept[anchor] += name_bytes(name)

    def closed(self, contract: Contract) -> None:
        """Its name stays, whoever has taken the rest away."""
        self._count(contract, -1)
        self.created(contract.name, self._opener(contract))

    # ---- how

    def _opener(self, contract: Contract) -> bytes:
        first = next(uid for uid, member in contract.members.items() if member.ordinal == 0)
        return self._nodes[first].identity.anchor

    def _forget(self, name: str) -> None:
        if (anchor := self._named.pop(name, None)) is not None:
            self._kept[anchor] -= name_bytes(name)

    def _count(self, contract: Contract, sign: int) -> None:
        self._kept[self._opener(contract)] += sign * contract_bytes(contract.schema)
        for uid in contract.members:
            self._kept[self._nodes[uid].identity.anchor] += sign * MEMBER_BYTES

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        """Nothing while nobody has named anything."""
        return {"named": [[name, anchor] for name, anchor in sorted(self._named.items())]} if self._named else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What is kept follows from the contracts and the names."""
        self._named = dict(state.get("named", ()))
        self._kept.clear()
        for name, anchor in self._named.items():
            self._kept[anchor] += name_bytes(name)
        for contract in self._open.values():
            self._count(contract, 1)

    def check(self, unopened: Mapping[str, int]) -> None:
        assert set(self._named) <= set(unopened), "who has opened a contract, counts for it"
        anew = Openings(self._open, self._nodes, self._rules)
        anew.restore(self.to_state())
        assert +self._kept == +anew._kept, "the bytes of each organisation are those of its contracts and names"


def contract_bytes(schema: Schema) -> int:
    """Of a contract without members, in the memory of each that keeps it."""
    extents = sum(len(tensor.shape) for tensor in schema.tensors)
    names = sum(len(tensor.name.encode()) for tensor in schema.tensors)
    return CONTRACT_BYTES + TENSOR_BYTES * len(schema.tensors) + EXTENT_BYTES * extents + names


def name_bytes(name: str) -> int:
    return NAME_BYTES + len(name.encode())
