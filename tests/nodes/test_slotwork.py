"""One slot from its lease to the last report, decided by the operator's machine, with an engine that the test plays."""

from __future__ import annotations

import contextlib
import json
import math
from collections import deque
from pathlib import Path

import pytest
import trio
import trio.testing

from swarm.core import operator_steps as o
from swarm.core.operator import RESTARTS_MAX, Operator
from swarm.engines.pair import Pair, Program
from swarm.errors import BadInput
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory
from swarm.nodes.slotwork import TERMINATE_S, SlotWork
from tests.core.scene import Actor
from tests.core.tasks import TaskScene

SL = Actor("sl", "sl-1").uid
PAIR = Pair((), {}, Program(("true",), {}, "/tmp/test", ()))


class FakeWorker:
    pid = 7

    def __init__(self, *, deaf: bool = False) -> None:
        self.exit_code: int | None = None
        self.calls: list[str] = []
        self._deaf = deaf
        self._over = False

    def ends(self, code: int | None) -> None:
        self.exit_code, self._over = code, True

    def poll(self) -> bool:
        return self._over

    def terminate(self) -> None:
        self.calls.append("terminate")
        if not self._deaf:
            self.ends(143)

    def kill(self) -> None:
        self.calls.append("kill")
        if not self._over:
            self.ends(137)


class FakeEngine:
    name = "fake"

    def __init__(self, *, running: FakeWorker | None = None, fails: bool = False, deaf: bool = False) -> None:
        self.running = running
        self.started: list[Path] = []
        self.swept: list[Path] = []
        self._fails = fails
        self._deaf = deaf

    def start(self, pair: Pair, place: Path) -> FakeWorker:
        assert (place / "slot.json").exists(), "started before the intent was on disk"
        if self._fails:
            raise BadInput("no such program", hint="install it")
        self.started.append(place)
        self.running = FakeWorker(deaf=self._deaf)
        return self.running

    def find(self, place: Path) -> FakeWorker | None:
        return self.running

    def sweep(self, place: Path) -> None:
        self.swept.append(place)

    def python(self, environment) -> str:
        return "python3"


class Stage:
    """One slot, leased to an operator that begins with `operator`."""

    def __init__(self, directory: Path) -> None:
        self.scene = TaskScene(1)
        self.scene.final()
        self.scene.assign(1)
        (self.swop,) = self.scene.operators
        (self.slot,) = self.scene.slots(self.swop)
        self.lease = self.slot.assigned()
        self.slots = SlotDirectories(directory / "slots", SlotDirectory)
        self.slots.path.mkdir()
        self.directory = self.slots.of(self.lease)
        self.told: list[dict] = []
        self.pausing = trio.Event()
        self.pausing.set()
        self._inbox: deque[o.Event] = deque()
        self._deciding = False

    @contextlib.asynccontextmanager
    async def operator(self, engine: FakeEngine):
        """Within: an operator is at work; to the end of what it does."""
        self.machine = Operator(self.swop.uid, lambda: self.scene.ledger)
        async with trio.open_nursery() as nursery:
            self.work = SlotWork(
                self.slots.of(self.lease),
                engine,
                nursery,
                happened=self.happened,
                holds=self.machine.holds,
                tell=self.tell,
                give=lambda directory: None,
            )
            self.work.pair = PAIR
            for directory in self.slots.kept():
                self.happened(o.Kept(directory.lease))
            self.happened(o.CaughtUp())
            yield

    def happened(self, event: o.Event) -> None:
        self._inbox.append(event)
        while self._inbox and not self._deciding:
            self._deciding = True
            for effect in self.machine.handle(self._inbox.popleft(), trio.current_time()):
                if isinstance(effect, o.Judge):
                    self._inbox.append(o.Judged(effect.lease))
                else:
                    self.work.perform(effect)
            self._deciding = False

    async def tell(self, body: dict) -> None:
        await self.pausing.wait()
        self.told.append(body)
        self.scene.say(self.swop, "SlotReported", body)
        self.happened(o.LedgerMoved())

    async def quiet(self) -> None:
        for _ in range(1000):
            if not self.machine.at_work():
                return
            await trio.sleep(0.1)
        raise AssertionError("something still runs")

    def says(self, *events: str, **fields) -> None:
        (self.directory.path / "sl").mkdir(parents=True, exist_ok=True)
        (self.directory.path / "sl" / "ready.json").write_text(json.dumps({"uid": SL}))
        with (self.directory.path / "sl" / "report.jsonl").open("a") as report:
            report.writelines(json.dumps({"event": event, **fields}) + "\n" for event in events)

    @property
    def states(self) -> list[str]:
        return [body["state"] for body in self.told]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def played(play):
    """Run an async test on a clock that jumps whenever everybody waits."""

    def test(stage):
        trio.run(play, stage, clock=trio.testing.MockClock(autojump_threshold=0.05))

    test.__name__ = play.__name__
    return test


