"""One run of a local swarm, from its certificates to the last exit code: for `swarm run`, and for
`swarm demo` but for how its workers are started (`nodes/taskrun`).

Guarantees: every digest and count it reports comes from the ledger or from the nodes' own reports; a process that dies
ends the run with an error that names it; after the run nothing of it is left running, or the report says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import HOST, READY_S, LocalSwarm

TOO_FEW_PEERS_S = "20"
END_S = 15.0
"""For network nodes to end in order, all at once and on a busy machine; who does not is killed, and the run failed."""


def environment(patience_s: str = TOO_FEW_PEERS_S) -> dict[str, str]:
    """For all processes of a demo or a bench, whose programs are our own and begin as one: nobody waits long for what
    died. It is not for `swarm run`: of people's programs one may begin minutes after another."""
    return {"SWARM_TOO_FEW_PEERS_S": os.environ.get("SWARM_TOO_FEW_PEERS_S", patience_s)}


@dataclass(frozen=True)
class Program:
    """What one participant runs."""

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path | None = None


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    rounds: int
    ledger_digest: str | None
    """Of the last COMMIT; None when the programs agreed on no contract."""
    digests: dict[str, str]
    """By peer: of the model that its learning node ended with."""
    bytes_sent: dict[str, int]
    round_s: dict[str, float] | None
    processes: list[dict[str, Any]]
    exit_codes: dict[str, int | None]
    killed: tuple[dict[str, Any], ...] = ()
    """What was killed or frozen on purpose."""

    def as_json(self, peers: int, sns: int, trained: Mapping[str, Any]) -> dict[str, Any]:
        """The object of --json, in the order of its keys; `trained` is what only the demo knows."""
        return {
            "seed": trained.get("seed"),
            "dataset": trained.get("dataset"),
            "peers": peers,
            "sns": sns,
            "rounds": self.rounds,
            "swarm_accuracy": trained.get("swarm_accuracy"),
            "solo_accuracy": trained.get("solo_accuracy"),
            "pooled_accuracy": trained.get("pooled_accuracy"),
            "test_examples": trained.get("test_examples"),
            "digests": trained.get("digests", self.digests),
            "ledger_digest": self.ledger_digest,
            "bytes_sent_per_peer": self.bytes_sent,
            "round_s": self.round_s,
            "processes": self.processes,
            "exit_codes": self.exit_codes,
            "killed": list(self.killed),
        }

    def failure(self) -> CheckFailed | None:
        """What is wrong with it, in one sentence."""
        for row in self.processes:
            if row["exit_code"] is None:
                return CheckFailed(f"{row['name']} (process {row['pid']}) is still running")
            if row["exit_code"] != 0:
                return CheckFailed(f"{row['name']} ended with exit code {row['exit_code']}, expected 0")
        for name, digest in self.digests.items():
            if digest != self.ledger_digest:
                return CheckFailed(f"{name} ended with the model {digest}, the ledger says {self.ledger_digest}")
        return None


class LocalRun:
    """The stages in order: `start`, `train`, `finish`. `look` is called often meanwhile, for a view or a deadline."""

    def __init__(self, directory: Path, launch: Launch, *, peers: int, sns: int, look: Callable[[], None]) -> None:
        self.swarm = LocalSwarm(directory, launch, organisations=max(peers, sns))
        self.stage = "beginning"
        self._launch = launch
        self._sns = sns
        self._look_on = look

    def start(self, programs: Sequence[Program]) -> None:
        """Make the organisations, start the SNs, and each participant as soon as its SN is ready."""
        self.start_network()
        try:
            self._start_peers(programs)
        except SwarmError as error:  # a program may have ended before the last node is ready
            raise self.swarm.failure(error) from error
        self.stage = "training"

    def _start_peers(self, programs: Sequence[Program]) -> None:
        network = self.swarm.network
        for number, program in enumerate(programs):
            self._launch.wait_ready([network[number % self._sns]], READY_S, self._look, self._may_end())
            self.swarm.start_peer(program.command, environment=program.environment, cwd=program.cwd)
        self._launch.wait_ready([*network, *self._may_end()], READY_S, self._look, self._may_end())

    def start_network(self) -> None:
        """The organisations, and their SNs; only the sentinel is ready then."""
        self.stage = "making certificates"
        self._look()
        self.swarm.make_organisations()
        self.stage = "starting the nodes"
        self.swarm.start_network_node(1)
        network = self.swarm.network
        self._launch.wait_ready(network[:1], READY_S, self._look)
        for number in range(2, self._sns + 1):
            self.swarm.start_network_node(number, sentinel_port=self.swarm.api_port(0))

    def train(self) -> None:
        """Until every program has ended well."""
        try:
            self._launch.wait_ended([peer.node for peer in self.swarm.peers], self._look)
        except SwarmError as error:
            raise self.swarm.failure(error) from error

    def finish(self) -> Ran:
        """Ask the ledger what it holds, end the network nodes, and sum up."""
        self.stage = "comparing digests"
        self._look()
        try:
            status = self._ask_status()
        except SwarmError:
            self._launch.check(self._may_end())  # it is dead: that says more than that it does not answer
            raise
        self._launch.check(self._may_end())
        self._launch.stop(END_S)
        self.stage = "done"
        self._look()
        return self._sum_up(status)

    def _ask_status(self) -> dict[str, Any]:
        """As the first organisation's command interface."""
        from swarm.nodes.client import Client, consult  # loads libp2p: not before the nodes are started
        from swarm.runtime.credentials import Credentials

        tree = self.swarm.trees[0]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath, expect_roles=("swci",))
        return consult((HOST, self.swarm.api_port(0)), credentials, self.swarm.directory / "swci-1", Client.status)

    def _may_end(self) -> list[Process]:
        """Whose end is no failure: a program that takes no part in a swarm may end before the last node is ready."""
        return [peer.node for peer in self.swarm.peers]

    def _processes(self) -> list[dict[str, Any]]:
        return self._launch.table() + [peer.program_row() for peer in self.swarm.peers if peer.program_pid]

    def _look(self) -> None:
        self.swarm.look()
        self._look_on()

    def _sum_up(self, status: dict[str, Any]) -> Ran:
        peers = self.swarm.peers
        digests = {peer.name: peer.digest for peer in peers if peer.digest}
        contracts = [contract for contract in status["contracts"] if contract["commits"]]
        # A program may train several one after the other; what the peers ended with is the last.
        last = next((one for one in contracts if one["base"] in digests.values()), contracts[-1] if contracts else None)
        seconds = [line["seconds"] for peer in peers for line in peer.rounds]
        processes = self._processes()
        return Ran(
            rounds=sum(contract["commits"] for contract in contracts),
            ledger_digest=last["base"] if last else None,
            digests=digests,
            bytes_sent={peer.name: peer.bytes_sent for peer in peers},
            round_s={"median": round(median(seconds), 4), "max": round(max(seconds), 4)} if seconds else None,
            processes=processes,
            exit_codes={row["name"]: row["exit_code"] for row in processes},
        )
