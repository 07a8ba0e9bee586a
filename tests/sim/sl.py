"""A learning node and its training program: a `Learning` in its contract, and, if it leads a group, one above.

It stands in for ``nodes/sl``. Weights are a few small numbers, one for each leaf of the contract's schema; a model's
digest is a hash of them. The program trains, comes to sync points, ends.
"""

from __future__ import annotations

from typing import Any

from swarm.core import member_steps as m
from swarm.core.events import Applied, Outcome
from tests.sim.attempt import Attempt, Want
from tests.sim.client import Client, Done, Surroundings
from tests.sim.climbing import Climbing
from tests.sim.disk import ModelDisk
from tests.sim.groups import ALONE, Place
from tests.sim.history import Values
from tests.sim.learning import Learning
from tests.sim.program import Program, Terms, digest_of, rounded

TICK_S = 1.0
COME_BACK_S, SERVE_LAST_S = 3.0, 60.0
HUGE = 2.0**60


class LearningNode(Client):
    """``place``: its contract, and whether it leads that as a group."""

    role = "sl"

    def __init__(
        self, around: Surroundings, name: str, organisation: str, terms: Terms, weight: int, place: Place = ALONE
    ) -> None:
        super().__init__(around, name, organisation)
        self.terms = terms
        self.weight = weight
        self.place = place
        self.disk = ModelDisk(around.world.random)
        self.disks = {place.contract: self.disk}
        """By contract."""
        if place.upper:
            self.disks[place.upper] = ModelDisk(around.world.random)
        self.program = Program(self._weights(), terms.rounds)
        self.done = False
        """The program has the final model, and this node has left."""
        self.lies: dict[str, float] = {}
        """What it lies about, and how often."""
        self.spoils: list[str] = []
        """To whom it sends contributions that cannot be merged, and to nobody else."""

    def _weights(self) -> Values:
        """What a program begins with."""
        return rounded(self.world.random.random() for _ in range(self.terms.leaves))

    # ---- life

    def on_start(self) -> None:
        self.learning: Learning | None = None
        self.climbing: Climbing | None = None
        self._over_s = 0.0
        self.requests: dict[int, Any] = {}
        self._request = 0
        self._ticking = False
        super().on_start()

    def on_crash(self, power: bool) -> None:
        for disk in self.disks.values() if power else ():
            lost, torn = disk.cut_power(torn=self.trap == "torn")
            self.around.weather.count("unsynced_write_lost", lost > 0)
            self.around.weather.count("torn_write", torn > 0)
        self.trap = ""
        if not self.program.over:  # it ends with its learning node, and both are started again
            self.note("program_died", self.uid)
            self.program = Program(self._weights(), max(1, self.program.rounds - self.program.asks))

    def on_joined(self, outcome: Outcome) -> None:
        if self.program.over:
            self._leave()
            return
        more = {"leads": True} if self.place.upper else {}
        self._enrol(self.place.contract, self.terms.options, self.weight, more, self._enrolled)

    def _enrol(self, contract: str, options: dict[str, Any], weight: int, more: dict[str, Any], done: Done) -> None:
        body = {
            "contract": contract, "schema": self.terms.schema, "hash": "sha256",
            "initial_base": self.terms.initial_base, "options": options, "weight": weight,
            "syncFrequency": 10, "data_address": "127.0.0.1:1", **more,
        }  # fmt: skip
        self.propose("Enrolled", body, done)

    def enrol_above(self, done: Done) -> None:
        """In the upper contract of the group that it leads."""
        options = self.group.contract.options
        self._enrol(options.upper, options.above().to_wire(), 1, {}, done)

    def _enrolled(self, outcome: Outcome) -> None:
        if not outcome.accepted:
            self.note("refused", "Enrolled", outcome.reason)
            self._leave()  # the contract is finished, and this node was no member of it
            return
        self.climbing = Climbing(self) if self.place.upper else None
        climb = self.climbing.climb if self.climbing else None
        self.learning = Learning(self, self.place.contract, self.disk, self._told, climb)
        if not self._ticking:
            self._ticking = True
            self.later(TICK_S, self._tick)
        self._stand("begin")

    @property
    def group(self) -> Learning:
        """What it has enrolled with for its program."""
        assert self.learning is not None
        return self.learning

    @property
    def learnings(self) -> list[Learning]:
        """Its own, and the one above."""
        above = self.climbing.upper if self.climbing else None
        return [each for each in (self.learning, above) if each is not None]

    @property
    def attempt(self) -> Attempt | None:
        """In its program's contract."""
        return self.learning.attempt if self.learning else None

    def _tick(self) -> None:
        for learning in self.learnings:
            learning.tick()
        self.later(TICK_S, self._tick)

    # ---- the program

    def _stand(self, kind: Any) -> None:
        self.group.ask(kind, self.program.values, self.program.batches)

    def record(self, values: Values) -> str:
        digest = digest_of(values)
        self.world.history.models[digest] = values
        return digest

    def _train(self) -> None:
        low, high = self.terms.train_s
        self.later(low + (high - low) * self.world.random.random(), self._trained, self.program)

    def _trained(self, program: Program) -> None:
        if program is not self.program or self.learning is None:
            return
        random = self.world.random
        trained = rounded(value + random.uniform(-5.0, 5.0) for value in program.values)
        # Numbers that cancel each other out, so that the order in which they are added up can be seen.
        program.values = (random.choice((HUGE, -HUGE, trained[0])), *trained[1:])
        program.batches += 10
        program.asks += 1
        self._stand("end" if program.asks >= program.rounds else "sync")

    def _told(self, kind: str, answer: m.Answer) -> None:
        program = self.program
        program.values = self.group.values
        if kind == "end" or answer.training_over:
            program.over, self._over_s = True, self.now_s
            self.note("program_over", self.uid, digest_of(program.values))
            self._serve_last()
        else:
            self._train()

    def _serve_last(self) -> None:
        """Others may still fetch the final model."""
        known = [self.replica.view.contracts.get(name) for name in self.disks]
        mine = [contract for contract in known if contract is not None and self.uid in contract.members]
        if not any(contract.to_serve() for contract in mine) or self.now_s - self._over_s > SERVE_LAST_S:
            self._leave()
        elif here := [contract.name for contract in mine if contract.members[self.uid].state != "left"]:
            self.propose("Leave", {"contract": here[0], "reason": "finished"}, lambda outcome: self._serve_last())
        else:
            self.later(1.0, self._serve_last)

    def begin_anew(self) -> None:
        if self.program.over:
            self.done, self.program = False, Program(self._weights(), self.terms.rounds)
        super().begin_anew()

    def _leave(self) -> None:
        self.propose("NodeLeft", {}, self._left)

    def _left(self, outcome: Outcome) -> None:
        """The process ends."""
        self.done = True
        self.alive = False

    def give_up(self, reason: str) -> None:
        """The program is told, and ends; a person starts it again, unless the training is over for everybody."""
        self.note("gave_up", self.uid, reason)
        if self.replica.view.contracts[self.place.contract].finished:
            self.program.over = True
        self.world.after(COME_BACK_S, self._start_again)
        self.crash(power=False)

    def _start_again(self) -> None:
        if not self.alive:
            self.start()

    # ---- what the ledger says

    def on_entries(self, applied: list[Applied]) -> None:
        learnings = self.learnings
        for each in applied:
            for event in each.events:
                for learning in learnings:
                    learning.applied(event)

    def on_link(self) -> None:
        for learning in self.learnings:
            learning.happened(m.LedgerLost("no SN answers") if self.lost else m.LedgerBack())

    # ---- between learning nodes

    def request(self, to: LearningNode, want: Want, on_reply: Any, patience_s: float = 0.0) -> int:
        """Ask another node for bytes; ``on_reply`` gets its replies, or, after ``patience_s`` without one, None."""
        self._request += 1
        number = self._request
        self.requests[number] = on_reply
        self.around.network.send(self, to, to.wanted, self, self.life, number, want)
        if patience_s:
            self.later(patience_s, self._expired, number)
        return number

    def _expired(self, number: int) -> None:
        on_reply = self.requests.pop(number, None)
        if on_reply is not None:
            on_reply(None)

    def replied(self, life: int, number: int, reply: Any) -> None:
        on_reply = self.requests.pop(number, None) if life == self.life else None
        if on_reply is not None:
            on_reply(reply)

    def wanted(self, asker: LearningNode, life: int, number: int, want: Want) -> None:
        self.around.network.send(self, asker, asker.replied, life, number, self._found(asker, want))

    def _found(self, asker: LearningNode, want: Want) -> Any:
        """The bytes; or why not: "refused", "not yet"."""
        contract, disk = self.replica.view.contracts.get(want.contract), self.disks.get(want.contract)
        if want.what == "model":
            file = disk.files.get(want.digest) if disk else None
            if contract is None or all(commit.digest != want.digest for commit in contract.kept):
                return "not yet"
            return file.values if file is not None and digest_of(file.values) == want.digest else "refused"
        attempt = next((each.attempt for each in self.learnings if each.name == want.contract), None)
        if attempt is None or (attempt.snap.round, attempt.snap.attempt) < (want.round, want.attempt):
            known = contract.round if contract is not None else -1
            return "not yet" if known <= want.round else "refused"
        return attempt.serve(asker, want)
