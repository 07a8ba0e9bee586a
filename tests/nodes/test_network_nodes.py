"""Network nodes as real processes: what becomes of the ledger when they die, come back, or may not come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest

from swarm.errors import Refused, SwarmError, Unreachable
from swarm.nodes.client import Client, consult
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import HOST, LocalSwarm
from swarm.nodes.promotion import promote
from swarm.runtime.credentials import Credentials
from tests.nodes import operators, test_swarm
from tests.nodes.test_swarm import final, rounds
from tests.nodes.waiting import PATIENCE_S, eventually

T = TypeVar("T")


class Network:
    """Network nodes of as many organisations, by number from 1, and a person of each organisation."""

    def __init__(self, directory: Path, launch: Launch) -> None:
        self.swarm = LocalSwarm(directory, launch, organisations=5)
        self.swarm.make_organisations()
        self.directory, self.launch = directory, launch
        self.nodes: dict[int, Process] = {}
        self._ports: dict[int, tuple[int, int]] = {}
        self._asked = 0

    def start(self, number: int, *, at: int | None = None, fresh_ports: bool = False) -> None:
        """This node, through the node ``at``; the first one founds the network. It keeps its ports."""
        p2p_port, api_port = (0, 0) if fresh_ports else self._ports.get(number, (0, 0))
        self.nodes[number] = self.swarm.start_network_node(
            number, sentinel_port=self._ports[at][1] if at else None, p2p_port=p2p_port, api_port=api_port
        )

    def ready(self, *numbers: int) -> None:
        self.launch.wait_ready([self.nodes[number] for number in numbers], PATIENCE_S)
        for number in numbers:
            said = self.nodes[number].ready()
            assert said is not None
            self._ports[number] = int(said["p2p_port"]), int(said["api_port"])

    def of(self, count: int) -> None:
        """So many, all that should vote voting."""
        for number in range(1, count + 1):
            self.start(number, at=1 if number > 1 else None)
            self.ready(number)
        self.voting({1: 1, 2: 1, 3: 3, 5: 5}[count])

    def voting(self, voters: int, *, ask: int = 1) -> None:
        eventually(f"{voters} voters", lambda: len(self.status(ask)["voters"]) == voters)

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            os.kill(self.nodes[number].pid, signal.SIGKILL)
        for number in numbers:
            gone = self.nodes.pop(number)
            eventually(f"the end of {gone.name}", lambda gone=gone: not gone.running)
            self.launch.processes.remove(gone)

    def back(self, *numbers: int, at: int | None = None) -> None:
        """With their directories, on their ports, by the command line that they began with or another one."""
        for number in numbers:
            self.start(number, at=at or (1 if number > 1 else None))
        self.ready(*numbers)

    # ---- asking

    def ask(self, number: int, work: Callable[[Client], Awaitable[T]], *, by: int | None = None) -> T:
        """By the person of this node's organisation, or of another one."""
        self._asked += 1
        tree = self.swarm.trees[(by or number) - 1]
        credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
        return consult((HOST, self._ports[number][1]), credentials, self.directory / f"asking-{self._asked}", work)

    def status(self, number: int) -> dict[str, Any]:
        return self.ask(number, Client.status)

    def answers(self, number: int) -> bool:
        """Whether it listens: before it is ready, too."""
        try:
            self.status(number)
        except Unreachable:
            return False
        return True

    def notes(self, number: int) -> str:
        return "\n".join(self.status(number)["notes"])

    def write(self, number: int, *names: str) -> None:
        """Have the ledger acknowledge contracts of these names, through this node."""

        async def propose(client: Client) -> int:
            return max([(await client.propose("ContractCreated", {"contract": name})).index for name in names])

        self.ask(number, propose)

    def has(self, number: int, *names: str) -> bool:
        async def look(client: Client) -> bool:
            return set(names) <= set((await client.ledger()).unopened)

        return self.ask(number, look)

    def uid(self, number: int) -> str:
        said = self.nodes[number].ready()
        assert said is not None
        return str(said["uid"])

    def leader(self, ask: int) -> int:
        """The number of the node that leads, as that node says itself."""

        def find() -> int:
            uid = self.status(ask)["leader"]
            for number in self.nodes:
                if self.uid(number) == uid and self.status(number)["role"] == "leader":
                    return number
            return 0

        return int(eventually("a leader", find))

    def says(self, number: int, text: str) -> None:
        log = self.swarm.directory / f"sn-{number}" / "output.log"
        eventually(f"{text!r} in the output of sn-{number}", lambda: text in log.read_text(errors="replace"))


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Network(tmp_path, launch)


