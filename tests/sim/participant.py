"""A participant: it joins a role of a task from its own host, runs its program there, and says how that does.

It stands in for ``nodes/participant``. A crash ends its program with it; started again it joins anew, with the same key
and certificate. There may be more of them than slots: who finds none free asks again later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from swarm.core.events import Applied, Outcome
from swarm.core.rolesrun import RolesRun
from tests.sim.client import Client, Surroundings

STEP_S = 0.7
AGAIN_S = 1.5
WORK_S = (2.0, 9.0)
FAILING = 0.3


@dataclass
class Held:
    slot: str
    fence: int
    ends_s: float
    verdict: str
    told: str = ""


class Participant(Client):
    role = "sl"

    def __init__(self, around: Surroundings, name: str, organisation: str, task: str, of: str) -> None:
        super().__init__(around, name, organisation)
        self.key = hashlib.sha256(f"slot key of {name} {around.world.seed}".encode()).digest()
        self.task, self.of = task, of
        self._held: Held | None = None

    # ---- life

    def on_start(self) -> None:
        self._busy = True
        self._waits_s = 0.0
        super().on_start()

    def on_crash(self, power: bool) -> None:
        self._program_over(died=True)

    def on_joined(self, outcome: Outcome) -> None:
        self._busy = False
        self._step()

    def on_entries(self, applied: list[Applied]) -> None:
        pass

    def _step(self) -> None:
        if not self._busy and self.now_s >= self._waits_s:
            self._do()
        self.later(STEP_S, self._step)

    def _program_over(self, *, died: bool = False) -> None:
        if self._held is not None:
            self.note("worker_ended", self._held.slot, self._held.fence, died)
            self._held = None

    # ---- the slot

    def _run(self) -> RolesRun | None:
        run = self.replica.view.board.jobs.of(self.task)
        return run if isinstance(run, RolesRun) else None

    def _do(self) -> None:
        run, held = self._run(), self._held
        if run is None or (held is None and (run.over or run.ending)):
            return
        if held is None:
            self._busy = True
            self.propose(
                "SlotJoined", {"task": self.task, "role": self.of, "key": self.key, "proof": bytes(64)}, self._took
            )
            return
        slot = run.slots[held.slot]
        if not slot.leased or slot.fence != held.fence:
            self._program_over()
        elif slot.ending:
            self._tell("stopped", slot.ending)
        elif not held.told:
            self._tell("running")
        elif self.now_s >= held.ends_s:
            self._tell(held.verdict)

    def _took(self, outcome: Outcome) -> None:
        self._busy = False
        self._waits_s = self.now_s + AGAIN_S * (not outcome.accepted)
        if outcome.accepted:
            random = self.world.random
            verdict = "failed" if random.random() < FAILING else "done"
            result = outcome.result
            self._held = Held(result["slot"], result["fence"], self.now_s + random.uniform(*WORK_S), verdict)
            self.note("worker_started", self._held.slot, self._held.fence)

    def _tell(self, state: str, reason: str = "") -> None:
        assert self._held is not None
        self._held.told = state
        body = {"slot": self._held.slot, "fence": self._held.fence, "state": state, "reason": reason}
        if state != "running":
            self._program_over()
        self._busy = True
        self.propose("SlotTold", body, self._told)

    def _told(self, outcome: Outcome) -> None:
        self._busy = False
