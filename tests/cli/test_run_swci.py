"""`run-swci` as people and schedulers call it: scripts, exit codes, --json, a kill and signals in the middle."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from swarm.nodes.swci.commands import GRAMMAR

TASK = """Name: {name}
TaskType: MAKE_USER_CONTAINER
Author: tester
Prereq: ROOTTASK
Outcome: user-env
Body:
    BuildContext: ~
    BuildType: INLINE
    BuildSteps: [FROM scratch]
"""


@pytest.fixture
def usr(tmp_path):
    (tmp_path / "usr").mkdir()
    return tmp_path / "usr"


@pytest.fixture
def script(swarm, usr):
    def script(*lines, name="swci-init"):
        enter = ["EXIT ON FAILURE", f"create context a with ip 127.0.0.1 {swarm.api_port(0)}", "switch context a"]
        (usr / name).write_text("\n".join([*enter, *lines]) + "\n")

    return script


def command(*arguments):
    return [sys.executable, "-m", "swarm.cli.run_swci", *map(str, arguments)]


def run(*arguments, stdin=subprocess.DEVNULL, **settings):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=180, stdin=stdin, **settings)


def test_a_script_that_ends_well_ends_with_0(identity, usr, script):
    script("list tasks", "EXIT")
    ended = run(*identity, "--usr-dir", usr)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(
        "SWCI:0 > EXIT ON FAILURE\n    EXIT ON FAILURE IS TURNED ON\nSWCI:1 > create context"
    )
    assert ended.stdout.endswith("SWCI:3 > list tasks\n    ROOTTASK\nSWCI:4 > EXIT\n")


def test_the_exit_code_is_that_of_the_failure(identity, usr, script):
    script("get task info nothing", "EXIT", name="one")
    ended = run(*identity, "--usr-dir", usr, "--init-script-name", "one")
    assert ended.returncode == 2
    assert ended.stderr == "error: there is no task nothing\nhint: LIST TASKS shows those there are\n"
    script("create contract a/b", "EXIT ON FAILURE OFF", name="two")
    assert run(*identity, "--usr-dir", usr, "--init-script-name", "two").returncode == 2
    script("EXIT ON FAILURE OFF", "get task info nothing", "EXIT", name="three")
    assert run(*identity, "--usr-dir", usr, "--init-script-name", "three").returncode == 0


def test_json_is_one_object_and_the_session_goes_to_stderr(identity, usr, script):
    script("list tasks", "reset taskrunner r")
    ended = run(*identity, "--usr-dir", usr, "--json")
    answer = json.loads(ended.stdout)
    assert ended.returncode == 2
    assert not answer["ok"]
    assert answer["error"]["message"] == "there is no taskrunner r"
    assert [one["ok"] for one in answer["commands"]] == [True, True, True, True, False]
    assert answer["commands"][3] == {"number": 3, "command": "list tasks", "ok": True, "output": ["ROOTTASK"]}
    assert "SWCI:3 > list tasks\n    ROOTTASK\n" in ended.stderr


def test_what_is_typed_is_read_to_its_end(identity, swarm):
    typed = f"create context a with ip 127.0.0.1 {swarm.api_port(0)}\nswitch context a\nlist taskrunners\nexit\n"
    ended = subprocess.run(command(*identity), input=typed, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("SWCI:2 >     defaulttaskbb.taskdb.sml.hpe\nSWCI:3 > ")


def test_a_plain_file_can_be_standard_input(identity, tmp_path):
    (tmp_path / "typed").write_text("pwd")
    with (tmp_path / "typed").open() as typed:
        ended = run(*identity, stdin=typed, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert ended.stdout == f"SWCI:0 >     {tmp_path}\nSWCI:1 > \n"


def test_flags_and_files_that_do_not_fit(identity, usr, tmp_path):
    told = {
        ("--init-script-name", "x"): "--init-script-name x needs --usr-dir, the directory that it is in",
        ("--usr-dir", usr / "none"): f"bad directory: --usr-dir {usr / 'none'} is none",
        ("--usr-dir", usr, "--init-script-name", "x"): f"bad file: there is no {usr / 'x'}",
        ("--usr-dir", usr, "--init-script-name", "binary"): f"{usr / 'binary'} is no UTF-8 text: byte 0 cannot be read",
    }
    (usr / "binary").write_bytes(b"\xff\xfe\x00")
    for flags, sentence in told.items():
        ended = run(*identity, *flags)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[0] == f"error: {sentence}"


def test_a_kill_while_it_waits_loses_nothing_and_the_script_may_run_again(identity, usr, script):
    (usr / "task.yaml").write_text(TASK.format(name="killed"))
    lines = ["create task from task.yaml", "finalize task killed", "create taskrunner k",
             "assign task killed to k with 1 peers", "wait for taskrunner k"]  # fmt: skip
    script(*lines)
    with subprocess.Popen(command(*identity, "--usr-dir", usr), stdout=subprocess.PIPE, text=True) as waiting:
        for line in waiting.stdout:
            if "waits for 1 more" in line:
                break
        waiting.send_signal(signal.SIGKILL)
    script(
        "get taskrunner status k", "reset taskrunner k", *lines[:-1], "get taskrunner status k", "reset taskrunner k"
    )
    again = run(*identity, "--usr-dir", usr, "--json")
    answers = [one["output"] for one in json.loads(again.stdout)["commands"]]
    assert again.returncode == 0, again.stderr
    assert answers[3][:3] == ["TASK NAME : killed", "PEER TYPE : SWOP", "TASK_STATE : RUNNING"]
    assert answers[9][:3] == answers[3][:3]


def test_r019_a_kill_while_it_creates_a_task_leaves_it_whole_or_not_at_all_and_the_script_may_run_again(
    identity, usr, script
):
    created = []
    for when in ("before", "after"):
        (usr / f"{when}.yaml").write_text(TASK.format(name=when))
        created += [f"create task from {when}.yaml", f"get task body {when}", f"finalize task {when}"]
        script(*created[-3:])
        point = [when, "swarm.nodes.client", "Client.propose:TaskCreated", "swarm.cli.run_swci"]
        killed = subprocess.run([sys.executable, "-m", "tests.trapped", *point, *map(str, identity), "--usr-dir", usr])
        assert killed.returncode == -signal.SIGKILL
    script("list tasks", *created, *created, "list tasks")
    again = run(*identity, "--usr-dir", usr, "--json")
    assert again.returncode == 0, again.stderr
    outputs = [one["output"] for one in json.loads(again.stdout)["commands"]][3:]
    assert ("before" in outputs[0], "after" in outputs[0]) == (False, True)
    assert outputs[1:7] == outputs[7:13]
    assert outputs[-1] == [*outputs[0], "before"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_signal_ends_it_at_once_and_leaves_nothing(identity, swarm, tmp_path, number, code):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    typed = f"create context a with ip 127.0.0.1 {swarm.api_port(0)}\nswitch context a\nlist tasks\n"
    with subprocess.Popen(
        command(*identity), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment,
    ) as waiting:  # fmt: skip
        waiting.stdin.write(typed)
        waiting.stdin.flush()
        for line in waiting.stdout:
            if "ROOTTASK" in line:
                break
        begun = time.monotonic()
        waiting.send_signal(number)
        assert waiting.wait(20) == code
        assert time.monotonic() - begun < 5
        assert waiting.stderr.read() == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


# Behind the others, because it leaves tasks and a taskrunner.
EVERYTHING = """# SWCI context setup
\t
EXIT ON FAILURE
wait for ip 127.0.0.1 {port} 12
create context test-net with ip 127.0.0.1 {port}
\tswitch\tcontext  test-net
get context info
GET CONTEXT INFO test-net
list contexts
get context version
list context env
set context env SWCI_RUN_TASK_MAX_WAIT_TIME 1
set context env test-net SWCI_GENERIC_TASK_MAX_WAIT_TIME 2
get context env test-net SWCI_RUN_TASK_MAX_WAIT_TIME
GET CONTEXT ENV SWCI_GENERIC_TASK_MAX_WAIT_TIME
EXIT ON FAILURE OFF

