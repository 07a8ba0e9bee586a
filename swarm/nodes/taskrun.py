"""A local run as its people would run it on hosts of their own: an operator each, and a task that SWCI assigns.

Used by `swarm demo`. Every organisation's operator starts one learning node with its program, by a profile made from
those in profiles/. Guarantees: a worker that fails ends the run with an error that names its peer and shows its last
lines; operators are started so that their workers end with them, whatever ends them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import yaml

from swarm.engines.process import ProcessEngine
from swarm.errors import SwarmError, Unreachable, WorkerFailed
from swarm.nodes.launch import LOOK_EVERY_S, Launch, Process
from swarm.nodes.local import HOST, READY_S
from swarm.nodes.localrun import LocalRun
from swarm.nodes.ownprofile import own_profile
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory

TASKRUNNER = "defaulttaskbb.taskdb.sml.hpe"
PLACE = "/platform/swarm/usr"
"""Where each peer's program sees its own directory."""
ASSIGNER = "org-1"
"""Whose SWCI assigns the task."""
SCRIPT = """\
EXIT ON FAILURE
CREATE CONTEXT {task} WITH IP {host} {port}
SWITCH CONTEXT {task}
CREATE TASK FROM {file}
FINALIZE TASK {task}
ASSIGN TASK {task} TO {taskrunner} WITH {peers} PEERS
WAIT FOR TASKRUNNER {taskrunner}
EXIT
"""


@dataclass(frozen=True)
class Work:
    """What all participants run, each in its own directory."""

    name: str
    arguments: Sequence[str]
    """Of ``python3``."""
    environment: Mapping[str, str]
    places: Sequence[Path]


@dataclass
class LearningNode(Process):
    """One that an operator has started: how it ended, the operator says."""

    slot: SlotDirectory | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.state.parent / "sl.log"

    @property
    def exit_code(self) -> int | None:
        conclusion = self.slot.conclusion() if self.slot else None
        if conclusion is None:
            return None
        verdict, code = conclusion
        return verdict.exit_code if code is None else code  # of an adopted one nobody sees the code


