"""Whatever anybody proposes becomes an outcome: no body of any kind, in any state, ends the machine that applies it.

A leader orders entries before anybody judges them, so one that raised anything but a refusal would end every network
node, and again after each restart. Bodies that mean something are spoilt field by field; a test's name has its seed.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from swarm.core.kinds import FIELDS, INTRODUCTIONS, check_body
from swarm.core.policy import allowed, membership
from swarm.core.roles import Role
from swarm.core.rules import KNOWN, WORK, has_kind
from swarm.core.slot import Slot
from swarm.core.task import ROOT_NAME
from swarm.core.taskrunner import DEFAULT_NAME
from swarm.errors import BadInput
from tests.core.rolescene import submitted
from tests.core.scene import BIG, CONTRACT, INITIAL, SMALL, Actor, anchored, digest, restored
from tests.core.tasks import BODY, TASK, TaskScene

BRINGING = (*INTRODUCTIONS, "OrganisationAdmitted")
ENDING = (
    "NodeLeft", "NodeLost", "SnRemoved", "ForcedRecovery", "Configuration", "Leave", "ContractReset", "TaskrunnerReset",
    "TaskDeleted", "ProtocolActivated",
)  # fmt: skip
SEEDS = 40
NEWER = 50
"""So many more, under the newest rules: with jobs."""
JOBS = [kind for kind in FIELDS if kind.startswith(("Jobs", "Roles", "SlotJ", "DatasetR"))]
STEPS = 150

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 0.0, -0.0, 1e308, float("nan"), float("inf"),
    "", "x", "all", "\x00", "é" * 300, "1.1", "0.0", "127.0.0.1:70000", "blake3:" + "0" * 64, b"", bytes(16), bytes(32),
    bytes(64), [], [None], [[]], [b""] * 70, {}, {"": None}, {"x": {"x": {"x": {"x": {"x": {"x": {"x": {"x": 1}}}}}}}},
    {b"bytes": 1}, {1: 2}, ["00000000-0000-5000-8000-000000000000"], "00000000-0000-5000-8000-000000000000",
]  # fmt: skip


class Game:
    """A swarm at work, in which every author may say anything."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scene = scene = TaskScene(operators=2, rules=1 if seed < SEEDS else KNOWN)
        options = {"minPeers": self.chance.randint(1, 3), "topology": self.chance.choice(["auto", "sharded"])}
        self.sls = scene.learners(3, schema=self.chance.choice([SMALL, BIG]), **options)
        self.sn = Actor("sn", "sn-2", "b")
        assert scene.join(self.sn).accepted
        self.stranger = Actor("sl", "sl-9", "c")
        scene.final()
        assert scene.create("t3", body={}).accepted
        scene.observer.see = lambda ledger, events: None  # type: ignore[method-assign]
        self.seen: list[Any] = []
        self.taken: set[str] = set()

    def authors(self) -> list[Actor]:
        scene = self.scene
        return [*self.sls, *scene.operators, scene.swci, scene.other_swci, scene.sn, self.sn, self.stranger]

    def kind(self) -> str:
        usual = ["Enrolled", "Offer", "Ready", "SlotReported", "NodeJoined", "SwopListening", "DeadlinePassed"]
        usual += JOBS if self.scene.rules > 1 else []
        chance = self.chance.random()
        if chance < 0.04:
            return self.chance.choice(ENDING)
        others = [kind for kind in FIELDS if chance > 0.9 or has_kind(kind, self.scene.rules)]
        return self.chance.choice(usual if chance < 0.5 else [kind for kind in others if kind not in ENDING])

    def author(self, kind: str) -> Actor:
        """Most often one who may."""
        nodes, every = self.scene.ledger.nodes, self.authors()
        able = [
            each
            for each in every
            if each.uid in nodes and not nodes[each.uid].gone and allowed(kind, each.identity.role)
            if kind in INTRODUCTIONS or nodes[each.uid].incarnation == each.incarnation
        ]
        if membership(kind) == "voter":
            able = [each for each in able if each.uid in self.scene.ledger.voters]
        if membership(kind) == "holder" and (slot := self.slot()):
            able = [each for each in able if each.uid == slot.swop]
        return self.chance.choice(able if able and self.chance.random() < 0.85 else every)

    def slot(self) -> Slot | None:
        """The one that most is said of by now."""
        board = self.scene.ledger.board
        leased = board.leases()
        return leased[-1] if leased else next(reversed(board.slots.values()), None)

    def sensible(self, kind: str) -> dict[str, Any]:
        """A body that may well be taken, as things are."""
        scene, chance = self.scene, self.chance
        contract = scene.ledger.contracts.get(CONTRACT)
        number, base = (contract.round, contract.base) if contract else (0, INITIAL)
        snap = contract.snap if contract else None
        where = {"contract": CONTRACT, "round": number, "attempt": snap.attempt if snap else 0}
        slot = self.slot()
        held = {"slot": slot.id, "fence": slot.fence} if slot else {"slot": "1.1", "fence": 1}
        who, other, silent = (chance.choice(each) for each in (self.authors(), self.sls, self.authors()))
        first, second = ({"digest": letter * 32, "signature": bytes(64)} for letter in chance.sample([b"a", b"b"], 2))
        joined = scene.joined(who)
        enrolled = {
            "contract": CONTRACT, "schema": SMALL.to_wire(), "hash": "blake3", "initial_base": INITIAL,
            "options": {"minPeers": 2}, "weight": 1, "syncFrequency": 10, "data_address": "127.0.0.1:3000",
        }  # fmt: skip
        room, job, terms = self.of_jobs() if scene.rules > 1 else ({}, "", {})
        commit, data = self.of_datasets()
        bodies: dict[str, dict[str, Any]] = {
            "Genesis": {"rules": 1, "anchors": [anchored("a").certificate], "joined": joined, "created": 0},
            "OrganisationAdmitted": {"ca": anchored(chance.choice("abcde")).certificate},
            "NodeJoined": joined,
            "NodeLeft": {},
            "NodeLost": {"uid": silent.uid, "incarnation": silent.incarnation, "reason": "silent"},
            "Configuration": {"voters": [scene.sn.uid]},
            "ProtocolActivated": {"rules": 2},
            "ForcedRecovery": {
                **{name: joined[name] for name in ("chain", "node_key", "incarnation")},
                "epoch": scene.ledger.epoch + 1, "uid": self.sn.uid, "reason": "", "lost_after": 1,
            },
            "SnRemoved": {"uid": self.sn.uid},
            "Enrolled": {**enrolled, **chance.choice([{}, held])},
            "Offer": {"contract": CONTRACT, "round": number, "base": base, "digest": digest(f"{number} {who.uid}"),
                      "stop": chance.random() < 0.1, "counters": {"batches": 3}, "rates": {"up": 10**6, "down": 10**7}},
            "WindowClosed": {"contract": CONTRACT, "round": number},
            "Ready": {**where, "digest": digest(chance.choice("mmmo") + str(number)),
                      "shards": [chance.choice([b"a", b"b"]) * 32 for _ in range(len(snap.shards) if snap else 0)],
                      **({"snap": chance.choice([snap.entry] * 9 + [bytes(32)])} if snap and scene.rules >= 5 else {})},
            "Suspect": {**where, "uid": other.uid, "reason": "no bytes"},
            "DeadlinePassed": {**where, "fewest": chance.random() < 0.5},
            "Missing": {"contract": CONTRACT, "digest": base},
            "Leave": {"contract": CONTRACT, "reason": ""},
            "Evidence": {**where, "snap": snap.entry if snap else bytes(32), "uid": other.uid,
                         "shard": chance.randint(0, 2), "first": first, **chance.choice([{}, {"second": second}])},
            "ContractReset": {"contract": CONTRACT},
            "ContractRebased": {"contract": CONTRACT, "digest": base},
            "ContractCreated": {"contract": chance.choice([CONTRACT, "mine"])},
            "TaskCreated": {"name": chance.choice([TASK, "t2"]), "type": "RUN_SWARM", "author": "alice",
                            "prereq": ROOT_NAME, "outcome": "t2", "body": chance.choice([BODY, {}])},
            "TaskBodyAppended": {"task": "t3", "index": chance.randint(1, 3), "line": "Command : x"},
            "TaskFinalized": {"task": chance.choice([TASK, "t2"])},
            "TaskDeleted": {"task": chance.choice(["t2", "t3"])},
            "TaskrunnerCreated": {"name": "other"},
            "SwopListening": {"taskrunner": DEFAULT_NAME, "group": "demo", "peers": chance.randint(1, 3), **room},
            "TaskAssigned": {"taskrunner": DEFAULT_NAME, "task": TASK, "peers": 2},
            "TaskDeclined": {"run": int(slot.id.split(".")[0]) if slot else 1, "reason": "no", "hint": ""},
            "SlotReported": {**held, "state": chance.choice(["starting", "running", "done", "failed"]), "reason": ""},
            "LeaseEnded": {**held, "reason": "silent"},
            "TaskrunnerReset": {"taskrunner": DEFAULT_NAME},
            **self.of_roles(held, job),
            "JobsSubmitted": {"taskrunner": DEFAULT_NAME, "name": job, "author": "alice",
                              "terms": terms, "body": {"Command": ["true"]}, **data, **self.draft()},
            "JobsFinalized": {"task": job},
            "JobsStarted": {"task": job},
            "JobsStopped": {"task": job},
            "JobsRetried": {"task": job},
            "JobsDeleted": {"task": job},
            "DatasetAdded": commit,
            "DatasetCommitted": commit,
            "DatasetTagged": {"name": commit["name"], "commit": chance.randint(1, 2), "tag": chance.choice("ab")},
            "DatasetRemoved": {"name": commit["name"]},
        }  # fmt: skip
        return bodies[kind]

    def draft(self) -> dict[str, bool]:
        return {"draft": True} if self.scene.rules > 3 and self.scene.ledger.head_index % 5 == 0 else {}

    def of_jobs(self) -> tuple[dict[str, Any], str, dict[str, Any]]:
        """An operator's room, a task's name, its terms."""
        chance = self.chance
        terms = {"slots": chance.randint(1, 3), "gang": chance.random() < 0.4, "probe": 0, "restart": 1}
        room = chance.choice([{}, {"cpu": 2}, {"cpu": 3, "gpu": 1}])
        return room, chance.choice(["j1", "j2"]), {**terms, "cpu": 1, "gpu": 0}

    def of_datasets(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A commit, and what a task may use."""
        chance = self.chance
        files = {"names": ["a", "b/c"], "hashes": chance.randbytes(64), "sizes": [1, 2], "examples": [-1, 3]}
        name = f"user.swci-1.{chance.choice('xyz')}"
        commit = {"name": name, "message": "", "tags": ["a"], "root": "/data", "alone": False, "files": files}
        used = {"data": [{"name": f"user.swci-1.{chance.choice('xyz')}", "commits": [1]}]}
        used |= chance.choice([{}, {"output": "model", "code": "sha256:" + "0" * 64}])
        return commit, used if self.scene.rules > 2 and chance.random() < 0.3 else {}

    def of_roles(self, held: dict[str, Any], task: str) -> dict[str, dict[str, Any]]:
        chance, runs = self.chance, self.scene.ledger.board.jobs.with_roles
        lead = Role("lead", lead=chance.random() < 0.5, owner=chance.choice(["swop", "swop", "participant"]))
        worker = Role("worker", low=0, high=3, needs=chance.choice([(), ("lead",)]), restart=1, contract=CONTRACT)
        count = chance.choice([{"by": 1}, {"by": -1}, {"to": 2}])
        scaled = {"task": task, **count} if self.scene.ledger.head_index % 2 else {"task": "idle", "to": 0}
        return {
            "RolesSubmitted": self.submitted(submitted(lead, worker, name=task), worker),
            "RolesScaled": {"role": "worker", **scaled, **chance.choice([{}, held])},
            "GoalReached": {**held, "reason": "reward is 200"},
            "StartLapsed": {"run": chance.choice([1, *runs])},
            "RunLapsed": {"run": chance.choice([1, *runs])},
            "SlotJoined": {"task": task, "role": "lead", "key": bytes([chance.randrange(3)] * 32), "proof": bytes(64)},
            "SlotTold": {**held, "state": chance.choice(["running", "done", "failed"]), "reason": ""},
            "WorkPut": {**held, "items": [["a", "1"], ["b", ""]], "within_s": 60},
            "WorkTaken": {**held, "nonce": "x"},
            "WorkDone": {**held, "key": "a", "lease": 1, "result": "2"},
            "WorkForgotten": {**held, "keys": ["a"]},
            "WorkLapsed": {"run": chance.choice([1, *runs]), "key": "a", "lease": 1},
        }

    def submitted(self, alone: dict[str, Any], worker: Role) -> dict[str, Any]:
        """A task with roles; now and then one that begins without a slot, or one of the two swarms of a sweep."""
        turn = self.scene.ledger.head_index % 12
        if turn > 7:
            return submitted(Role("worker", low=0, high=3, start=0), name="idle")
        if turn > 1:
            return alone | self.draft()
        return {**submitted(worker, name=f"s.{turn}"), "variant": {"of": "s", "index": turn, "count": 2, "value": "1"}}

    def spoilt(self, value: Any, depth: int = 0) -> Any:
        """The same value with something in it changed for what has been elsewhere, or for nonsense."""
        chance = self.chance
        if isinstance(value, dict) and value and chance.random() < 0.9:
            name = chance.choice(list(value))
            rest = {key: each for key, each in value.items() if key != name}
            match chance.randrange(6):
                case 0:
                    return rest
                case 1:
                    return {**value, chance.choice(["", "more", *value]): chance.choice(NASTY)}
                case _:
                    return {**value, name: self.spoilt(value[name], depth + 1)}
        if isinstance(value, list) and value and chance.random() < 0.7:
            place = chance.randrange(len(value))
            return [*value[:place], self.spoilt(value[place], depth + 1), *value[place + 1 :]]
        return chance.choice([*NASTY, *self.seen[-20:]])

    def step(self, kind: str) -> None:
        body = self.sensible(kind)
        self.seen += body.values()
        for _ in range(self.chance.choice([0, 0, 0, 1, 1, 2])):
            body = self.spoilt(body)
        if not isinstance(body, dict):
            return  # nobody can have signed it: tests/wire/test_totality
        author = self.author(kind)
        if self.chance.random() < 0.01:
            author.restart()
        if kind not in BRINGING or self.verified(author, kind, body):
            outcome = self.scene.take(self.scene.claim(author, kind, body)).outcome
            self.taken |= {kind} if outcome.accepted else set()

    def verified(self, author: Actor, kind: str, body: dict[str, Any]) -> bool:
        """What `wire/signed` sees to where certificates are brought: tests/wire/test_totality."""
        try:
            check_body(kind, body)
        except BadInput:
            return False
        if kind == "OrganisationAdmitted":
            return bytes(body["ca"]).startswith(b"CA of ")
        return author.identity.anchor in self.scene.ledger.anchors


@pytest.mark.parametrize("seed", range(SEEDS + NEWER))
def test_every_body_of_every_kind_becomes_an_outcome(seed: int) -> None:
    game = Game(seed)
    for _ in range(STEPS):
        game.step(game.kind())
    restored(game.scene.ledger)


def test_bodies_of_nearly_every_kind_are_taken_in_these_games() -> None:
    """Else they would show only that nonsense is refused."""
    taken: set[str] = set()
    for seed in range(SEEDS + NEWER):
        game = Game(seed)
        for _ in range(STEPS):
            game.step(game.kind())
        taken |= game.taken
    longer = {"Genesis", "ProtocolActivated", "ContractRebased", "LeaseEnded", "GoalReached", "StartLapsed", *WORK}
    longer |= {"RunLapsed", "SlotTold"}
    assert set(FIELDS) - taken <= longer, "which need a longer story"