cd /platform/swarm/usr
pwd
ls
EXIT ON FAILURE ON
create task from 'taskdefs/my build.yaml'
Finalize Task all-build
get task info all-build
get task body all-build
CREATE TASK make_user_container by-hand me all-build env
APPEND TASK BODY by-hand 1 BuildContext: ~
append task body by-hand 2 "BuildType: INLINE"
append task body by-hand 3 BuildSteps:
append task body by-hand 4   - FROM scratch
finalize task by-hand
create task make_user_container draft me ROOTTASK env
delete task draft
list tasks
####
create taskrunner all-runner
list taskrunners
get taskrunner info all-runner
RESET TASKRUNNER all-runner
ASSIGN TASK by-hand TO all-runner WITH 2 PEERS
get taskrunner status all-runner
list taskrunner peers all-runner
RESET TASKRUNNER all-runner
WAIT FOR TASKRUNNER all-runner
SLEEP 0.1
RESET TASKRUNNER all-runner
create contract all-contract
list contracts
get contract info all-contract
get contract status all-contract
perfdata all-contract
reset contract all-contract
EXIT ON FAILURE OFF
# these need operators, and a proxy
assign task by-hand to all-runner with all peers
assign task by-hand to all-runner target 3e5423d2-0000-4000-8000-000000000000
get taskrunner peer status all-runner 0
wait for service 127.0.0.1:1 1
create context proxied with service 127.0.0.1:1
no such command
list nodes
help
HELP assign task
EXIT
list tasks
"""


def test_a_script_with_every_construct_runs_to_its_exit(identity, swarm, usr):
    (usr / "taskdefs").mkdir()
    (usr / "taskdefs" / "my build.yaml").write_text(TASK.format(name="all-build"))
    text = EVERYTHING.format(port=swarm.api_port(0))
    (usr / "swci-init").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    ended = run(*identity, "--usr-dir", usr, "--json")
    assert ended.returncode == 0, ended.stderr
    commands = json.loads(ended.stdout)["commands"]
    assert commands[-1]["command"] == "EXIT"
    failed = [(one["command"].split(" with ")[0], one["output"][0]) for one in commands if not one["ok"]]
    assert [command for command, _ in failed] == [
        "assign task by-hand to all-runner",
        "assign task by-hand to all-runner target 3e5423d2-0000-4000-8000-000000000000",
        "get taskrunner peer status all-runner 0",
        "wait for service 127.0.0.1:1 1",
        "create context proxied",
        "no such command",
    ]
    assert all(sentence.startswith("ERROR : ") for _, sentence in failed)
    told = {one["command"]: one["output"] for one in commands}
    assert told["get task body all-build"][:2] == ["0000: ---", "0001: BuildContext: null"]
    assert told["SLEEP 0.1"] == ["slept for 0.1 seconds"]
    assert told["get context env test-net SWCI_RUN_TASK_MAX_WAIT_TIME"] == ["SWCI_RUN_TASK_MAX_WAIT_TIME : 1"]
    used = {GRAMMAR.read(one["command"])[0].text for one in commands if one["command"] != "no such command"}
    assert {row.text for row in GRAMMAR.rows} == used
