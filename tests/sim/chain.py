"""Replicas of the nodes that follow the ledger: every one its own, or shared where that cannot be told apart.

The state is a function of the chain alone, so nodes that follow may share the work: each entry is applied once, and
what it led to (a copy of the contracts, and of the board if it changed) is kept by the entry's hash. Every 50th seed
is run again with replicas of its own for every node, and has to give the same trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from swarm.core.board import Board
from swarm.core.claims import Claim, EntryHeader, Verified
from swarm.core.contract import Contract
from swarm.core.events import Applied, NodeGone, NodeKnown
from swarm.core.fields import FIRST_RULES
from swarm.core.joining_kinds import JOINING_FIELDS
from swarm.core.ledger import Ledger
from swarm.core.role_kinds import ROLE_FIELDS
from swarm.core.rules import KNOWN, Rules
from swarm.core.task import Task
from swarm.core.task_kinds import TASK_FIELDS
from swarm.core.taskrunner import Taskrunner
from tests.sim.codec import Codec
from tests.sim.shadow import Shadow

NEWEST = KNOWN
"""Rules that all who follow know; which release a network node is of is its own."""
SHADOWED = 4
"""One of so many replicas that are a node's own has a shadow."""


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
    rules: int = FIRST_RULES
    """The version that is followed."""

    @property
    def place(self) -> tuple[int, bytes]:
        return self.index, self.head

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
        self._given = 0

    def replica(self) -> Replica:
        self._given += 1
        return Replica(self, self._given)

    def step(self, view: View, raw: bytes, own: Ledger | None) -> tuple[Applied, View]:
        known = self._steps.get(raw)
        if known is not None:
            return known
        header, proposal = self.codec.entries[raw]
        if own is not None:
            applied = own.apply(header, self.codec.claim(header, proposal, own))
            return applied, _seen(own)
        known = self._steps[raw] = self._take(view, header, proposal)
        return known

    def _take(self, view: View, header: EntryHeader, proposal: bytes) -> tuple[Applied, View]:
        if self._ledger.head_hash != header.prev_hash:
            self._ledger = self.replayed(header.prev_hash)
        claim = self.codec.claim(header, proposal, self._ledger)
        applied = self._ledger.apply(header, claim)
        if not applied.outcome.accepted:  # that changes nothing
            return applied, replace(view, index=header.index, head=header.hash)
        ledger = self._ledger
        moved = [event.uid for event in applied.events if isinstance(event, NodeKnown | NodeGone)]
        of_tasks = isinstance(claim, Verified) and claim.kind in OF_TASKS
        if not of_tasks and moved:  # without jobs nobody else has anything to do with the board
            of_tasks = bool(ledger.board.jobs.runs) or any(ledger.nodes[uid].identity.role == "swop" for uid in moved)
        return applied, View(
            header.index,
            header.hash,
            self._contracts(view.contracts, claim, applied, every=bool(moved)),
            copied(ledger.board) if of_tasks else view.board,
            {uid: node.state for uid, node in ledger.nodes.items()} if moved else view.nodes,
            ledger.rules.active,
        )

    def _contracts(
        self, before: Mapping[str, Contract], claim: Claim, applied: Applied, *, every: bool
    ) -> Mapping[str, Contract]:
        """Those that the entry is about, or that anything happened in, are copied anew; or ``every`` one."""
        now = self._ledger.contracts
        about = {getattr(event, "contract", "") for event in applied.events}
        about.update((claim.body.get("contract", ""),) if isinstance(claim, Verified) else ())
        if not every and about.isdisjoint((*now, *before)):
            return before
        return {name: copied(contract) if every or name in about else before[name] for name, contract in now.items()}

    def forget(self) -> None:
        self._steps.clear()

    def replayed(self, head: bytes) -> Ledger:
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

    def __init__(self, chain: Chain, number: int) -> None:
        self._chain = chain
        self._own = None if chain.shared else Ledger(NEWEST)
        self._shadow = Shadow(chain.codec, self._own) if self._own and number % SHADOWED == 0 else None
        self.view = EMPTY

    def take(self, raw: bytes) -> Applied:
        applied, self.view = self._chain.step(self.view, raw, self._own)
        if self._shadow is not None:
            self._shadow.take(raw, applied)
        return applied


def _seen(ledger: Ledger) -> View:
    states = {uid: node.state for uid, node in ledger.nodes.items()}
    return View(ledger.head_index, ledger.head_hash, ledger.contracts, ledger.board, states, ledger.rules.active)


# ---- copies of what can change

_Memo = dict[int, Any]
"""What has been copied in one go, by the id of what it is a copy of: what is held twice is copied once."""
_Copier = Callable[[Any, _Memo], Any]
_ATOMS = (str, int, float, bool, bytes, tuple, frozenset, type(None), Enum)
_SHARED: set[type] = {str, int, float, bool, bytes, tuple, frozenset, type(None), Rules}
"""Types of values that cannot change, as far as they have been met; and the rules, which hold all nodes: nobody who
follows reads them here."""
_COPIERS: dict[type, _Copier] = {}


def copied(value: Any) -> Any:
    """The value, sharing only what cannot change."""
    return _copied(value, {})


def _copied(value: Any, memo: _Memo) -> Any:
    kind = type(value)
    if kind in _SHARED:
        return value
    known = memo.get(id(value))
    if known is not None:
        return known
    copier = _COPIERS.get(kind)
    if copier is None:
        frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
        if isinstance(value, _ATOMS) or frozen or callable(value):
            _SHARED.add(kind)
            return value
        copier = _COPIERS[kind] = _copier(kind, value)
    new = memo[id(value)] = copier(value, memo)
    return new


def _copier(kind: type, value: Any) -> _Copier:
    shared = _SHARED
    if issubclass(kind, dict):
        return lambda each, memo: {
            key: item if type(item) in shared else _copied(item, memo) for key, item in each.items()
        }
    if issubclass(kind, list):
        return lambda each, memo: [item if type(item) in shared else _copied(item, memo) for item in each]
    if issubclass(kind, set):
        return lambda each, memo: set(each)
    names = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())] or list(vars(value))
    return _written(kind, names, {name for name in names if _is_table(getattr(value, name))})


def _is_table(value: Any) -> bool:
    """Whether it says who handles what: that stays as it is."""
    return isinstance(value, dict) and bool(value) and all(map(callable, value.values()))


def _written(kind: type, names: list[str], tables: set[str]) -> _Copier:
    """A copier for objects of a class, written out attribute by attribute: there are many of them in each world."""
    lines = ["def copy(each, memo):", " new = make(kind)"]
    for name in names:
        lines += [f" item = each.{name}"]
        lines += [
            f" new.{name} = item" + (" if type(item) in shared else copied(item, memo)" if name not in tables else "")
        ]
    scope: dict[str, Any] = {"make": object.__new__, "kind": kind, "shared": _SHARED, "copied": _copied}
    exec("\n".join([*lines, " return new"]), scope)
    copier: _Copier = scope["copy"]
    return copier