@played
async def test_a_slot_is_reported_starting_running_and_done(stage):
    engine = FakeEngine()
    async with stage.operator(engine):
        await trio.sleep(1)
        assert stage.states == ["starting"]
        stage.says("program_started")
        await trio.sleep(1)
        slot = {"slot": stage.slot.id, "fence": stage.slot.fence}
        assert stage.told[-1] == {**slot, "state": "running", "reason": "", "sl_uid": SL}
        stage.says("program_ended", "finished", exit_code=0)
        engine.running.ends(0)
    assert stage.states == ["starting", "running", "done"]
    assert stage.told[-1]["exit_code"] == 0
    assert engine.running.calls == ["kill"]  # whatever it has left behind
    assert stage.directory.conclusion()[0].state == "done"


@played
async def test_r015_what_runs_already_is_adopted_and_not_started(stage):
    stage.directory.intend()
    engine = FakeEngine(running=FakeWorker())
    stage.says("program_started")
    async with stage.operator(engine):
        await trio.sleep(1)
        stage.says("program_ended", exit_code=1)
        engine.running.ends(None)
    assert engine.started == []
    assert stage.states == ["running", "failed"]


@played
async def test_r014_an_intent_of_which_nothing_ran_is_started(stage):
    stage.directory.intend()
    engine = FakeEngine()
    async with stage.operator(engine):
        await trio.sleep(1)
        engine.running.ends(1)
    assert engine.started == [stage.directory.path]


@played
async def test_what_ran_and_ended_meanwhile_is_not_started_again(stage):
    stage.directory.intend()
    stage.says("program_started", "program_ended", exit_code=3)
    (stage.directory.path / "sl" / "lock").touch()
    engine = FakeEngine()
    async with stage.operator(engine):
        pass
    assert engine.started == []
    assert engine.swept == [stage.directory.path]
    assert [(body["state"], body["exit_code"]) for body in stage.told] == [("failed", 3)]


@played
async def test_a_learning_node_that_dies_is_started_again_where_it_was_and_not_for_ever(stage):
    engine = FakeEngine()
    async with stage.operator(engine):
        for starts in range(1, RESTARTS_MAX + 2):
            stage.says("node_started", "program_started")
            await trio.sleep(1)
            assert len(engine.started) == starts
            assert stage.directory.conclusion() is None
            engine.running.ends(137)
            await trio.sleep(1)
    assert engine.started == [stage.directory.path] * (RESTARTS_MAX + 1)
    assert stage.states == ["starting", *["running", "running"] * RESTARTS_MAX, "running", "failed"]
    assert "killed by SIGKILL while its program ran; it was started again, 1 of 3 times" in stage.told[2]["reason"]
    assert "started again, 1 of 3 times" in stage.told[3]["description"]
    assert stage.told[-1]["reason"].endswith("4 times: it is not started again")
    assert stage.directory.conclusion()[0].reason == stage.told[-1]["reason"]


@played
async def test_what_cannot_be_started_fails_with_its_sentence_and_hint(stage):
    async with stage.operator(FakeEngine(fails=True)):
        pass
    assert [(body["state"], body["reason"], body["lines"]) for body in stage.told] == [
        ("failed", "no such program", ["install it"])
    ]


