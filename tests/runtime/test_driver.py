"""An SN's ledger on real disks and certificates, two SNs over a network in memory that can be cut."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from swarm.core.claims import Claim, EntryHeader
from swarm.core.entrytime import LASTS_MS
from swarm.core.events import Applied, Outcome
from swarm.core.ledger import Ledger
from swarm.core.ordering import Answer
from swarm.errors import BadInput, IdentityError, InternalError, Refused, SwarmError, Unreachable
from swarm.runtime import store as store_module
from swarm.runtime.answers import NotLeader
from swarm.runtime.clock import Clock
from swarm.runtime.replica import Replica
from swarm.runtime.store import Store
from swarm.runtime.storejobs import Write, note
from swarm.wire.heads import read_head
from swarm.wire.order import write_message
from swarm.wire.signed import decode_entry
from tests.runtime.sns import DEADLINE_S, World, accepted, failure, leader_of, level, renew, run, until

DAY_MS = 86_400_000


class Off:
    """How far the clocks of a host are off."""

    def __init__(self) -> None:
        self.wall_ms = self.boot_ms = 0
        right = Clock()
        self.clock = Clock(lambda: right.wall_ms() + self.wall_ms, boot_ms=lambda: right.boot_ms() + self.boot_ms)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# ---- one SN


def test_a_sentinel_founds_a_network_and_acknowledges(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            driver = node.driver
            assert (driver.role, driver.head, driver.leader_uid) == ("leader", 1, node.local.state.uid)
            assert driver.ledger.network_id == node.local.state.network_id != b""
            await renew(node)
            assert driver.head == 2
            assert driver.one_copy
            assert driver.notes() == []

    run(scenario)


def test_the_same_bytes_have_one_outcome_however_often_they_are_proposed(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            raw = node.joining(node.driver.ledger.network_id)
            indexes: list[int] = []

            async def propose() -> None:
                indexes.append(await accepted(node, raw))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(propose)
            await propose()
            assert indexes == [2] * 6
            assert node.driver.head == 2
        async with world.sentinel() as node:
            head = node.driver.head
            assert await accepted(node, raw) == 2
            assert node.driver.head == head

    run(scenario)


def test_a_restart_from_the_directory_gives_the_same_state(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 20)
            head, nodes, term = node.driver.head, repr(node.driver.ledger.nodes), node.driver.term
        async with world.node("s") as node:
            assert node.driver.head == head + 1  # the blank entry of the new term
            assert repr(node.driver.ledger.nodes) == nodes
            assert node.driver.term == term + 1
            assert node.driver.entries_after(node.driver.head) == []
            await world.introduce(node, node)

    run(scenario)


def test_entries_that_were_not_known_to_be_committed_are_after_a_restart(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 5)
            head, hash_, nodes = node.driver.head, node.driver.ledger.head_hash, repr(node.driver.ledger.nodes)
        with closing(sqlite3.connect(world.path / "s" / "ledger.db")) as connection, connection:
            note(connection, {"commit": 0})
        async with world.node("s") as node:
            assert node.driver.head == head + 1  # one blank entry, in the new term
            blank = decode_entry(node.driver.entries_after(head)[0])
            assert (blank.proposal, blank.prev_hash) == (b"", hash_)
            assert repr(node.driver.ledger.nodes) == nodes

    run(scenario)


def test_proposals_that_come_while_the_disk_writes_share_the_next_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions: list[int] = []
    gate = threading.Event()
    gate.set()
    transact = Store._transact

    def counting(self: Store, connection: sqlite3.Connection, batch: list[Any]) -> None:
        transactions.append(sum(len(job.entries) for job in batch if isinstance(job, Write)))
        assert gate.wait(DEADLINE_S)
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", counting)
    monkeypatch.setattr(store_module, "QUICK_S", 0.0)  # a disk that the loop does not wait for

    async def scenario() -> None:
        async with world.sentinel() as node:
            raws = [node.joining(node.driver.ledger.network_id) for _ in range(60)]
            transactions.clear()
            gate.clear()
            async with trio.open_nursery() as nursery:
                for raw in raws:
                    nursery.start_soon(accepted, node, raw)
                await until(lambda: node.driver.last_index == 61)
                gate.set()
            assert node.driver.head == 61
            entries = [count for count in transactions if count]
            assert sum(entries) == 60
            assert len(entries) <= 2, "one under way, and one for all that came meanwhile"

    run(scenario)


def test_what_is_proposed_together_is_answered_one_by_one(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            first, second = (node.joining(node.driver.ledger.network_id) for _ in range(2))
            answers = await node.driver.propose_all([first, b"nobody's", second, first], deadline_s=DEADLINE_S)
            assert isinstance(answers[1], SwarmError)
            assert [answer.index for answer in answers if isinstance(answer, Outcome)] == [2, 3, 2]

    run(scenario)


def test_the_time_of_entries_never_goes_back(world: World) -> None:
    wall = iter([5000, 4000, 7000, 1000, *[500] * 100])

    async def scenario() -> None:
        start_ms = Clock().wall_ms()
        async with world.sentinel(clock=Clock(wall_ms=lambda: start_ms + next(wall))) as node:
            await renew(node, 6)
            times = [decode_entry(raw).time for raw in node.driver.entries_after(0)]
            assert len(times) == 7
            assert times == sorted(times)

    run(scenario)


def test_r040_a_lone_clock_that_is_400_days_ahead_for_a_moment_keeps_nobody_out(world: World) -> None:
    off = Off()

    async def scenario() -> None:
        async with world.sentinel(clock=off.clock) as node:
            off.wall_ms = 400 * DAY_MS
            await renew(node)
            (note,) = node.driver.notes()
            assert note.startswith("the clock of this node has jumped 400 days ahead: entries bear the time without")
            off.wall_ms = 0
            with world.client() as newcomer:
                await accepted(node, newcomer.joining(node.driver.ledger.network_id))
            assert node.driver.ledger.time <= off.clock.wall_ms()
            assert node.driver.notes() == []

    run(scenario)


def test_r040_a_ledger_that_went_along_with_a_clock_says_how_far_it_is_ahead(world: World) -> None:
    off = Off()

    async def scenario() -> None:
        async with world.sentinel(clock=off.clock) as node:
            off.wall_ms = DAY_MS
            await renew(node)
            off.wall_ms, off.boot_ms = DAY_MS + LASTS_MS, LASTS_MS
            await renew(node)
            assert node.driver.notes() == []
            off.wall_ms = 0
            (note,) = node.driver.notes()
            assert re.match(r"the ledger's time, \S+ \S+ UTC, is (24|25) h ahead of the clock of this node", note), note
            with world.client() as newcomer:  # with a certificate that lasts longer
                await accepted(node, newcomer.joining(node.driver.ledger.network_id))

    run(scenario)


def test_pieces_for_followers_are_bounded_and_make_the_same_ledger(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 12, long=True)
            replica = Replica(node.driver.ledger.network_id)
            pieces = 0
            while raws := node.driver.entries_after(replica.head_index, 10_000):
                assert sum(map(len, raws)) <= 10_000
                pieces += 1
                for raw in raws:
                    replica.take(raw)
            assert pieces >= 3
            assert replica.ledger.digest() == node.driver.ledger.digest()

    run(scenario)


def test_bytes_that_nobody_signed_cost_no_entry(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            for raw in (b"noise", b"\x94\xc4\x00\xc4\x00\xc4\x00\xc4\x00"):
                with pytest.raises(BadInput):
                    await node.driver.propose(raw, deadline_s=1)
            good = msgpack.unpackb(node.joining(node.driver.ledger.network_id))
            good[2] = bytes(64)
            with pytest.raises(IdentityError):
                await node.driver.propose(msgpack.packb(good), deadline_s=1)
            assert node.driver.head == 1

    run(scenario)


# ---- a replica


def test_a_replica_takes_nothing_but_the_next_entry_of_its_chain(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 3)
            raws, network_id = node.driver.entries_after(0), node.driver.ledger.network_id
        replica = Replica(network_id)
        with pytest.raises(Refused, match="entry 2 of the ledger came where entry 1 is due"):
            replica.take(raws[1])
        with pytest.raises(Refused, match="this node belongs to network"):
            Replica(bytes(32)).take(raws[0])
        replica.take(raws[0])
        with pytest.raises(Refused, match="came where entry 2 is due"):
            replica.take(raws[0])
        fields = msgpack.unpackb(raws[1])
        for place, value, sentence in [(4, bytes(32), "two ledgers"), (3, 0, "lies before"), (2, 0, "lies before")]:
            changed = [value if at == place else old for at, old in enumerate(fields)]
            with pytest.raises(Refused, match=sentence):
                replica.take(msgpack.packb(changed))
        replica.take(raws[1])
        assert replica.head_index == 2

    run(scenario)


# ---- two SNs


def test_a_peer_stores_what_is_acknowledged(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            await renew(sentinel, 10)
            assert peer.driver._store.last_index == sentinel.driver.head
            await until(lambda: level(sentinel, peer))
            assert not sentinel.driver.one_copy
            assert not peer.driver.one_copy
            assert sentinel.driver.notes() == peer.driver.notes() == []
            assert (peer.driver.role, peer.driver.leader_uid) == ("learner", sentinel.local.state.uid)
            with pytest.raises(NotLeader) as caught:
                await peer.driver.propose(peer.joining(peer.local.state.network_id), deadline_s=1)
            assert caught.value.leader_uid == sentinel.local.state.uid

    run(scenario)


def test_a_dead_peer_stops_nothing_and_comes_back_with_its_directory(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            async with world.peer(sentinel):
                await renew(sentinel, 3)
            await renew(sentinel, 3)
            assert sentinel.driver.one_copy
            async with world.node("p") as peer:
                await until(lambda: level(sentinel, peer))
                await until(lambda: not sentinel.driver.one_copy)

    run(scenario)


def test_a_peer_with_an_empty_directory_catches_up_in_pieces(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            await renew(sentinel, 300, long=True)
            async with world.peer(sentinel) as peer:
                assert peer.local.state.network_id == sentinel.driver.ledger.network_id
                assert peer.driver._store.last_index == sentinel.driver.head == 302
            assert 100_000 < world.network.largest < 262_144 + 4096

    run(scenario)


def test_a_peer_whose_ledger_is_gone_gets_it_again(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel:
            async with world.peer(sentinel):
                await renew(sentinel, 3)
            for file in (world.path / "p").glob("ledger.db*"):
                file.unlink()
            async with world.node("p") as peer:
                await until(lambda: level(sentinel, peer) and not sentinel.driver.one_copy)

    run(scenario)


def test_without_the_sentinel_the_ledger_pauses_and_goes_on_when_it_is_back(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            digest = peer.driver.ledger.digest()
        async with world.node("p") as peer:
            assert peer.driver.ledger.digest() == digest  # it serves reads, alone and from its directory
            with pytest.raises(NotLeader):
                await peer.driver.propose(peer.joining(peer.local.state.network_id), deadline_s=1)
            async with world.sentinel() as sentinel:
                await renew(sentinel)
                await until(lambda: level(sentinel, peer) and not sentinel.driver.one_copy)

    run(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_lost_doubled_and_cut_messages_change_nothing(world: World, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)

    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            world.network.weather = lambda: chance.choice([0, 1, 1, 1, 2])
            for _ in range(3):
                await renew(sentinel, 10)
                world.network.cut = not world.network.cut
            world.network.cut = False
            world.network.weather = lambda: 1
            await until(lambda: level(sentinel, peer) and not sentinel.driver.one_copy)

    run(scenario)


# ---- what a person can meet


def test_a_sentinel_without_its_ledger_does_not_begin_another(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel():
            pass
        for file in (world.path / "s").glob("ledger.db*"):
            file.unlink()
        async with world.sentinel():
            pass

    error = failure(scenario)
    assert str(world.path / "s") in error.message
    assert error.message.endswith("its ledger is gone: a sentinel does not begin the same network twice")


def test_a_peer_refuses_the_network_of_a_sentinel_with_an_empty_directory(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel):
            pass
        shutil.rmtree(world.path / "s")
        async with world.node("p") as peer, world.sentinel() as sentinel:
            digest = peer.driver.ledger.digest()
            messages: list[dict[str, Any]] = []
            own = sentinel.local.state.uid
            world.network.send = lambda by, to, wire: messages.append(msgpack.unpackb(wire)) if by == own else None
            joining = peer.joining(sentinel.driver.ledger.network_id)  # as if it had got past the handshake
            await accepted(sentinel, joining)
            await until(lambda: bool(messages))
            with pytest.raises(BadInput, match="a consensus message of network"):
                peer.driver.receive(sentinel.local.state.uid, messages[0])
            assert peer.driver.ledger.digest() == digest

    run(scenario)


def test_a_lone_sentinel_goes_on_when_a_peer_says_without_proof_that_its_ledger_is_another(world: World) -> None:
    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            own, other = sentinel.local.state.uid, peer.local.state.uid
            lie = write_message(Answer(sentinel.driver.term, 1, False, 0, 0, 1), sentinel.driver.ledger.network_id)
            world.network.deliver(other, own, msgpack.packb(lie))
            (note,) = [note for note in sentinel.driver.notes() if "says that its ledger is another one" in note]
            assert note.endswith("from entry 1 on, and nothing that this node has signed shows that: it goes on")
            await renew(sentinel, 3)

    run(scenario)


def test_what_a_lone_voter_sends_it_has_signed_and_what_others_share_nobody_signs(world: World) -> None:
    words: list[tuple[int, bytes]] = []
    deliver = world.network.deliver

    def noted(sender: str, to: str, wire: bytes) -> None:
        message = msgpack.unpackb(wire)
        if message["kind"] == "entries" and message["entries"]:
            words.append((decode_entry(message["entries"][-1]).index, message.get("head", b"")))
        deliver(sender, to, wire)

    world.network.deliver = noted

    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            await renew(sentinel, 3)
            await until(lambda: level(sentinel, peer))
            network_id = sentinel.driver.ledger.network_id
            heads = [read_head(raw, network_id) for _, raw in words]
            assert [head.index for head in heads] == [index for index, _ in words]
            assert {head.uid for head in heads} == {sentinel.local.state.uid}
            for head in heads:
                entry = sentinel.driver.entry_at(head.index)
                assert entry is not None
                assert (entry.hash, head.epoch) == (head.hash, 0)
        async with world.three() as nodes:
            await until(lambda: all(node.driver.head == nodes[0].driver.head for node in nodes))
            words.clear()
            with world.client() as client:
                await renew(await leader_of(*nodes), 3, author=client)
            assert words
            assert {raw for _, raw in words} == {b""}

    run(scenario)


def test_a_peers_directory_founds_nothing_and_the_sentinels_goes_on_whatever_it_is_started_as(world: World) -> None:
    async def prepare() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel):
            pass

    run(prepare)
    (world.path / "s").rename(world.path / "x")
    (world.path / "p").rename(world.path / "s")

    async def start(name: str) -> None:
        async with world.node(name) as node:
            assert node.driver.role == "leader"

    assert "that of a peer of the sentinel" in failure(start, "s").message
    run(start, "x")


def test_a_failing_disk_ends_the_node_with_one_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    transact = Store._transact
    broken = threading.Event()

    def failing(self: Store, connection: sqlite3.Connection, batch: list[Any]) -> None:
        if broken.is_set():
            raise sqlite3.OperationalError("disk I/O error")
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", failing)

    async def scenario() -> None:
        async with world.sentinel() as node:
            broken.set()
            with pytest.raises(Unreachable, match=r"the ledger pauses: ledger store .* failed: disk I/O error"):
                await renew(node)
            await trio.sleep_forever()

    assert "ledger.db failed: disk I/O error" in failure(scenario).message


def test_an_entry_that_meets_a_mistake_of_ours_ends_the_node_with_one_sentence_and_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, heads = Ledger._judge, list[int]()

    def mistaken(self: Ledger, header: EntryHeader, claim: Claim) -> Applied:
        if header.index == 4:
            raise ZeroDivisionError("by chance")
        return judge(self, header, claim)

    async def scenario() -> None:
        async with world.sentinel() as node:
            await renew(node, 2)
            with pytest.raises(Unreachable, match="the ledger pauses: the ledger ends here, at entry 4"):
                await renew(node)
            heads.append(node.driver.head)
            await trio.sleep_forever()

    async def start() -> None:
        async with world.node("s") as node:
            heads.append(node.driver.head)

    monkeypatch.setattr(Ledger, "_judge", mistaken)
    first = failure(scenario)
    assert (first.code, heads) == (70, [3])
    assert re.fullmatch(r"the ledger ends here, at entry 4 \(NodeJoined of .{36}\), .*ZeroDivision.*", first.message)
    assert failure(start).message == first.message, "nobody loops over it: each start says the same at once"
    monkeypatch.setattr(Ledger, "_judge", judge)
    run(start)
    assert heads == [3, 5], "the release that knows better has it all, and its own first entry"


def test_an_effect_that_meets_a_mistake_of_ours_ends_the_node_with_one_sentence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with world.sentinel() as node:
            monkeypatch.setattr(node.driver, "_publish", lambda effect: {}["nothing"])
            await renew(node)  # what is applied is answered, before whoever follows hears of it
            with pytest.raises(Unreachable, match="the ledger pauses: the ledger ends here, behind entry 2: KeyError"):
                await renew(node)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        run(scenario)
    assert caught.group_contains(InternalError, match="the ledger ends here, behind entry 2")


def test_a_full_disk_pauses_the_ledger_until_there_is_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    transact = Store._transact
    full = threading.Event()

    def limited(self: Store, connection: sqlite3.Connection, batch: list[Any]) -> None:
        connection.execute(f"PRAGMA max_page_count = {1 if full.is_set() else 100_000}")
        if full.is_set():
            connection.execute("CREATE TABLE one_page_more (x)")
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", limited)
    monkeypatch.setattr(store_module, "RETRY_S", 0.02)

    async def scenario() -> None:
        async with world.sentinel() as node:
            full.set()
            raw = node.joining(node.driver.ledger.network_id)
            results: list[int] = []

            async def patient() -> None:
                results.append(await accepted(node, raw))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(patient)
                await until(lambda: node.driver._orderer._blocked.reason != "")
                with pytest.raises(Unreachable, match="the ledger pauses: disk full: the ledger store"):
                    await node.driver.propose(node.joining(node.driver.ledger.network_id), deadline_s=1)
                assert "disk full" in node.driver.notes()[-1]
                assert node.driver.entries_after(0)
                full.clear()
            assert results == [2]

    run(scenario)


def test_a_proposal_that_is_not_acknowledged_in_time_says_so_and_may_be_made_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact = Store._transact
    free = threading.Event()
    free.set()

    def slow(self: Store, connection: sqlite3.Connection, batch: list[Any]) -> None:
        assert free.wait(DEADLINE_S)
        transact(self, connection, batch)

    monkeypatch.setattr(Store, "_transact", slow)
    monkeypatch.setattr(store_module, "QUICK_S", 0.0)  # a disk that the loop does not wait for

    async def scenario() -> None:
        async with world.sentinel() as node:
            free.clear()
            raw = node.joining(node.driver.ledger.network_id)
            with pytest.raises(Unreachable, match="did not acknowledge it within"):
                await node.driver.propose(raw, deadline_s=0.05)
            free.set()
            assert await accepted(node, raw) == 2

    run(scenario)
