"""Tasks from their file to their end: what is said, what is waited for, what fails and how; with operators of flesh."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import trio

from swarm.core.slot import Slot
from swarm.errors import BadInput, Refused, Unreachable, WorkerFailed
from swarm.nodes.client import Client

BUILD = """---
Name: {name}
TaskType: MAKE_USER_CONTAINER
Author: tester
Prereq: ROOTTASK
Outcome: user-env
Body:
    BuildContext: sl-cli-lib
    BuildType: INLINE
    BuildSteps:
    - FROM tensorflow/tensorflow:2.7.0
    - ' '
    - RUN pip3 install keras
"""
RUN = """---
Name: {name}
TaskType: RUN_SWARM
Author: tester
Prereq: {prereq}
Outcome: {name}
Body:
    Command: model/train.py
    Entrypoint: python3
    WorkingDir: /platform/swarmml
    Envvars: ["MAX_EPOCHS": 2]
    PrivateContent: ~
    SharedContent: ~
"""


@pytest.fixture
def usr(tmp_path, request):
    """A user directory with a build task and a run task; names that no other test has used, as they are permanent."""
    names = f"{request.node.originalname}_build", f"{request.node.originalname}_run"
    (tmp_path / "usr" / "taskdefs").mkdir(parents=True)
    (tmp_path / "usr" / "taskdefs" / "build.yaml").write_text(BUILD.format(name=names[0]))
    (tmp_path / "usr" / "taskdefs" / "run.yaml").write_text(RUN.format(name=names[1], prereq=names[0]))
    return tmp_path / "usr"


@pytest.fixture
def build(request):
    return f"{request.node.originalname}_build"


@pytest.fixture
def run(request):
    return f"{request.node.originalname}_run"


def created(build, run):
    return [
        "create task from taskdefs/build.yaml", f"finalize task {build}",
        "create task from taskdefs/run.yaml", f"finalize task {run}",
    ]  # fmt: skip


def operator(taskrunner: str, ends: Callable[[Slot], list[dict]] | None, *, peers: int = 1):
    """It listens, and reports on each of its slots what `ends` says; nothing if that is None."""

    async def take_part(client: Client) -> None:
        uid = client.local.state.uid
        await client.until(lambda ledger: ledger.taskrunners.get(taskrunner), 60)
        await client.propose("SwopListening", {"taskrunner": taskrunner, "group": "demo", "peers": peers})
        while ends is not None:
            slot = await client.until(
                lambda ledger: next(
                    (one for one in ledger.board.slots.values() if one.swop == uid and one.state == "assigned"), None
                ),
                60,
            )
            assert slot is not None
            for report in ends(slot):
                await client.propose("SlotReported", {"slot": slot.id, "fence": slot.fence, "reason": "", **report})

    return take_part


def completes(slot: Slot) -> list[dict]:
    return [{"state": "starting"}, {"state": "running"}, {"state": "done", "reason": "it ended", "exit_code": 0}]


def exits_with_3(slot: Slot) -> list[dict]:
    lines = ["Traceback (most recent call last):", "ValueError: no data"]
    return [{"state": "running"}, {"state": "failed", "reason": "exit code 3", "exit_code": 3, "lines": lines}]


def test_a_task_is_registered_finalized_and_shown(play, usr, build, run):
    played = play("create task from taskdefs/build.yaml", f"get task info {build}", f"finalize task {build}",
                  f"get task body {build}", "list tasks", f"delete task {build}", "create task from taskdefs/run.yaml",
                  f"delete task {run}", "list tasks", usr_dir=usr)  # fmt: skip
    assert played.answer(0) == [
        "Task definition is valid",
        f"Task Registered : {build}",
        "Appending Task Body",
        "batch start : 1 , len : 4 Successful",
        "batch start : 5 , len : 2 Successful",
    ]
    assert played.answer(1)[:7] == [
        f"TASK NAME : {build}", "TASK TYPE : MAKE_USER_CONTAINER", "AUTHOR : tester", "PREREQ : ROOTTASK",
        "OUTCOME : user-env", "FINALIZED : False", "STATE : draft",
    ]  # fmt: skip
    assert played.answer(2) == [f"Task Finalized : {build}"]
    assert played.answer(3) == [
        "0000: ---",
        "0001: BuildContext: sl-cli-lib",
        "0002: BuildType: INLINE",
        "0003: BuildSteps:",
        "0004: - FROM tensorflow/tensorflow:2.7.0",
        "0005: - ' '",
        "0006: - RUN pip3 install keras",
    ]
    assert played.answer(4)[0] == "ROOTTASK"
    assert build in played.answer(4)
    assert played.errors == [f"task {build} is final: it cannot be deleted"]
    assert played.answer(7) == [f"Task Deleted : {run}"]
    assert run not in played.answer(8)


def test_a_task_is_written_line_by_line(play, build):
    lines = ["BuildContext: sl-cli-lib", "BuildType: ONLINE", "BuildSteps:", '"- FROM scratch"', "- ' '"]
    written = [f"append task body {build} {number} {line}" for number, line in enumerate(lines, 1)]
    played = play(f"create task make_user_container {build} me ROOTTASK env", *written, f"get task body {build}",
                  f"finalize task {build}", f"append task body {build} 2 BuildType: INLINE", f"finalize task {build}",
                  f"get task body {build}", f"append task body {build} 2 x", f"finalize task {build}")  # fmt: skip
    assert played.answer(0) == [f"Task Registered : {build}"]
    assert played.answer(1) == ["batch start : 1 , len : 1 Successful"]
    assert played.answer(6)[3:] == ["0003: BuildSteps:", "0004: - FROM scratch", "0005: - ' '"]
    assert played.answer(9) == played.answer(12) == [f"Task Finalized : {build}"]
    assert played.answer(10)[1:] == [
        "0001: BuildContext: sl-cli-lib", "0002: BuildType: INLINE", "0003: BuildSteps:", "0004: - FROM scratch",
        "0005: - ' '",
    ]  # fmt: skip
    assert [error.splitlines()[0] for error in played.errors] == [
        f"the body of task {build}:2: BuildType is \"ONLINE\", expected 'INLINE' or 'REMOTE'",
        f"task {build} is final: it cannot be changed",
    ]


def test_a_task_that_cannot_be_written_is_refused(play, build):
    played = play(f"create task run_swam {build} me ROOTTASK env", f"create task run_swarm {build} me nothing env",
                  f"append task body {build} 1 x", f"create task run_swarm {build} me ROOTTASK env",
                  f"append task body {build} 0 x", f"append task body {build} 1 {'x' * 201}",
                  f"finalize task {build}", f"delete task {build}")  # fmt: skip
    assert played.commands[0]["error"]["hint"] == "did you mean RUN_SWARM?"
    assert played.errors[1:] == [
        f"there is no task nothing, the prerequisite of {build}",
        f"there is no task {build}",
        "the number of the line is '0', expected a whole number from 1 to 1000",
        played.errors[4],
        f"task {build} has no body: it cannot be final",
    ]
    assert "a printable text of at most 200 characters" in played.errors[4]
    assert played.commands[7]["ok"]


def test_the_same_script_again_changes_nothing(play, usr, build, run):
    first, second = play(*created(build, run), usr_dir=usr), play(*created(build, run), usr_dir=usr)
    assert [command["output"] for command in first.commands] == [command["output"] for command in second.commands]
    assert not second.errors


def test_a_file_with_faults_registers_nothing(play, usr, build):
    file = usr / "taskdefs" / "build.yaml"
    file.write_text(file.read_text().replace("Prereq", "Prerequisite").replace("INLINE", "ONLINE"))
    played = play("create task from taskdefs/build.yaml", "create task from taskdefs/none.yaml", "list tasks",
                  usr_dir=usr)  # fmt: skip
    faulty, missing = played.commands[0]["error"], played.commands[1]["error"]
    assert faulty["code"] == missing["code"] == BadInput.code
    assert "Prerequisite" in faulty["message"]
    assert "taskdefs/build.yaml:" in faulty["message"]
    assert "there is no file /platform/swarm/usr/taskdefs/none.yaml" in missing["message"]
    assert build not in played.answer(2)


def test_a_swarm_task_runs_on_the_peers_of_two_operators(play, usr, build, run):
    runner = "two-operators"
    played = play(f"create taskrunner {runner}", *created(build, run), "exit on failure",
                  f"assign task {build} to {runner} with 2 peers", f"wait for taskrunner {runner}",
                  f"reset taskrunner {runner}",
                  f"assign task {run} to {runner} with all peers", f"wait for taskrunner {runner}",
                  f"get taskrunner status {runner}", f"get taskrunner peer status {runner} 1",
                  f"list taskrunner peers {runner}", f"get task info {run}", f"reset taskrunner {runner}",
                  f"get taskrunner status {runner}", usr_dir=usr,
                  operators=[operator(runner, completes), operator(runner, completes, peers=2)])  # fmt: skip
    assert played.errors == []
    answers = {command["command"]: command["output"] for command in played.commands}
    waited = answers[f"wait for taskrunner {runner}"]
    assert waited[:2] == ["WAITING FOR TASKRUNNER TO COMPLETE", "Maximum wait time is : 120 mins"]
    assert waited[-1] == "TASK_STATE : COMPLETE"
    assert "    #\n" in played.text
    peers = answers[f"list taskrunner peers {runner}"]
    assert sorted(line.split(" : ", 2)[2] for line in peers) == [
        "swop-1 (org-1) : 1 SL peers, listening", "swop-2 (org-2) : 2 SL peers, listening",
    ]  # fmt: skip
    info = answers[f"get task info {run}"]
    assert "STATE : done" in info
    assert "REASON : 3 of 3 peers completed" in info
    assert answers[f"get taskrunner status {runner}"] == ["TASK NAME : Empty", "TASK_STATE : IDLE"]


def test_a_program_that_ends_badly_fails_the_task_with_code_and_lines(play, usr, build, run):
    runner = "bad-end"
    played = play(f"create taskrunner {runner}", *created(build, run),
                  f"assign task {run} to {runner} with 1 peers", "exit on failure", f"wait for taskrunner {runner}",
                  "list tasks", usr_dir=usr, operators=[operator(runner, exits_with_3)])  # fmt: skip
    assert isinstance(played.failure, WorkerFailed)
    assert played.failure.code == 6
    assert played.failure.message.startswith(f"task {run} is failed: ")
    assert "swop-1 (org-1) failed: exit code 3" in played.failure.message
    assert played.failure.hint == f"GET TASKRUNNER PEER STATUS {runner} 0"
    assert played.commands[-1]["command"] == f"wait for taskrunner {runner}"
    assert "TASK_STATE : ERROR" in played.commands[-1]["output"]
    look = play(f"get taskrunner status {runner}", f"get taskrunner peer status {runner} 0",
                f"get taskrunner peer status {runner} 7", f"reset taskrunner {runner}")  # fmt: skip
    assert "FAILED PEERS : 1" in look.answer(0)
    status = look.answer(1)
    assert status[1:3] == ["SWOP NAME : swop-1 (org-1)", "NUMBER OF SL PEERS : 1"]
    assert status[4:8] == ["STATUS : ERROR", "STATE : failed", "DESCRIPTION : exit code 3", "EXIT CODE : 3"]
    assert status[-1] == "  | ValueError: no data"
    assert "expected an index from 0 to 0 or a uid" in look.errors[0]


def test_a_wait_that_takes_too_long_ends_with_hpe_s_warning_and_names_whom_it_waits_for(play, usr, build, run):
    runner = "too-long"
    soon = {"SWCI_RUN_TASK_MAX_WAIT_TIME": "0.005", "SWCI_GENERIC_TASK_MAX_WAIT_TIME": "0.001"}
    played = play(f"create taskrunner {runner}", *created(build, run),
                  f"assign task {run} to {runner} with 2 peers", "exit on failure", f"wait for taskrunner {runner}",
                  usr_dir=usr, environment=soon, operators=[operator(runner, None)])  # fmt: skip
    assert isinstance(played.failure, Unreachable)
    assert "waits for 1 more of the 2 SL peers asked for" in played.failure.message
    output = played.commands[-1]["output"]
    assert output[1] == "Maximum wait time is : 0.005 mins"
    assert "WARNING - Maximum configured SWCI wait time is over" in output
    reset = play(f"reset taskrunner {runner}", f"assign task {build} to {runner} with 2 peers",
                 f"wait for taskrunner {runner}", environment={"SWCI_GENERIC_TASK_MAX_WAIT_TIME": "soon"})  # fmt: skip
    assert reset.errors == [
        "SWCI_GENERIC_TASK_MAX_WAIT_TIME (minutes) is 'soon', expected a number from 0 to 1000000",
    ]  # fmt: skip


def test_a_taskrunner_takes_one_task_at_a_time_and_only_what_can_run(play, usr, build, run):
    runner = "one-at-a-time"
    played = play(f"create taskrunner {runner}", "create task from taskdefs/build.yaml",
                  f"assign task {build} to {runner} with 1 peers", f"finalize task {build}",
                  f"assign task {build} to {runner} with all peers", f"assign task {build} to {runner} with 9 peers",
                  f"assign task {build} to {runner} with 9 peers", f"assign task {build} to {runner} target x",
                  "assign task nothing to nowhere with 1 peers", usr_dir=usr)  # fmt: skip
    assert [error.split(":")[0] for error in played.errors] == [
        f"task {build} is a draft", f"nobody listens on taskrunner {runner}",
        f"taskrunner {runner} has task {build} (queued)", "this TaskAssigned proposal cannot be taken",
        "there is no taskrunner nowhere",
    ]  # fmt: skip
    codes = [command["error"]["code"] for command in played.commands if not command["ok"]]
    assert codes == [Refused.code, Refused.code, Refused.code, BadInput.code, BadInput.code]


def test_somebody_else_s_reset_ends_the_wait(play, usr, build, run):
    runner = "reset-meanwhile"

    out = io.StringIO()

    async def listens_then_resets(client: Client) -> None:
        await operator(runner, None)(client)
        while "WAITING FOR" not in out.getvalue():
            await trio.sleep(0.01)
        await trio.to_thread.run_sync(lambda: play(f"reset taskrunner {runner}", organisation=2))

    played = play(f"create taskrunner {runner}", *created(build, run),
                  f"assign task {build} to {runner} with 2 peers", f"wait for taskrunner {runner}",
                  usr_dir=usr, out=out, environment={"SWCI_GENERIC_TASK_MAX_WAIT_TIME": "0.5"},
                  operators=[operator(runner, None), listens_then_resets])  # fmt: skip
    assert "is stopped: the taskrunner was reset by swarm://org-2/swci/swci-2" in played.errors[0]
