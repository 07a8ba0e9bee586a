"""One slot from its lease to the last report, with an engine that the test plays."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import trio
import trio.testing

from swarm.core.events import SlotAssigned
from swarm.engines.pair import Pair, Program
from swarm.errors import BadInput
from swarm.nodes.slotdirectory import SlotDirectories
from swarm.nodes.slotwork import TERMINATE_S, SlotWork, reap

LEASE = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)
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
    def __init__(self, directory: Path) -> None:
        self.slots = SlotDirectories(directory / "slots")
        self.slots.path.mkdir()
        self.directory = self.slots.of(LEASE)
        self.told: list[dict] = []
        self.pausing = trio.Event()
        self.pausing.set()

    async def tell(self, body: dict) -> None:
        await self.pausing.wait()
        self.told.append(body)

    def work(self, engine: FakeEngine) -> SlotWork:
        return SlotWork(self.directory, engine, PAIR, self.tell)

    def says(self, *events: str, **fields) -> None:
        (self.directory.path / "sl").mkdir(parents=True, exist_ok=True)
        (self.directory.path / "sl" / "ready.json").write_text(json.dumps({"uid": "sl-uid"}))
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
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.work(engine).run)
        await trio.sleep(1)
        assert stage.states == ["starting"]
        stage.says("program_started")
        await trio.sleep(1)
        assert stage.told[-1] == {"slot": "12.0", "fence": 12, "state": "running", "reason": "", "sl_uid": "sl-uid"}
        stage.says("program_ended", "finished", exit_code=0)
        engine.running.ends(0)
    assert stage.states == ["starting", "running", "done"]
    assert stage.told[-1]["exit_code"] == 0
    assert engine.running.calls == ["kill"]  # whatever it has left behind


@played
async def test_what_runs_already_is_adopted_and_not_started(stage):
    stage.directory.intend()
    engine = FakeEngine(running=FakeWorker())
    stage.says("program_started")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.work(engine).run)
        await trio.sleep(1)
        engine.running.ends(None)
    assert engine.started == []
    assert stage.states == ["running", "failed"]


@played
async def test_an_intent_of_which_nothing_ran_is_started(stage):
    stage.directory.intend()
    engine = FakeEngine()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.work(engine).run)
        await trio.sleep(1)
        engine.running.ends(1)
    assert engine.started == [stage.directory.path]


@played
async def test_what_ran_and_ended_meanwhile_is_not_started_again(stage):
    stage.directory.intend()
    stage.says("program_started", "program_ended", exit_code=3)
    (stage.directory.path / "sl" / "lock").touch()
    engine = FakeEngine()
    await stage.work(engine).run()
    assert engine.started == []
    assert engine.swept == [stage.directory.path]
    assert [(body["state"], body["exit_code"]) for body in stage.told] == [("failed", 3)]


@played
async def test_what_cannot_be_started_fails_with_its_sentence_and_hint(stage):
    await stage.work(FakeEngine(fails=True)).run()
    assert [(body["state"], body["reason"], body["lines"]) for body in stage.told] == [
        ("failed", "no such program", ["install it"])
    ]


@played
async def test_a_directory_that_cannot_be_made_fails_the_slot_and_nothing_else(stage):
    stage.directory.path.write_text("in the way")
    await stage.work(FakeEngine()).run()
    (body,) = stage.told
    assert (body["state"], body["reason"]) == (
        "failed",
        f"the slot's directory {stage.directory.path} cannot be made: File exists",
    )


@played
async def test_what_is_asked_to_end_is_reported_stopped_with_the_reason(stage):
    engine = FakeEngine()
    work = stage.work(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await trio.sleep(1)
        work.end("the taskrunner was reset")
    assert engine.running.calls == ["terminate", "kill"]
    assert (stage.told[-1]["state"], stage.told[-1]["reason"]) == ("stopped", "the taskrunner was reset")


@played
async def test_what_is_saving_has_its_grace_which_a_second_asking_shortens(stage):
    engine = FakeEngine()
    work = stage.work(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await trio.sleep(1)
        work.end("the taskrunner was reset", grace_s=60)
        await trio.sleep(30)
        assert engine.running.calls == []
        begun = trio.current_time()
        work.end("its operator was stopped")
        await work.quiet.wait()
        assert trio.current_time() - begun < 1
    assert stage.told[-1]["reason"] == "the taskrunner was reset"


@played
async def test_what_ends_well_within_its_grace_is_done(stage):
    engine = FakeEngine()
    work = stage.work(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await trio.sleep(1)
        work.end("the taskrunner was reset", grace_s=60)
        stage.says("program_started", "program_ended", "finished", exit_code=0)
        engine.running.ends(0)
    assert stage.states[-1] == "done"


@played
async def test_the_deaf_are_killed(stage):
    engine = FakeEngine(deaf=True)
    work = stage.work(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await trio.sleep(1)
        begun = trio.current_time()
        work.end("its operator was stopped")
        await work.quiet.wait()
        assert math.isclose(trio.current_time() - begun, TERMINATE_S, abs_tol=1)
    assert stage.told[-1]["exit_code"] == 137


@played
async def test_of_a_lease_that_is_over_nothing_more_is_said(stage):
    engine = FakeEngine()
    work = stage.work(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await trio.sleep(1)
        work.abandon("its lease is over")
    assert stage.states == ["starting"]
    assert engine.running.poll()


@played
async def test_a_pausing_ledger_keeps_nothing_from_being_watched_and_ended(stage):
    engine = FakeEngine()
    work = stage.work(engine)
    stage.pausing = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await trio.sleep(1)
        stage.says("program_started")
        work.end("its operator was stopped")
        await work.quiet.wait()
        assert stage.told == []
        assert not work.over.is_set()
        stage.pausing.set()
    assert stage.states == ["starting", "stopped"]
    assert work.over.is_set()


@played
async def test_reaping_asks_first(stage):
    for deaf in (False, True):
        worker, begun = FakeWorker(deaf=deaf), trio.current_time()
        await reap(stage.directory, FakeEngine(running=worker))
        assert worker.calls == ["terminate", "kill"]
        assert worker.poll()
        assert (trio.current_time() - begun > 1) == deaf
    await reap(stage.directory, FakeEngine())
