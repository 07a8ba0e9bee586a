"""Network nodes as real processes: what becomes of the ledger when they die, come back, or may not come back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from swarm.errors import Refused, SwarmError, Unreachable
from swarm.nodes import client
from swarm.nodes.client import Client
from swarm.nodes.launch import Launch
from swarm.nodes.local import HOST
from swarm.nodes.promotion import promote
from tests.nodes.networks import Network
from tests.nodes.waiting import PATIENCE_S, eventually

LED_AGAIN_S = 5.0


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
@pytest.mark.alone
def test_r010_the_next_write_is_acknowledged_seconds_after_the_leader_was_killed(network: Network) -> None:
    network.of(3)
    leader = network.leader(1)
    others = [number for number in (1, 2, 3) if number != leader]
    network.write(others[0], "before")
    network.kill(leader)
    begun = monotonic()
    network.write(others[0], "after")
    assert monotonic() - begun < LED_AGAIN_S
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
    assert all(network.confirms(number) for number in left), "who leads, and who asks it"
    network.kill(third)
    left.remove(third)
    note = eventually("a pause", lambda: "ledger pauses" in network.notes(left[0]) and network.notes(left[0]))
    assert "and 3 of 5 voters have to be" in note
    assert f"sn-{third} (org-{third})" in note
    assert not any(network.confirms(number) for number in left), "they answer, and that is all"
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
def test_r009_a_sentinel_whose_directory_is_gone_is_told_that_its_network_lives_on(network: Network) -> None:
    network.of(3)
    network.write(1, "before")
    former, place = network.uid(1), network.directory / "somebody-of-it"
    network.ask(1, Client.ledger, place=place)
    network.kill(1)
    shutil.rmtree(network.directory / "sn-1")
    network.start(1)
    network.says(1, "this sentinel began a network of its own")
    assert network.nodes[1].running, "whoever has a certificate of an SN may call"
    said = network.notes(1)
    assert re.search(r"its sentinel: swarm://org-[23]/sn/sn-[23] at \S+ belongs to network \w{16}", said)
    assert "with an empty --state DIR and --sentinel-ip of that network node" in said
    with pytest.raises(SwarmError, match="belongs to network"):  # nobody of the network takes it for the sentinel
        network.ask(1, Client.ledger, place=place)
    network.write(2, "meanwhile")
    eventually("one history", lambda: network.digest(2) == network.digest(3))
    network.kill(1)
    shutil.rmtree(network.directory / "sn-1")
    network.back(1, at=2)
    assert network.uid(1) != former
    assert network.has(1, "before", "meanwhile")


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
def test_a_lost_sentinel_of_two_is_given_up_by_force_and_comes_back_as_a_learner(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert "one copy" not in network.notes(2), "how many there are is not known from there"
    assert network.status(2)["leader"] is None
    with monkeypatch.context() as patch:
        patch.setattr(client, "ACCEPTED_S", 1.0)
        with pytest.raises(Unreachable) as refused:
            network.ask(2, lambda asking: asking.propose("ContractCreated", {"contract": "nowhere"}))
    pause = "ledger pauses: sn-1 (org-1), which decides alone, is not reachable from here"
    assert refused.value.message.startswith(f"what was asked is not decided after 1 s: {pause}; start what is missing")
    with pytest.raises(SwarmError, match="only a swci of org-2 or of the sentinel's organisation org-1 may"):
        network.ask(2, lambda client: promote(client, "a test"), by=3)
    status = network.ask(2, lambda client: promote(client, "the disk of sn-1 is gone"))
    network.ready(2)
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
def test_r050_the_second_of_two_processes_with_one_node_key_ends_and_both_addresses_are_named(
    network: Network, tmp_path: Path
) -> None:
    network.of(2)
    first = network.nodes[2]
    copied = network.directory / "sn-3"  # with the certificate of sn-2: a directory copied whole, key and all
    shutil.copytree(first.state, copied, ignore=shutil.ignore_patterns("output.log", "logs"))
    for kind in ("key", "certificate"):
        source, target = (getattr(network.swarm.trees[number], kind)("sn") for number in (1, 2))
        shutil.copy(source, target)
    network.start(3, at=1)
    second = network.nodes.pop(3)
    eventually("its end", lambda: not second.running)
    network.launch.processes.remove(second)
    assert second.exit_code == 3
    (line,) = [line for line in second.last_lines() if "runs twice with one node key" in line]
    assert line.count(f"{HOST}:") == 2
    assert first.running
    network.write(2, "still-here")


@pytest.mark.slow
def test_r030_a_node_that_moved_to_other_ports_is_dialled_where_the_ledger_says_that_it_is(network: Network) -> None:
    network.of(3)
    network.kill(2)
    former = network.ports[2]
    network.start(2, at=3, fresh_ports=True)
    network.ready(2)
    assert network.ports[2] != former
    address, uid = f"{HOST}:{network.ports[2][1]}", network.uid(2)
    place = network.directory / "somebody-of-its-organisation"

    async def addresses(client: Client) -> list[str]:
        return list((await client.ledger()).nodes[uid].addresses)

    assert address in network.ask(3, addresses, by=2, place=place)
    leading = network.leader(3)
    network.kill(1 if leading == 2 else leading)
    (left,) = set(network.nodes) - {2}
    network.write(left, "found")
    assert network.has(2, "found")
    network.kill(left)

    async def who_answers(client: Client) -> str:
        return str((await client.call("status", {}))["node"]["uid"])

    # Nobody is left at the address that this one is told, and it knows no other but the ledger's.
    assert network.ask(3, who_answers, by=2, place=place) == uid


@pytest.mark.slow
def test_r013_a_leader_that_was_frozen_finds_itself_replaced_and_answers_with_nothing_old(network: Network) -> None:
    network.of(3)
    leader = network.leader(1)
    other = next(number for number in (1, 2, 3) if number != leader)
    frozen = network.nodes[leader].pid
    with ThreadPoolExecutor(2) as asking:
        os.kill(frozen, signal.SIGSTOP)
        try:
            read = asking.submit(network.has_aside, leader, "meanwhile")  # these wait until it goes on
            written = asking.submit(network.write_aside, leader, "through-it")
            network.write(other, "meanwhile")
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert network.has(leader, "meanwhile"), "whatever it answers is as new as what was acknowledged"
        assert read.result(PATIENCE_S)
        written.result(PATIENCE_S)
    eventually("it to follow", lambda: network.status(leader)["role"] == "follower")
    for number in (1, 2, 3):
        assert network.has(number, "meanwhile", "through-it")
    eventually("one history", lambda: len({network.digest(number) for number in (1, 2, 3)}) == 1)


@pytest.mark.slow
def test_r039_with_64_descriptors_who_comes_is_turned_away_and_who_is_there_goes_on(network: Network) -> None:
    network.of(2)
    limits = resource.prlimit(network.nodes[1].pid, resource.RLIMIT_NOFILE)
    place = HOST, network.ports[1][1]

    def is_let_in(newcomers: contextlib.ExitStack) -> bool:
        """One more, which says nothing; who is accepted is greeted."""
        newcomer = newcomers.enter_context(socket.create_connection(place, timeout=PATIENCE_S))
        with contextlib.suppress(ConnectionResetError):
            return bool(newcomer.recv(1))
        return False

    async def write(client: Client) -> int:
        await client.propose("ContractCreated", {"contract": "before"})
        resource.prlimit(network.nodes[1].pid, resource.RLIMIT_NOFILE, (64, limits[1]))
        with contextlib.ExitStack() as newcomers:
            assert not all(is_let_in(newcomers) for _ in range(64))
            names = [f"meanwhile-{number}" for number in range(10)]
            return max([(await client.propose("ContractCreated", {"contract": name})).index for name in names])

    network.ask(1, write)
    network.says(1, "who comes now is turned away")
    eventually("room for others", lambda: network.answers(1))
    network.write(1, "afterwards")
    for number in (1, 2):
        assert network.has(number, "before", *(f"meanwhile-{number}" for number in range(10)), "afterwards")
