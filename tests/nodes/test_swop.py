"""Operators as real processes: they take a task's slots, start learning nodes with programs, and say how they ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
import yaml

from swarm.core.ledger import Ledger
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import LocalSwarm
from swarm.runtime.credentials import Credentials
from swarm.wire import taskfile

PROGRAMS = Path(__file__).parent / "programs"
RUNNER = "defaulttaskbb.taskdb.sml.hpe"
PATIENCE_S = 60.0

PROFILE = """
groupname: demo
taskrunner: {runner}
policyuri: ~
resourcemgr:
    mgrtype: DOCKER
    accessinfo:
        accesstype: FROMENV
network: host-{host}-net
apls:
    locator:
        host: 127.0.0.1
        port: ~
apisrv:
    locator:
        host: 127.0.0.1
        port: {port}
        service: ~
envvars:
    - SL_LOG_LEVEL : INFO
    - WHERE : profile
nodes:
"""
NODE = """
    - slnodedef:
        idx: {idx}
        identity:
            - attribute:
                aType: KEY
                mType: BIND
                src: {key}
                tgt: /swarm-cert/sl-key.pem
                subPath: ~
            - attribute:
                aType: CERT
                mType: BIND
                src: {certs}
                tgt: /swarm-cert/sl-cert.pem
                subPath: {cert}
            - attribute:
                aType: CAPATH
                mType: BIND
                src: {capath}
                tgt: /swarm-cert/capath
        slhostip: 127.0.0.1
        slport: ~
        slhostname: sl{idx}
        slenvvars: ~
        privatedata:
            src: {data}
            mType: BIND
        usrhostname: user{idx}
        usrenvvars: [SWARM_ADD : {add}, SCRATCH_DIR : "user{idx}", SYNCS : {syncs}]
"""


def eventually(what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The condition's first true value; polled, because it is another process that makes it true."""
    until = monotonic() + patience_s
    while not (value := condition()):
        assert monotonic() < until, f"{what} did not come to be within {patience_s:g} s"
        sleep(0.05)
    return value


