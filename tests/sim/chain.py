"""Replicas of the nodes that follow the ledger: every one its own, or shared where that cannot be told apart.

The state is a function of the chain alone, so nodes that follow may share the work: each entry is applied once, and
what it led to (a copy of the contracts, and of the board if it changed) is kept by the entry's hash. Every 50th seed
is run again with replicas of its own for every node, and has to give the same trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from swarm.core.board import Board
from swarm.core.claims import EntryHeader, Verified
from swarm.core.contract import Contract
from swarm.core.events import Applied, NodeGone, NodeKnown
from swarm.core.joining_kinds import JOINING_FIELDS
from swarm.core.ledger import Ledger
from swarm.core.role_kinds import ROLE_FIELDS
from swarm.core.rules import KNOWN, Rules
from swarm.core.task import Task
from swarm.core.task_kinds import TASK_FIELDS
from swarm.core.taskrunner import Taskrunner
from tests.sim.codec import Codec

NEWEST = KNOWN
"""Rules that all who follow know; which release a network node is of is its own."""


OF_TASKS = {*TASK_FIELDS, *ROLE_FIELDS, *JOINING_FIELDS}


@dataclass(frozen=True, slots=True)
class View:
    """The ledger after the entry ``head``: what those who follow read of it."""

    index: int
    head: bytes
    contracts: Mapping[str, Contract]
    board: Board
    nodes: Mapping[str, str]
    """Their states."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self.board.tasks

    @property
    def taskrunners(self) -> Mapping[str, Taskrunner]:
        return self.board.taskrunners


class Chain:
    """Which replica a node gets. ``shared``: they are one, as far as that cannot be told apart."""

    def __init__(self, codec: Codec, *, shared: bool) -> None:
        self.codec = codec
        self.shared = shared
        self._ledger = Ledger(NEWEST)
        self._steps: dict[bytes, tuple[Applied, View]] = {}

    def replica(self) -> Replica:
        return Replica(self)

    def step(self, view: View, raw: bytes, own: Ledger | None) -> tuple[Applied, View]:
        header, proposal = self.codec.entries[raw]
        if own is not None:
            applied = own.apply(header, self.codec.claim(header, proposal, own))
            return applied, _seen(own)
        known = self._steps.get(raw)
        if known is None:
            known = self._steps[raw] = self._take(view, header, proposal)
        return known

    def _take(self, view: View, header: EntryHeader, proposal: bytes) -> tuple[Applied, View]:
        if self._ledger.head_hash != header.prev_hash:
            self._ledger = self._replayed(header.prev_hash)
        claim = self.codec.claim(header, proposal, self._ledger)
        applied = self._ledger.apply(header, claim)
        moved = any(isinstance(event, NodeKnown | NodeGone) for event in applied.events)
        of_tasks = moved or (isinstance(claim, Verified) and claim.kind in OF_TASKS)
        of_rounds = of_tasks or (isinstance(claim, Verified) and "contract" in claim.body)
        ledger = self._ledger
        return applied, View(
            header.index,
            header.hash,
            {name: copied(contract) for name, contract in ledger.contracts.items()} if of_rounds else view.contracts,
            copied(ledger.board) if of_tasks else view.board,
            {uid: node.state for uid, node in ledger.nodes.items()} if moved else view.nodes,
        )

    def _replayed(self, head: bytes) -> Ledger:
        """Another branch: it begins at the same first entry."""
        raws: list[bytes] = []
        while any(head):
            raws.append(head)
            head = self.codec.entries[head][0].prev_hash
        ledger = Ledger(NEWEST)
        for raw in reversed(raws):
            header, proposal = self.codec.entries[raw]
            ledger.apply(header, self.codec.claim(header, proposal, ledger))
        return ledger


EMPTY = View(0, bytes(32), {}, Board({}, Rules({}, KNOWN)), {})


class Replica:
    """A node's own copy of the ledger, and the outcomes of its own proposals."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._own = None if chain.shared else Ledger(NEWEST)
        self.view = EMPTY

    def take(self, raw: bytes) -> Applied:
        applied, self.view = self._chain.step(self.view, raw, self._own)
        return applied


def _seen(ledger: Ledger) -> View:
    states = {uid: node.state for uid, node in ledger.nodes.items()}
    return View(ledger.head_index, ledger.head_hash, ledger.contracts, ledger.board, states)


# ---- copies of what can change

_Copier = Callable[[Any], Any]
_ATOMS = (str, int, float, bool, bytes, tuple, frozenset, type(None), Enum)
_SHARED: set[type] = {str, int, float, bool, bytes, tuple, frozenset, type(None)}
"""Types of values that cannot change, as far as they have been met."""
_COPIERS: dict[type, _Copier] = {}


def copied(value: Any) -> Any:
    """The value, sharing only what cannot change."""
    kind = type(value)
    if kind in _SHARED:
        return value
    copier = _COPIERS.get(kind)
    if copier is not None:
        return copier(value)
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    if isinstance(value, _ATOMS) or frozen or callable(value):
        _SHARED.add(kind)
        return value
    copier = _COPIERS[kind] = _copier(kind, value)
    return copier(value)


def _copier(kind: type, value: Any) -> _Copier:
    shared = _SHARED
    if issubclass(kind, dict):
        return lambda each: {key: item if type(item) in shared else copied(item) for key, item in each.items()}
    if issubclass(kind, list):
        return lambda each: [item if type(item) in shared else copied(item) for item in each]
    if issubclass(kind, set):
        return set
    names = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())] or list(vars(value))
    return _written(kind, names)


def _written(kind: type, names: list[str]) -> _Copier:
    """A copier for objects of a class, written out attribute by attribute: this is half of what a world costs."""
    lines = ["def copy(each):", " new = make(kind)"]
    for name in names:
        lines += [f" item = each.{name}", f" new.{name} = item if type(item) in shared else copied(item)"]
    scope: dict[str, Any] = {"make": object.__new__, "kind": kind, "shared": _SHARED, "copied": copied}
    exec("\n".join([*lines, " return new"]), scope)
    copier: _Copier = scope["copy"]
    return copier
