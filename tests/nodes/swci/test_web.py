"""A web interface that runs, `Swci` in front of it, and two operators that train two tasks at once behind it."""

from __future__ import annotations

import http.client
import logging
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.compat.swarmlearning.swci import Swci
from swarm.nodes.launch import Launch
from tests.nodes.operators import PATIENCE_S, PROGRAMS, RUNNER, Scene, workers
from tests.nodes.waiting import eventually

TASK = """Name: {name}
TaskType: RUN_SWARM
Author: me
Prereq: ROOTTASK
Outcome: {name}
Body:
    Command: model/counting.py
    Entrypoint: python3
    WorkingDir: /tmp/swarm-task
    Envvars: ["MIN_PEERS": 1, "CONTRACTS": {contract}, "GATE": {gate}, "LOSS": {loss}]
    PrivateContent: /tmp/swarm-task/app-data
    SharedContent:
    - Src: {programs}
      Tgt: /tmp/swarm-task/model
      MType: BIND
"""


class World(Scene):
    """A scene with a command interface in web mode, of the first organisation."""

    def __init__(self, directory: Path, launch: Launch) -> None:
        super().__init__(directory, launch)
        self.usr = directory / "usr"
        self.usr.mkdir()
        (self.usr / "swci-init").write_text(
            f"EXIT ON FAILURE\r\nwait for ip 127.0.0.1 {self.port}\r\n"
            f"create context net with ip 127.0.0.1 {self.port}\r\nSWITCH CONTEXT net\r\nEXIT\r\n"
        )
        tree, state = self.swarm.trees[0], directory / "swci-web"
        command = [
            *(sys.executable, "-m", "swarm.cli.run_swci", "--mode", "web", "--web-port", "0", "--state", str(state)),
            *("--usr-dir", str(self.usr), "--key", str(tree.key("swci")), "--cert", str(tree.certificate("swci"))),
            *("--capath", str(tree.capath)),
        ]
        process = launch.start("swci-web", "SWCI", command, state=state)
        launch.wait_ready([process], PATIENCE_S)
        said = process.ready()
        assert said is not None
        self.web_port = int(said["web_port"])

    def swci(self, organisation: int = 1, role: str = "swci", ca: int = 1, **settings) -> Swci:
        tree = self.swarm.trees[organisation - 1]
        authority = self.swarm.trees[ca - 1].authority
        files = (str(tree.certificate(role)), str(tree.key(role)), str(authority))
        return Swci("127.0.0.1", self.web_port, *files, logger=logging.getLogger("test-swci"), **settings)

    def plain(self, context: ssl.SSLContext | None = None) -> tuple[int, str]:
        kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
        rest = {"context": context} if context else {}
        connection = kind("127.0.0.1", self.web_port, timeout=60, **rest)
        try:
            connection.request("POST", "/exec?cmd=LIST%20TASKS")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield World(directory, launch)
    eventually("the end of all workers", lambda: not workers(directory))


