"""Who follows the ledger and has read what a forced recovery gave up is shown the proof, and ends by nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from cryptography import x509

from swarm.core.ledger import Ledger
from swarm.core.ordering import first_term
from swarm.errors import GivenUp, SwarmError, Unreachable
from swarm.nodes.client import Client, consult
from swarm.nodes.givenup import Removals, Shown, must_go_on
from swarm.nodes.launch import Launch
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.local import HOST
from swarm.nodes.promotion import promote
from swarm.nodes.sn_feed import Feed
from swarm.nodes.sn_recoveries import Recoveries
from swarm.runtime.change import Change
from swarm.runtime.control import Control, Link
from swarm.runtime.credentials import Credentials
from swarm.runtime.ledgercopy import RECOVERY, LedgerCopy
from swarm.runtime.replica import Replica
from swarm.runtime.tls import Local, Peer
from swarm.wire.signed import decode_entry, make_entry, sign_proposal
from tests.nodes.operators import Scene, learning_nodes, workers
from tests.nodes.waiting import PATIENCE_S, eventually
from tests.runtime.sns import Author, Node, World, accepted, recovery, renew, run, until

SENTINEL, PEER = ("10.0.0.1", 30304), ("10.0.0.2", 30304)


@dataclass
class Parted:
    """A sentinel that went on alone for two entries, and its peer, which decides since without them."""

    sentinel: Node
    peer: Node
    swci: Author
    sl: Author
    index: int
    """Of the recovery."""

    def read(self, node: Node, upto: int) -> Ledger:
        replica = Replica(node.driver.ledger.network_id)
        for raw in node.driver.entries_after(0)[:upto]:
            replica.take(raw)
        return replica.ledger


@asynccontextmanager
async def parted(world: World) -> AsyncIterator[Parted]:
    with world.client("swci") as swci, world.client("sl") as sl:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            world.network.cut = True
            await until(lambda: sentinel.driver.one_copy)
            await renew(sentinel, 3)
            outcome = await peer.driver.promote(recovery(swci, peer), deadline_s=5)
            assert outcome.accepted, outcome.reason
            assert outcome.index < sentinel.driver.head
            yield Parted(sentinel, peer, swci, sl, outcome.index)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class End:
    """The network node's end of a link: what it calls, the follower takes."""

    def __init__(self, wire: Wire) -> None:
        self.closed, self.peer, self._wire = wire.closed, wire.peer, wire

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        assert verb == "entries"
        if self._wire.follower is None:
            await trio.sleep_forever()
        return await self._wire.follower._entries(cast(Link, self._wire), body)

    async def close(self) -> None:
        self.closed.set()


class Wire:
    """A link to a network node that feeds its followers."""

    def __init__(self, node: Node, nursery: trio.Nursery, follower: LedgerLink | None = None) -> None:
        state, identity = node.local.state, node.local.credentials.identity
        of = (state.node_public, state.uid, state.peer_id, state.incarnation, state.network_id, ())
        self.peer = Peer(identity, *of)
        self.closed, self.reason, self.follower = trio.Event(), "it was killed", follower
        self.lie: dict[str, Any] = {}
        recoveries = Recoveries(node.driver)
        recoveries.look_back()
        self._feed = Feed(node.driver, recoveries, nursery, Change())

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        assert verb == "follow"
        return await self._feed.follow(cast(Link, End(self)), body) | self.lie

    async def close(self) -> None:
        self.closed.set()


async def answer(node: Node, ledger: Ledger) -> dict[str, Any]:
    """Of a network node to who has read this ledger."""
    async with trio.open_nursery() as nursery:
        place = {"after": ledger.head_index, "hash": ledger.head_hash, "epoch": ledger.epoch}
        reply: dict[str, Any] = await Wire(node, nursery).call("follow", place, deadline_s=1)
        nursery.cancel_scope.cancel()
    return reply


def test_only_who_has_read_what_was_given_up_is_shown_the_recovery(world: World) -> None:
    async def scenario() -> None:
        async with parted(world) as case:
            behind = case.read(case.sentinel, case.index - 1)
            assert "recovery" not in await answer(case.peer, behind), "it goes on from there"
            level = case.read(case.peer, case.index)
            assert level.epoch == 1
            assert "recovery" not in await answer(case.peer, level)
            beyond = case.read(case.sentinel, case.index + 2)
            for ledger in (case.read(case.sentinel, case.index), beyond):
                reply = await answer(case.peer, ledger)
                assert decode_entry(reply["recovery"]).index == case.index
                with pytest.raises(GivenUp, match=f"decides since entry {case.index}, by the word of ") as ended:
                    must_go_on(reply, ledger, "sn-2", Removals(b""))
                assert f"what was acknowledged to it since entry {case.index} may have" in ended.value.hint
            assert "recovery" not in await answer(case.sentinel, beyond)

    run(scenario)


