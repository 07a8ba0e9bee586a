"""A swarm is brought to the next release one node after the other, and trains on. All of real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarm.errors import IdentityError, Outdated
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import Peer
from tests.nodes.networks import Network
from tests.nodes.operators import NODE, PROFILE, PROGRAMS, RUNNER
from tests.nodes.releases import NEXT, ROOT, environment, next_release
from tests.nodes.waiting import PATIENCE_S, eventually

LATER_S = 90.0
"""A node that was ended may be missed for 9 s first, and newer rules hold 20 s after all know them."""


class Swarm:
    """Three network nodes, three peers that merge all the time, an operator that waits for work."""

    def __init__(self, directory: Path, launch: Launch) -> None:
        self.directory = directory
        self.network = Network(directory, launch)
        self.network.of(3)
        self.local = self.network.swarm
        self.until = directory / "until"
        self._seated()
        self.peers = {number: self.peer(number) for number in (1, 2, 3)}
        self.operator = self._operator()

    # ---- its nodes

    def _seated(self) -> None:
        self.local.network[:] = [self.network.nodes[number] for number in (1, 2, 3)]

    def peer(self, number: int) -> Peer:
        """Number ``number``, the first time or again."""
        self.local.peers[number - 1 :] = []
        kept = {"KEPT": str(self.directory / f"kept-{number}"), "UNTIL": str(self.until)}
        counted = {"SWARM_ADD": str(number), "MIN_PEERS": "2"}
        return self.local.start_peer([sys.executable, str(PROGRAMS / "steady.py")], environment={**kept, **counted})

    def _operator(self) -> Process:
        tree = self.local.trees[0]
        text = PROFILE.format(runner=RUNNER, host=1, port=self.local.api_port(0)) + NODE.format(
            idx=0, key=tree.key("sl"), certs=tree.directory, cert=tree.certificate("sl").name,
            capath=tree.capath, data=self.directory, add=1, syncs=1,
        )  # fmt: skip
        profile = self.directory / "profile.yaml"
        profile.write_text(text.replace("mgrtype: DOCKER", "mgrtype: PROCESS"))
        operator = self.local.start_operator(1, profile, accepted=[])
        self.network.launch.wait_ready([operator], PATIENCE_S)
        return operator

    # ---- from one release to the next

    def use(self, launch: Launch) -> None:
        """Whatever is started from here on runs the release of this launch."""
        self.network.launch = self.local.launch = launch

    def end(self, process: Process, launch: Launch) -> None:
        os.kill(process.pid, signal.SIGTERM)
        ended(process)
        launch.processes.remove(process)

    def again_network_node(self, number: int, before: Launch) -> None:
        self.end(self.network.nodes.pop(number), before)
        self.network_node(number)

    def network_node(self, number: int) -> None:
        self.network.start(number, at=2 if number == 1 else 1)
        self.network.ready(number)
        self._seated()

    def again_peer(self, number: int, before: Launch) -> None:
        self.end(self.peers[number].node, before)
        self.peers[number] = self.peer(number)

    def again_operator(self, before: Launch) -> None:
        self.end(self.operator, before)
        self.operator = self._operator()

    # ---- what becomes of it

    def status(self) -> dict[str, Any]:
        """As long as a client of this release is let in."""
        return self.network.status(1)

    def notes(self) -> str:
        return self.network.notes(1)

    def goes_on(self) -> None:
        """Each peer takes part in two more rounds."""
        enough = {number: rounds(peer) + 2 for number, peer in self.peers.items()}
        for number, count in enough.items():
            takes_part(self.peers[number], count)

    def greet(self, release: Path) -> dict[str, Any]:
        """A client of the next release proposes what came with its rules."""
        tree = self.local.trees[0]
        command = [
            *(sys.executable, str(PROGRAMS / "greeting.py"), str(self.network.ports[1][1]), str(tree.key("swci"))),
            *(str(tree.certificate("swci")), str(tree.capath), str(self.directory / "greeting")),
        ]
        environ = {**os.environ, **environment(release)}
        said = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        answer: dict[str, Any] = json.loads(said.stdout)
        return answer

    def refused(self, process: Process, launch: Launch) -> str:
        """A node of a release that cannot follow ends by itself, with one error; which one."""
        before = process.log.read_text().count("error: ")
        ended(process)
        launch.processes.remove(process)
        said = process.log.read_text()
        assert (process.exit_code, said.count("error: ") - before) == (IdentityError.code, 1), said
        assert "Traceback" not in said
        return said[said.rindex("error: ") :]


def rounds(peer: Peer) -> int:
    peer.look()
    return len(peer.rounds)


def takes_part(peer: Peer, count: int) -> None:
    eventually(f"round {count} of {peer.name}", lambda: rounds(peer) >= count, LATER_S)


def ended(process: Process) -> None:
    eventually(f"the end of {process.name}", lambda: not process.running, LATER_S)


@pytest.fixture
def launches(tmp_path: Path) -> Iterator[tuple[Launch, Launch, Path]]:
    """This release, the next one, and where that is."""
    release = next_release(tmp_path / "next")
    with Launch(environment=environment(ROOT)) as this, Launch(environment=environment(release)) as later:
        yield this, later, release


@pytest.mark.slow
def test_r095_nodes_are_brought_to_the_next_release_one_by_one_and_rounds_go_on(
    launches: tuple[Launch, Launch, Path], tmp_path: Path
) -> None:
    this, later, release = launches
    swarm = Swarm(tmp_path / "swarm", this)
    swarm.goes_on()
    swarm.use(later)
    for number in (1, 2, 3):
        swarm.again_network_node(number, before=this)
        swarm.goes_on()
    assert swarm.status()["rules"] == {"active": NEXT - 1, "known": NEXT}
    early = swarm.greet(release)
    assert f"kind 'Greeted', which rules version {NEXT - 1} of the ledger does not have" in early["message"]
    for number in (1, 2, 3):
        assert f"rules version {NEXT} is activated once these nodes are upgraded, too: " in swarm.notes()
        swarm.again_peer(number, before=this)
        swarm.goes_on()
    assert f"rules version {NEXT} is activated once these nodes are upgraded, too: swop-1 (org-1)" in swarm.notes()
    swarm.again_operator(before=this)
    for number in (1, 2, 3):
        swarm.network.says(number, f"the ledger follows rules version {NEXT} from here on")
    assert swarm.greet(release) == {"heard": "hello"}
    swarm.goes_on()

    versions = rf"knows rules version {NEXT - 1} of the ledger, this network follows version {NEXT}"
    with pytest.raises(Outdated, match=versions):
        swarm.status()
    swarm.use(this)
    swarm.network.start(4, at=1)
    assert re.search(versions, swarm.refused(swarm.network.nodes.pop(4), this))
    swarm.end(swarm.network.nodes.pop(3), later)
    swarm.network.start(3, at=1)
    own = rf"from entry \d+ on this network follows rules version {NEXT}, .* knows version {NEXT - 1}"
    assert re.search(own, swarm.refused(swarm.network.nodes.pop(3), this))
    swarm.use(later)
    swarm.network_node(3)
    swarm.end(swarm.peers[3].node, later)
    swarm.use(this)
    assert re.search(versions, swarm.refused(swarm.peer(3).node, this))
    swarm.use(later)
    swarm.peers[3] = swarm.peer(3)
    swarm.goes_on()

    swarm.until.touch()
    nodes = [peer.node for peer in swarm.peers.values()]
    for node in nodes:
        ended(node)
    assert [node.exit_code for node in nodes] == [0, 0, 0]
    finals = {node.log.read_text().rpartition("final ")[2].splitlines()[0] for node in nodes}
    assert len(finals) == 1, finals