@pytest.mark.slow
def test_two_tasks_train_at_once_on_two_taskrunners_as_a_python_program_says(world: World, tmp_path: Path) -> None:
    swci = world.swci()
    runners = {1: "first", 2: "second"}
    for runner in runners.values():
        assert swci.createTaskRunner(runner) == [f"TASKRUNNER CREATED : {runner}"]
    world.operator(1, runner="first")
    world.operator(2, "--accept-org", "org-1", runner="second")
    gate = tmp_path / "gate"
    for runner, loss in zip(runners.values(), ("0.25", "0.5"), strict=True):
        file = tmp_path / f"{runner}.yaml"
        name, contract = f"task-{runner}", f"c-{runner}"
        file.write_text(TASK.format(name=name, contract=contract, gate=gate, programs=PROGRAMS, loss=loss))
        assert f"Task definition uploaded : {runner}.yaml" in swci.uploadTaskDefintion(str(file))
        assert swci.registerTask(f"{runner}.yaml") == [f"Registered Task : {name}"], swci.getErrors()
    assert swci.assignTask("task-first", "first", allPeers=True), swci.getErrors()
    assert swci.assignTask("task-second", "second", peers=1), swci.getErrors()

    def both_train() -> bool:
        lines = [swci.getTrainingContractStatus(f"c-{runner}") for runner in runners.values()]
        return all("COMMITTED ROUNDS : 2" in each for each in lines)  # the start's, and one before the gate

    eventually("two trainings", both_train)
    assert not any(swci.isTaskDone(runner) for runner in runners.values())
    nodes = swci.listNodes()
    assert [line.split(",")[0] for line in nodes] == ["NODE TYPE", "SENTINEL", "SWOP", "SWOP", "SL", "SL"]

    def measured(contract: str) -> list[list[str]]:
        """The rows of PERFDATA without who is meant."""
        return [line.split(", ")[2:] for line in swci.getTrainingContractPerformanceData(contract)[1:]]

    eventually("the figures of one", lambda: measured("c-first") == [["True", "0.25", "0.75", "-", "1"]])
    eventually("the figures of the other", lambda: measured("c-second") == [["True", "0.5", "0.75", "-", "1"]])
    refused = swci.assignTask("task-second", "first", peers=1)
    assert refused == []
    assert "taskrunner first has task task-first (running): it takes one at a time" in (swci.getErrors() or "")
    gate.touch()
    for runner in runners.values():
        assert swci.waitForTaskRunner(runner)[-1] == "TASK_STATE : COMPLETE", swci.getErrors()
        assert "STATUS : COMPLETE" in swci.getTaskRunnerPeerStatus(runner, 0)
        assert swci.resetTaskRunner(runner) == [f"TASKRUNNER RESET : {runner}"]
        assert swci.getTrainingContractStatus(f"c-{runner}")[1] == "STATE : finished"


def test_who_is_let_in(world: World) -> None:
    assert RUNNER in world.swci().listTaskRunners()
    status, text = world.plain()
    assert status == 400
    assert "this is HTTPS with a certificate on both sides, and plain HTTP came" in text
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.plain(bare)
    other = world.swci(organisation=2)
    assert other.listTasks() == []
    assert "swarm://org-2/swci/swci-2 may not command here: only org-1's own people may" in (other.getErrors() or "")
    node = world.swci(role="sn")
    assert node.listTasks() == []
    assert "has the role sn, expected swci" in (node.getErrors() or "")
    distrusting = world.swci(ca=2)
    assert distrusting.listTasks() == []
    assert "is not signed by a CA of clientCABundle" in (distrusting.getErrors() or "")
    assert RUNNER in world.swci(ca=2, verify=False).listTaskRunners()
    swci = world.swci()
    assert swci.pwd() == ["/platform/swarm/usr"]
    assert "swci-init" in swci.ls()
    assert swci._ask("EXIT") == []
    assert "EXIT ends a shell" in (swci.getErrors() or "")
    assert swci.getContextVersion()


def test_the_program_of_the_page_runs_as_it_stands(world: World, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "SWCI.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    tree = world.swarm.trees[0]
    for name, file in (
        ("swci-1-cert.pem", tree.certificate("swci")),
        ("swci-1-key.pem", tree.key("swci")),
        ("ca", tree.capath.parent),
    ):
        (tmp_path / name).symlink_to(file)
    assert "30306" in program
    ended = subprocess.run(
        [sys.executable, "-c", program.replace("30306", str(world.web_port))],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.getcwd()}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    header, sentinel, *_, error, hint = ended.stdout.splitlines()
    assert header.startswith("NODE TYPE, HOST IP")
    assert sentinel.startswith("SENTINEL, 127.0.0.1")
    assert (error, hint) == ("ERROR : there is no task no-such-task", "HINT : LIST TASKS shows those there are")