def test_what_nobody_with_the_right_to_it_has_signed_for_that_place_ends_nobody(world: World) -> None:
    async def scenario() -> None:
        async with parted(world) as case:
            ledger = case.read(case.sentinel, case.index + 2)

            def forged(by: Author, index: int, epoch: int = 1, **changes: Any) -> bytes:
                proposal = recovery(by, case.peer, **{"lost_after": index - 1, "epoch": epoch, **changes})
                return make_entry(index, first_term(epoch), ledger.time, bytes(32), proposal).raw

            lies = [
                b"?",
                case.sentinel.driver.entries_after(0)[2],
                forged(case.sl, case.index),
                forged(case.swci, case.index, lost_after=case.index),
                forged(case.swci, case.index, uid=case.sl.local.state.uid),
                forged(case.swci, case.index, epoch=100),
            ]
            for lie in lies:
                with pytest.raises(Unreachable, match="if it is right, start this node again"):
                    must_go_on({"recovery": lie}, ledger, "sn-2", Removals(b""))
            for harmless in (
                {},
                {"recovery": "text"},
                {"recovery": forged(case.swci, ledger.head_index + 1)},
            ):
                must_go_on(harmless, ledger, "sn-2", Removals(b""))

    run(scenario)


def test_a_key_that_had_expired_when_the_last_entry_was_made_ends_nobody(world: World) -> None:
    """The time of the entry that shows it is whatever the network node says."""

    async def scenario() -> None:
        async with parted(world) as case:
            ledger = case.read(case.sentinel, case.index + 2)
            reply = await answer(case.peer, ledger)
            certificate = x509.load_der_x509_certificate(case.swci.local.credentials.chain[0])
            expires_ms = int(certificate.not_valid_after_utc.timestamp()) * 1000
            ledger.time = expires_ms + 1000
            assert decode_entry(reply["recovery"]).time < ledger.time
            with pytest.raises(Unreachable, match="if it is right, start this node again"):
                must_go_on(reply, ledger, "sn-2", Removals(b""))
            ledger.time = expires_ms - 1000
            with pytest.raises(GivenUp):
                must_go_on(reply, ledger, "sn-2", Removals(b""))

    run(scenario)


async def remove(case: Parted) -> None:
    """A person at the sentinel, who does not know that another has promoted the peer."""
    state, network_id = case.swci.local.state, case.sentinel.driver.ledger.network_id
    state.begin_anew()  # each command is a process of its own
    await accepted(case.sentinel, case.swci.joining(network_id))
    body = {"uid": case.peer.local.state.uid}
    who = {"uid": state.uid, "incarnation": state.incarnation, "seq": 2}
    await accepted(
        case.sentinel, sign_proposal(state.node_key, network_id=network_id, kind="SnRemoved", body=body, **who)
    )


def read_with_removals(raws: list[bytes], own: bytes) -> tuple[Ledger, Removals]:
    replica, removals = Replica(b""), Removals(own)
    replica.on_applied = lambda entry, applied: removals.applied(entry, replica.ledger, applied)
    for raw in raws:
        replica.take(raw)
    return replica.ledger, removals


def test_what_was_given_up_may_have_removed_who_decides_now(world: World) -> None:
    async def scenario() -> None:
        async with parted(world) as case:
            await remove(case)
            raws = case.sentinel.driver.entries_after(0)
            ledger, removals = read_with_removals(raws, b"")
            assert case.peer.local.state.uid not in dict(ledger.sns())
            reply = await answer(case.peer, ledger)
            with pytest.raises(GivenUp, match=f"decides since entry {case.index}, by the word of "):
                must_go_on(reply, ledger, "sn-2", removals)
            with pytest.raises(Unreachable, match="is no network node of this ledger"):
                must_go_on(reply, ledger, "sn-2", Removals(b""))  # it was removed before that, for all that is known

    run(scenario)


