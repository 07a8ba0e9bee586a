"""The bytes of an organisation's contracts: tensors, members and names count, and a restored ledger counts alike."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from swarm.core import openings
from swarm.core.claims import Verified
from swarm.core.ledger import Ledger
from swarm.core.openings import CONTRACT_BYTES, MEMBER_BYTES, NAME_BYTES, contract_bytes
from swarm.core.tensors import Schema
from swarm.errors import Refused
from tests.core.scene import BIG, INITIAL, SMALL, Actor, Scene

MANY = Schema.from_wire([[f"{number:x}", "int8", [1]] for number in range(17_000)])
"""As many tensors as there is room for in a proposal."""


class Opening(Scene):
    """Two learning nodes of organisation a and a third one of b, with an swci each."""

    def __init__(self, rules: int = 5) -> None:
        super().__init__(rules=rules)
        self.one, self.two, self.other = Actor("sl", "sl-1"), Actor("sl", "sl-2"), Actor("sl", "sl-3", "b")
        self.swci, self.others = Actor("swci", "swci-1"), Actor("swci", "swci-1", "b")
        for actor in (self.one, self.two, self.other, self.swci, self.others):
            assert self.join(actor).accepted

    def opening(self, actor: Actor, contract: str, schema: Schema = SMALL, **options: Any) -> Verified:
        body = {
            "contract": contract,
            "schema": schema.to_wire(),
            "hash": "blake3",
            "initial_base": INITIAL,
            "options": {"minPeers": 2, **options},
            "weight": 1,
            "syncFrequency": 10,
            "data_address": "127.0.0.1:3000",
        }
        return self.claim(actor, "Enrolled", body)

    def open(self, actor: Actor, contract: str, schema: Schema = SMALL, **options: Any) -> str:
        """The reason why it may not; empty if it did."""
        return self.take(self.opening(actor, contract, schema, **options)).outcome.reason

    def create(self, actor: Actor, contract: str) -> str:
        return self.say(actor, "ContractCreated", {"contract": contract}).reason

    def reset(self, actor: Actor, contract: str) -> bool:
        return self.say(actor, "ContractReset", {"contract": contract}).accepted

    def kept(self, actor: Actor, ledger: Ledger | None = None) -> int:
        with pytest.raises(Refused) as refused:
            (ledger or self.ledger).training.openings.must_have_room(openings.OPENINGS_MAX + 1, actor.identity)
        return int(str(refused.value).partition(" take ")[2].partition(" ")[0])

    def restored(self) -> Ledger:
        again = Ledger.restore(msgpack.unpackb(msgpack.packb(self.ledger.snapshot())))
        again.check()
        assert again.digest() == self.ledger.digest()
        return again


def test_one_learning_node_cannot_open_contracts_without_end():
    scene = Opening()
    scene.ledger.check = lambda: None  # type: ignore[method-assign]
    opened = 0
    while not (reason := scene.open(scene.one, f"c{opened}", MANY)):
        opened += 1
        assert opened < 20, "each takes five MB in the memory of every network node and every follower"
    kept = opened * (contract_bytes(MANY) + MEMBER_BYTES)
    more = contract_bytes(MANY) + MEMBER_BYTES
    assert reason == f"the contracts of a take {kept} bytes in the ledger, and {more} more are over 67108864"
    assert kept + more > openings.OPENINGS_MAX
    assert scene.open(scene.two, "another", MANY) == reason, "it is the organisation's"
    assert f"c{opened}" not in {*scene.ledger.contracts, *scene.ledger.unopened}, "what is refused leaves nothing"
    assert not scene.open(scene.other, "theirs", MANY), "others have room of their own"
    assert scene.reset(scene.swci, "c0")
    assert not scene.open(scene.two, "another", MANY), "one that is reset makes room for another"


def test_a_contract_counts_for_who_opened_it_and_a_member_for_its_own_organisation():
    scene = Opening()
    assert not scene.open(scene.one, "big", BIG)
    assert not scene.open(scene.other, "big", BIG)
    assert not scene.open(scene.one, "big", BIG), "again"
    assert scene.kept(scene.one) == contract_bytes(BIG) + MEMBER_BYTES > CONTRACT_BYTES + MEMBER_BYTES
    assert scene.kept(scene.other) == MEMBER_BYTES
    assert scene.reset(scene.others, "big")
    assert (scene.kept(scene.one), scene.kept(scene.other)) == (NAME_BYTES + len("big"), 0)
    assert not scene.open(scene.other, "big", BIG)
    assert (scene.kept(scene.one), scene.kept(scene.other)) == (0, contract_bytes(BIG) + MEMBER_BYTES)
    assert scene.open(scene.one, "big", SMALL), "another model"
    assert scene.kept(scene.one) == 0


def test_members_and_names_have_an_end_too(monkeypatch: pytest.MonkeyPatch):
    scene = Opening()
    assert not scene.open(scene.other, "theirs")
    monkeypatch.setattr(openings, "OPENINGS_MAX", MEMBER_BYTES + NAME_BYTES)
    assert not scene.open(scene.one, "theirs")
    assert "and 1024 more are over" in scene.open(scene.two, "theirs")
    assert not scene.open(scene.one, "theirs"), "who is in it comes again"
    assert "and 518 more are over" in scene.create(scene.swci, "second")
    assert scene.reset(scene.swci, "theirs")
    assert not scene.create(scene.swci, "second")
    assert not scene.create(scene.swci, "second"), "nor does a name count twice"
    assert not scene.create(scene.swci, "third")
    assert "and 518 more are over" in scene.create(scene.swci, "fourth")


def test_a_restored_ledger_counts_alike_and_says_nothing_of_what_nobody_named():
    scene = Opening()
    assert "named" not in scene.ledger.snapshot()
    assert not scene.open(scene.one, "first", BIG)
    assert not scene.open(scene.other, "second")
    assert not scene.open(scene.two, "second")
    assert not scene.create(scene.others, "third")
    assert scene.reset(scene.swci, "first")
    again = scene.restored()
    for actor in (scene.one, scene.other):
        assert scene.kept(actor, again) == scene.kept(actor) > 0


def test_before_the_fifth_rules_there_was_no_bound(monkeypatch: pytest.MonkeyPatch):
    scene = Opening(rules=4)
    monkeypatch.setattr(openings, "OPENINGS_MAX", 0)
    assert not scene.create(scene.swci, "named")
    assert not scene.open(scene.one, "opened", BIG)
    assert scene.reset(scene.swci, "opened")
    assert "named" not in scene.ledger.snapshot()
    scene.restored()
