"""What one network node gives for a snapshot ends no other that has a ledger, and does not hold it up for long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from swarm.core.ordering import SnapshotOffered
from swarm.core.snapshot import digest_of
from swarm.errors import BadInput, IdentityError, Outdated, SwarmError, Unreachable, from_wire
from swarm.runtime import snapshots as snapshots_module
from swarm.runtime.snapshots import Snapshots
from swarm.wire import order
from swarm.wire.cosigning import sign_point
from tests.runtime.sns import Node, World, failure, level, renew, run, until

genuine = Snapshots.answer_piece


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(snapshots_module, "KEPT_BEHIND", 5)
    monkeypatch.setattr(snapshots_module, "AGAIN_S", 0.05)
    world = World(tmp_path)
    world.settings["snapshot_every"] = 20
    return world


def says_that_its_release_is_old(self: Snapshots, body: dict[str, Any]) -> dict[str, Any]:
    raise from_wire(Outdated("the network follows rules of version 99").to_wire())


def changed(self: Snapshots, body: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    stored = self._store.snapshot()
    assert stored is not None
    state = msgpack.unpackb(stored[0].state, raw=False, strict_map_key=False)
    change(state)
    raw = msgpack.packb(state, use_bin_type=True)
    return {**genuine(self, body), "digest": digest_of(raw), "size": len(raw), "piece": raw}


def of_newer_rules(self: Snapshots, body: dict[str, Any]) -> dict[str, Any]:
    def change(state: dict[str, Any]) -> None:
        state["rules"] = [99, *state["rules"][1:]] if isinstance(state["rules"], list) else 99

    return changed(self, body, change)


def with_a_key_that_is_none(self: Snapshots, body: dict[str, Any]) -> dict[str, Any]:
    public = self._state.node_public

    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoilt(each) for key, each in value.items()}
        if isinstance(value, list):
            return [spoilt(each) for each in value]
        return 7 if value == public else value

    return changed(self, body, lambda state: state.update(spoilt(state)))


FALSE = [says_that_its_release_is_old, of_newer_rules, with_a_key_that_is_none]


@asynccontextmanager
async def one_that_is_behind(world: World) -> AsyncIterator[tuple[Node, Node]]:
    """A sentinel, and a peer that hears nothing of it any longer, and can ask."""
    async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
        world.network.weather = lambda: 0
        await renew(sentinel, 50)
        await until(lambda: sentinel.driver._store.first_index > 20)
        yield sentinel, peer


def offer(node: Node, sender: Node) -> None:
    """As one that does not lead, in a term of its own."""
    term, index = node.driver._orderer.consensus.term + 1, node.driver.head + 500
    offered = SnapshotOffered(term, 1, index, bytes(32), index)
    node.driver.receive(sender.local.state.uid, order.write_message(offered, node.driver.ledger.network_id))


@pytest.mark.parametrize("answer", FALSE)
def test_what_one_gives_without_signatures_ends_neither_the_leader_nor_another_voter(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., dict[str, Any]]
) -> None:
    failed: list[Node] = []

    def watch(node: Node) -> None:
        step = node.driver.snapshots._step

        def noted(event: Any) -> None:
            failed.append(node)
            step(event)

        node.driver.snapshots._step = noted

    async def scenario() -> None:
        async with world.three() as nodes:
            with world.client() as client:
                await renew(nodes[0], 50, author=client)
                await until(lambda: all(node.driver._store.first_index > 20 for node in nodes))
                monkeypatch.setattr(Snapshots, "answer_piece", answer)
                for node in nodes[:2]:
                    watch(node)
                    offer(node, nodes[2])
                await until(lambda: all(node in failed for node in nodes[:2]))
                await until(lambda: any(node.driver.role == "leader" for node in nodes))
                leader = next(node for node in nodes if node.driver.role == "leader")
                await renew(leader, 3, author=client)
                await until(lambda: level(nodes[0], nodes[1]) and level(nodes[0], nodes[2]))

    run(scenario)


@pytest.mark.parametrize("answer", FALSE[1:])
def test_a_state_that_most_voters_have_not_signed_is_not_even_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., dict[str, Any]]
) -> None:
    async def scenario() -> None:
        async with one_that_is_behind(world) as (sentinel, peer):
            monkeypatch.setattr(Snapshots, "answer_piece", answer)
            monkeypatch.setattr(snapshots_module, "restored", lambda snapshot: pytest.fail("it was read"))
            with pytest.raises(IdentityError, match="not signed by most of the voters that the ledger here knows"):
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)

    run(scenario)


def test_a_state_of_newer_rules_that_most_voters_have_signed_ends_an_old_release(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signed(self: Snapshots, body: dict[str, Any]) -> dict[str, Any]:
        reply = of_newer_rules(self, body)
        point = reply["index"], reply["term"], reply["hash"], reply["digest"]
        own = sign_point(self._state.node_key, self._state.network_id, point)
        return {**reply, "signatures": {self._state.uid: own}}

    async def scenario() -> None:
        async with one_that_is_behind(world) as (sentinel, peer):
            monkeypatch.setattr(Snapshots, "answer_piece", signed)
            offer(peer, sentinel)
            await trio.sleep_forever()

    assert isinstance(failure(scenario), Outdated)


@pytest.mark.parametrize("answer", FALSE)
def test_while_nobody_is_known_to_decide_it_is_an_error_of_this_fetch_only(
    world: World, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., dict[str, Any]]
) -> None:
    """A recovery was shown, and who decides since then is not in the own ledger yet: the keys are in the state."""

    async def scenario() -> None:
        async with one_that_is_behind(world) as (sentinel, peer):
            monkeypatch.setattr(Snapshots, "answer_piece", answer)
            peer.driver.snapshots.begin_epoch(1, ("00000000-0000-5000-8000-000000000000",))
            with pytest.raises((BadInput, IdentityError, Unreachable)) as caught:
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)
            assert not isinstance(caught.value, Outdated)

    run(scenario)


def test_what_holds_nothing_new_is_not_fetched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size is no part of what was signed: who is asked could say half a gigabyte, and let the other wait for it."""
    monkeypatch.setattr(Snapshots, "answer_piece", lambda self, body: {**genuine(self, body), "size": 1 << 29})

    async def scenario() -> None:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            await renew(sentinel, 50)
            await until(lambda: sentinel.driver._store.first_index > 20 and level(sentinel, peer))
            with pytest.raises(BadInput, match="holds nothing behind entry"):
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)

    run(scenario)


