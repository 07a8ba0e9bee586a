"""Snapshots on real disks: old entries go to the archive, restarts and newcomers begin with the state."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.names import uid_of
from swarm.core.node import Node as LedgerNode
from swarm.core.node import Outcomes
from swarm.core.ordering import NO_HASH
from swarm.core.snapshot import Snapshot, restored, taken
from swarm.errors import BadInput, IdentityError, Refused
from swarm.runtime import backfill as backfill_module
from swarm.runtime import snapshots as snapshots_module
from swarm.runtime import store as store_module
from swarm.runtime.archive import Archive
from swarm.runtime.replica import Replica
from swarm.runtime.snapshots import Snapshots
from swarm.wire.cosigning import sign_point
from swarm.wire.signed import decode_entry, make_entry
from tests.runtime.sns import Node, World, accepted, failure, leader_of, level, renew, run, until

EVERY, KEPT = 20, 5


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(snapshots_module, "KEPT_BEHIND", KEPT)
    monkeypatch.setattr(snapshots_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(store_module, "SEGMENT", 10)
    world = World(tmp_path)
    world.settings["snapshot_every"] = EVERY
    return world


def first_index(node: Node) -> int:
    return node.driver._store.first_index


async def shed(node: Node, snapshot: int) -> None:
    await until(lambda: first_index(node) == snapshot - KEPT + 1)
    await until(lambda: node.driver._store.archive.segments() != [])
    await until(lambda: node.driver._store.archive.segments()[-1].last == snapshot - KEPT)


def test_old_entries_move_to_the_archive_and_a_restart_begins_with_the_snapshot(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 50)
            await shed(node, 40)
            head, nodes = node.driver.head, repr(node.driver.ledger.nodes)
            assert node.driver.entry_at(1) is None
        async with world.node("s") as node:
            assert node.driver.head == head + 1
            assert repr(node.driver.ledger.nodes) == nodes
            assert first_index(node) == 40 - KEPT + 1
            replica = Replica(node.driver.ledger.network_id)
            while raws := node.driver.entries_after(replica.head_index, 3000):
                for raw in raws:
                    replica.take(raw)
            assert replica.ledger.digest() == node.driver.ledger.digest(), "followers get all, from archive and log"
            segments = node.driver._store.archive.segments()
            assert [segment.first for segment in segments] == [1, *(segment.last + 1 for segment in segments[:-1])]
            assert all(segment.last - segment.first < 10 for segment in segments)

    run(scenario)


def test_the_opening_check_starts_at_the_snapshot_and_still_names_what_is_damaged(world: World) -> None:
    async def prepare() -> None:
        async with world.sentinel() as node:
            await renew(node, 50)
            await shed(node, 40)

    async def start() -> None:
        async with world.node("s"):
            pass

    run(prepare)
    path = world.path / "s" / "ledger.db"
    for sql, sentence in [
        ("UPDATE snapshots SET state = zeroblob(100)", "its snapshot after entry 40"),
        ("UPDATE entries SET raw = zeroblob(100) WHERE idx = 43", "is damaged at entry 43"),
        ("DELETE FROM snapshots", "it begins with entry 36 and has no snapshot"),
    ]:
        before = path.read_bytes()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(sql)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert sentence in failure(start).message
        path.write_bytes(before)
    run(start)


def test_a_damaged_archive_is_named_and_a_gap_is_refused(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 50)
            await shed(node, 40)
            store = node.driver._store
            one, other = store.archive.segments()[:2]
            data = bytearray(one.path.read_bytes())
            data[100] ^= 1
            one.path.write_bytes(data)
            with pytest.raises(BadInput, match="with the entries 1 to 10 is damaged"):
                node.driver.entries_after(0)
            other.path.unlink()
            with pytest.raises(Refused, match="entry 11 of the ledger is not here"):
                node.driver.entries_after(10)

    run(scenario)


def test_a_peer_that_needs_what_is_compacted_installs_the_snapshot(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            await renew(sentinel, 50)
            await shed(sentinel, 40)
            async with world.peer(sentinel) as peer:
                assert first_index(peer) >= 41
                await renew(sentinel, 3)
                await until(lambda: level(sentinel, peer))
        async with world.node("p") as peer, world.sentinel() as sentinel:
            await until(lambda: level(sentinel, peer) and not sentinel.driver.one_copy)

    run(scenario)


def test_a_node_that_began_with_a_snapshot_fetches_what_it_stands_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that who follows the ledger from its first entry can do so anywhere."""
    monkeypatch.setattr(snapshots_module, "PIECE_BYTES", 5000)

    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            await renew(sentinel, 50)
            await shed(sentinel, 40)
            async with world.peer(sentinel) as peer:
                await until(lambda: peer.driver._store.archive.reach() == first_index(peer) - 1)
                replica = Replica(sentinel.driver.ledger.network_id)
                while raws := peer.driver.entries_after(replica.head_index):
                    for raw in raws:
                        replica.take(raw)
                assert replica.ledger.digest() == sentinel.driver.ledger.digest()
                asked = [body for _, verb, body in world.network.calls if verb == "snapshot" and "after" in body]
                assert len(asked) > 3

    run(scenario)