def test_who_was_removed_for_good_ends_only_nodes_of_its_own_organisation(world: World) -> None:
    """It may sign for a place before its removal at any time: as if it had been promoted there."""

    async def scenario() -> None:
        async with parted(world) as case:
            await remove(case)
            raws, own = case.sentinel.driver.entries_after(0), case.peer.local.credentials.identity.anchor
            for anchor, error, said in (
                (own, GivenUp, "by the word of "),
                (b"", Unreachable, "of whose organisation there is no network node, by the ledger"),
            ):
                ledger, removals = read_with_removals(raws, anchor)
                reply = await answer(case.peer, ledger)
                sentinel = ledger.nodes[case.sentinel.local.state.uid]
                sentinel.identity = replace(sentinel.identity, anchor=bytes(32))  # it is of another organisation
                with pytest.raises(error, match=said):
                    must_go_on(reply, ledger, "sn-2", removals)

    run(scenario)


def test_a_removal_before_the_place_of_a_recovery_stands(world: World) -> None:
    async def scenario() -> None:
        async with parted(world) as case:
            await remove(case)
            await renew(case.sentinel, 3)
            raws = case.sentinel.driver.entries_after(0)
            ledger, removals = read_with_removals(raws, case.peer.local.credentials.identity.anchor)
            case.swci.local.state.begin_anew()
            after = recovery(case.swci, case.peer, lost_after=len(raws) - 2, epoch=1)
            late = make_entry(len(raws) - 1, first_term(1), ledger.time, bytes(32), after).raw
            with pytest.raises(Unreachable, match="is no network node of this ledger"):
                must_go_on({"recovery": late}, ledger, "sn-2", removals)

    run(scenario)


def test_on_a_full_disk_it_ends_by_the_same_sentence(world: World) -> None:
    async def scenario() -> None:
        async with parted(world) as case:
            ledger = case.read(case.sentinel, case.index + 2)
            copy = LedgerCopy(case.sl.local.state)
            (full := copy.state.path / f"{RECOVERY}.part").symlink_to("/dev/full")
            shown = Shown(copy, b"")
            with pytest.raises(GivenUp, match=f"decides since entry {case.index}, by the word of "):
                shown.must_go_on(await answer(case.peer, ledger), ledger, "sn-2")
            assert not full.is_symlink(), "it was tried"
            assert shown.earlier(ledger) is not None, "this process knows it"

    run(scenario)


@pytest.mark.parametrize("removed", [False, True])
def test_a_follower_ends_by_the_proof_only_and_reads_the_ledger_anew_when_it_is_started_again(
    world: World, removed: bool
) -> None:
    async def scenario() -> None:
        async with parted(world) as case, trio.open_nursery() as nursery:
            if removed:
                await remove(case)
            wires: list[Wire] = []
            lies: list[dict[str, Any]] = []

            class Network:
                async def connect(self, host: str, port: int, *, deadline_s: float) -> Wire:
                    sentinel = (host, port) == SENTINEL and not (wires and wires[0].closed.is_set())
                    wires.append(Wire(case.sentinel if sentinel else case.peer, nursery, follower))
                    wires[-1].lie = {} if sentinel else lies.pop() if lies else {}
                    return wires[-1]

            def begin(*entrances: Address) -> LedgerLink:
                link = LedgerLink(case.sl.local, entrances)
                link._in_ledger = list  # type: ignore[method-assign]  # all of them say the same address
                return link

            follower = begin(SENTINEL, PEER)
            control = cast(Control, Network())
            ended: list[SwarmError] = []

            async def follow(*, task_status: Any) -> None:
                try:
                    await follower.run(control, task_status=task_status)
                except GivenUp as error:
                    ended.append(error)

            await nursery.start(follow)
            assert follower.ledger.head_index == case.sentinel.driver.head
            lies += [{"recovery": b"?"}, {"recovery": case.sentinel.driver.entries_after(0)[1]}]
            wires[0].closed.set()
            await until(lambda: bool(ended))
            assert not lies, "none of them has ended it"
            assert all(wire.closed.is_set() for wire in wires)
            follower = begin(PEER)
            await nursery.start(follow)
            assert follower.ledger.digest() == case.peer.driver.ledger.digest()
            nursery.cancel_scope.cancel()

    run(scenario)


