"""A learning node's way into contracts: the enrolment in the ledger, and the learning that follows from it.

Used by ``nodes/sl`` for the contract that a program names, and for the upper contract of a group that it leads.
Guarantee: what this process holds of a contract is one directory of models, whatever sessions its programs open.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from swarm.core.contract import Contract
from swarm.core.events import Outcome
from swarm.core.member import Member
from swarm.core.tensors import Schema
from swarm.errors import Refused
from swarm.nodes import mergemethods
from swarm.nodes.climbing import Climbing, GroupSession
from swarm.nodes.learning import Learning
from swarm.nodes.ledgerlink import LedgerLink
from swarm.nodes.models import Models
from swarm.nodes.progress import Progress
from swarm.nodes.stepping import sizes_of
from swarm.runtime.channel_server import Session
from swarm.runtime.data import DataClient
from swarm.runtime.data_rates import Rates
from swarm.wire import tensorbytes
from swarm.wire.messages import Open
from swarm.wire.tensorbytes import available_hashes

log = logging.getLogger("swarm.SL")


@dataclass
class Enrolling:
    """``learnings``: the newest of each contract; the models of earlier contracts are served on."""

    uid: str
    directory: Path
    link: LedgerLink
    propose: Callable[[str, dict[str, Any]], Awaitable[Outcome]]
    client: DataClient
    progress: Progress
    bytes_sent: Callable[[], int]
    rates: Rates
    data_address: Callable[[], str]
    learnings: dict[str, Learning] = field(default_factory=dict)
    _models: dict[str, Models] = field(default_factory=dict)

    async def enrol(self, session: Session, schema: Schema, request: Open, slot: tuple[str, int] | None) -> Learning:
        """In the contract that the program names. ``slot``: what it runs for, with the fence. Raises the refusal."""
        hash_name = available_hashes()[0]
        contract = await self._enrolled(schema, request, hash_name, slot)
        climbing = None
        if request.leads:
            climbing = Climbing(contract, partial(self._above, contract), session.note)
        return self._learning(session, contract, request.checkin, climbing=climbing)

    async def _above(self, group: Contract, session: GroupSession) -> Learning:
        """In the upper contract of the group that this node leads."""
        options = group.options.above().to_wire()
        request = Open(group.options.upper, options, 1, 1, "snapshot", group.schema.to_wire())
        contract = await self._enrolled(group.schema, request, group.hash, None)
        return self._learning(session, contract, request.checkin, origin=group.level.handed)

    async def _enrolled(self, schema: Schema, request: Open, hash_name: str, slot: tuple[str, int] | None) -> Contract:
        mergemethods.find(str(request.options.get("mergeMethod", "mean")))
        body = {
            "contract": request.contract,
            "schema": schema.to_wire(),
            "hash": hash_name,
            "initial_base": tensorbytes.initial_base(schema, hash_name),
            "options": request.options,
            "weight": request.weight,
            "syncFrequency": request.syncFrequency,
            "data_address": self.data_address(),
        }
        if request.leads:
            body["leads"] = True
        if slot is not None:
            body["slot"], body["fence"] = slot
        outcome = await self.propose("Enrolled", body)
        if (error := outcome.error()) is not None:
            raise error
        contract = self.link.ledger.contracts.get(request.contract)
        if contract is None:  # by a person, while this node waited to hear that it is enrolled
            raise Refused(f"contract {request.contract} was reset by a person", hint="start the program again")
        least, joined, round_ = contract.options.minPeers, outcome.result["joined"], outcome.result["round"]
        log.info("enrolled in contract %s: %s, in round %d, minPeers %d", contract.name, joined, round_, least)
        self.progress.line("enrolled", contract=contract.name, joined=joined, round=round_)
        return contract

    def _learning(
        self,
        session: Session | GroupSession,
        contract: Contract,
        checkin: str,
        *,
        origin: str = "",
        climbing: Climbing | None = None,
    ) -> Learning:
        learning = Learning(
            session,
            self.link,
            self.client,
            self._models_of(contract),
            self.progress,
            contract,
            Member(self.uid, contract, holds=contract.initial_base, origin=origin, checkin=checkin),
            self.bytes_sent,
            self.rates,
            climbing,
        )
        self.learnings[contract.name] = learning
        return learning

    def _models_of(self, contract: Contract) -> Models:
        """What this process holds of the contract, also from an earlier session of its program."""
        models, sizes = self._models.get(contract.name), sizes_of(contract)
        if models is None or models.sizes != sizes:
            models = Models(self.directory / contract.name, *sizes)
            self._models[contract.name] = models
        return models