@played
async def test_whatever_keeps_a_slot_from_being_prepared_fails_that_slot_and_not_its_operator(stage):
    def too_deep(place: Path) -> None:
        raise RecursionError("too deep")

    async with stage.operator(FakeEngine()):
        stage.work._give = too_deep
    (body,) = stage.told
    assert body["state"] == "failed"
    assert body["reason"] == f"the worker of {stage.directory.path} cannot be started: too deep"


@played
async def test_a_directory_that_cannot_be_made_fails_the_slot_and_nothing_else(stage):
    stage.directory.path.write_text("in the way")
    async with stage.operator(FakeEngine()):
        pass
    (body,) = stage.told
    assert (body["state"], body["reason"]) == (
        "failed",
        f"the slot's directory {stage.directory.path} cannot be made: File exists",
    )


@played
async def test_what_is_asked_to_end_is_reported_stopped_with_the_reason(stage):
    engine = FakeEngine()
    async with stage.operator(engine):
        await trio.sleep(1)
        stage.happened(o.Stopped())
    assert engine.running.calls == ["terminate", "kill"]
    assert (stage.told[-1]["state"], stage.told[-1]["reason"]) == ("stopped", "its operator was stopped")


@played
async def test_what_is_saving_has_its_grace_which_a_second_asking_shortens(stage):
    engine = FakeEngine()
    async with stage.operator(engine):
        await trio.sleep(1)
        stage.work.perform(o.End(stage.lease, "the taskrunner was reset", 60))
        await trio.sleep(30)
        assert engine.running.calls == []
        begun = trio.current_time()
        stage.happened(o.Stopped())
        await stage.quiet()
        assert trio.current_time() - begun < 1
    assert stage.told[-1]["state"] == "stopped"


@played
async def test_what_ends_well_within_its_grace_is_done(stage):
    engine = FakeEngine()
    async with stage.operator(engine):
        await trio.sleep(1)
        stage.work.perform(o.End(stage.lease, "the taskrunner was reset", 60))
        stage.says("program_started", "program_ended", "finished", exit_code=0)
        engine.running.ends(0)
    assert stage.states[-1] == "done"


@played
async def test_r018_the_deaf_are_killed(stage):
    engine = FakeEngine(deaf=True)
    async with stage.operator(engine):
        await trio.sleep(1)
        begun = trio.current_time()
        stage.happened(o.Stopped())
        await stage.quiet()
        assert math.isclose(trio.current_time() - begun, TERMINATE_S, abs_tol=1)
    assert stage.told[-1]["exit_code"] == 137


@played
async def test_of_a_lease_that_is_over_nothing_more_is_said(stage):
    engine = FakeEngine()
    async with stage.operator(engine):
        await trio.sleep(1)
        stage.scene.lose(stage.swop)
        stage.scene.end_lease(stage.slot)
        stage.happened(o.LedgerMoved())
    assert stage.states == ["starting"]
    assert engine.running.poll()


@played
async def test_a_pausing_ledger_keeps_nothing_from_being_watched_and_ended(stage):
    engine = FakeEngine()
    stage.pausing = trio.Event()
    async with stage.operator(engine):
        await trio.sleep(1)
        stage.says("program_started")
        stage.happened(o.Stopped())
        await stage.quiet()
        assert engine.running.poll()
        assert stage.told == []
        assert not stage.work.told.is_set()
        stage.pausing.set()
    assert stage.states == ["starting", "stopped"]
    assert stage.work.told.is_set()


@pytest.mark.parametrize("deaf", [False, True])
def test_r016_reaping_asks_first(stage, deaf):
    async def play():
        worker, begun = FakeWorker(deaf=deaf), trio.current_time()
        stage.directory.intend()
        stage.scene.lose(stage.swop)
        stage.scene.end_lease(stage.slot)
        async with stage.operator(FakeEngine(running=worker)):
            pass
        assert worker.calls == ["terminate", "kill"]
        assert worker.poll()
        assert (trio.current_time() - begun > 1) == deaf
        assert stage.told == []

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0.05))
