"""Operators as real processes: they take a task's slots, start learning nodes with programs, and say how they ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from swarm.core import operator_steps as o
from swarm.core.operator_steps import Refusal
from swarm.errors import BadInput, GivenUp
from swarm.nodes.holdings import Holdings
from swarm.nodes.jobbing import Jobbing
from swarm.nodes.jobdirectory import JobDirectory
from swarm.nodes.jobwork import JobWork
from swarm.nodes.launch import Launch
from swarm.nodes.secrets import Secrets
from swarm.nodes.swop import OperatorNode, run
from swarm.runtime.statedir import StateDirectory
from tests.core.jobscene import JobScene, slots
from tests.nodes.operators import PROGRAMS, RUNNER, Scene, eventually, learning_nodes, only, workers


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Scene(tmp_path, launch)
    eventually("the end of all workers", lambda: not workers(tmp_path))


def test_two_hosts_train_what_one_of_them_assigns(scene: Scene) -> None:
    scene.operator(1)
    scene.operator(2, "--accept-org", "org-1")
    scene.assign("model/counting.py", peers=2)
    run = scene.decided()
    slots = list(run.slots.values())
    assert [(slot.state, slot.exit_code) for slot in slots] == [("done", 0)] * 2, run
    finals = {scene.log(host, slot).splitlines()[-1] for host, slot in enumerate(slots, 1)}
    assert len(finals) == 1
    assert finals.pop().startswith("final ")
    assert not workers(scene.directory)


def test_two_workers_of_one_host_have_equal_targets_and_each_its_own_data(scene: Scene) -> None:
    scene.operator(1, nodes=2)
    for idx in (0, 1):
        (scene.data(1, idx) / "x").write_text(f"data {idx}")
    scene.assign("model/looking.py")
    run = scene.until("both ends", lambda run: {slot.state for slot in run.slots.values()} == {"failed"})
    for idx, slot in enumerate(run.slots.values()):
        assert slot.exit_code == 4
        data = f"data {idx}"
        seen = [data, data, data, f"{1 + idx}", f"user{idx}", f"user{idx}", "None", "None", sys.executable]
        assert scene.log(1, slot).splitlines()[-1] == "|".join(seen)
        assert (scene.data(1, idx) / "left").read_text() == "behind"


@pytest.mark.parametrize(
    ("way", "reason", "code", "line"),
    [
        ("no-callback", "its program ended with exit code 0 and never enrolled in a contract", 0, "trained alone"),
        ("raises", "its program ended with exit code 1", 1, "ValueError: shapes do not match"),
        ("exits-3", "its program ended with exit code 3", 3, ""),
        ("killed", "its program was killed by SIGKILL", 137, "about to be killed"),
    ],
)
def test_r100_a_program_that_does_not_train_fails_its_slot_and_the_task(
    scene: Scene, way: str, reason: str, code: int, line: str
) -> None:
    scene.operator(1)
    scene.assign(f"model/ending.py {way}")
    run = scene.decided()
    slot = only(run)
    assert (run.state, slot.state, slot.reason, slot.exit_code) == ("failed", "failed", reason, code)
    assert reason in run.reason
    assert line in "\n".join(slot.lines)


def test_a_task_of_an_organisation_that_is_not_accepted_is_declined_with_the_flag_to_add(scene: Scene) -> None:
    scene.operator(2)
    scene.assign("model/counting.py")
    run = scene.decided()
    assert run.state == "failed"
    assert "swci-1 of org-1 created it, and tasks are accepted of org-2 only" in run.reason
    assert "start swop-2 with run-swop --accept-org org-1" in run.reason
    assert list((scene.directory / "swop-2" / "slots").iterdir()) == []


def test_who_is_not_accepted_is_declined_again_when_its_task_is_retried(scene: Scene) -> None:
    scene.operator(2)
    task = scene.assign("model/counting.py")
    slot = only(scene.decided())
    scene.propose(("TaskAssigned", {"taskrunner": RUNNER, "task": task, "target": slot.swop}))
    run = scene.until("the second end", lambda run: run.state == "failed" and only(run).attempt == 2)
    assert "tasks are accepted of org-2 only" in only(run).reason


def test_what_runs_of_an_organisation_that_is_accepted_no_more_is_ended(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(2, "--accept-org", "org-1")
    scene.assign("model/ending.py for-ever")
    scene.running()
    scene.kill(operator)
    assert workers(tmp_path)
    scene.operator(2)
    slot = only(scene.decided())
    assert slot.state == "stopped"
    assert "tasks are accepted of org-2 only" in slot.reason
    assert not workers(tmp_path)


def test_what_a_shorter_profile_has_no_place_for_is_ended(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(1, nodes=2)
    scene.assign("model/ending.py for-ever")
    scene.running()
    scene.kill(operator)
    scene.operator(1, nodes=1)
    first, second = scene.decided().slots.values()
    assert (first.state, second.state) == ("running", "failed")
    assert second.reason == "the slot is for nodes[1], and the profile has but 1 nodes by now"
    eventually("the end of one", lambda: len(learning_nodes(tmp_path)) == 1)


def test_a_body_that_nobody_checked_fails_its_slot_and_the_operator_goes_on(scene: Scene) -> None:
    scene.operator(1)
    build = {"BuildContext": None, "BuildType": "INLINE", "BuildSteps": ["FROM x"]}
    scene.assign("", type_="MAKE_USER_CONTAINER", **build, unread={"BuildSteps": 5})
    assert "BuildSteps is the int 5, expected a list" in only(scene.decided()).reason
    scene.reset()
    scene.assign(" ", Entrypoint=" ")
    assert only(scene.decided()).reason == "Entrypoint and Command of the task are blank: they name no program"
    scene.reset()
    scene.assign("", type_="MAKE_USER_CONTAINER", **build)
    assert scene.decided().state == "done"


def test_r015_a_killed_operator_adopts_what_it_had_started(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(1, nodes=2)
    gate = tmp_path / "gate"
    scene.assign("model/counting.py", Envvars=[{"GATE": str(gate)}])
    run = scene.running()
    before = learning_nodes(tmp_path)
    assert len(before) == 2
    scene.kill(operator)
    assert learning_nodes(tmp_path) == before
    scene.operator(1, nodes=2)
    assert learning_nodes(tmp_path) == before
    gate.touch()
    run = scene.decided()
    assert [(slot.state, slot.attempt, slot.exit_code) for slot in run.slots.values()] == [("done", 1, 0)] * 2


def test_a_killed_operator_takes_the_workers_with_it_that_are_tethered_to_it(scene: Scene) -> None:
    operator = scene.operator(1, "--tethered")
    scene.assign("model/counting.py", Envvars=[{"MIN_PEERS": 2}])  # and waits for a second peer
    scene.running()
    assert len(learning_nodes(scene.directory)) == 1
    scene.kill(operator)
    eventually("the end of all workers", lambda: not workers(scene.directory))


def test_what_ended_while_no_operator_was_there_is_reported_by_the_next(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    eventually("the program", (scene.data(1, 0) / "here").exists)
    scene.kill(operator)
    for process in workers(tmp_path, "model/ending.py"):
        process.kill()
    eventually("the end of its learning node", lambda: not learning_nodes(tmp_path))
    scene.operator(1)
    slot = only(scene.decided())
    assert (slot.state, slot.exit_code) == ("failed", 137)
    assert slot.reason == "its program was killed by SIGKILL"
    assert (scene.place(1, slot) / "sl" / "starts").read_text() == "1\n"


@pytest.mark.parametrize("watched", [True, False])
def test_a_learning_node_that_is_killed_is_started_again_from_its_state(
    scene: Scene, tmp_path: Path, watched: bool
) -> None:
    operator = scene.operator(1)
    gate = tmp_path / "gate"
    scene.assign("model/counting.py", Envvars=[{"GATE": str(gate)}, {"MIN_PEERS": 1}])
    slot = only(scene.running())
    if not watched:
        scene.kill(operator)
    (node,) = learning_nodes(tmp_path)
    os.kill(node, signal.SIGKILL)
    if not watched:
        scene.operator(1)
    run = scene.until("its second start", lambda run: "started again" in only(run).description)
    how = "was killed by SIGKILL while its program ran" if watched else "and no operator was there to see how"
    assert how in only(run).description
    gate.touch()
    slot = only(scene.decided())
    assert (slot.state, slot.attempt, slot.fence) == ("done", 1, only(run).fence)
    assert (scene.place(1, slot) / "sl" / "starts").read_text() == "2\n"
    assert not workers(tmp_path)


def test_a_reset_ends_workers_even_of_an_operator_that_was_away(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    eventually("the program", (scene.data(1, 0) / "here").exists)
    scene.kill(operator)
    assert len(workers(tmp_path)) >= 3
    scene.reset()
    scene.operator(1)
    eventually("the end of all workers", lambda: not workers(tmp_path))
    (place,) = (tmp_path / "swop-1" / "slots").iterdir()
    eventually("logs only", lambda: sorted(path.name for path in place.iterdir()) == ["ml.log", "sl.log", "slot.json"])


def test_r018_an_operator_that_is_stopped_ends_even_deaf_workers_and_says_so(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    os.kill(operator.pid, signal.SIGTERM)
    run = scene.decided()
    assert (only(run).state, only(run).reason) == ("stopped", "its operator was stopped")
    eventually("its end", lambda: not operator.running)
    assert operator.exit_code == 0
    assert not workers(tmp_path)
    scene.launch.processes.remove(operator)


def test_hosts_need_no_image_and_what_was_skipped_is_said(scene: Scene) -> None:
    scene.operator(1)
    steps = ["FROM tensorflow/tensorflow:2.7.0", "RUN pip3 install keras"]
    scene.assign("", type_="MAKE_USER_CONTAINER", BuildContext="sl-cli-lib", BuildType="INLINE", BuildSteps=steps)
    slot = only(scene.decided())
    assert slot.state == "done"
    assert slot.description == f"no image made: workers use {sys.executable}; skipped 2 build steps of task-1"
    log = (scene.directory / "swop-1" / "output.log").read_text()
    assert "skipped: RUN pip3 install keras" in log


def test_what_was_assigned_before_any_operator_listens_runs_once_one_does(scene: Scene) -> None:
    build = {"BuildContext": None, "BuildType": "INLINE", "BuildSteps": ["FROM x"]}
    scene.assign("", type_="MAKE_USER_CONTAINER", peers=1, **build)
    assert scene.until("its queue", lambda run: run.state == "queued").reason.startswith("waits for 1 more")
    scene.operator(1)
    run = scene.decided()
    assert (run.state, only(run).attempt) == ("done", 1)


def test_what_needs_a_container_engine_is_declined(scene: Scene) -> None:
    scene.operator(1)
    scene.assign("", type_="PULL_IMAGE", OrgAndReg="library", RepoName="python", Tag="3", Auth=None)
    run = scene.decided()
    assert run.state == "failed"
    assert "PULL_IMAGE needs a container engine, and this operator starts workers as processes" in run.reason


def test_a_path_that_leads_out_fails_the_slot_before_anything_is_started(scene: Scene) -> None:
    scene.operator(1)
    shared = [{"Src": str(PROGRAMS), "Tgt": "/tmp/swarm-task/../../etc", "MType": "BIND"}]
    scene.assign("model/counting.py", unread={"SharedContent": shared})
    slot = only(scene.decided())
    assert slot.state == "failed"
    assert ".." in slot.reason
    assert list((scene.directory / "swop-1" / "slots").iterdir()) == []


# ---- whenever an operator dies


def dies(scene: Scene, when: str, point: str) -> None:
    """An operator that is killed at this step, which it comes to by itself."""
    operator = scene.begin_operator(1, nodes=2, program=("tests.trapped", when, *point.split(), "swarm.cli.run_swop"))
    eventually("its end", lambda: not operator.running)
    assert operator.exit_code == 128 + signal.SIGKILL
    scene.launch.processes.remove(operator)


@pytest.mark.slow
def test_r007_r014_r015_an_operator_killed_around_a_start_and_the_sentinel_behind_it_have_each_slot_run_once(
    scene: Scene, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    scene.kill(scene.operator(1, nodes=2))
    scene.assign("model/counting.py", Envvars=[{"GATE": str(gate)}])

    dies(scene, "after", "swarm.nodes.slotdirectory SlotDirectory.intend")
    assert len(list((tmp_path / "swop-1" / "slots").glob("*/slot.json"))) == 1
    assert not workers(tmp_path)

    dies(scene, "after", "swarm.engines.process ProcessEngine.start")
    begun = eventually("its learning node", lambda: learning_nodes(tmp_path))
    assert all(slot.state != "running" for slot in scene.until("the run", bool).slots.values()), "nobody has said so"

    scene.operator(1, nodes=2)
    running = scene.running()
    nodes = learning_nodes(tmp_path)
    assert set(begun) < set(nodes)
    scene.restart_sentinel()
    assert learning_nodes(tmp_path) == nodes
    gate.touch()
    run = scene.decided()
    assert [(slot.state, slot.attempt) for slot in run.slots.values()] == [("done", 1)] * 2
    assert run.slots.keys() == running.slots.keys()
    for slot in run.slots.values():
        assert (scene.place(1, slot) / "sl" / "starts").read_text() == "1\n"


@pytest.mark.slow
def test_r016_an_operator_that_was_frozen_past_its_leases_ends_their_workers_and_goes_on(
    scene: Scene, tmp_path: Path
) -> None:
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    os.kill(operator.pid, signal.SIGSTOP)
    run = scene.until("the end of the lease", lambda run: run.state == "failed")
    assert only(run).state == "lost"
    assert workers(tmp_path)
    os.kill(operator.pid, signal.SIGCONT)
    eventually("the end of all workers", lambda: not workers(tmp_path))
    scene.reset()
    scene.assign("", type_="MAKE_USER_CONTAINER", BuildContext=None, BuildType="INLINE", BuildSteps=["FROM x"])
    assert scene.decided().state == "done"


def test_an_operator_that_is_stopped_before_any_network_node_has_answered_ends_what_an_earlier_one_left(
    scene: Scene, tmp_path: Path
) -> None:
    before = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    scene.kill(before)
    (life := tmp_path / "swop-1" / "life").unlink()
    os.kill(scene.swarm.network[0].pid, signal.SIGSTOP)
    try:
        again = scene.begin_operator(1)
        eventually("its beginning", life.exists)
        assert workers(tmp_path)
        os.kill(again.pid, signal.SIGTERM)
        eventually("its end", lambda: not again.running)
        assert not workers(tmp_path)
    finally:
        os.kill(scene.swarm.network[0].pid, signal.SIGCONT)


def test_a_signal_while_an_operator_begins_anew_ends_the_next_life_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of one life to where the next one would listen, it found nobody, and ended the process as it was."""
    heard: list[int] = []

    class Life:
        def __init__(self, settings: Any) -> None:
            self.settings = settings

        async def run(self, signals: AsyncIterator[int]) -> None:
            if not self.settings.lives:
                raise ExceptionGroup("the link's", [GivenUp("a test")])
            heard.append(await anext(signals))

    def begin_anew() -> None:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        settings.lives += 1
        os.kill(os.getpid(), signal.SIGTERM)

    settings: Any = SimpleNamespace(lives=0, state=SimpleNamespace(begin_anew=begin_anew))
    monkeypatch.setattr("swarm.nodes.swop.OperatorNode", Life)
    trio.run(run, settings)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize("stopped", [False, True])
