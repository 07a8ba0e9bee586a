"""What goes on while the leading network node is killed: proposals, training, tasks. All of real processes."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch
from swarm.nodes.local import HOST, LocalSwarm
from swarm.runtime.credentials import Credentials
from tests.nodes import operators, test_swarm
from tests.nodes.networks import Network
from tests.nodes.test_swarm import final, rounds
from tests.nodes.waiting import PATIENCE_S, eventually


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_while_leaders_are_killed_and_restarted_under_load(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    over = threading.Event()

    async def load(client: Client) -> int:
        while not over.is_set():
            name = f"load-{len(acknowledged)}"
            assert not (await client.propose("ContractCreated", {"contract": name})).result["known"]
            acknowledged.append(name)
        return len(acknowledged)

    def goes_on() -> None:
        enough = len(acknowledged) + 20
        eventually("load that is acknowledged", lambda: len(acknowledged) > enough)

    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch, ThreadPoolExecutor(1) as pool:
        network = Network(tmp_path, launch)
        network.of(3)
        asked = next(number for number in (1, 2, 3) if number != network.leader(1))
        written = pool.submit(network.ask_aside, asked, load)
        try:
            for _ in range(2):
                goes_on()
                victim = network.leader(asked)
                network.kill(victim)
                goes_on()
                network.back(victim, at=next(number for number in network.nodes))
        finally:
            over.set()
        assert written.result(PATIENCE_S) == len(acknowledged)
        for number in (1, 2, 3):
            assert network.has(number, *acknowledged)


def ledger_of(port: int, swarm: LocalSwarm, asking: Path) -> dict[str, Any]:
    tree = swarm.trees[0]
    credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
    return consult((HOST, port), credentials, asking, Client.status)


def kill_the_leader(swarm: LocalSwarm, launch: Launch, asking: Path) -> int:
    """Once three vote; the place of one that is left."""
    first = swarm.api_port(0)
    eventually("three voters", lambda: len(ledger_of(first, swarm, asking)["voters"]) == 3)
    uid = ledger_of(first, swarm, asking)["leader"]
    (leader,) = [node for node in swarm.network if (node.ready() or {}).get("uid") == uid]
    os.kill(leader.pid, signal.SIGKILL)
    eventually("its end", lambda: not leader.running)
    launch.processes.remove(leader)
    return (swarm.network.index(leader) + 1) % 3


@pytest.mark.slow
def test_training_goes_on_while_leadership_moves_and_no_round_is_lost(tmp_path: Path) -> None:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        scene = test_swarm.Scene(tmp_path, launch)
        scene.network(3)
        gate, peers = scene.at_the_gate(SYNCS=6)
        left = kill_the_leader(scene.swarm, launch, tmp_path / "asking")
        gate.touch()
        assert [scene.ended(peer) for peer in peers] == [0, 0]
        assert final(peers[0]) == final(peers[1])
        assert [rounds(peer) for peer in peers] == [8, 8]
        (contract,) = scene.status(left)["contracts"]
        assert contract["finished"]


@pytest.mark.slow
def test_a_task_goes_on_while_leadership_moves_and_no_slot_runs_twice(tmp_path: Path) -> None:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        scene = operators.Scene(tmp_path, launch, network_nodes=3)
        scene.operator(1, syncs=40)
        scene.operator(2, "--accept-org", "org-1", syncs=40)
        scene.assign("model/counting.py", peers=2)
        scene.running()
        scene.port = scene.swarm.api_port(kill_the_leader(scene.swarm, launch, tmp_path / "asking"))
        run = scene.decided()
        slots = list(run.slots.values())
        assert [(slot.state, slot.exit_code, slot.attempt) for slot in slots] == [("done", 0, 1)] * 2, run
        assert len({scene.log(host, slot).splitlines()[-1] for host, slot in enumerate(slots, 1)}) == 1
    eventually("the end of all workers", lambda: not operators.workers(tmp_path))
