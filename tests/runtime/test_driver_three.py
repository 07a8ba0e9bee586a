"""Three SNs that vote, on real disks: whoever dies, the ledger goes on with all that was acknowledged."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.core.ordering import Configured
from swarm.errors import SwarmError, Unreachable
from swarm.runtime import store as store_module
from swarm.runtime.answers import LedgerSuperseded, NotLeader
from swarm.runtime.store import Store
from tests.runtime.sns import Node, World, accepted, failure, leader_of, level, recovery, renew, run, until

FAIL_OVER_S = 6.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def lasting(nodes: list[Node], raw: bytes) -> int:
    """Accepted by whoever leads, however that changes."""
    with trio.fail_after(4 * FAIL_OVER_S):
        while True:
            for node in nodes:
                try:
                    outcome = await node.driver.propose(raw, deadline_s=0.5)
                except Unreachable:
                    await trio.sleep(0.02)
                else:
                    assert outcome.accepted, outcome.reason
                    return outcome.index


def test_a_dead_leader_is_replaced_and_comes_back_as_a_follower(world: World) -> None:
    async def scenario() -> None:
        with world.client() as client:
            raws: list[bytes] = []
            async with world.node("p") as second, world.node("q") as third:
                async with world.sentinel() as first:
                    for node in (second, third):
                        node.local.state.set_network_id(first.driver.ledger.network_id)
                        await world.introduce(first, node)
                    await until(lambda: all(len(node.driver.ledger.voters) == 3 for node in (first, second, third)))
                    for _ in range(10):
                        raws.append(client.joining(first.driver.ledger.network_id))
                        await accepted(first, raws[-1])
                begun_s = trio.current_time()
                indexes = [await lasting([second, third], raws[-1])]
                assert trio.current_time() - begun_s < FAIL_OVER_S
                raws.append(client.joining(second.driver.ledger.network_id))
                indexes.append(await lasting([second, third], raws[-1]))
                async with world.node("s") as first:
                    await until(lambda: level(first, second) and level(first, third))
                    assert first.driver.role == "follower"
                    assert [await lasting([second, third], raw) for raw in raws[-2:]] == indexes
                    entries = first.driver.entries_after(0)
                    assert entries == second.driver.entries_after(0) == third.driver.entries_after(0)

    run(scenario)


def test_a_follower_answers_with_the_leader_and_reads_go_to_it(world: World) -> None:
    async def scenario() -> None:
        with world.client() as client:
            async with world.three() as nodes:
                leader = await leader_of(*nodes)
                await renew(leader, 3, author=client)
                await leader.driver.catch_up(deadline_s=5)
                for node in nodes:
                    if node is not leader:
                        with pytest.raises(NotLeader) as caught:
                            await node.driver.catch_up(deadline_s=5)
                        assert caught.value.leader_uid == leader.local.state.uid
                world.network.cut_off.add(leader.local.state.uid)
                with pytest.raises(Unreachable):
                    await leader.driver.catch_up(deadline_s=FAIL_OVER_S)
                raw = client.joining(leader.driver.ledger.network_id)
                with pytest.raises(Unreachable):
                    await leader.driver.propose(raw, deadline_s=0.2)
                index = await lasting([node for node in nodes if node is not leader], raw)
                world.network.cut_off.clear()
                await until(lambda: level(*nodes[:2]) and level(*nodes[1:]))
                assert await lasting(list(nodes), raw) == index

    run(scenario)


def test_a_leader_whose_disk_is_full_makes_way_and_serves_reads_until_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact = Store._transact
    full: set[Path] = set()

    def limited(self: Store, connection: sqlite3.Connection, batch: list[Any]) -> None:
        if self.path in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", limited)
    monkeypatch.setattr(store_module, "RETRY_S", 0.02)

    async def scenario() -> None:
        with world.client() as client:
            async with world.three() as nodes:
                leader = await leader_of(*nodes)
                others = [node for node in nodes if node is not leader]
                await renew(leader, 3, author=client)
                head = leader.driver.head
                full.add(leader.driver._store.path)
                raw = client.joining(leader.driver.ledger.network_id)
                await lasting([leader, *others], raw)
                assert leader.driver.role != "leader"
                said = f"disk full: the ledger store {leader.driver._store.path} cannot be written"
                assert any(said in note for note in leader.driver.notes())
                assert len(leader.driver.entries_after(0)) >= head
                full.clear()
                await until(lambda: level(leader, others[0]))
                await until(lambda: leader.driver.notes() == [])

    run(scenario)


def test_a_disk_that_fails_ends_its_node_and_the_others_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO on fsync: the node exits with its sentence, acknowledges nothing more, and comes back with what is whole."""
    transact = Store._transact
    broken: set[Path] = set()
    failed: list[str] = []

    def failing(self: Store, connection: sqlite3.Connection, batch: list[Any]) -> None:
        transact(self, connection, batch)
        if self.path in broken:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Store, "_transact", failing)

    async def scenario() -> None:
        with world.client() as client:
            async with world.three() as nodes:
                leader = await leader_of(*nodes)
                failed.append(leader.local.state.path.name)
                broken.add(leader.driver._store.path)
                with pytest.raises(Unreachable, match=r"ledger\.db failed: .*Input/output error"):
                    await leader.driver.propose(client.joining(leader.driver.ledger.network_id), deadline_s=5)
                await trio.sleep_forever()

    async def without_it() -> None:
        one, other = {"s", "p", "q"} - set(failed)
        with world.client() as client:
            async with world.node(one) as first, world.node(other) as second:
                await renew(await leader_of(first, second), 3, author=client)
                broken.clear()
                async with world.node(failed[0]) as back:
                    await until(lambda: level(back, first) and level(back, second))

    assert "Input/output error" in failure(scenario).message
    run(without_it)