class TaskRun(LocalRun):
    """The stages in order: `begin`, `train`, `finish`."""

    def __init__(
        self,
        directory: Path,
        launch: Launch,
        *,
        peers: int,
        sns: int,
        look: Callable[[], None],
        tethered: bool = True,
    ) -> None:
        super().__init__(directory, launch, peers=peers, sns=sns, look=look)
        self._tethered = tethered
        self._slots: list[SlotDirectories[SlotDirectory]] = []
        self._commander: list[Process] = []

    def begin(self, work: Work) -> None:
        """Make the organisations, start SNs and operators, have the task assigned, until every worker is ready."""
        self.start_network()
        network, operators = self.swarm.network, self.swarm.operators
        for number, place in enumerate(work.places, start=1):
            self._launch.wait_ready([network[(number - 1) % self._sns]], READY_S, self._look)
            self._start_operator(number, self._write_profile(number, work.name, place))
        self._launch.wait_ready([*network, *operators], READY_S, self._look)
        self.stage = "assigning the task"
        self._slots = [SlotDirectories(operator.state / "slots", SlotDirectory) for operator in operators]
        self._commander = [self.swarm.start_commander(self._write_script(work))]
        self._wait_for_workers()
        self.stage = "training"

    def train(self) -> None:
        """Until the task is done."""
        try:
            self._launch.wait_ended(self._commander, self._look)
        except SwarmError:
            self._look()  # a worker's own end says more
            raise

    def _start_operator(self, number: int, profile: Path) -> Process:
        accepted = [ASSIGNER] if number > 1 else []
        return self.swarm.start_operator(number, profile, accepted=accepted, tethered=self._tethered)

    def start_again(self, dead: Process) -> None:
        """A network node or an operator, in its state directory; a learning node is its operator's to start."""
        swarm = self.swarm
        if dead in swarm.network:
            at = swarm.network.index(dead)
            ports = dead.ready() or {}
            entrance = next(n for n, node in enumerate(swarm.network) if n != at and node.ready())
            sentinel_port = swarm.api_port(entrance) if at else None
            swarm.start_network_node(
                at + 1, sentinel_port=sentinel_port, p2p_port=ports["p2p_port"], api_port=ports["api_port"]
            )
            swarm.network[at] = swarm.network.pop()
        elif dead in swarm.operators:
            at = swarm.operators.index(dead)
            self._start_operator(at + 1, self._profile(at + 1))
            swarm.operators[at] = swarm.operators.pop()

    # ---- the documents

    def _profile(self, number: int) -> Path:
        return self.swarm.directory / f"process-{number}.yaml"

    def _write_profile(self, number: int, group: str, place: Path) -> Path:
        text = own_profile(self.swarm.trees[number - 1], number, group, place)
        path = self._profile(number)
        path.write_text(text, encoding="utf-8")
        return path

    def _write_script(self, work: Work) -> Path:
        task = {
            "Name": work.name,
            "TaskType": "RUN_SWARM",
            "Author": ASSIGNER,
            "Prereq": "ROOTTASK",
            "Outcome": work.name,
            "Body": {
                "Entrypoint": "python3",
                "Command": " ".join(work.arguments),
                "WorkingDir": PLACE,
                "PrivateContent": PLACE,
                "SharedContent": None,
                "Envvars": [{name: value} for name, value in work.environment.items()],
            },
        }
        file = self.swarm.directory / f"{work.name}_task.yaml"
        file.write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")
        script = self.swarm.directory / "swci-init"
        words = {"task": work.name, "file": file.name, "taskrunner": TASKRUNNER, "peers": len(work.places)}
        script.write_text(SCRIPT.format(host=HOST, port=self.swarm.api_port(0), **words), encoding="utf-8")
        return script

    # ---- the workers

    def _wait_for_workers(self) -> None:
        """Until every operator's learning node is ready."""
        until = monotonic() + READY_S
        while len(self.swarm.peers) < len(self._slots):
            self._launch.check(self._may_end())
            self._look()
            if monotonic() > until:
                missing = f"sl-{len(self.swarm.peers) + 1}"
                raise Unreachable(f"{missing} not ready {READY_S:g} s after the task was given to its operator")
            sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        for number, slots in enumerate(self._slots, start=1):
            for slot in slots.kept():
                if pid := slot.sl_pid():
                    self._note_node(number, slot, pid)
                self._check(number, slot)
        super()._look()

    def _note_node(self, number: int, slot: SlotDirectory, pid: int) -> None:
        peers = self.swarm.peers
        if number == len(peers) + 1:
            self.swarm.add_peer(LearningNode(f"sl-{number}", "SL", slot.path / "sl", pid, _wait, slot=slot))
        elif number <= len(peers):
            peers[number - 1].node.pid = pid  # another one, once its operator has started it again

    def _check(self, number: int, slot: SlotDirectory) -> None:
        """Raises the error of a worker that has not ended well."""
        conclusion = slot.conclusion()
        if conclusion is None:
            return
        verdict, _ = conclusion
        if verdict.state != "done":
            slot.look()
            lines = "".join(f"\n  {line}" for line in slot.last_lines()) or " (none)"
            what = f"the worker of peer-{number} (sl-{number} and its program) failed"
            raise WorkerFailed(f"{what}: {verdict.reason}; its last lines:{lines}")

    def _may_end(self) -> list[Process]:
        return self._commander

    def _processes(self) -> list[dict[str, Any]]:
        rows = self._launch.table()
        for peer in self.swarm.peers:
            node = peer.node
            rows.append({"name": node.name, "role": node.role, "pid": node.pid, "exit_code": node.exit_code})
            if peer.program_pid:
                rows.append(peer.program_row())
        return rows


@contextmanager
def no_workers_left(directory: Path) -> Iterator[None]:
    """When it is left, whatever operators in this directory have started, and have not ended themselves, is ended."""
    try:
        yield
    finally:
        for place in directory.glob("swop-*/slots/*"):
            ProcessEngine().sweep(place)


def _wait() -> int:
    raise AssertionError("its operator waits for it")
