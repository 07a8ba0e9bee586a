"""How many rounds a second many peers of a tiny model do at one network node, and that nothing goes wrong meanwhile.

    python benchmarks/rounds.py [--peers 16] [--rounds 50] [--json]

Real nodes, an organisation for each peer. Counts from the last program's return from the first round to the last one's
from the final round; a round's latency is from the last one's call to the last one's return. Exit code 1 unless every
peer was in every round, all have one model after each, with its digest in every log, and no node has had a warning or
an error to say. Run by `make bench`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from swarm.errors import CheckFailed, SwarmError
from swarm.nodes.launch import Launch, Process
from swarm.nodes.local import READY_S, LocalSwarm, Peer

START_AT_ONCE = 4
"""More would only wait for each other, and a hundred processes at once starve each other on a small machine."""
PROGRAM = [sys.executable, str(Path(__file__).with_name("program.py"))]


def measure(directory: Path, launch: Launch, peers: int, rounds: int) -> dict[str, Any]:
    environment = {"MIN_PEERS": str(peers), "CONTRACT": "bench", "ROUNDS": str(rounds)}
    swarm = LocalSwarm(directory, launch, organisations=peers)
    swarm.make_organisations()
    network_node = swarm.start_network_node(1)
    launch.wait_ready([network_node], READY_S)
    for number in range(peers):
        launch.wait_ready([peer.node for peer in swarm.peers[: max(0, number - START_AT_ONCE + 1)]], READY_S)
        swarm.start_peer(PROGRAM, environment=environment)
    launch.wait_ended([peer.node for peer in swarm.peers], swarm.look)
    for peer in swarm.peers:
        check(peer, peers, rounds)
    if len({peer.digest for peer in swarm.peers}) != 1:
        raise CheckFailed(f"the peers ended with different models: {[peer.digest for peer in swarm.peers]}")
    for peer in swarm.peers:
        check_digests(peer, swarm.peers[0])
    for node in (network_node, *(peer.node for peer in swarm.peers)):
        check_log(node)
    said = [json.loads(peer.node.last_lines()[-1]) for peer in swarm.peers]
    seconds = max(one["ended"] for one in said) - max(one["merged"] for one in said)
    return {
        "peers": peers,
        "rounds": rounds,
        "digest": swarm.peers[0].digest,
        "rounds_per_s": round((rounds - 1) / seconds, 2),
        "round_s": latencies([one["rounds"] for one in said]),
        "bytes_per_peer": max(peer.bytes_sent for peer in swarm.peers) // rounds,
    }


def latencies(peers: list[list[tuple[float, float]]]) -> dict[str, float]:
    """Of the rounds between the first and the last: from the last one's call to the last one's return."""
    spans = [max(had for _, had in one) - max(asked for asked, _ in one) for one in zip(*peers, strict=True)]
    return {"median": round(median(spans), 3), "max": round(max(spans), 3)} if spans else {}


def check(peer: Peer, peers: int, rounds: int) -> None:
    """A peer that is slow with its own merge takes over what the others have committed, its part in it."""
    numbers = [line["round"] for line in peer.rounds]
    if numbers != list(range(rounds)):
        raise CheckFailed(f"{peer.name} was not in all of {rounds} rounds, but in {numbers}")
    for line in peer.rounds:
        if (line["how"], line["members"]) not in (("merged", peers), ("adopted", 0)):
            raise CheckFailed(f"{peer.name} was in round {line['round']} one of {line['members']}, expected {peers}")


def check_digests(peer: Peer, first: Peer) -> None:
    """Every round's model is the first peer's, bit for bit, and every peer's log says so."""
    log = peer.node.log.read_text()
    for line, other in zip(peer.rounds, first.rounds, strict=True):
        if line["digest"] != other["digest"] or f"round {line['round']}: {other['digest']}, " not in log:
            raise CheckFailed(f"{peer.name} does not log {other['digest']} as the model of round {line['round']}")


def check_log(node: Process) -> None:
    for line in node.log.read_text().splitlines():
        if " : WARNING : " in line or " : ERROR : " in line:
            raise CheckFailed(f"{node.name} said: {line}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory, Launch() as launch:
            result = measure(Path(directory), launch, flags.peers, flags.rounds)
    except SwarmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return error.code
    if flags.json:
        print(json.dumps({"ok": True, **result}))
    else:
        print(f"{flags.peers} peers of a tiny model at one network node: {result['rounds_per_s']:.1f} rounds/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