def test_while_a_snapshot_takes_the_place_of_the_log_no_entry_is_there(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 3)
            head, path = node.driver.head, node.driver._store.path
            assert node.driver.entry_at(head) is not None
            assert node.driver.entry_at(head + 1) is None
            with closing(sqlite3.connect(path)) as writer, writer:
                writer.execute("DELETE FROM entries")
            assert node.driver.entry_at(head) is None

    run(scenario)


def test_old_entries_of_another_history_are_thrown_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_module, "AGAIN_S", 0.05)
    genuine, drop = Snapshots.answer_piece, Archive.drop
    forged: list[bytes] = []
    dropped: list[int] = []

    def noted(self: Archive, upto: int) -> None:
        dropped.append(self.reach())
        drop(self, upto)

    monkeypatch.setattr(Archive, "drop", noted)

    def lying(self: Snapshots, body: dict[str, Any]) -> dict[str, Any]:
        reply = genuine(self, body)
        if "after" not in body or not forged:
            return reply
        return {"entries": forged[body["after"] : body["after"] + 10]}

    monkeypatch.setattr(Snapshots, "answer_piece", lying)

    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            await renew(sentinel, 50)
            await shed(sentinel, 40)
            previous = NO_HASH
            for index in range(1, sentinel.driver.head + 1):
                entry = decode_entry(sentinel.driver.entries_after(index - 1)[0])
                new = make_entry(index, 1, entry.time, previous, b"" if index == 30 else entry.proposal)
                forged.append(new.raw)
                previous = new.hash
            async with world.peer(sentinel) as peer:
                archive = peer.driver._store.archive
                await until(lambda: bool(dropped))
                forged.clear()
                await until(lambda: archive.reach() == first_index(peer) - 1)
                assert peer.driver.entries_after(0)[:10] == [*sentinel.driver.entries_after(0)][:10]

    run(scenario)


def test_a_snapshot_goes_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots_module, "PIECE_BYTES", 700)

    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            await renew(sentinel, 50)
            await shed(sentinel, 40)
            calls = world.network.calls
            async with world.peer(sentinel):
                pieces = [body for _, verb, body in calls if verb == "snapshot" and "after" not in body]
                stored = sentinel.driver._store.snapshot()
                assert stored is not None
                assert len(pieces) == -(-len(stored[0].state) // 700) > 2

    run(scenario)


@pytest.mark.parametrize("forgery", ["state", "signatures", "voters", "crumbs"])
def test_a_snapshot_that_is_not_what_a_majority_signed_is_not_installed(
    world: World, monkeypatch: pytest.MonkeyPatch, forgery: str
) -> None:
    genuine = Snapshots.answer_piece

    def forged(self: Snapshots, body: dict[str, object]) -> dict[str, object]:
        reply = genuine(self, body)
        changes: dict[str, dict[str, object]] = {
            "state": {"piece": bytes([reply["piece"][0] ^ 1]) + reply["piece"][1:]},
            "signatures": {"signatures": {uid: bytes(64) for uid in reply["signatures"]}},
            "voters": {"voters": ["00000000-0000-5000-8000-000000000000"]},
            "crumbs": {"piece": reply["piece"][:1]},
        }
        return {**reply, **changes[forgery]}

    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            await renew(sentinel, 50)
            await shed(sentinel, 40)
            monkeypatch.setattr(Snapshots, "answer_piece", forged)
            async with world.node("p") as peer:
                peer.local.state.set_network_id(sentinel.driver.ledger.network_id)
                with pytest.raises((BadInput, IdentityError)):
                    await peer.driver.snapshots.fetch(sentinel.local.state.uid)
                await accepted(sentinel, peer.joining(sentinel.driver.ledger.network_id))
                asked = len(world.network.calls)
                await until(lambda: len(world.network.calls) > asked)
                assert peer.driver.head == 0
                monkeypatch.setattr(Snapshots, "answer_piece", genuine)
                await until(lambda: level(sentinel, peer))

    run(scenario)


def test_voters_that_only_the_snapshot_knows_are_no_voters_to_who_has_a_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Snapshots.answer_piece
    invented = Ed25519PrivateKey.generate()
    key = invented.public_key().public_bytes_raw()

    def forged(self: Snapshots, body: dict[str, object]) -> dict[str, object]:
        stored = self._store.snapshot()
        assert stored is not None
        ledger = restored(stored[0])
        real = ledger.nodes[ledger.sentinel]
        ledger.nodes[uid_of(key)] = LedgerNode(real.identity, key, (), Outcomes(bytes(16)), joined=2)
        ledger.voting.uids = (uid_of(key),)
        made = taken(ledger, stored[0].term, ledger.voters)
        signature = sign_point(invented, ledger.network_id, made.point)
        told = {"voters": list(made.voters), "digest": made.digest, "signatures": {uid_of(key): signature}}
        return {**genuine(self, body), **told, "size": len(made.state), "piece": made.state}

    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            world.network.weather = lambda: 0  # it falls behind
            await renew(sentinel, 50)
            await shed(sentinel, 40)
            monkeypatch.setattr(Snapshots, "answer_piece", forged)
            with pytest.raises(IdentityError, match="not signed by most of the voters that the ledger here knows"):
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)
            monkeypatch.setattr(Snapshots, "answer_piece", genuine)
            await peer.driver.snapshots.fetch(sentinel.local.state.uid)
            peer.driver.snapshots.begin_epoch(1, (peer.local.state.uid,))  # who decides now has not signed it
            with pytest.raises(IdentityError, match="not signed by most of the voters that the ledger here knows"):
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)

    run(scenario)


