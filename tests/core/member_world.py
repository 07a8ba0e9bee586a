"""A contract with members, and the member machine of the first of them: what its tests play with."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.core import member_steps as m
from swarm.core.contract import Contract, Enrolment
from swarm.core.events import Aborted, BaseLost, Committed, Finished, MemberGone, SnapMade
from swarm.core.member import Member
from swarm.core.names import Identity
from swarm.core.tensors import Schema

UIDS = [f"{i:08d}-0000-5000-8000-000000000000" for i in range(1, 4)]
ME, OTHER, THIRD = UIDS
BASE = "blake3:" + "0" * 64
OWN, RESULT = "blake3:" + "1" * 64, "blake3:" + "2" * 64
SCHEMA = Schema.of({"w": np.zeros(4, np.float32)})


class World:
    """A contract with members, and the machine of the first of them."""

    def __init__(self, peers: int = 2, checkin: str = "snapshot", **options: Any) -> None:
        asked = Enrolment.of(
            {
                "schema": SCHEMA.to_wire(),
                "hash": "blake3",
                "initial_base": BASE,
                "options": {"minPeers": 2, **options},
                "weight": 1,
                "syncFrequency": 4,
                "data_address": "127.0.0.1:1",
            }
        )
        self.contract = Contract("c", asked)
        for number, uid in enumerate(UIDS[:peers]):
            self.contract.enrol(uid, Identity(f"org-{number}", bytes(32), "sl", f"sl-{number}"), asked)
        self.member = Member(ME, self.contract, holds=BASE, checkin=checkin)
        self.now_s = 0.0

    def ask(self, kind: Any = "sync", batches: int = 4) -> list[m.Effect]:
        return self.member.handle(m.Asked(kind, OWN, batches, 0), self.now_s)

    def offer(self, *uids: str, stop: bool = False) -> list[m.Effect]:
        """The ledger accepts offers; what follows for the member."""
        body = {"contract": "c", "round": self.contract.round, "base": self.contract.base, "digest": OWN, "stop": stop}
        return [effect for uid in uids for effect in self.tell(self.contract.offer(uid, body))]

    def ready(self, *uids: str, digest: str = RESULT) -> list[m.Effect]:
        snap = self.contract.snap
        assert snap is not None
        body = {"contract": "c", "round": snap.round, "attempt": snap.attempt, "digest": digest}
        return [effect for uid in uids for effect in self.tell(self.contract.ready(uid, body))]

    def close_window(self) -> list[m.Effect]:
        return self.tell(self.contract.close_window({"contract": "c", "round": self.contract.round}))

    def others(self) -> list[m.Effect]:
        """The other two commit a round; this member has not offered in time."""
        result = f"blake3:{self.contract.round:064x}"
        offers = [*self.offer(OTHER, THIRD), *(self.close_window() if self.contract.snap is None else [])]
        return [*offers, *self.ready(OTHER, THIRD, digest=result)]

    def deadline(self) -> list[m.Effect]:
        snap = self.contract.snap
        assert snap is not None
        return self.tell(self.contract.pass_deadline({"contract": "c", "round": snap.round, "attempt": snap.attempt}))

    def tell(self, events: list[Any]) -> list[m.Effect]:
        told = (SnapMade, Committed, Aborted, BaseLost, Finished, MemberGone)
        return [one for event in events if isinstance(event, told) for one in self.member.handle(event, self.now_s)]

    def merged(self, digest: str = RESULT) -> list[m.Effect]:
        snap = self.contract.snap
        assert snap is not None
        return self.member.handle(m.Merged(snap.round, snap.attempt, digest), self.now_s)

    def tick(self, seconds: float) -> list[m.Effect]:
        self.now_s += seconds
        return self.member.handle(m.Ticked(), self.now_s)


def kinds(effects: list[m.Effect]) -> list[str]:
    return [effect.kind if isinstance(effect, m.Propose) else type(effect).__name__ for effect in effects]


def answer(effects: list[m.Effect]) -> m.Answer:
    (only,) = effects
    assert isinstance(only, m.Answer)
    return only


def trained(**options: Any) -> World:
    """Three members; this one holds the model of round 0 and trains on it while the others commit round 1."""
    world = World(peers=3, **options)
    world.ask("begin")
    world.offer(*UIDS)
    world.merged()
    assert answer(world.ready(ME, OTHER)).how == "merged"
    world.others()
    return world


def rebased(world: World, digest: str = "blake3:" + "a" * 64) -> list[m.Effect]:
    return world.member.handle(m.Rebased(world.contract.base, digest), world.now_s)


def late(effects: list[m.Effect]) -> dict[str, Any]:
    """The offer of a late change, which its program is told about."""
    tell, offer = effects
    assert isinstance(tell, m.Tell)
    assert "batches have changed is offered anew" in tell.text
    assert isinstance(offer, m.Propose)
    return offer.body
