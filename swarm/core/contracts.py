"""The training contracts of the network: those that are open, and the names that the first enrolment may open.

Kept by the ledger, which has checked that the author is admitted and has the role. Guarantees: a refusal changes
nothing; every snap names the entry that made it, so that two attempts of one number (a forced recovery may have a round
run again) are never taken for one.

    Enrolled           opens the contract or joins it
    Offer ... Evidence what a member or a network node says about the round or the model: see `core/contract`
    ContractReset      a person lets the contract be opened anew
    ContractRebased    a person gives up a base that nobody can serve
    ContractCreated    a person names a contract before anybody enrols
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from swarm.core import dispute, outer
from swarm.core.agreement import DEFAULT_CONTRACT, Enrolment
from swarm.core.board import Board
from swarm.core.claims import Anchored, EntryHeader, Verified
from swarm.core.contract import Contract
from swarm.core.events import (
    Aborted,
    BaseLost,
    Committed,
    ContractCleared,
    ContractOpened,
    ContractReserved,
    Event,
    Finished,
    Gone,
    SnapMade,
)
from swarm.core.level import FORGETS_SINCE, SINCE
from swarm.core.membership import ANCHORED_SINCE
from swarm.core.names import Identity
from swarm.core.node import Node
from swarm.core.openings import MEMBER_BYTES, Openings, contract_bytes, name_bytes
from swarm.core.organisations import key_of
from swarm.core.rules import Rules
from swarm.errors import Refused

Answer = tuple[dict[str, Any], list[Event]]
_DATED = frozenset({SnapMade, Committed, Aborted, BaseLost, Finished})
"""What the hash of its entry is needed for."""


class Contracts:
    """``nodes``, ``anchors``, ``board`` and ``rules`` are the ledger's own. ``unopened``: contracts that were created
    or reset, with the round that the first enrolment opens them with."""

    def __init__(
        self, nodes: Mapping[str, Node], anchors: Mapping[bytes, Anchored], board: Board, rules: Rules
    ) -> None:
        self._nodes, self._anchors, self._board, self._rules = nodes, anchors, board, rules
        self.open: dict[str, Contract] = {}
        self.unopened: dict[str, int] = {DEFAULT_CONTRACT: 0}
        self.openings = Openings(self.open, nodes, rules)

    # ---- the kinds

    def enrolled(self, claim: Verified, header: EntryHeader) -> Answer:
        identity = self._nodes[claim.uid].identity
        asked = self._resolved(Enrolment.of(claim.body, self._rules.active))
        name = claim.body["contract"]
        slot = self._board.slot_of(claim.body, identity)
        if asked.options.weightage == "groups":
            self._group(name, claim.uid)
        contract = self.open.get(name) or Contract(name, asked, first_round=self.unopened.get(name, 0))
        if new := claim.uid not in contract.members:
            opened = contract_bytes(asked.schema) if name not in self.open else 0
            self.openings.must_have_room(opened + MEMBER_BYTES, identity)
        asked = replace(asked, anchors=self._anchors_of(contract, claim.uid))
        result, events = contract.enrol(claim.uid, identity, asked)
        self._note_owners(contract)
        if new:
            self.openings.enrolled(contract, claim.uid)
        if name not in self.open:
            self.open[name] = contract
            self.unopened.pop(name, None)
            events = [ContractOpened(name, claim.uid), *events]
        return result, [*events, *(slot.enrol(claim.uid) if slot else [])]

    def handle(self, claim: Verified, header: EntryHeader) -> Answer:
        contract = self._contract(claim)
        if claim.kind == "Offer" and contract.level.stage == "down":
            self._must_be_from_above(contract, claim)
        if claim.kind == "Ready" and self._rules.active >= dispute.SINCE:
            most = contract.doubts.told_max
            dispute.must_tell(claim.body, contract.snap, contract.options.mergeMethod, most)
        weight, met = self._weight(contract, claim), self._met(contract)
        settles = self._rules.active >= dispute.SINCE
        events = contract.handle(claim.kind, claim.uid, claim.body, group=weight, met=met, settles=settles)
        self._may_forget(contract)
        return contract.standing(), events

    def reset(self, claim: Verified, header: EntryHeader) -> Answer:
        contract, identity = self._steered(claim, "reset")
        events = contract.current.cancel(f"{identity} has reset the contract")
        self.unopened[contract.name] = contract.round + 1
        del self.open[contract.name]
        self.openings.closed(contract)
        return {}, [*events, ContractCleared(contract.name, str(identity))]

    def rebased(self, claim: Verified, header: EntryHeader) -> Answer:
        contract, identity = self._steered(claim, "rebase")
        events = contract.rebase(claim.body["digest"], identity, met=self._met(contract))
        self._may_forget(contract)
        return contract.standing(), events

    def created(self, claim: Verified, header: EntryHeader) -> Answer:
        name, identity = claim.body["contract"], self._nodes[claim.uid].identity
        if name in self.open or name in self.unopened:
            return {"known": True}, []
        self.openings.must_have_room(name_bytes(name), identity)
        self.unopened[name] = 0
        self.openings.created(name, identity.anchor)
        return {"known": False}, [ContractReserved(name, str(identity))]

    # ---- what else happens to them

    def gone(self, uid: str, what: Gone, reason: str) -> list[Event]:
        return [event for name in sorted(self.open) for event in self.open[name].gone(uid, what, reason)]

    def back(self, uid: str) -> None:
        for contract in self.open.values():
            contract.back(uid)

    def dated(self, events: list[Event], entry: bytes) -> list[Event]:
        """The events of this entry, whose hash every snap among them is to name from now on, and tells who is next."""
        if _DATED.isdisjoint(map(type, events)):
            return events
        for event in events:
            if isinstance(event, Committed | Aborted | BaseLost | Finished) and event.contract in self.open:
                self._note_owners(self.open[event.contract])
                self.open[event.contract].draw(entry)
        return [self._dated(event, entry) if isinstance(event, SnapMade) else event for event in events]

    def _dated(self, snap: SnapMade, entry: bytes) -> SnapMade:
        dated = replace(snap, entry=entry)
        attempt = self.open[snap.contract].current.attempt
        if attempt is not None and attempt.snap == snap:
            attempt.snap = dated
        return dated

    def standing(self, claim: Verified) -> dict[str, Any]:
        """What a refused author needs in order to do better."""
        contract = self.open.get(name) if isinstance(name := claim.body.get("contract"), str) else None
        if contract is None or claim.uid not in self._nodes:
            return {}
        if claim.kind == "Enrolled":
            return {**contract.standing(), "hash": contract.hash, "options": contract.options.to_wire()}
        return contract.standing()

    # ---- how

    def _resolved(self, asked: Enrolment) -> Enrolment:
        """The organisations as key hashes: names are only unique at the moment they are read."""
        if not asked.options.organisations:
            return asked
        keys = tuple(sorted({key_of(self._anchors, text) for text in asked.options.organisations}))
        return replace(asked, options=replace(asked.options, organisations=keys))

    def _anchors_of(self, contract: Contract, uid: str) -> dict[str, bytes]:
        """Of the members and of who enrols now."""
        if self._rules.active < ANCHORED_SINCE:
            return {}
        return {each: self._nodes[each].identity.anchor for each in sorted({uid, *contract.members})}

    def _note_owners(self, contract: Contract) -> None:
        """Not while it merges: who weighs how much there stands."""
        if self._rules.active >= ANCHORED_SINCE and contract.current.attempt is None:
            for uid, member in contract.members.items():
                member.anchor = self._nodes[uid].identity.anchor

    def _contract(self, claim: Verified) -> Contract:
        name: str = claim.body["contract"]
        if name not in self.open:
            raise Refused(f"there is no contract {name}: nobody has enrolled in it")
        return self.open[name]

    def _weight(self, contract: Contract, claim: Verified) -> int | None:
        """What an offer weighs that is a group's merge: as much as what was merged in it."""
        if claim.kind != "Offer" or contract.options.weightage != "groups":
            return None
        group = self._group(contract.name, claim.uid)
        if group.level.stage != "down":
            raise Refused(f"group {group.name} still merges among itself: it has nothing for contract {contract.name}")
        return group.level.weight

    def _met(self, group: Contract) -> bool:
        """Whether what a group has merged may be in the upper contract's model, and who loses it has to mind that."""
        upper = self.open.get(group.options.upper)
        return self._rules.active >= SINCE and upper is not None and upper.has_model

    def _may_forget(self, group: Contract) -> None:
        if self._rules.active >= FORGETS_SINCE and not group.has_model:
            group.level.forget()

    def _group(self, upper: str, uid: str) -> Contract:
        """The contract of the group that this node leads in the upper one."""
        for _, group in sorted(self.open.items()):
            if group.options.upper == upper and uid in group.members and group.members[uid].leads:
                return group
        raise Refused(f"groups merge in contract {upper}, and {self._nodes[uid].identity} leads none of them")

    def _must_be_from_above(self, group: Contract, claim: Verified) -> None:
        """A leader brings its group what the upper contract has committed, which may have gone on meanwhile, or the
        group's own model where nothing came of it; and the end of the training only with the final one."""
        leader, name, digest = group.members.get(claim.uid), group.options.upper, claim.body["digest"]
        if not leader or not leader.leads or claim.body.get("inactive", False) or claim.body["base"] != group.base:
            return  # it counts nothing, or is refused anyway
        upper = self.open.get(name)
        if upper is None:
            raise Refused(f"{leader} brings group {group.name} a model of contract {name}, which is not open")
        if claim.body.get("stop", False) and (not upper.finished or digest != upper.base):
            raise Refused(f"{leader} ends group {group.name} with {digest}: contract {name} has not ended with that")
        if digest != group.base and upper.kept.of(digest) is None:
            raise Refused(
                f"{leader} brings group {group.name} the model {digest}, and contract {name} has committed {upper.base}"
            )

    def _steered(self, claim: Verified, how: str) -> tuple[Contract, Identity]:
        contract, identity = self._contract(claim), self._nodes[claim.uid].identity
        if not contract.options.admits(identity):
            raise Refused(f"{identity} may not {how} contract {contract.name}, which does not admit its organisation")
        return contract, identity

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        return {
            "contracts": [contract.to_state() for _, contract in sorted(self.open.items())],
            "unopened": [[name, number] for name, number in sorted(self.unopened.items())],
            **self.openings.to_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.open.update({each["name"]: Contract.from_state(each) for each in state["contracts"]})
        self.unopened = dict(state["unopened"])
        self.openings.restore(state)

    def check(self) -> None:
        assert not set(self.unopened) & set(self.open)
        self.openings.check(self.unopened)
        for contract in self.open.values():
            contract.check()
            snap = contract.snap
            assert snap is None or snap.entry, "every snap names its entry"
            state = outer.momenta(contract.schema) if contract.options.outer == "nesterov" else None
            assert contract.momenta == state, "I12: a base has all that the next outer step needs, under its digest"
            for uid, member in contract.members.items():
                here = member.state in ("live", "dropped")
                assert not here or self._nodes[uid].state == "live", f"{uid} is {self._nodes[uid].state}, and {member}"