def test_an_operator_that_begins_anew_on_a_full_disk_waits_for_room_or_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    lives: list[bytes] = []
    full = tmp_path / "starts.part"

    class State(StateDirectory):
        def begin_anew(self) -> None:
            try:
                super().begin_anew()
            finally:
                if lives and stopped:
                    os.kill(os.getpid(), signal.SIGTERM)

    class Life:
        def __init__(self, settings: Any) -> None:
            lives.append(settings.state.incarnation)

        async def run(self, signals: AsyncIterator[int]) -> None:
            if len(lives) == 1:
                full.symlink_to("/dev/full")
                raise ExceptionGroup("the link's", [GivenUp("a test")])
            if stopped:
                assert await anext(signals) == signal.SIGTERM

    monkeypatch.setattr("swarm.nodes.swop.OperatorNode", Life)
    monkeypatch.setattr("swarm.nodes.givenup.AGAIN_S", 600.0 if stopped else 0.01)
    with State(tmp_path) as state:
        trio.run(run, cast(Any, SimpleNamespace(state=state)))
    assert not full.is_symlink(), "it was tried"
    assert len(lives) == 2
    assert (lives[0] == lives[1]) is stopped


@pytest.mark.parametrize(
    ("name", "found", "said"),
    [
        ("starts", b"x", "start counter .*starts is damaged: expected a number, found 'x'"),
        ("node.key", b"x", "node key .*node.key is damaged"),
        ("starts", None, "state directory .* cannot be used: Is a directory"),
    ],
)
def test_an_operator_that_cannot_begin_anew_for_another_reason_ends_and_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, found: bytes | None, said: str
) -> None:
    class Life:
        def __init__(self, settings: Any) -> None:
            pass

        async def run(self, signals: AsyncIterator[int]) -> None:
            if found is None:
                (tmp_path / name).unlink()
                (tmp_path / name).mkdir()
            else:
                (tmp_path / name).write_bytes(found)
            raise ExceptionGroup("the link's", [GivenUp("a test")])

    monkeypatch.setattr("swarm.nodes.swop.OperatorNode", Life)
    with StateDirectory(tmp_path) as state, pytest.raises(BadInput, match=said):
        trio.run(run, cast(Any, SimpleNamespace(state=state)))


def test_a_disk_that_takes_no_more_fails_the_slot_that_is_judged_and_not_the_operator(tmp_path: Path) -> None:
    """A gang's port is kept on disk; what lies in the place of its directory refuses that as a full disk does."""
    ledger = (jobs := JobScene(2)).ledger
    run = jobs.submit(slots=2, gang=True)
    lease = slots(run)[0].assigned()
    (tmp_path / "jobs").write_bytes(b"")
    hands: dict[str, Any] = dict.fromkeys(("engine", "nursery", "happened", "holds", "tell", "give"))
    work = JobWork(JobDirectory(tmp_path / "slot", lease, tmp_path / "runs"), **hands)
    heard: list[o.Event] = []
    node: Any = SimpleNamespace(
        jobbing=Jobbing(tmp_path, Secrets(), Holdings(tmp_path / "data")),
        link=SimpleNamespace(ledger=ledger),
        happened=heard.append,
        _refusal=lambda *of: None,
        _work=lambda of: work,
        _give=lambda *of: OperatorNode._give(node, *of),
    )
    trio.run(OperatorNode._judge, node, lease, ledger.tasks["job"], run)
    assert heard == [o.Judged(lease, None, Refusal("this host cannot prepare it: Not a directory", ""))]
