"""How soon a task works: from its lease to the worker's process, and from its assignment to the first merged round.

    python benchmarks/lease.py [--peers 2] [--tasks 5] [--json]

A network node and an operator for each peer, every one of an organisation of its own, as real processes; each task is
assigned as a SWCI assigns it, and merges one small numpy model. The lease counts from the moment at which the operator
has applied its entry to the moment at which the kernel makes the program's process; the first round from the SWCI's
proposal to the program's return from its first merge, less what the program spends on imports. Medians over the tasks,
each with its slowest peer, behind one that warms up. Exit code 1 if a limit is missed. Run by `make bench`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median
from time import CLOCK_BOOTTIME, clock_gettime, time
from typing import Any

import yaml

from swarm.core.ledger import Ledger
from swarm.core.run import Run
from swarm.core.slot import Slot
from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import HOST, READY_S, LocalSwarm
from swarm.runtime.authority import CertificateTree
from swarm.runtime.credentials import Credentials
from swarm.wire import taskfile

LEASE_LIMIT_S = 0.5
ROUND_LIMIT_S = 1.0
PATIENCE_S = 60.0
RUNNER = "defaulttaskbb.taskdb.sml.hpe"
PROGRAM = Path(__file__).with_name("program.py")
PLACE = "/tmp/swarm-bench"


class Bench:
    def __init__(self, directory: Path, launch: Launch, peers: int) -> None:
        self._directory = directory
        self._launch = launch
        self._peers = peers
        self._swarm = LocalSwarm(directory, launch, organisations=peers)

    def start(self) -> None:
        self._swarm.make_organisations()
        self._launch.wait_ready([self._swarm.start_network_node(1)], READY_S)
        operators = [self._operator(number) for number in range(1, self._peers + 1)]
        self._launch.wait_ready(operators, READY_S)
        self._states = {(operator.ready() or {})["uid"]: operator.state for operator in operators}

    def measure(self, tasks: int) -> list[dict[str, float]]:
        """A row for each task but the first; seconds."""
        tree = self._swarm.trees[0]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)

        async def work(client: Client) -> list[dict[str, float]]:
            return [await self._task(client, f"bench-{number}") for number in range(tasks + 1)][1:]

        return consult((HOST, self._swarm.api_port(0)), credentials, self._directory / "swci-1", work)

    async def _task(self, client: Client, name: str) -> dict[str, float]:
        await client.propose("TaskCreated", self._written(name))
        await client.propose("TaskFinalized", {"task": name})
        assigned = clock_gettime(CLOCK_BOOTTIME)
        await client.propose("TaskAssigned", {"taskrunner": RUNNER, "task": name, "peers": self._peers})
        run = await client.until(_ended, PATIENCE_S)
        if run is None or run.state != "done":
            raise CheckFailed(f"{name} did not end well: {run.reason if run else f'no end within {PATIENCE_S:g} s'}")
        rows = [self._row(slot, assigned) for slot in run.slots.values()]
        await client.propose("TaskrunnerReset", {"taskrunner": RUNNER})
        await client.until(lambda ledger: ledger.taskrunners[RUNNER].current is None or None, PATIENCE_S)
        return {key: max(row[key] for row in rows) for key in rows[0]}

    def _row(self, slot: Slot, assigned: float) -> dict[str, float]:
        state = self._states[slot.swop]
        said = json.loads((state / "slots" / f"{slot.id}-{slot.fence}" / "ml.log").read_text().splitlines()[-1])
        leased = _logged((state / "logs" / "swarm.log").read_text(), f"slot {slot.id} of task {slot.task}: leased")
        imports = said["imported"] - said["began"]
        return {
            "assignment_to_lease_s": leased - assigned,
            "lease_to_process_s": said["started"] - leased,
            "process_to_program_s": said["began"] - said["started"],
            "import_s": imports,
            "import_to_round_s": said["merged"] - said["imported"],
            "assignment_to_round_s": said["merged"] - assigned - imports,
        }

    def _written(self, name: str) -> dict[str, Any]:
        body = {
            "Entrypoint": "python3",
            "Command": PROGRAM.name,
            "WorkingDir": PLACE,
            "Envvars": [{"MIN_PEERS": self._peers}, {"CONTRACT": name}, {"ROUNDS": 2}],
            "PrivateContent": None,
            "SharedContent": [{"Src": str(PROGRAM), "Tgt": f"{PLACE}/{PROGRAM.name}", "MType": "BIND"}],
        }
        head = {"Name": name, "TaskType": "RUN_SWARM", "Author": "bench", "Prereq": "ROOTTASK", "Outcome": name}
        task = taskfile.parse(yaml.safe_dump({**head, "Body": body}).encode(), f"{name}.yaml")
        return task.to_wire()

    def _operator(self, number: int) -> Process:
        tree, name = self._swarm.trees[number - 1], f"swop-{number}"
        profile = self._directory / f"{name}.yaml"
        profile.write_text(yaml.safe_dump(self._profile(tree)))
        command = [
            *(sys.executable, "-m", "swarm.cli.run_swop", "--accept-org", "org-1"),
            *("--usr-dir", str(self._directory), "--profile-file-name", profile.name),
            *("--key", str(tree.key("swop")), "--cert", str(tree.certificate("swop")), "--capath", str(tree.capath)),
            *("--state", str(self._directory / name)),
        ]
        return self._launch.start(name, "SWOP", command, state=self._directory / name)

    def _profile(self, tree: CertificateTree) -> dict[str, Any]:
        sources = {"KEY": tree.key("sl"), "CERT": tree.certificate("sl"), "CAPATH": tree.capath}
        identity = [
            {"attribute": {"aType": kind, "mType": "BIND", "src": str(path), "tgt": f"/{kind}", "subPath": None}}
            for kind, path in sources.items()
        ]
        unused = dict.fromkeys(("slhostname", "slenvvars", "privatedata", "usrhostname", "usrenvvars"))
        return {
            "groupname": "bench",
            "taskrunner": RUNNER,
            "policyuri": None,
            "resourcemgr": {"mgrtype": "PROCESS"},
            "network": "default",
            "apls": {"locator": {"host": "none", "port": None}},
            "apisrv": {"locator": {"host": HOST, "port": self._swarm.api_port(0), "service": None}},
            "envvars": [{"SL_LOG_LEVEL": "INFO"}],
            "nodes": [{"slnodedef": {"idx": 0, "identity": identity, "slhostip": HOST, **unused}}],
        }


def _ended(ledger: Ledger) -> Run | None:
    run = ledger.taskrunners[RUNNER].current
    return run if run is not None and run.state in ("done", "failed") else None


def _logged(log: str, text: str) -> float:
    """When an operator wrote a line, on the boot clock."""
    line = next(line for line in log.splitlines() if text in line)
    written = datetime.strptime(line.partition(" : ")[0], "%Y-%m-%d %H:%M:%S,%f")
    return written.timestamp() - time() + clock_gettime(CLOCK_BOOTTIME)


def result(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(median(row[key] for row in rows), 3) for key in rows[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory, Launch() as launch:
            bench = Bench(Path(directory), launch, flags.peers)
            bench.start()
            seconds = result(bench.measure(flags.tasks))
    except SwarmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.code
    ok = seconds["lease_to_process_s"] <= LEASE_LIMIT_S and seconds["assignment_to_round_s"] <= ROUND_LIMIT_S
    if flags.json:
        print(json.dumps({"ok": ok, "peers": flags.peers, "tasks": flags.tasks, **seconds}))
    else:
        print(
            f"lease to worker process {seconds['lease_to_process_s']:.2f} s, limit {LEASE_LIMIT_S} s; "
            f"assignment to first round {seconds['assignment_to_round_s']:.2f} s, limit {ROUND_LIMIT_S:.0f} s, "
            f"and {seconds['import_s']:.2f} s of imports ({flags.peers} peers, median of {flags.tasks} tasks)"
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
