"""A ledger with claims made by hand: what the tests of core play on. No keys, no signatures, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from swarm.core import dispute, snapshot
from swarm.core.claims import Anchored, Claim, EntryHeader, Verified
from swarm.core.events import (
    Aborted,
    Applied,
    BaseLost,
    Committed,
    ContractCleared,
    Event,
    Finished,
    MemberEnrolled,
    MemberGone,
    Offered,
    Outcome,
    SnapMade,
)
from swarm.core.kinds import INTRODUCTIONS
from swarm.core.ledger import Ledger
from swarm.core.names import Identity, uid_of
from swarm.core.round import ATTEMPTS, quorum
from swarm.core.rules import KNOWN
from swarm.core.tensors import Schema, TensorSpec

SMALL = Schema((TensorSpec("dense/kernel", "float32", (4, 3)), TensorSpec("dense/bias", "float32", (3,))))
BIG = Schema((TensorSpec("kernel", "float32", (2_000_000,)),))
CONTRACT = "digits"


def digest(text: str) -> str:
    return "blake3:" + hashlib.sha256(text.encode()).hexdigest()


INITIAL = digest("schema")


class Actor:
    """A process: a node key, an identity, an incarnation, and the next seq."""

    def __init__(self, role: str, name: str, organisation: str = "a") -> None:
        anchor = hashlib.sha256(organisation.encode()).digest()
        self.identity = Identity(organisation, anchor, role, name)
        self.node_key = hashlib.sha256(f"{organisation}/{role}/{name}".encode()).digest()
        self.uid = uid_of(self.node_key)
        self.starts = 1
        self.seq = 0

    @property
    def incarnation(self) -> bytes:
        return self.starts.to_bytes(8, "big") + hashlib.sha256(f"{self.uid}{self.starts}".encode()).digest()[:8]

    def restart(self) -> None:
        self.starts += 1
        self.seq = 0


def anchored(organisation: str) -> Anchored:
    return Anchored(f"CA of {organisation}".encode(), hashlib.sha256(organisation.encode()).digest(), organisation)


def restored(ledger: Ledger) -> Ledger:
    """The same, as a node has it that starts from its snapshot: it goes on as the same state."""
    again = snapshot.restored(snapshot.taken(ledger, 1, ledger.voters))
    again.check()
    return again


class Scene:
    """One ledger, checked after every entry by its own `check` and by an observer that knows only the events."""

    def __init__(self, organisations: Iterable[str] = ("a", "b"), *, rules: int = 1) -> None:
        self.rules = rules
        self.ledger = Ledger()
        self.log: list[tuple[EntryHeader, Claim]] = []
        self.events: list[Event] = []
        self.observer = Observer()
        self.sn = Actor("sn", "sn-1")
        self.organisations = list(organisations)
        body = {
            "rules": self.rules,
            "anchors": [anchored(organisation).certificate for organisation in self.organisations],
            "joined": self.joined(self.sn),
            "created": 0,
        }
        assert self.say(self.sn, "Genesis", body).accepted

    def joined(self, actor: Actor) -> dict[str, Any]:
        return {
            "chain": [b"certificate"],
            "node_key": actor.node_key,
            "role": actor.identity.role,
            "addresses": ["127.0.0.1:1"],
            "incarnation": actor.incarnation,
            **({"rules": self.rules} if self.rules > 1 else {}),
        }

    def claim(self, actor: Actor, kind: str, body: dict[str, Any]) -> Verified:
        actor.seq += 1
        introduces = kind in INTRODUCTIONS
        anchors: tuple[Anchored, ...] = ()
        if kind == "Genesis":
            anchors = tuple(map(anchored, self.organisations))
        if kind == "OrganisationAdmitted" and isinstance(body.get("ca"), bytes):
            anchors = (anchored(body["ca"].decode().removeprefix("CA of ")),)
        return Verified(
            uid=actor.uid,
            incarnation=actor.incarnation,
            seq=actor.seq,
            kind=kind,
            body=body,
            network_id=self.ledger.network_id,
            digest=hashlib.sha256(repr((actor.uid, actor.starts, actor.seq, kind, body)).encode()).digest(),
            identity=actor.identity if introduces else None,
            node_key=actor.node_key if introduces else b"",
            anchors=anchors,
        )

    def take(self, claim: Claim) -> Applied:
        index = self.ledger.head_index + 1
        hash_ = hashlib.sha256(repr((index, self.ledger.head_hash, claim)).encode()).digest()
        header = EntryHeader(index, 1, index, self.ledger.head_hash, hash_)
        self.log.append((header, claim))
        applied = self.ledger.apply(header, claim)
        self.ledger.check()
        self.observer.see(self.ledger, applied.events)
        self.events += applied.events
        return applied

    def say(self, actor: Actor, kind: str, body: dict[str, Any] | None = None) -> Outcome:
        return self.take(self.claim(actor, kind, body or {})).outcome

    def told(self, actor: Actor, kind: str, body: dict[str, Any] | None = None) -> list[Event]:
        """The events of a proposal that has to be accepted."""
        applied = self.take(self.claim(actor, kind, body or {}))
        assert applied.outcome.accepted, applied.outcome.reason
        return list(applied.events)

    # ---- the usual acts

    def join(self, actor: Actor) -> Outcome:
        return self.say(actor, "NodeJoined", self.joined(actor))

    def enrol(self, actor: Actor, *, schema: Schema = SMALL, weight: int = 1, **options: Any) -> Outcome:
        body = {
            "contract": CONTRACT,
            "schema": schema.to_wire(),
            "hash": "blake3",
            "initial_base": INITIAL,
            "options": {"minPeers": 2, **options},
            "weight": weight,
            "syncFrequency": 10,
            "data_address": f"127.0.0.1:{3000 + int(actor.identity.name.rpartition('-')[2])}",
        }
        return self.say(actor, "Enrolled", body)

    def learners(self, count: int, **options: Any) -> list[Actor]:
        """Joined and enrolled learning nodes, in the order of enrolment."""
        actors = [Actor("sl", f"sl-{number}", "ab"[number % 2]) for number in range(1, count + 1)]
        for actor in actors:
            assert self.join(actor).accepted
            assert self.enrol(actor, **options).accepted
        return actors

    @property
    def contract(self) -> Any:
        return self.ledger.contracts[CONTRACT]

    def offer(self, actor: Actor, **fields: Any) -> Outcome:
        return self.say(actor, "Offer", self.offer_body(actor, **fields))

    def offer_body(self, actor: Actor, **fields: Any) -> dict[str, Any]:
        contract = self.contract
        base = {"contract": CONTRACT, "round": contract.round, "base": contract.base}
        return {**base, "digest": digest(f"{actor.uid} {contract.round}"), **fields}

    def where(self, **fields: Any) -> dict[str, Any]:
        """The attempt under way, as the bodies of Ready, Suspect and DeadlinePassed name it."""
        snap = self.contract.snap
        return {"contract": CONTRACT, "round": self.contract.round, "attempt": snap.attempt if snap else 0, **fields}

    def ready(self, actor: Actor, result: str = "merged", **fields: Any) -> Outcome:
        snap = {"snap": self.contract.snap.entry} if self.rules >= dispute.SINCE and self.contract.snap else {}
        body = self.where(digest=digest(f"{result} {self.contract.round}"), **snap)
        return self.say(actor, "Ready", {**body, **fields})

    def suspect(self, actor: Actor, accused: Actor) -> Outcome:
        return self.say(actor, "Suspect", self.where(uid=accused.uid, reason="no bytes for 5 s"))

    def show(self, actor: Actor, owner: Actor, *digests: bytes, shard: int = 0, **fields: Any) -> Outcome:
        """What the owner signed for a shard; that it did is for the verifier, which is not here."""
        shown = {
            name: {"digest": digest, "signature": bytes(64)}
            for name, digest in zip(("first", "second"), digests, strict=False)
        }
        place = {"snap": self.contract.snap.entry if self.contract.snap else bytes(32), "shard": shard}
        return self.say(actor, "Evidence", {**self.where(uid=owner.uid, **place), **shown, **fields})

    def lose(self, actor: Actor) -> Outcome:
        body = {"uid": actor.uid, "incarnation": actor.incarnation, "reason": "no sign of life for 10 s"}
        return self.say(self.sn, "NodeLost", body)

    def close_window(self) -> Outcome:
        return self.say(self.sn, "WindowClosed", {"contract": CONTRACT, "round": self.contract.round})

    def pass_deadline(self, *, fewest: bool = True) -> Outcome:
        return self.say(self.sn, "DeadlinePassed", self.where(fewest=fewest))

    def commit(self, *actors: Actor, stop: bool = False) -> Committed:
        """One whole round of these members."""
        for actor in actors:
            assert self.offer(actor, stop=stop).accepted
        for actor in actors:
            if self.contract.snap is None:
                break
            assert self.ready(actor).accepted
        return self.last(Committed)

    def last(self, kind: type[Any]) -> Any:
        return next(event for event in reversed(self.events) if isinstance(event, kind))


class Observer:
    """Judges a history by its events alone: I1, I2, I4, I8, I9 of the round, and that bases follow from decisions.

    And no update is lost: whose offer was accepted is in the merge that is committed, or is named by an event.
    """

    def __init__(self) -> None:
        self.decided: dict[tuple[str, int], Event] = {}
        self.snaps: dict[tuple[str, int, int], SnapMade] = {}
        self.bases: dict[str, str] = {}
        self.finished: set[str] = set()
        self.open: dict[str, set[str]] = {}
        """Per contract: whose offers were accepted, and not yet merged or told to count no more."""
        self.merging: set[str] = set()

    def see(self, ledger: Ledger, events: Iterable[Event]) -> None:
        for event in events:
            self._account(event)
            match event:
                case SnapMade():
                    self._snapped(ledger, event)
                case Committed():
                    self._decide(event.contract, event.round, event)
                    snap = self.snaps[event.contract, event.round, event.attempt]
                    assert not any(
                        key[2] > event.attempt for key in self.snaps if key[:2] == (event.contract, event.round)
                    )
                    uids = {member.uid for member in snap.members}
                    assert set(event.signers) <= uids
                    assert len(event.signers) >= quorum(len(uids))
                    assert set(event.members) == uids
                    self.bases[event.contract] = event.digest
                case Aborted():
                    self._decide(event.contract, event.round, event)
                case BaseLost():
                    self.bases[event.contract] = event.base
                case Finished():
                    assert event.contract not in self.finished
                    self.finished.add(event.contract)
        for name, contract in ledger.contracts.items():
            assert contract.base == self.bases.get(name, contract.initial_base)

        for name, contract in ledger.contracts.items():
            counting = contract.current.attempt.uids if contract.current.attempt else contract.offers
            assert self.open.get(name, set()) == set(counting), "P3: who is told nothing counts"

    def _account(self, event: Event) -> None:
        match event:
            case Offered():
                self.open.setdefault(event.contract, set()).add(event.uid)
            case SnapMade():
                self.merging.add(event.contract)
            case MemberGone() | MemberEnrolled():
                if isinstance(event, MemberGone) or event.contract not in self.merging:
                    self.open.get(event.contract, set()).discard(event.uid)
            case Committed() | Aborted():
                self.merging.discard(event.contract)
                told = self.open.pop(event.contract, set())
                assert told <= set(event.members), "P3: a decision names everybody whose offer was in"
            case Finished():  # without a merge nobody had weight
                self.open.pop(event.contract, None)
            case ContractCleared():
                assert not self.open.get(event.contract), "P3: a reset tells who had offered"

    def _snapped(self, ledger: Ledger, snap: SnapMade) -> None:
        assert (snap.contract, snap.round) not in self.decided, "I1: a snap after the decision"
        key = (snap.contract, snap.round, snap.attempt)
        assert key not in self.snaps, "I4: one set of contributors an attempt"
        assert 0 <= snap.attempt < ATTEMPTS
        assert snap.attempt == 0 or (*key[:2], snap.attempt - 1) in self.snaps
        if snap.attempt:
            before = {member.uid for member in self.snaps[*key[:2], snap.attempt - 1].members}
            assert {member.uid for member in snap.members} <= before
        assert len(snap.members) >= ledger.contracts[snap.contract].options.minPeers
        assert snap.base == self.bases.get(snap.contract, ledger.contracts[snap.contract].initial_base)
        self.snaps[key] = snap

    def _decide(self, contract: str, round_: int, event: Event) -> None:
        assert (contract, round_) not in self.decided, "I1: one decision a round"
        self.decided[contract, round_] = event


def merging(count: int, *, rules: int = KNOWN, **options: Any) -> tuple[Scene, list[Actor]]:
    """As many learning nodes in the first attempt of a round that merges shards."""
    scene = Scene(rules=rules)
    actors = scene.learners(count, schema=BIG, topology="sharded", **options)
    for actor in actors:
        assert scene.offer(actor).accepted
    return scene, actors
