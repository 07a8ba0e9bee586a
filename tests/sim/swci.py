"""A commander: the person's script that has tasks made, run one after the other, tried again and cleared away.

It looks at the ledger and does the next step, so it may be started again at any moment. It also reads, through any SN,
what must not be older than anything that was acknowledged; and it removes network nodes that lost their directory,
and some that run.
"""

from __future__ import annotations

from typing import Any

from swarm.core.events import Applied, Outcome, SlotAssigned
from swarm.core.task import ROOT_NAME
from swarm.core.taskrunner import DEFAULT_NAME
from tests.sim.client import Client, Surroundings
from tests.sim.errands import Errand

STEP_S = 0.6
READ_S = (0.1, 0.4)
RETRIES = 2
ENDED = ("done", "failed", "stopped")


class Commander(Client):
    role = "swci"

    def __init__(self, around: Surroundings, name: str, organisation: str, tasks: list[tuple[str, Any]]) -> None:
        super().__init__(around, name, organisation)
        self.tasks = tasks
        """Their names, and how many peers each asks for."""
        self.retries: dict[str, int] = {}
        self.errands: list[Errand] = []
        """Jobs, and tasks with roles."""
        self.gone: list[str] = []
        """Network nodes that will never come back under their uids."""

    # ---- life

    def on_start(self) -> None:
        self._busy = True
        self._ticket = 0
        self._removal = (0, "")
        super().on_start()

    def on_joined(self, outcome: Outcome) -> None:
        self._busy = False
        self._step()
        self._read()

    def on_entries(self, applied: list[Applied]) -> None:
        if self.errands:
            runs = self.replica.view.board.jobs.with_roles
            for event in (event for each in applied for event in each.events if isinstance(event, SlotAssigned)):
                if event.run in runs:
                    self.note("slot_role", event.slot, runs[event.run].slots[event.slot].role)

    @property
    def finished(self) -> bool:
        board = self.replica.view.board
        ended = all(name in board.tasks and board.tasks[name].state in ENDED for name, _ in self.tasks)
        ended = ended and all(errand.ended(board.jobs.of(errand.name)) for errand in self.errands)
        return ended and not self._busy

    # ---- the script

    def _step(self) -> None:
        if not self._busy:
            self._do()
        self.later(STEP_S, self._step)

    def _do(self) -> None:
        view = self.replica.view
        if self.gone:
            uid = self.gone.pop()
            if view.nodes.get(uid) not in (None, "left"):
                self._propose("SnRemoved", {"uid": uid})
                self._removal = self._seq, uid
                return
        board = view.board
        for errand in self.errands:
            if (proposal := errand.next(board.jobs.of(errand.name), self.world.random)) is not None:
                self._propose(*proposal)
                return
        runner = board.taskrunners[DEFAULT_NAME]
        if runner.current is not None and runner.current.state in ENDED:
            self._after(runner)
            return
        for name, peers in self.tasks:
            task = board.tasks.get(name)
            if task is None:
                body = {"Command": "train.py", "Entrypoint": "python3"}
                task_body = {"name": name, "type": "RUN_SWARM", "author": "alice", "prereq": ROOT_NAME, "outcome": name}
                self._propose("TaskCreated", {**task_body, "body": body})
                return
            if task.state == "draft":
                self._propose("TaskFinalized", {"task": name})
                return
            if task.state == "final" and runner.current is None:
                self._propose("TaskAssigned", {"taskrunner": DEFAULT_NAME, "task": name, "peers": peers})
                return

    def _after(self, runner: Any) -> None:
        """A run is decided: one that failed is tried again with an operator that lives, at most so often."""
        run = runner.current
        live = [uid for uid, listener in runner.listeners.items() if listener.live]
        tried = self.retries.get(run.task, 0)
        open_places = [slot.swop for slot in run.slots.values() if not slot.leased and slot.state != "done"]
        targets = [uid for uid in live if uid in open_places]
        if run.state == "failed" and targets and tried < RETRIES:
            self.retries[run.task] = tried + 1
            self._propose("TaskAssigned", {"taskrunner": DEFAULT_NAME, "task": run.task, "target": targets[0]})
        else:
            self._propose("TaskrunnerReset", {"taskrunner": DEFAULT_NAME})

    def _propose(self, kind: str, body: dict[str, Any]) -> None:
        self._busy = True
        self.propose(kind, body, self._proposed)

    def _proposed(self, outcome: Outcome) -> None:
        self._busy = False

    def declined(self, life: int, seq: int) -> None:
        """Too few would be left without that one: first those that are dead, as this is answered."""
        number, uid = self._removal
        if self.around.recovers or life != self.life or seq != number:
            super().declined(life, seq)
        elif self._waiting.pop(seq, None):
            self.gone.insert(0, uid)
            self._busy = False

    # ---- reading

    def _read(self) -> None:
        """Now and then; and whenever two network nodes say that they lead, of the one that has led for longer."""
        random = self.world.random
        sns = self.around.sns
        leading = sorted(
            (sn for sn in sns if sn.alive and sn.orderer.role == "leader"), key=lambda sn: sn.orderer.consensus.term
        )
        if len(leading) > 1 or random.random() < 0.4:
            self._ticket += 1
            sn = leading[0] if len(leading) > 1 else random.choice(sns)
            self.note("read_asked", self._ticket)
            self.around.network.send(self, sn, sn.read, self, self.life, self._ticket)
        low, spread = READ_S
        self.later(low + spread * random.random(), self._read)

    def was_read(self, life: int, ticket: int, index: int) -> None:
        if life == self.life:
            self.note("was_read", ticket, index)