def test_who_gives_a_snapshot_too_slowly_is_waited_for_no_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots_module, "PIECE_BYTES", 700)
    monkeypatch.setattr(snapshots_module, "FETCH_S", 0.05)
    monkeypatch.setattr(snapshots_module, "SLOWEST", 1 << 30)

    async def scenario() -> None:
        async with one_that_is_behind(world) as (sentinel, peer):
            call = peer.driver.snapshots._call

            async def slow(uid: str, verb: str, body: dict[str, Any]) -> Any:
                if body.get("offset", 0) > 1000:
                    await trio.sleep_forever()
                return await call(uid, verb, body)

            peer.driver.snapshots._call = slow
            with pytest.raises(SwarmError, match=r"has given 1400 bytes of \d+ within 0 s: that is too slow"):
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)

    run(scenario)


def test_a_size_that_nobody_has_signed_holds_up_no_longer_than_what_is_kept_here_makes_likely(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who gives it half a gigabyte, and a little of it now and then, would be waited for over an hour."""
    monkeypatch.setattr(snapshots_module, "FETCH_S", 0.05)
    monkeypatch.setattr(snapshots_module, "LIKELY", 1)
    monkeypatch.setattr(snapshots_module, "SLOWEST", 1 << 20)

    def grown(self: Snapshots, body: dict[str, Any]) -> dict[str, Any]:
        reply = genuine(self, {**body, "offset": 0})
        return {**reply, "size": 1 << 29, "piece": bytes(snapshots_module.PIECE_BYTES)}

    async def scenario() -> None:
        async with one_that_is_behind(world) as (sentinel, peer):
            monkeypatch.setattr(Snapshots, "answer_piece", grown)
            call = peer.driver.snapshots._call

            async def slow(uid: str, verb: str, body: dict[str, Any]) -> Any:
                if "offset" in body:
                    await trio.sleep_forever()
                return await call(uid, verb, body)

            peer.driver.snapshots._call = slow
            with trio.fail_after(10), pytest.raises(Unreachable, match="within 0 s: that is too slow"):
                await peer.driver.snapshots.fetch(sentinel.local.state.uid)

    run(scenario)
