"""The ledger's state: what all entries so far amount to, the same on every node.

Called by the driver and by replicas, entry by entry. Guarantees: `apply` is a function of (state, entry) alone: no
clock, no file, no order of dicts or sets; validity is decided here, once; an entry that is not valid stays in the chain
and changes only its recorded outcome; the same proposal takes effect at most once, through whomever it came.

An accepted proposal of a node that counts as lost brings the node back. What each kind does:
`core/kinds` and `core/task_kinds`; who may: `core/policy`; tasks, taskrunners and slots are decided by `core/board`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

import msgpack

from swarm.core import policy
from swarm.core.board import Board
from swarm.core.claims import Anchored, Blank, Claim, EntryHeader, Unverified, Verified
from swarm.core.contract import Contract
from swarm.core.contracts import Contracts
from swarm.core.departed import SINCE, Departed
from swarm.core.events import (
    Applied,
    Event,
    Gone,
    NodeGone,
    NodeKnown,
    OrganisationKnown,
    Outcome,
    SlotAssigned,
)
from swarm.core.kinds import INTRODUCTIONS, check_fields, check_kind
from swarm.core.node import FORGETTING, WINDOW, Node, Outcomes
from swarm.core.organisations import label
from swarm.core.rules import KNOWN, Rules, stated
from swarm.core.task import Task
from swarm.core.taskrunner import Taskrunner
from swarm.core.voters import Voters
from swarm.errors import BadInput, IdentityError, InternalError, Outdated, Refused, SwarmError

__all__ = ["Applied", "Blank", "Claim", "EntryHeader", "Ledger", "Node", "Outcome", "Unverified", "Verified"]
Answer = tuple[dict[str, Any], list[Event]]


class Ledger:
    """The state after the entry `head_index`."""

    def __init__(self, known: int = KNOWN) -> None:
        self.network_id = b""
        self.head_index = 0
        self.head_hash = bytes(32)
        self.time = 0
        self.anchors: dict[bytes, Anchored] = {}
        self.nodes: dict[str, Node] = {}
        self.departed = Departed(self.nodes)
        self.rules = Rules(self.nodes, known)
        self.voting = Voters(self.nodes, self.rules)
        self.board = Board(self.anchors, self.rules)
        self.training = Contracts(self.nodes, self.anchors, self.board, self.rules)
        self._mistake: InternalError | None = None
        self._kinds: dict[str, Callable[[Verified, EntryHeader], Answer]] = {
            "Genesis": self._genesis,
            "OrganisationAdmitted": self._organisation_admitted,
            "NodeJoined": self._node_joined,
            "NodeLeft": self._node_left,
            "NodeLost": self._node_lost,
            "Configuration": self.voting.configured,
            "ProtocolActivated": self.rules.activated,
            "ForcedRecovery": self.voting.recovered,
            "SnRemoved": self.voting.removed,
            "Enrolled": self.training.enrolled,
            "ContractReset": self.training.reset,
            "ContractRebased": self.training.rebased,
            "ContractCreated": self.training.created,
        }

    # ---- reading

    @property
    def sentinel(self) -> str:
        return self.voting.sentinel

    @property
    def voters(self) -> tuple[str, ...]:
        return self.voting.uids

    @property
    def epoch(self) -> int:
        return self.voting.epoch

    def sns(self) -> list[tuple[str, bytes]]:
        """The admitted network nodes with their organisations' anchors, in the order in which they joined."""
        return self.voting.sns()

    @property
    def contracts(self) -> Mapping[str, Contract]:
        return self.training.open

    @property
    def unopened(self) -> Mapping[str, int]:
        return self.training.unopened

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self.board.tasks

    @property
    def taskrunners(self) -> Mapping[str, Taskrunner]:
        return self.board.taskrunners

    def must_take_recovery(self, claim: Verified, were: Collection[str] = ()) -> None:
        """Raise what stands against this ForcedRecovery: it is followed before it is applied. ``were``: who counts as
        an admitted network node."""
        self._check_order(claim)
        self._check_right(claim)
        self.voting.check_recovery(claim, were)

    # ---- applying

    def apply(self, header: EntryHeader, claim: Claim) -> Applied:
        """Take the next entry. It has to be the next one: the caller has checked the chain.

        What is not valid is an outcome. An InternalError is a mistake of ours: the state may be half changed, so it
        takes nothing more; whoever has it ends, and the entry waits in the stores for a release that knows better. So
        it does when this release does not know the rules that hold from this entry on, which raises Outdated.
        """
        if self._mistake is not None:
            raise self._mistake
        assert header.index == self.head_index + 1, (header.index, self.head_index)
        assert header.prev_hash == self.head_hash, f"entry {header.index} does not follow the head"
        self.time = max(self.time, header.time)  # a leader that lies ends nobody; the audit names the entry
        try:
            applied = self._judge(header, claim)
        except Outdated:
            raise
        except Exception as error:
            self._mistake = InternalError(
                f"the ledger ends here, at entry {header.index} ({_described(claim)}), which fails: {error!r}",
                hint="nothing is lost, the entry is kept: start another release of swarm, and report this with the log",
            )
            raise self._mistake from error
        self.head_index, self.head_hash = header.index, header.hash
        return applied

    def outcome_of(self, uid: str, incarnation: bytes, seq: int) -> Outcome | None:
        """What became of a proposal, while it is recorded."""
        return recorded[1] if (recorded := self._recorded(uid, incarnation, seq)) else None

    def lacks(self, uid: str, incarnation: bytes, seq: int) -> bool:
        """Whether neither this proposal of a process nor a later one has come."""
        node = self.nodes.get(uid)
        return node is None or (node.incarnation == incarnation and node.outcomes.highest < seq)

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
                    return Applied(Outcome.refusal(header.index, error))
                return self._decide(header, claim)

    def _check_order(self, claim: Verified) -> None:
        """The refusals that leave no record."""
        if claim.network_id != self.network_id:
            raise Refused(f"this {claim.kind} is for another network")
        node = self.nodes.get(claim.uid)
        if node is None:
            if claim.kind in INTRODUCTIONS:
                return
            raise IdentityError(f"{claim.uid} proposes {claim.kind} and has not joined this network")
        if claim.incarnation != node.incarnation and self.voting.is_followed(claim.kind):
            return  # it was removed, so it could not join again, and leads
        node.must_take(claim)

    def _decide(self, header: EntryHeader, claim: Verified) -> Applied:
        events: list[Event] = []
        try:
            version = self._check_right(claim)
            check_fields(claim.kind, claim.body, version)
            result, events = self._handler(claim.kind)(claim, header)
            events = self.training.dated(events, header.hash)
            outcome = Outcome(header.index, True, result=result)
        except Outdated:
            raise
        except SwarmError as error:
            outcome = Outcome.refusal(header.index, error, self.training.standing(claim))
        node = self.nodes.get(claim.uid)
        if node is not None and node.incarnation == claim.incarnation:
            if outcome.accepted and node.lost:
                node.state = "live"
                events = [NodeKnown(claim.uid, "back"), *self._back(claim.uid), *events]
            node.outcomes.record(claim.seq, claim.digest, outcome)
        return Applied(outcome, tuple(events))

    def _handler(self, kind: str) -> Callable[[Verified, EntryHeader], Answer]:
        handler = self._kinds.get(kind)
        return handler or (self._on_board if self.board.handles(kind) else self.training.handle)

    def _check_right(self, claim: Verified) -> int:
        """Role and organisation; being a member is the contract's to judge. By which version of the rules that is."""
        node = self.nodes.get(claim.uid)
        identity = claim.identity or (node.identity if node else None)
        assert identity is not None, "an introduction brings an identity, anybody else has joined"
        if node is not None and not self.voting.is_followed(claim.kind):
            node.must_be_here(claim)
            if claim.kind != "NodeJoined":
                self.rules.must_be_current(node, claim.kind)
        version = self.rules.judging(claim.kind, claim.body)
        check_kind(claim.kind, version)
        if not policy.allowed(claim.kind, identity.role):
            raise Refused(
                f"{identity} may not propose {claim.kind}: only the role {policy.roles(claim.kind)} may",
                hint="its certificate gives a node its role: use one of that role",
            )
        match policy.membership(claim.kind):
            case "sentinel's organisation":
                self.voting.check_sentinels(claim.kind, identity)
            case "voter":
                self.voting.check_voter(claim, identity)
        return version

    # ---- organisations and nodes

    def _genesis(self, claim: Verified, header: EntryHeader) -> Answer:
        if header.index != 1 or self.nodes:
            raise Refused("the network has begun already: there is one Genesis")
        assert claim.identity is not None
        for anchor in claim.anchors:
            self.anchors.setdefault(anchor.spki_sha256, anchor)
        self.rules.begin(claim.body["rules"])
        self.network_id = header.hash
        self.voting.found(claim.uid)
        known = [OrganisationKnown(label(self.anchors, key), key) for key in sorted(self.anchors)]
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
        body = claim.body
        if body["role"] != claim.identity.role or body["incarnation"] != claim.incarnation:
            raise BadInput(f"{claim.identity} joins as role {body['role']}, its certificate says {claim.identity.role}")
        self.rules.must_join(claim)
        self.departed.must_be_new(claim, self.head_index)
        if (known := self.nodes.get(claim.uid)) is not None:
            known.must_join_again(claim)
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
            events = self._gone(claim.uid, "restarted", "its process began anew")
        else:
            how = "renewed" if known.state == "live" else "back"
            outcomes, ended = known.outcomes, known.ended
            events = self._back(claim.uid) if how == "back" else []
        here_since = known.joined if known is not None and not known.gone else self.head_index + 1
        addresses = tuple(body["addresses"])
        for node in self.nodes.values() if self.rules.active >= FORGETTING else ():
            node.let_go(self.head_index + 1, exactly=self.rules.active >= SINCE)
        if known is None and self.departed.before:
            outcomes.over = claim.seq - 1  # it may have been known, and have used them
        self.nodes[claim.uid] = Node(
            identity, claim.node_key, addresses, outcomes, ended, joined=here_since, rules=stated(body)
        )
        if self.rules.active >= SINCE:
            self.departed.let_go(self.head_index + 1, self._named)
        return [*events, NodeKnown(claim.uid, how)]

    def _named(self) -> set[str]:
        """Whom contracts, tasks, taskrunners and leases name."""
        members = {uid for contract in self.contracts.values() for uid in contract.members}
        return members | self.board.people()

    def _node_left(self, claim: Verified, header: EntryHeader) -> Answer:
        self.nodes[claim.uid].state = "left"
        self.voting.succeed(claim.uid)
        return {}, [NodeGone(claim.uid, "left"), *self._gone(claim.uid, "left", "its node left")]

    def _node_lost(self, claim: Verified, header: EntryHeader) -> Answer:
        uid, reason = claim.body["uid"], claim.body["reason"]
        node = self.nodes.get(uid)
        if node is None or node.incarnation != claim.body["incarnation"] or node.state != "live":
            raise Refused(f"{uid} cannot be lost: it is not live in that incarnation")
        node.state = "lost"
        return {}, [NodeGone(uid, reason), *self._gone(uid, "lost", f"was lost: {reason}")]

    def _gone(self, uid: str, what: Gone, reason: str) -> list[Event]:
        """What it means for the contracts that the node is in, and for the slots that it holds."""
        return [
            *self.training.gone(uid, what, reason),
            *self.board.gone(uid, what, reason, self.head_index + 1, self.time),
        ]

    def _back(self, uid: str) -> list[Event]:
        self.training.back(uid)
        return self.board.back(uid, self.head_index + 1, self.time)

    # ---- tasks

    def _on_board(self, claim: Verified, header: EntryHeader) -> Answer:
        result, events = self.board.handle(claim, header, self.nodes[claim.uid].identity)
        return result, [*events, *(late for event in events for late in self._replaced(event))]

    def _replaced(self, event: Event) -> list[Event]:
        """The learning node of a slot's attempt before counts no more, though nobody could reach its operator."""
        if not isinstance(event, SlotAssigned) or event.replaces not in self.nodes:
            return []
        colleagues = self.nodes[event.replaces].identity.anchor == self.nodes[event.swop].identity.anchor
        reason = f"left: slot {event.slot} was leased anew"
        return self.training.gone(event.replaces, "left", reason) if colleagues else []

    def _recorded(self, uid: str, incarnation: bytes, seq: int) -> tuple[bytes, Outcome] | None:
        node = self.nodes.get(uid)
        return node.recorded(incarnation, seq) if node else None

    # ---- keeping

    def snapshot(self) -> dict[str, Any]:
        """The whole state as plain data, for msgpack: equal states give equal snapshots."""
        return {
            "rules": self.rules.active,
            "head": [self.head_index, self.head_hash, self.time],
            "network_id": self.network_id,
            "voters": self.voting.to_state(),
            "anchors": [[a.certificate, a.spki_sha256, a.name] for _, a in sorted(self.anchors.items())],
            "nodes": [[uid, *node.to_state()] for uid, node in sorted(self.nodes.items())],
            **self.departed.to_state(),
            **self.training.to_state(),
            "board": self.board.to_state(),
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Ledger:
        new = cls()
        new.rules.begin(state["rules"], state["head"][0] + 1)
        new.head_index, new.head_hash, new.time = state["head"]
        new.network_id = state["network_id"]
        new.anchors.update({spki: Anchored(der, spki, name) for der, spki, name in state["anchors"]})
        new.nodes.update({uid: Node.from_state(rest) for uid, *rest in state["nodes"]})
        new.voting.restore(state["voters"])
        new.departed.restore(state)
        new.board.restore(state["board"])
        new.training.restore(state)
        return new

    def digest(self) -> str:
        """Names the state: equal on all nodes that have applied the same entries."""
        return "sha256:" + hashlib.sha256(msgpack.packb(self.snapshot(), use_bin_type=True)).hexdigest()

    def check(self) -> None:
        """The invariants of every part; called after each entry in tests and simulations."""
        for node in self.nodes.values():
            assert node.identity.anchor in self.anchors
            assert all(node.outcomes.highest - WINDOW < seq <= node.outcomes.highest for seq in node.outcomes.of)
        assert self._named() <= self.nodes.keys(), "whoever is named has a row"
        self.voting.check()
        self.training.check()
        self.rules.check()
        self.board.check()


def _described(claim: Claim) -> str:
    return f"{claim.kind} of {claim.uid}" if isinstance(claim, Verified) else "of nobody"