def test_a_forced_recovery_makes_the_peer_decide_and_the_sentinel_acknowledges_no_more(world: World) -> None:
    async def scenario() -> None:
        with world.client("swci") as swci:
            async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
                await renew(sentinel, 3)
                world.network.cut = True
                await until(lambda: sentinel.driver.one_copy)
                await renew(sentinel, 2)
                with pytest.raises(SwarmError, match="takes over entry 1"):
                    await peer.driver.promote(recovery(swci, peer, lost_after=1), deadline_s=5)
                outcome = await peer.driver.promote(recovery(swci, peer), deadline_s=5)
                assert outcome.accepted, outcome.reason
                assert (peer.driver.role, peer.driver.voters) == ("leader", (peer.local.state.uid,))
                assert peer.driver.ledger.epoch == 1
                await renew(peer)
                await until(lambda: sentinel.local.state.uid not in peer.driver.partners)  # it is told no more
                world.network.cut = False
                await renew(peer)
                assert sentinel.driver.role == "leader", "nobody has shown it the signature"
                sentinel.driver.prove_epoch(1)
                await until(lambda: sentinel.driver.role != "leader")
                with pytest.raises(Unreachable):
                    await renew(sentinel)

    run(scenario)


def test_a_node_that_a_recovery_went_past_says_what_it_shares_with_the_others(world: World) -> None:
    """Where the promoted node still sends to it, as before it has applied its own recovery."""

    async def scenario() -> None:
        with world.client("swci") as swci:
            async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
                world.network.cut = True
                await until(lambda: sentinel.driver.one_copy)
                common = peer.driver.head
                await renew(sentinel, 2)
                outcome = await peer.driver.promote(recovery(swci, peer), deadline_s=5)
                assert outcome.accepted, outcome.reason
                consensus = peer.driver._orderer.consensus
                world.network.cut = False
                sentinel.driver.prove_epoch(1)
                while sentinel.driver._error is None:
                    peer.driver._step(Configured((*consensus.learners, sentinel.local.state.uid)))
                    await trio.sleep(0.05)
                error = sentinel.driver._error
                assert isinstance(error, LedgerSuperseded)
                assert (error.common, error.epoch) == (common, 1)
                await trio.sleep_forever()

    assert isinstance(failure(scenario), LedgerSuperseded)


# ---- a disk that is really full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.root
def test_a_disk_that_is_full_pauses_the_ledger_and_nothing_is_torn(
    world: World, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_S", 0.02)
    world.path = small_disk
    filler = small_disk / "filler"

    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 5)
            free = os.statvfs(small_disk)
            filler.write_bytes(bytes((free.f_bavail - 12) * free.f_frsize))
            results: list[int] = []

            async def keep_on() -> None:
                await renew(node, 20, long=True)
                results.append(node.driver.head)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_on)
                await until(lambda: node.driver._store.trouble is not None)
                assert "disk full" in node.driver.notes()[-1]
                assert node.driver.entries_after(0), "reads are served"
                filler.unlink()
            assert results == [26]
        with closing(Store(small_disk / "s" / "ledger.db")) as store:
            assert store.last_index >= 26

    run(scenario)