def test_three_network_nodes_vote_and_each_takes_proposals(network: Network) -> None:
    network.of(3)
    for number in (1, 2, 3):
        network.write(number, f"through-{number}")
    for number in (1, 2, 3):
        assert network.has(number, "through-1", "through-2", "through-3")
    statuses = [network.status(number) for number in (1, 2, 3)]
    assert sorted(status["role"] for status in statuses) == ["follower", "follower", "leader"]
    assert len({status["leader"] for status in statuses}) == 1
    assert [status["learners"] for status in statuses] == [[], [], []]
    assert [status["notes"] for status in statuses] == [[], [], []]


@pytest.mark.slow
def test_r010_the_next_write_is_acknowledged_seconds_after_the_leader_was_killed(network: Network) -> None:
    network.of(3)
    leader = network.leader(1)
    others = [number for number in (1, 2, 3) if number != leader]
    network.write(others[0], "before")
    network.kill(leader)
    begun = monotonic()
    network.write(others[0], "after")
    assert monotonic() - begun < 10.0
    assert network.leader(others[0]) in others
    assert network.has(others[1], "before", "after")
    network.back(leader, at=others[0])
    assert network.has(leader, "before", "after")
    assert len(network.status(leader)["voters"]) == 3


@pytest.mark.slow
def test_five_network_nodes_bear_the_loss_of_two_and_pause_without_three(network: Network) -> None:
    network.of(5)
    first = network.leader(1)
    gone = [first, next(number for number in range(1, 6) if number != first)]
    left = [number for number in range(1, 6) if number not in gone]
    network.write(left[0], "before")
    network.kill(*gone)
    network.write(left[0], "after")
    for number in left:
        assert network.has(number, "before", "after")
    third = network.leader(left[0])
    network.kill(third)
    left.remove(third)
    note = eventually("a pause", lambda: "ledger pauses" in network.notes(left[0]) and network.notes(left[0]))
    assert "and 3 of 5 voters have to be" in note
    assert f"sn-{third} (org-{third})" in note
    network.back(*gone, at=left[0])
    network.write(gone[0], "again")
    assert network.has(left[1], "before", "after", "again")


@pytest.mark.slow
def test_r007_all_killed_at_once_come_back_with_all_that_was_acknowledged(network: Network) -> None:
    network.of(3)
    network.write(2, "one", "two")
    epoch = network.status(1)["term"]
    network.kill(1, 2, 3)
    network.back(3, 1, 2)
    network.write(3, "three")
    for number in (1, 2, 3):
        assert network.has(number, "one", "two", "three")
    assert network.status(1)["term"] > epoch


@pytest.mark.slow
def test_an_empty_directory_joins_through_a_peer_as_another_node(network: Network) -> None:
    network.of(3)
    network.write(1, "kept")
    former = network.uid(1)
    network.kill(1)
    shutil.rmtree(network.directory / "sn-1")
    network.back(1, at=3)
    assert network.uid(1) != former
    assert network.has(1, "kept")
    status = network.status(1)
    assert status["role"] == "learner"
    assert former in status["voters"]
    with pytest.raises(Refused, match="only a swci of org-1 or of the sentinel's organisation org-1 may"):
        network.ask(2, lambda client: client.propose("SnRemoved", {"uid": former}))
    network.ask(2, lambda client: client.propose("SnRemoved", {"uid": former}), by=1)
    eventually("the new one's vote", lambda: {network.uid(1)} <= set(network.status(2)["voters"]) - {former})


