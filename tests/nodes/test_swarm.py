"""Whole swarms of real processes: SNs, SLs and programs, and what becomes of the training when one of them goes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
import trio

from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import LocalSwarm, Peer
from swarm.runtime.control import Control
from swarm.runtime.credentials import Credentials
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from tests.nodes.waiting import PATIENCE_S, eventually

PROGRAM = [sys.executable, str(Path(__file__).parent / "programs" / "counting.py")]


class Scene:
    """A swarm, and words for what tests do with it."""

    def __init__(self, directory: Path, launch: Launch, organisations: int = 3) -> None:
        self.swarm = LocalSwarm(directory, launch, organisations=organisations)
        self.swarm.make_organisations()
        self.directory = directory
        self.launch = launch

    def network(self, nodes: int) -> None:
        for number in range(1, nodes + 1):
            sentinel = self.swarm.api_port(0) if number > 1 else None
            node = self.swarm.start_network_node(number, sentinel_port=sentinel)
            self.launch.wait_ready([node], PATIENCE_S)

    def peer(self, **environment: Any) -> Peer:
        added = {name: str(value) for name, value in environment.items()}
        return self.swarm.start_peer(PROGRAM, environment={"SWARM_ADD": str(len(self.swarm.peers) + 1), **added})

    def at_the_gate(self, **environment: Any) -> tuple[Path, list[Peer]]:
        """Two peers that have merged once and go on when this file is there."""
        gate = self.directory / "gate"
        peers = [self.peer(GATE=gate, **environment) for _ in range(2)]
        for peer in peers:
            self.says(peer.node, "at the gate")
        return gate, peers

    def says(self, process: Process, text: str) -> None:
        eventually(f"{text!r} in the output of {process.name}", lambda: text in output(process))

    def ended(self, peer: Peer) -> int:
        eventually(f"the end of {peer.name}", lambda: not peer.node.running)
        return code(peer)

    def status(self, number: int) -> dict[str, Any]:
        """What the SN says of itself, over the control link, asked with a certificate of its organisation."""
        return trio.run(self._status, number)

    async def _status(self, number: int) -> dict[str, Any]:
        tree = self.swarm.trees[number]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
        with StateDirectory(self.directory / f"asking-{number}") as state:
            mesh = Mesh(Local(credentials, state))
            control = Control(mesh, {}, lambda peer, verb: None)
            async with mesh.run(), control.run():
                link = await control.connect("127.0.0.1", self.swarm.api_port(number), deadline_s=10)
                answer: dict[str, Any] = await link.call("status", {}, deadline_s=10)
                return answer

    def restart_sentinel(self) -> None:
        """The sentinel again, from its directory, on the ports it had."""
        dead = self.swarm.network[0]
        ports = json.loads((dead.state / "ready.json").read_text())
        self.launch.processes.remove(dead)
        self.swarm.start_network_node(1, p2p_port=ports["p2p_port"], api_port=ports["api_port"])
        self.swarm.network[0] = self.swarm.network.pop()
        self.launch.wait_ready([self.swarm.network[0]], PATIENCE_S)


def output(process: Process) -> str:
    return process.log.read_text(errors="replace")


def code(peer: Peer) -> int:
    ended = peer.node.exit_code
    assert ended is not None
    return ended


def final(peer: Peer) -> str:
    (line,) = [line for line in output(peer.node).splitlines() if line.startswith("final ")]
    return line


def rounds(peer: Peer) -> int:
    peer.look()
    return len(peer.rounds)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Scene(tmp_path, launch)


def test_two_organisations_end_with_the_same_bytes(scene: Scene) -> None:
    scene.network(1)
    peers = [scene.peer(), scene.peer()]
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
    assert "All peers and Swarm training rounds finished. Final Swarm model was loaded." in output(peers[0].node)
    assert [rounds(peer) for peer in peers] == [5, 5]
    (contract,) = scene.status(0)["contracts"]
    assert contract["finished"]
    assert {peer.digest for peer in peers} == {contract["base"]}


def test_each_organisation_at_its_own_network_node(scene: Scene) -> None:
    scene.network(2)
    peers = [scene.peer(), scene.peer()]
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
    statuses = [scene.status(0), scene.status(1)]
    assert [status["role"] for status in statuses] == ["leader", "learner"]
    assert statuses[0]["contracts"] == statuses[1]["contracts"]
    told = [member["training"] for member in statuses[1]["contracts"][0]["members"]]
    assert all(training["batches"] > 0 for training in told), "each network node tells of both programs"
    assert not statuses[0]["one_copy"]


def test_a_dead_peer_network_node_stops_nothing_and_its_learning_node_changes_over(scene: Scene) -> None:
    scene.network(2)
    gate, peers = scene.at_the_gate()
    os.kill(scene.swarm.network[1].pid, signal.SIGKILL)
    gate.touch()
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
    status = scene.status(0)
    assert status["one_copy"]
    assert "ledger has one copy" in status["notes"]


def test_a_sentinel_that_comes_back_with_its_directory_continues(scene: Scene) -> None:
    scene.network(2)
    gate, peers = scene.at_the_gate()
    before = scene.status(1)["head"]
    os.kill(scene.swarm.network[0].pid, signal.SIGKILL)
    gate.touch()
    eventually(
        "a pause that names the sentinel",
        lambda: any("ledger pauses" in note and "sn-1" in note for note in scene.status(1)["notes"]),
    )
    scene.restart_sentinel()
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
    assert scene.status(0)["head"] > before
    eventually("the peer in step", lambda: scene.status(1)["head"] == scene.status(0)["head"])
    assert scene.status(1)["contracts"] == scene.status(0)["contracts"]


def test_a_late_joiner_starts_from_the_committed_model(scene: Scene) -> None:
    scene.network(1)
    gate, first = scene.at_the_gate()
    late = scene.peer(GATE=gate)
    scene.says(late.node, "adopted")
    gate.touch()
    assert [scene.ended(peer) for peer in [*first, late]] == [0, 0, 0]
    assert len({final(peer) for peer in [*first, late]}) == 1


@pytest.mark.parametrize("victim", ["SL", "ML"])
def test_a_peer_that_is_killed_is_missed_by_nobody_above_min_peers(scene: Scene, victim: str) -> None:
    scene.network(1)
    gate, peers = scene.at_the_gate()
    peers.append(scene.peer())
    scene.says(peers[2].node, "adopted")
    peers[2].look()
    program = peers[2].program_pid
    assert program is not None
    os.kill(program if victim == "ML" else peers[2].node.pid, signal.SIGKILL)
    gate.touch()
    assert [scene.ended(peer) for peer in peers[:2]] == [0, 0]
    assert final(peers[0]) == final(peers[1])
    assert scene.ended(peers[2]) == (6 if victim == "ML" else 137)


def test_a_program_alone_gives_up_with_the_name_of_what_is_missing(scene: Scene) -> None:
    scene.network(1)
    lone = scene.peer(PATIENCE_S=2)
    assert scene.ended(lone) == 4
    assert "1 more to enrol (minPeers 2)" in output(lone.node)
    assert "Traceback" not in output(lone.node)


def test_when_all_end_inactive_the_last_merged_model_is_final(scene: Scene) -> None:
    scene.network(1)
    peers = [scene.peer(CHECKIN="inactive"), scene.peer(CHECKIN="inactive")]
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])


def test_one_program_trains_in_several_contracts_one_after_the_other(scene: Scene) -> None:
    scene.network(1)
    peers = [scene.peer(CONTRACTS="one two one", MIN_PEERS=3) for _ in range(3)]
    assert [scene.ended(peer) for peer in peers] == [0, 0, 0]
    assert len({final(peer) for peer in peers}) == 1
    one, _, again = final(peers[0]).split()[1:]
    assert one == again  # a finished contract gives its final model, and trains no more


def test_r005_below_min_peers_a_peer_goes_on_alone_then_waits_idly_in_sight_of_all_and_gives_up(scene: Scene) -> None:
    scene.network(1)
    gate, (left, killed) = scene.at_the_gate(TOO_FEW="local", PATIENCE_S=4)
    os.kill(killed.node.pid, signal.SIGKILL)
    gate.touch()
    scene.says(left.node, "training on alone, 2 of 10")
    (contract,) = scene.status(0)["contracts"]  # a final model takes minPeers
    assert contract["absent"] == ["sl-2 (org-2) lost (minPeers 2)"]
    waits = psutil.Process(left.node.pid)
    whole = [waits, *waits.children(recursive=True)]
    begun_s, computed_s = monotonic(), sum(sum(each.cpu_times()[:2]) for each in whole)
    eventually("a while", lambda: monotonic() > begun_s + 2)
    assert sum(sum(each.cpu_times()[:2]) for each in whole) - computed_s < 0.5, "it waits, and does nothing else"
    assert scene.ended(left) == 4
    assert "waited 4 s in contract count for peers: sl-2 (org-2) lost (minPeers 2)" in output(left.node)


def test_diverged_weights_withdraw_one_peer_and_the_swarm_goes_on(scene: Scene) -> None:
    scene.network(1)
    gate, peers = scene.at_the_gate()
    diverging = scene.peer(NAN=1)
    assert scene.ended(diverging) == 7
    assert "NaN" in output(diverging.node)
    gate.touch()
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
