"""A network node, two organisations and their operators, as real processes; and words for what their people do.

For tests of operators: `Scene`, and how to look at the workers that its operators have started.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from swarm.core.ledger import Ledger
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import LocalSwarm
from swarm.runtime.credentials import Credentials
from swarm.wire import taskfile
from tests.nodes.waiting import PATIENCE_S, eventually

PROGRAMS = Path(__file__).parent / "programs"
RUNNER = "defaulttaskbb.taskdb.sml.hpe"

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


class Scene:
    """One network node (or more), two organisations, and words for what their people do."""

    def __init__(self, directory: Path, launch: Launch, *, network_nodes: int = 1) -> None:
        self.directory = directory
        self.launch = launch
        self.swarm = LocalSwarm(directory, launch, organisations=max(2, network_nodes))
        self.swarm.make_organisations()
        self.launch.wait_ready([self.swarm.start_network_node(1)], PATIENCE_S)
        self.port = self.swarm.api_port(0)
        for number in range(2, network_nodes + 1):
            self.swarm.start_network_node(number, sentinel_port=self.port)
        self.launch.wait_ready(self.swarm.network, PATIENCE_S)
        self.tasks = 0

    def data(self, host: int, idx: int) -> Path:
        path = self.directory / f"data-{host}-{idx}"
        path.mkdir(exist_ok=True)
        return path

    def profile(self, host: int, nodes: int, syncs: int = 3, runner: str = RUNNER) -> Path:
        tree = self.swarm.trees[host - 1]
        text = PROFILE.format(runner=runner, host=host, port=self.port)
        for idx in range(nodes):
            text += NODE.format(
                idx=idx, key=tree.key("sl"), certs=tree.directory, cert=tree.certificate("sl").name,
                capath=tree.capath, data=self.data(host, idx), add=host + idx, syncs=syncs,
            )  # fmt: skip
        path = self.directory / f"swop{host}_profile.yaml"
        path.write_text(text)
        return path

    def operator(self, host: int, *flags: str, nodes: int = 1, syncs: int = 3, runner: str = RUNNER) -> Process:
        """The SWOP of a host, started (again) in its own state directory, and ready."""
        process = self.begin_operator(host, *flags, nodes=nodes, syncs=syncs, runner=runner)
        self.launch.wait_ready([process], PATIENCE_S)
        return process

    def begin_operator(
        self,
        host: int,
        *flags: str,
        nodes: int = 1,
        syncs: int = 3,
        runner: str = RUNNER,
        program: Sequence[str] = ("swarm.cli.run_swop",),
    ) -> Process:
        tree, state = self.swarm.trees[host - 1], self.directory / f"swop-{host}"
        profile = self.profile(host, nodes, syncs, runner)
        command = [
            *(sys.executable, "-m", *program, "--engine", "process", *flags),
            *("--usr-dir", str(profile.parent), "--profile-file-name", profile.name, "--state", str(state)),
            *("--key", str(tree.key("swop")), "--cert", str(tree.certificate("swop")), "--capath", str(tree.capath)),
        ]
        return self.launch.start(f"swop-{host}", "SWOP", command, state=state)

    def restart_sentinel(self) -> None:
        """Killed, and started again from its directory on the ports it had."""
        sentinel = self.swarm.network[0]
        ready = sentinel.ready()
        assert ready is not None
        self.kill(sentinel)
        self.swarm.start_network_node(1, p2p_port=ready["p2p_port"], api_port=ready["api_port"])
        self.swarm.network[0] = self.swarm.network.pop()
        self.launch.wait_ready(self.swarm.network[:1], PATIENCE_S)

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


def workers(directory: Path, word: str = "") -> list[psutil.Process]:
    """All processes that an operator of this scene has started, and theirs; with this word in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("SWARM_SLOT_DIRECTORY", "").startswith(str(directory))
            if ours and (not word or word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def learning_nodes(directory: Path) -> list[int]:
    return sorted(process.pid for process in workers(directory, "swarm.cli.run_sl"))


def only(run: Run) -> Slot:
    (slot,) = run.slots.values()
    return slot