@pytest.mark.slow
def test_a_restored_backup_is_set_aside_and_comes_back_as_a_learner(network: Network, tmp_path: Path) -> None:
    network.of(3)
    victim = next(number for number in (1, 2, 3) if number != network.leader(1))
    other = next(number for number in (1, 2, 3) if number != victim)
    former = network.uid(victim)
    state = network.directory / f"sn-{victim}"
    network.kill(victim)
    shutil.copytree(state, tmp_path / "backup")
    network.back(victim, at=other)
    network.write(victim, *(f"since-{number}" for number in range(20)))
    heads = network.directory / f"sn-{other}" / "heads"
    reached = network.status(victim)["head"]
    eventually("its word at the others", lambda: network.status(victim)["head"] >= reached and heads.exists())
    network.kill(victim)
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "backup", state)
    network.start(victim, at=other)
    network.says(victim, "this state directory is an old copy")
    network.ready(victim)
    assert network.uid(victim) != former
    assert network.has(victim, "since-19")
    assert network.status(victim)["role"] == "learner"
    assert "came back as a learner" in network.notes(victim)
    assert (state / "aside-1" / "ledger.db").exists()


@pytest.mark.slow
def test_a_lost_sentinel_of_two_is_given_up_by_force_and_comes_back_as_a_learner(network: Network) -> None:
    network.of(2)
    network.write(2, "shared")
    former = network.uid(1)
    with pytest.raises(Refused, match=r"sn-1 \(org-1\) leads the ledger and answers"):
        network.ask(2, lambda client: promote(client, "a test"))
    network.kill(2)
    network.write(1, "alone")
    assert "ledger has one copy" in network.notes(1)
    network.kill(1)
    network.start(2, at=1)
    eventually("a pause", lambda: network.answers(2) and "ledger pauses" in network.notes(2))
    with pytest.raises(SwarmError, match="only a swci of org-2 or of the sentinel's organisation org-1 may"):
        network.ask(2, lambda client: promote(client, "a test"), by=3)
    status = network.ask(2, lambda client: promote(client, "the disk of sn-1 is gone"))
    assert (status["epoch"], status["voters"]) == (1, [network.uid(2)])
    network.write(2, "recovered")
    network.start(1)  # by the command line that it always had
    network.says(1, "was recovered by force while this node was away: sn-2 (org-2) decides since entry")
    network.ready(1)
    assert network.uid(1) != former
    assert network.has(1, "shared", "recovered")
    assert not network.has(1, "alone")
    assert network.status(1)["role"] == "learner"
    lost = json.loads((network.directory / "sn-1" / "aside-1" / "lost.json").read_text())
    assert "ContractCreated" in [each["kind"] for each in lost]
    assert "what it acknowledged alone is lost" in network.notes(1)
    network.kill(1)
    network.back(1)
    assert network.has(1, "recovered")


@pytest.mark.slow
def test_r030_a_node_that_moved_to_other_ports_is_found_again(network: Network) -> None:
    network.of(3)
    network.kill(2)
    network.start(2, at=3, fresh_ports=True)
    network.ready(2)
    network.kill(network.leader(3))
    left = sorted(network.nodes)
    network.write(left[0], "found")
    assert network.has(left[1], "found")


@pytest.mark.slow
def test_r013_a_leader_that_was_frozen_finds_itself_replaced(network: Network) -> None:
    network.of(3)
    leader = network.leader(1)
    other = next(number for number in (1, 2, 3) if number != leader)
    frozen = network.nodes[leader].pid
    os.kill(frozen, signal.SIGSTOP)
    try:
        network.write(other, "meanwhile")
    finally:
        os.kill(frozen, signal.SIGCONT)
    eventually("it to follow", lambda: network.status(leader)["role"] == "follower")
    assert network.has(leader, "meanwhile")


# ---- what goes on meanwhile


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
        gate = tmp_path / "gate"
        peers = [scene.peer(GATE=gate, SYNCS=6), scene.peer(GATE=gate, SYNCS=6)]
        for peer in peers:
            scene.says(peer.node, "at the gate")
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
    eventually("the end of all workers", lambda: not operators.workers(tmp_path), 20)
