"""The ledger's state: what all entries so far amount to, the same on every node.

Called by the driver and by replicas, entry by entry. Guarantees: `apply` is a function of (state, entry) alone: no
clock, no file, no order of dicts or sets; validity is decided here, once; an entry that is not valid stays in the chain
and changes only its recorded outcome; the same proposal takes effect at most once, through whomever it came.

    kind                  who                       what it does (accepted); derived events
    Genesis               the sentinel (sn)         admits the organisations of its capath, joins the sentinel
    OrganisationAdmitted  swci, sentinel's org      admits one more CA; OrganisationKnown
    NodeJoined            any admitted certificate  admits the node key; a new incarnation ends the earlier; NodeKnown
    NodeLeft              the node                  it leaves all contracts; NodeGone
    NodeLost              sn                        no sign of life for too long; NodeGone, MemberGone
    Enrolled              sl, contract's org        opens the contract or joins it; ContractOpened, MemberEnrolled
    Offer                 sl, member                weights are frozen; Offered, and SnapMade once all have
    WindowClosed          sn                        the rest came too late; SnapMade
    Ready                 sl, member of the attempt holds all bytes; MemberReady, at the q-th Committed (and Finished)
    Suspect               sl, member of the attempt its data do not come; SnapMade (next attempt) or Aborted by majority
    DeadlinePassed        sn                        SnapMade (next attempt) or Aborted
    Missing               sl, member                cannot get the model from anybody; BaseLost when nobody can have it
    Leave                 sl, member                MemberGone, and what follows for the round
    ContractReset         swci, contract's org      the contract may be opened anew; ContractCleared

An accepted proposal of a node that counts as lost brings the node back. Roles: `core/policy`; bodies: `core/kinds`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import msgpack

from swarm.core import policy
from swarm.core.contract import Contract, Enrolment
from swarm.core.events import (
    Anchored,
    Applied,
    Blank,
    Claim,
    ContractCleared,
    ContractOpened,
    EntryHeader,
    Event,
    NodeGone,
    NodeKnown,
    OrganisationKnown,
    Outcome,
    Unverified,
    Verified,
)
from swarm.core.kinds import check_body
from swarm.core.node import WINDOW, Node, Outcomes
from swarm.core.organisations import key_of, label
from swarm.errors import BadInput, IdentityError, Refused, SwarmError

__all__ = ["Applied", "Blank", "Claim", "EntryHeader", "Ledger", "Node", "Outcome", "Unverified", "Verified"]

Answer = tuple[dict[str, Any], list[Event]]


class Ledger:
    """The state after the entry `head_index`. ``nodes``, ``contracts`` and ``anchors`` are for reading."""

    def __init__(self) -> None:
        self.network_id = b""
        self.head_index = 0
        self.head_hash = bytes(32)
        self.time = 0
        self.sentinel = ""
        self.anchors: dict[bytes, Anchored] = {}
        self.nodes: dict[str, Node] = {}
        self.contracts: dict[str, Contract] = {}
        self._cleared: dict[str, int] = {}  # contracts that were reset: the round that the next opening begins with
        self._kinds: dict[str, Callable[[Verified, EntryHeader], Answer]] = {
            "Genesis": self._genesis,
            "OrganisationAdmitted": self._organisation_admitted,
            "NodeJoined": self._node_joined,
            "NodeLeft": self._node_left,
            "NodeLost": self._node_lost,
            "Enrolled": self._enrolled,
            "ContractReset": self._contract_reset,
        }

    # ---- applying

    def apply(self, header: EntryHeader, claim: Claim) -> Applied:
        """Take the next entry. It has to be the next one: the caller has checked the chain."""
        assert header.index == self.head_index + 1, (header.index, self.head_index)
        assert header.prev_hash == self.head_hash, f"entry {header.index} does not follow the head"
        assert header.time >= self.time, (header.time, self.time)
        applied = self._judge(header, claim)
        self.head_index, self.head_hash, self.time = header.index, header.hash, header.time
        return applied

    def outcome_of(self, uid: str, incarnation: bytes, seq: int) -> Outcome | None:
        """What became of a proposal, while it is recorded."""
        recorded = self._recorded(uid, incarnation, seq)
        return recorded[1] if recorded else None

    def outcome_of_same(self, claim: Verified) -> Outcome | None:
        """The recorded outcome of these very bytes: a retry needs no new entry."""
        recorded = self._recorded(claim.uid, claim.incarnation, claim.seq)
        return recorded[1] if recorded and recorded[0] == claim.digest else None

    def _judge(self, header: EntryHeader, claim: Claim) -> Applied:
        match claim:
            case Blank():
                return Applied(Outcome(header.index, True))
            case Unverified():
                # Nobody's: a record would let anybody fill the window of another.
                return Applied(Outcome(header.index, False, claim.code, claim.reason, {}, claim.hint))
            case Verified():
                again = self.outcome_of_same(claim)
                if again is not None:
                    return Applied(again)
                try:
                    self._check_order(claim)
                except SwarmError as error:
                    return Applied(_refusal(header, error))
                return self._decide(header, claim)

    def _check_order(self, claim: Verified) -> None:
        """The refusals that leave no record: they are not this incarnation's proposals, or not new ones."""
        if claim.network_id != self.network_id:
            raise Refused(f"this {claim.kind} is for another network")
        node = self.nodes.get(claim.uid)
        if node is None:
            if claim.kind in ("Genesis", "NodeJoined"):
                return
            raise IdentityError(f"{claim.uid} proposes {claim.kind} and has not joined this network")
        if claim.incarnation != node.incarnation:
            if claim.kind == "NodeJoined":
                return
            raise Refused(
                f"this {claim.kind} is of an ended incarnation of {node.identity}", hint="start the node again"
            )
        if claim.seq in node.outcomes.of:
            raise Refused(f"{node.identity} has used the number {claim.seq} for another proposal already")
        if claim.seq <= node.outcomes.highest - WINDOW:
            raise Refused(f"the proposal {claim.seq} of {node.identity} is older than its last {WINDOW}")

    def _decide(self, header: EntryHeader, claim: Verified) -> Applied:
        events: list[Event] = []
        try:
            self._check_right(claim)
            check_body(claim.kind, claim.body)
            result, events = self._kinds.get(claim.kind, self._in_contract)(claim, header)
            outcome = Outcome(header.index, True, result=result)
        except SwarmError as error:
            outcome = _refusal(header, error, self._standing(claim))
        node = self.nodes.get(claim.uid)
        if node is not None and node.incarnation == claim.incarnation:
            if outcome.accepted and node.lost:
                events = [*self._bring_back(claim.uid), *events]
            node.outcomes.record(claim.seq, claim.digest, outcome)
        return Applied(outcome, tuple(events))

    def _check_right(self, claim: Verified) -> None:
        """Role and organisation; being a member is the contract's to judge."""
        node = self.nodes.get(claim.uid)
        identity = claim.identity or (node.identity if node else None)
        assert identity is not None, "an introduction brings an identity, anybody else has joined"
        if node is not None and node.state == "left" and claim.kind != "NodeJoined":
            raise Refused(f"{identity} proposes {claim.kind} and has left this network")
        if claim.kind not in self._kinds and claim.kind not in policy.RULES:
            check_body(claim.kind, claim.body)  # says that it knows no such kind
        if not policy.allowed(claim.kind, identity.role):
            raise Refused(
                f"{identity} may not propose {claim.kind}: only the role {policy.roles(claim.kind)} may",
                hint="its certificate gives a node its role: use one of that role",
            )
        if policy.membership(claim.kind) == "sentinel's organisation":
            sentinel = self.nodes[self.sentinel].identity
            if identity.anchor != sentinel.anchor:
                whose = f"the sentinel's organisation {sentinel.organisation}"
                raise Refused(f"{identity} may not propose {claim.kind}: only a {identity.role} of {whose} may")

    # ---- organisations and nodes

    def _genesis(self, claim: Verified, header: EntryHeader) -> Answer:
        if header.index != 1 or self.nodes:
            raise Refused("the network has begun already: there is one Genesis")
        assert claim.identity is not None
        for anchor in claim.anchors:
            self.anchors.setdefault(anchor.spki_sha256, anchor)
        self.network_id = header.hash
        self.sentinel = claim.uid
        known: list[Event] = [OrganisationKnown(label(self.anchors, key), key) for key in sorted(self.anchors)]
        return {}, [*known, *self._join(claim, claim.body["joined"])]

    def _organisation_admitted(self, claim: Verified, header: EntryHeader) -> Answer:
        (anchor,) = claim.anchors
        if anchor.spki_sha256 in self.anchors:
            return {"organisation": label(self.anchors, anchor.spki_sha256), "known": True}, []
        self.anchors[anchor.spki_sha256] = anchor
        name = label(self.anchors, anchor.spki_sha256)
        return {"organisation": name, "known": False}, [OrganisationKnown(name, anchor.spki_sha256)]

    def _node_joined(self, claim: Verified, header: EntryHeader) -> Answer:
        assert claim.identity is not None
        known = self.nodes.get(claim.uid)
        body = claim.body
        if body["role"] != claim.identity.role or body["incarnation"] != claim.incarnation:
            raise BadInput(f"{claim.identity} joins as role {body['role']}, its certificate says {claim.identity.role}")
        if known is not None:
            if known.node_key != claim.node_key or not known.identity.same_as(claim.identity):
                raise IdentityError(
                    f"the node key of {claim.identity} is known as that of {known.identity}",
                    hint="a node keeps its certificate's name, or starts with a state directory of its own (--state)",
                )
            if claim.incarnation != known.incarnation and _starts(claim.incarnation) <= _starts(known.incarnation):
                raise IdentityError(
                    f"{claim.identity} joins with start number {_starts(claim.incarnation)} of its state directory, "
                    f"the network knows {_starts(known.incarnation)}: the directory was copied or restored",
                    hint="start it with a new state directory (--state)",
                )
        return {}, self._join(claim, body)

    def _join(self, claim: Verified, body: dict[str, Any]) -> list[Event]:
        assert claim.identity is not None
        identity = replace(claim.identity, organisation=label(self.anchors, claim.identity.anchor))
        known = self.nodes.get(claim.uid)
        events: list[Event] = []
        how: Literal["new", "back", "restarted", "renewed"]
        outcomes, ended = Outcomes(claim.incarnation), None
        if known is None:
            how = "new"
        elif known.incarnation != claim.incarnation:
            how, ended = "restarted", known.outcomes
            events = self._gone_from_contracts(claim.uid, "restarted", "its process began anew")
        else:
            how = "renewed" if known.state == "live" else "back"
            outcomes, ended = known.outcomes, known.ended
            self._back_in_contracts(claim.uid)
        self.nodes[claim.uid] = Node(identity, claim.node_key, tuple(body["addresses"]), outcomes, ended)
        return [*events, NodeKnown(claim.uid, how)]

    def _node_left(self, claim: Verified, header: EntryHeader) -> Answer:
        self.nodes[claim.uid].state = "left"
        events = self._gone_from_contracts(claim.uid, "left", "its node left")
        return {}, [NodeGone(claim.uid, "left"), *events]

    def _node_lost(self, claim: Verified, header: EntryHeader) -> Answer:
        uid, reason = claim.body["uid"], claim.body["reason"]
        node = self.nodes.get(uid)
        if node is None or node.incarnation != claim.body["incarnation"] or node.state != "live":
            raise Refused(f"{uid} cannot be lost: it is not live in that incarnation")
        node.state = "lost"
        return {}, [NodeGone(uid, reason), *self._gone_from_contracts(uid, "lost", f"was lost: {reason}")]

    def _bring_back(self, uid: str) -> list[Event]:
        self.nodes[uid].state = "live"
        self._back_in_contracts(uid)
        return [NodeKnown(uid, "back")]

    def _gone_from_contracts(self, uid: str, what: Literal["lost", "restarted", "left"], reason: str) -> list[Event]:
        return [event for name in sorted(self.contracts) for event in self.contracts[name].gone(uid, what, reason)]

    def _back_in_contracts(self, uid: str) -> None:
        for contract in self.contracts.values():
            contract.back(uid)

    # ---- contracts

    def _enrolled(self, claim: Verified, header: EntryHeader) -> Answer:
        identity = self.nodes[claim.uid].identity
        asked = self._resolved(Enrolment.of(claim.body))
        name = claim.body["contract"]
        contract = self.contracts.get(name)
        if contract is not None:
            return contract.enrol(claim.uid, identity, asked)
        opened = Contract(name, asked, first_round=self._cleared.get(name, 0))
        result, events = opened.enrol(claim.uid, identity, asked)
        self.contracts[name] = opened
        self._cleared.pop(name, None)
        return result, [ContractOpened(name, claim.uid), *events]

    def _resolved(self, asked: Enrolment) -> Enrolment:
        """The organisations as key hashes: names are only unique at the moment they are read."""
        keys = sorted({key_of(self.anchors, text) for text in asked.options.organisations})
        return replace(asked, options=replace(asked.options, organisations=tuple(keys)))

    def _in_contract(self, claim: Verified, header: EntryHeader) -> Answer:
        body = claim.body
        contract = self._contract(body["contract"])
        match claim.kind:
            case "Offer":
                events = contract.offer(claim.uid, body)
            case "WindowClosed":
                events = contract.close_window(body)
            case "Ready":
                events = contract.ready(claim.uid, body)
            case "Suspect":
                events = contract.suspect(claim.uid, body)
            case "DeadlinePassed":
                events = contract.pass_deadline(body)
            case "Missing":
                events = contract.missing(claim.uid, body["digest"])
            case "Leave":
                events = contract.leave(claim.uid, body["reason"])
            case _:
                raise AssertionError(f"{claim.kind} is in the table of kinds and nobody handles it")
        return contract.standing(), events

    def _contract_reset(self, claim: Verified, header: EntryHeader) -> Answer:
        name = claim.body["contract"]
        contract = self._contract(name)
        identity = self.nodes[claim.uid].identity
        if not contract.options.admits(identity):
            raise Refused(f"{identity} may not reset contract {name}, which does not admit its organisation")
        events = contract.current.cancel(f"{identity} has reset the contract")
        self._cleared[name] = contract.round + 1
        del self.contracts[name]
        return {}, [*events, ContractCleared(name, str(identity))]

    def _contract(self, name: str) -> Contract:
        if name not in self.contracts:
            raise Refused(f"there is no contract {name}: nobody has enrolled in it")
        return self.contracts[name]

    def _standing(self, claim: Verified) -> dict[str, Any]:
        """What a refused author needs in order to do better."""
        contract = self.contracts.get(str(claim.body.get("contract", "")))
        if contract is None or claim.uid not in self.nodes:
            return {}
        if claim.kind == "Enrolled":
            return {**contract.standing(), "hash": contract.hash, "options": contract.options.to_wire()}
        return contract.standing()

    def _recorded(self, uid: str, incarnation: bytes, seq: int) -> tuple[bytes, Outcome] | None:
        node = self.nodes.get(uid)
        return node.recorded(incarnation, seq) if node else None

    # ---- keeping

    def snapshot(self) -> dict[str, Any]:
        """The whole state as plain data, for msgpack: equal states give equal snapshots."""
        return {
            "rules": 1,
            "head": [self.head_index, self.head_hash, self.time],
            "network_id": self.network_id,
            "sentinel": self.sentinel,
            "anchors": [[a.certificate, a.spki_sha256, a.name] for _, a in sorted(self.anchors.items())],
            "nodes": [[uid, *node.to_state()] for uid, node in sorted(self.nodes.items())],
            "contracts": [contract.to_state() for _, contract in sorted(self.contracts.items())],
            "cleared": [[name, number] for name, number in sorted(self._cleared.items())],
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Ledger:
        new = cls()
        new.head_index, new.head_hash, new.time = state["head"]
        new.network_id, new.sentinel = state["network_id"], state["sentinel"]
        new.anchors = {spki: Anchored(der, spki, name) for der, spki, name in state["anchors"]}
        new.nodes = {uid: Node.from_state(rest) for uid, *rest in state["nodes"]}
        new.contracts = {each["name"]: Contract.from_state(each) for each in state["contracts"]}
        new._cleared = dict(state["cleared"])
        return new

    def digest(self) -> str:
        """Names the state: equal on all nodes that have applied the same entries."""
        return "sha256:" + hashlib.sha256(msgpack.packb(self.snapshot(), use_bin_type=True)).hexdigest()

    def check(self) -> None:
        """The invariants of every part; called after each entry in tests and simulations."""
        for contract in self.contracts.values():
            contract.check()
            for uid, member in contract.members.items():
                if member.state in ("live", "dropped"):
                    assert self.nodes[uid].state == "live", (
                        f"{uid} is {self.nodes[uid].state}, and {member.state} as member"
                    )
        for node in self.nodes.values():
            assert node.identity.anchor in self.anchors
            assert all(node.outcomes.highest - WINDOW < seq <= node.outcomes.highest for seq in node.outcomes.of)
        assert not set(self._cleared) & set(self.contracts)


def _refusal(header: EntryHeader, error: SwarmError, result: dict[str, Any] | None = None) -> Outcome:
    return Outcome(header.index, False, error.code, error.message, result or {}, error.hint)


def _starts(incarnation: bytes) -> int:
    """The start counter of the state directory, which an incarnation begins with."""
    return int.from_bytes(incarnation[:8], "big")
