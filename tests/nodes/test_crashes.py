"""Real crashes of workers and operators: what is started again, what is not, and that the others go on."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.nodes.launch import Launch
from tests.nodes.operators import RUNNER, Scene, eventually, learning_nodes, only, workers

GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Scene(tmp_path, launch)
    eventually("the end of all workers", lambda: not workers(tmp_path))


def train(scene: Scene, *, min_peers: int, **more: Path) -> Path:
    """A task whose programs keep checkpoints and wait for the gate before their second sync."""
    gate = scene.directory / "gate"
    variables = {"GATE": gate, "MIN_PEERS": min_peers, "KEPT": "app-data/kept", **more}
    scene.assign("model/counting.py", Envvars=[{name: str(value)} for name, value in variables.items()])
    return gate


def at_the_gate(scene: Scene, slots: list[Slot]) -> None:
    for slot in slots:
        eventually(f"slot {slot.id} at the gate", lambda slot=slot: "at the gate" in log(scene, slot))


def first_at_the_gate(scene: Scene, slots: list[Slot]) -> Slot:
    """Enough peers begin without the last one to come, which then waits for them."""
    return eventually("one at the gate", lambda: next((one for one in slots if "at the gate" in log(scene, one)), None))


def log(scene: Scene, slot: Slot) -> str:
    path = scene.place(1, slot) / "ml.log"
    return path.read_text() if path.exists() else ""


def kill_node(scene: Scene, slot: Slot) -> None:
    (node,) = workers(scene.place(1, slot), "swarm.cli.run_sl")
    node.kill()


def finals(scene: Scene, run: Run) -> set[str]:
    """What the programs ended with."""
    return {log(scene, slot).splitlines()[-1] for slot in run.slots.values()}


def starts(scene: Scene, slot: Slot) -> int:
    return int((scene.place(1, slot) / "sl" / "starts").read_text())


def test_r001_a_killed_peer_is_started_again_goes_on_from_its_checkpoint_and_ends_with_the_same_weights(
    scene: Scene,
) -> None:
    scene.operator(1, nodes=3)
    last_gate = scene.directory / "last"
    gate = train(scene, min_peers=2, LAST_GATE=last_gate)
    slots = list(scene.running().slots.values())
    killed = first_at_the_gate(scene, slots)
    others = [slot for slot in slots if slot is not killed]
    kill_node(scene, killed)
    gate.touch()
    for other in others:
        eventually("a round without it", lambda slot=other: "at the last gate" in log(scene, slot))
    eventually("its return", lambda: "resumed from the checkpoint of round 1, after 1 batches" in log(scene, killed))
    last_gate.touch()
    run = scene.decided()
    assert [(slot.state, slot.attempt, slot.exit_code) for slot in run.slots.values()] == [("done", 1, 0)] * 3
    assert [starts(scene, slot) for slot in (killed, *others)] == [2, 1, 1]
    now = run.slots[killed.id]
    assert "was killed by SIGKILL while its program ran; it was started again, 1 of 3 times" in now.description
    assert now.fence == killed.fence
    assert all("resumed" not in log(scene, other) for other in others)
    lines = finals(scene, run)
    assert len(lines) == 1
    assert lines.pop().startswith("final ")


def test_r004_who_dies_between_the_commit_and_its_model_adopts_it_and_never_trains_on_from_the_old_one(
    scene: Scene,
) -> None:
    scene.operator(1, nodes=2)
    scene.assign("model/dying.py")
    run = scene.decided()
    dying, other = run.slots.values()
    assert [(slot.state, starts(scene, slot)) for slot in (dying, other)] == [("done", 2), ("done", 1)]
    (committed,) = re.findall(r"round 1 merged by 2 members after .*: (\S+)", log(scene, other))
    assert f": {committed}" not in log(scene, dying).split("Is Swarm callback in loopback mode")[1]
    (adopted,) = re.findall(r"round \d adopted after .*: (\S+)", log(scene, dying))
    assert adopted == committed
    assert len(finals(scene, run)) == 1


def test_r006_all_peers_killed_at_once_go_on_at_the_last_committed_round(scene: Scene) -> None:
    scene.operator(1, nodes=3)
    gate = train(scene, min_peers=3)
    slots = list(scene.running().slots.values())
    at_the_gate(scene, slots)
    for node in learning_nodes(scene.directory):
        os.kill(node, signal.SIGKILL)
    for slot in slots:
        eventually(f"slot {slot.id} again", lambda slot=slot: log(scene, slot).count("at the gate") == 2)
        assert "resumed from the checkpoint of round 1, after 1 batches" in log(scene, slot)
    gate.touch()
    run = scene.decided()
    assert [(slot.state, starts(scene, slot)) for slot in run.slots.values()] == [("done", 2)] * 3
    assert len(finals(scene, run)) == 1
    for slot in slots:
        rounds = [line for line in log(scene, slot).splitlines() if " : round " in line]
        digests = {line.split(" : round ")[1].split()[0]: line.rsplit(": ", 1)[1] for line in rounds}
        assert len(digests) == 5, rounds  # begin, three syncs, end: each once, also for who adopted it again
        assert {line.rsplit(": ", 1)[1] for line in rounds} == set(digests.values())


def test_r100_a_program_that_dies_fails_its_slot_and_the_others_go_on(scene: Scene) -> None:
    scene.operator(1, nodes=3)
    gate = train(scene, min_peers=2)
    slots = list(scene.running().slots.values())
    killed = first_at_the_gate(scene, slots)
    others = [slot for slot in slots if slot is not killed]
    (program,) = workers(scene.place(1, killed), "model/counting.py")
    program.kill()
    failed = scene.until("its end", lambda run: run.slots[killed.id].state == "failed").slots[killed.id]
    assert (failed.reason, failed.exit_code) == ("its program was killed by SIGKILL", 137)
    assert failed.lines[-1] == "at the gate"
    gate.touch()
    run = scene.until("the others' end", lambda run: [slot.leased for slot in run.slots.values()] == [False] * 3)
    assert [run.slots[slot.id].state for slot in (killed, *others)] == ["failed", "done", "done"]
    assert starts(scene, killed) == 1
    assert len({log(scene, slot).splitlines()[-1] for slot in others}) == 1


def test_r094_ctrl_c_ends_an_operator_its_workers_and_what_they_started(scene: Scene) -> None:
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    eventually("the program", (scene.data(1, 0) / "here").exists)
    os.kill(operator.pid, signal.SIGINT)
    eventually("its end", lambda: not operator.running)
    assert operator.exit_code == 130
    assert not workers(scene.directory)
    assert only(scene.decided()).reason == "its operator was stopped"
    scene.launch.processes.remove(operator)


@contextmanager
def memory_group(most_bytes: int) -> Iterator[Path]:
    """A control group that has no more memory, of the first version or the second, whichever this machine has."""
    first, controllers = GROUPS / "memory", GROUPS / "cgroup.controllers"
    parent = first if first.is_dir() else GROUPS
    if parent is GROUPS and not (controllers.exists() and "memory" in controllers.read_text().split()):
        pytest.skip("this machine has no control groups for memory")
    group = parent / f"swarm-test-{os.getpid()}"
    try:
        if parent is GROUPS:
            (GROUPS / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
    except OSError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no memory control group can be made here: {error}")
    try:
        (group / ("memory.limit_in_bytes" if parent is first else "memory.max")).write_text(str(most_bytes))
        if (swap := group / "memory.swap.max").exists():
            swap.write_text("0")
        yield group
    finally:
        eventually("an empty group", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_r017_a_program_that_the_kernel_ends_for_lack_of_memory_says_so(scene: Scene) -> None:
    with memory_group(200 << 20) as group:
        scene.operator(1)
        scene.assign(f"model/ending.py takes-memory {group}")
        slot = only(scene.decided())
        assert slot.state == "failed"
        assert slot.exit_code == 137
        assert slot.reason.startswith("its program was killed by SIGKILL, probably for lack of memory: the kernel ")
        assert slot.lines[-1] == "taking memory"


@pytest.mark.slow
def test_r016_workers_of_an_operator_that_was_down_longer_than_its_leases_are_reaped_on_its_return(
    scene: Scene,
) -> None:
    operator = scene.operator(1)
    task = scene.assign("model/counting.py", Envvars=[{"MIN_PEERS": 2}])  # and waits for a second peer
    first = only(scene.running())
    (before,) = learning_nodes(scene.directory)
    scene.kill(operator)
    run = scene.until("the end of the lease", lambda run: run.state == "failed")
    assert only(run).state == "lost"
    assert learning_nodes(scene.directory) == [before]  # nobody is there to end it, and nobody needs to
    scene.operator(1)
    eventually("its end", lambda: before not in learning_nodes(scene.directory))
    scene.propose(("TaskAssigned", {"taskrunner": RUNNER, "task": task, "target": first.swop}))
    run = scene.until("the next attempt", lambda run: only(run).state == "running")
    assert (only(run).attempt, only(run).fence > first.fence) == (2, True)
    assert len(learning_nodes(scene.directory)) == 1
    scene.reset()
    eventually("the end of all workers", lambda: not workers(scene.directory))