class Scene:
    """One network node, two organisations, and words for what their people do."""

    def __init__(self, directory: Path, launch: Launch) -> None:
        self.directory = directory
        self.launch = launch
        self.swarm = LocalSwarm(directory, launch, organisations=2)
        self.swarm.make_organisations()
        self.launch.wait_ready([self.swarm.start_network_node(1)], PATIENCE_S)
        self.port = self.swarm.api_port(0)
        self.tasks = 0

    def data(self, host: int, idx: int) -> Path:
        path = self.directory / f"data-{host}-{idx}"
        path.mkdir(exist_ok=True)
        return path

    def profile(self, host: int, nodes: int, syncs: int = 3) -> Path:
        tree = self.swarm.trees[host - 1]
        text = PROFILE.format(runner=RUNNER, host=host, port=self.port)
        for idx in range(nodes):
            text += NODE.format(
                idx=idx, key=tree.key("sl"), certs=tree.directory, cert=tree.certificate("sl").name,
                capath=tree.capath, data=self.data(host, idx), add=host + idx, syncs=syncs,
            )  # fmt: skip
        path = self.directory / f"swop{host}_profile.yaml"
        path.write_text(text)
        return path

    def operator(self, host: int, *flags: str, nodes: int = 1, syncs: int = 3) -> Process:
        """The SWOP of a host, started (again) in its own state directory."""
        tree, state = self.swarm.trees[host - 1], self.directory / f"swop-{host}"
        profile = self.profile(host, nodes, syncs)
        command = [
            *(sys.executable, "-m", "swarm.cli.run_swop", "--engine", "process", *flags),
            *("--usr-dir", str(profile.parent), "--profile-file-name", profile.name, "--state", str(state)),
            *("--key", str(tree.key("swop")), "--cert", str(tree.certificate("swop")), "--capath", str(tree.capath)),
        ]
        process = self.launch.start(f"swop-{host}", "SWOP", command, state=state)
        self.launch.wait_ready([process], PATIENCE_S)
        return process

    def kill(self, operator: Process) -> None:
        os.kill(operator.pid, signal.SIGKILL)
        eventually("its end", lambda: not operator.running)
        self.launch.processes.remove(operator)

    def propose(self, *proposals: tuple[str, dict[str, Any]]) -> None:
        """As the SWCI of the first organisation."""

        async def work(client: Client) -> int:
            for kind, body in proposals:
                await client.propose(kind, body)
            return len(proposals)

        self._consult(work)

    def assign(
        self, program: str, *, peers: int | str = "all", type_: str = "RUN_SWARM", unread: Any = None, **body: Any
    ) -> str:
        """A new task, assigned; its name. `unread`: what its author puts in the body past the reader of files."""
        self.tasks += 1
        name = f"task-{self.tasks}"
        run = {
            "Command": program,
            "Entrypoint": "python3",
            "WorkingDir": "/tmp/swarm-task",
            "Envvars": [{"MIN_PEERS": 2}, {"SWARM_ADD": 99}, {"DATA_DIR": "/tmp/swarm-task/app-data"}],
            "PrivateContent": "/tmp/swarm-task/app-data",
            "SharedContent": [{"Src": str(PROGRAMS), "Tgt": "/tmp/swarm-task/model", "MType": "BIND"}],
        }
        content = {**run, **body} if type_ == "RUN_SWARM" else body
        head = {"Name": name, "TaskType": type_, "Author": "me", "Prereq": "ROOTTASK", "Outcome": name}
        task = taskfile.parse(yaml.safe_dump({**head, "Body": content}).encode(), f"{name}.yaml")
        created = task.to_wire()
        created["body"].update(unread or {})
        self.propose(
            ("TaskCreated", created),
            ("TaskFinalized", {"task": name}),
            ("TaskAssigned", {"taskrunner": RUNNER, "task": name, "peers": peers}),
        )
        return name

    def reset(self) -> None:
        self.propose(("TaskrunnerReset", {"taskrunner": RUNNER}))

    def until(self, what: str, condition: Callable[[Run], bool]) -> Run:
        """The current run, once the condition holds for it."""

        def look(ledger: Ledger) -> Run | None:
            run = ledger.taskrunners[RUNNER].current
            return run if run and condition(run) else None

        async def work(client: Client) -> list[Run | None]:
            return [await client.until(look, PATIENCE_S)]

        (run,) = self._consult(work)
        assert run is not None, f"{what} did not come to be within {PATIENCE_S:g} s"
        return run

    def decided(self) -> Run:
        return self.until("the end of the task", lambda run: run.state in ("done", "failed"))

    def running(self) -> Run:
        return self.until("all slots running", lambda run: {slot.state for slot in run.slots.values()} == {"running"})

    def _consult(self, work: Callable[[Client], Any]) -> Any:
        tree = self.swarm.trees[0]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
        return consult(("127.0.0.1", self.port), credentials, self.directory / "swci-1", work)

    # ---- looking at the hosts

    def place(self, host: int, slot: Slot) -> Path:
        return self.directory / f"swop-{host}" / "slots" / f"{slot.id}-{slot.fence}"

    def log(self, host: int, slot: Slot) -> str:
        return (self.place(host, slot) / "ml.log").read_text()


def workers(directory: Path) -> list[psutil.Process]:
    """All processes that an operator of this scene has started, and theirs."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SWARM_SLOT_DIRECTORY", "").startswith(str(directory)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def learning_nodes(directory: Path) -> list[int]:
    return sorted(process.pid for process in workers(directory) if "swarm.cli.run_sl" in process.cmdline())


def only(run: Run) -> Slot:
    (slot,) = run.slots.values()
    return slot


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Scene(tmp_path, launch)
    eventually("the end of all workers", lambda: not workers(tmp_path), 20)


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
def test_a_program_that_does_not_train_fails_its_slot_and_the_task(
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


def test_a_killed_operator_adopts_what_it_had_started(scene: Scene, tmp_path: Path) -> None:
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


def test_what_ended_while_no_operator_was_there_is_reported_by_the_next(scene: Scene, tmp_path: Path) -> None:
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    scene.kill(operator)
    for process in workers(tmp_path):
        if "swarm.cli.run_sl" in process.cmdline():
            process.kill()
    scene.operator(1)
    slot = only(scene.decided())
    assert (slot.state, slot.exit_code) == ("failed", None)
    assert "ended while its program ran, and no operator was there to see how" in slot.reason
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


def test_an_operator_that_is_stopped_ends_its_workers_and_says_so(scene: Scene, tmp_path: Path) -> None:
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