def test_who_was_shown_a_recovery_begins_with_no_ledger_of_an_earlier_epoch_again(world: World) -> None:
    """The network node of its profile came back with what was given up, and reaches nobody."""

    async def scenario() -> None:
        async with parted(world) as case, trio.open_nursery() as nursery:
            tried: list[Address] = []

            class Alone(Wire):
                async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
                    if verb == "status":
                        raise Unreachable("no majority of the voters is heard")
                    return await super().call(verb, body, deadline_s=deadline_s)

            class Network:
                async def connect(self, host: str, port: int, *, deadline_s: float) -> Wire:
                    tried.append((host, port))
                    return Alone(case.sentinel if (host, port) == SENTINEL else case.peer, nursery, follower)

            def begin(local: Local) -> LedgerLink:
                link = LedgerLink(local, [SENTINEL, PEER])
                link._in_ledger = list  # type: ignore[method-assign]  # all of them say the same address
                return link

            follower = begin(case.sl.local)
            ended: list[object] = []
            try:
                async with trio.open_nursery() as life:
                    await life.start(follower.run, cast(Control, Network()))
                    assert tried == [SENTINEL]
                    assert not await follower.confirm()
            except* GivenUp as group:
                ended += group.exceptions
            assert len(ended) == 1
            tried.clear()
            follower = begin(case.sl.local)
            async with trio.open_nursery() as life:
                await life.start(follower.run, cast(Control, Network()))
                assert tried == [SENTINEL, PEER], "the first one's ledger is none to begin with"
                assert follower.ledger.digest() == case.peer.driver.ledger.digest()
                life.cancel_scope.cancel()
            follower.copy.give(learner := world.path / "learner")
            assert (learner / RECOVERY).read_bytes() == case.peer.driver.entries_after(case.index - 1, 1)[0]
            (follower.state.path / RECOVERY).write_bytes(b"?")
            follower = begin(case.sl.local)
            async with trio.open_nursery() as life:
                await life.start(follower.run, cast(Control, Network()))
                assert follower.ledger.epoch == 0, "it is found out again"
                life.cancel_scope.cancel()
            nursery.cancel_scope.cancel()

    run(scenario)


# ---- real processes


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        yield Scene(tmp_path, launch, network_nodes=2)
    eventually("the end of all workers", lambda: not workers(tmp_path))


@pytest.mark.slow
def test_after_a_forced_recovery_an_operator_begins_anew_and_others_end_with_one_sentence(scene: Scene) -> None:
    swarm, launch = scene.swarm, scene.launch
    tree = swarm.trees[0]
    credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
    peer = swarm.network[1].ready() or {}
    scene.kill(swarm.network.pop())
    operator = scene.operator(1)
    scene.assign("model/ending.py for-ever")
    scene.running()
    before = learning_nodes(scene.directory)
    node = swarm.start_peer(["python3", "-c", "import time; time.sleep(600)"]).node
    launch.wait_ready([node], PATIENCE_S)

    async def wait(client: Client) -> None:
        await client.ledger()
        (scene.directory / "waits").touch()
        await client.until(lambda ledger: None, PATIENCE_S)

    with ThreadPoolExecutor(1) as asking:
        waiting = asking.submit(consult, (HOST, scene.port), credentials, scene.directory / "waiting", wait)
        eventually("who waits", (scene.directory / "waits").exists)
        os.kill(swarm.network[0].pid, signal.SIGKILL)
        launch.processes.remove(swarm.network.pop())
        again = swarm.start_network_node(
            2, sentinel_port=scene.port, p2p_port=int(peer["p2p_port"]), api_port=int(peer["api_port"])
        )

        async def decide(client: Client) -> Any:
            return await promote(client, "a test")

        def decides() -> bool:
            try:
                return bool(consult((HOST, peer["api_port"]), credentials, scene.directory / "deciding", decide))
            except SwarmError:
                return False

        eventually("the recovery", decides)
        launch.wait_ready([again], PATIENCE_S)
        with pytest.raises(GivenUp, match=r"of a ledger that was given up by force: sn-2 .* by the word of"):
            waiting.result(PATIENCE_S)
    eventually("its end", lambda: node.exit_code is not None)
    launch.processes.remove(node)
    assert node.exit_code == GivenUp.code
    assert any("given up by force: sn-2" in line for line in node.last_lines())
    eventually("the end of what was given up", lambda: not set(before) & set(learning_nodes(scene.directory)))
    eventually("the operator", lambda: operator.log.read_text().count("ready, listening on") == 2)
    scene.port = peer["api_port"]
    scene.assign("model/ending.py for-ever")
    scene.running()  # though its profile names the network node that is lost for good
    assert "this operator begins anew: " in operator.log.read_text()
    assert len(learning_nodes(scene.directory)) == 1