def test_a_node_signs_only_the_state_that_it_came_to_by_itself(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 30)
            await shed(node, 20)
            stored = node.driver._store.snapshot()
            assert stored is not None
            snapshot: Snapshot = stored[0]
            answer = partial(node.driver.snapshots.answer_cosign, "another")
            assert answer({"point": list(snapshot.point)})["signature"]
            index, term, hash_, digest = snapshot.point
            for point in (
                [index, term, bytes(32), digest],
                [99, term, hash_, digest],
            ):
                assert answer({"point": point}) == {"signature": b""}
            differing = answer({"point": [index, term, hash_, "sha256:0"]})
            assert (differing["signature"], differing["differs"]) == (b"", [index, term, hash_, digest])
            with pytest.raises(BadInput):
                answer({"point": [index, term]})
        async with world.node("s") as node:
            again = node.driver.snapshots.answer_cosign("another", {"point": list(snapshot.point)})
            assert again["signature"], "also after a restart, when it has all its signatures"

    run(scenario)


def test_who_has_come_to_another_state_than_the_majority_says_so_and_ends(world: World) -> None:
    kept: list[Node] = []

    async def scenario() -> None:
        async with world.three() as nodes:
            with world.client() as client:
                await diverge(nodes[2])
                kept.extend(nodes)
                await renew(await leader_of(*nodes), EVERY, author=client)
                await trio.sleep_forever()

    error = failure(scenario)
    assert error.code == 70
    assert "and a majority of the voters has signed sha256:" in error.message
    assert "--rejoin" in error.hint
    told = [note for node in kept[:2] for note in node.driver.notes()]
    assert len(told) == 2
    assert all("the state of the ledger after entry 20 differs: it is sha256:" in note for note in told)
    assert error.message.split(" is ")[1].split()[0] in told[0], "both name the same states"


def test_two_that_differ_say_so_and_go_on_while_nobody_can_tell_who_is_right(world: World) -> None:
    async def scenario() -> None:
        async with world.three() as nodes:
            with world.client() as client:
                await diverge(nodes[2])
                world.network.cut_off.add(nodes[1].local.state.uid)
                world.network.drivers[nodes[2].local.state.uid] = nodes[2].driver
                leader = await leader_of(nodes[0], nodes[2])
                await renew(leader, EVERY, author=client)
                await until(lambda: all(node.driver.notes() for node in (nodes[0], nodes[2])))
                await accepted(leader, client.joining(leader.driver.ledger.network_id))

    run(scenario)


def test_who_could_not_sign_when_a_majority_did_signs_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots_module, "LATER_S", 0.05)
    genuine, away = Snapshots.answer_cosign, set[str]()

    def answer(self: Snapshots, uid: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"signature": b""} if self._state.uid in away else genuine(self, uid, body)

    monkeypatch.setattr(Snapshots, "answer_cosign", answer)

    def signed(node: Node) -> set[str]:
        stored = node.driver._store.snapshot()
        return set(stored[1]) if stored and stored[0].index == EVERY else set()

    async def scenario() -> None:
        async with world.three() as nodes:
            with world.client() as client:
                uids = {node.local.state.uid for node in nodes}
                away.add(nodes[2].local.state.uid)
                await renew(await leader_of(*nodes), EVERY, author=client)
                await until(lambda: signed(nodes[0]) == signed(nodes[1]) == uids - away)
                served = nodes[0].driver.snapshots.answer_piece({})
                assert set(served["signatures"]) == uids - away
                await until(lambda: len(signed(nodes[2])) >= 2)
                away.clear()
                await until(lambda: all(signed(node) == uids for node in nodes))
                assert set(nodes[0].driver.snapshots.answer_piece({})["signatures"]) == uids

    run(scenario)


async def diverge(node: Node) -> None:
    """As by a flipped bit of its memory."""
    ledger = node.driver.ledger
    ledger.nodes[ledger.sentinel].joined += 1


def test_without_a_majority_of_signatures_nothing_is_let_go(world: World) -> None:
    async def scenario() -> None:
        with world.client() as client:
            async with world.three() as nodes:
                world.network.mute = True
                await renew(await leader_of(*nodes), 30, author=client)
                await until(lambda: all(node.driver._store.snapshot() is not None for node in nodes))
                assert [first_index(node) for node in nodes] == [1, 1, 1]
                world.network.mute = False
                await until(lambda: all(first_index(node) > 1 for node in nodes))
                await until(lambda: min(map(signatures, nodes)) >= 2)

    run(scenario)


def signatures(node: Node) -> int:
    stored = node.driver._store.snapshot()
    return len(stored[1]) if stored else 0
