"""Forced recoveries that others show: who is behind judges them by entries that it verifies itself."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from swarm.core.ledger import Ledger
from swarm.core.ordering import first_term
from swarm.errors import SwarmError, Unreachable
from swarm.nodes import sn_recovery
from swarm.nodes.sn_recovery import CASES_MAX, LACKED_MAX, Case, Judge, Recovery, judged
from swarm.runtime.authority import CertificateTree, issue
from swarm.runtime.credentials import Credentials
from swarm.runtime.replica import Replica
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local
from swarm.wire.signed import decode_entry, make_entry
from tests.runtime.sns import Author, Node, World, recovery, renew, run

NO_HASH = bytes(32)


def ledger_of(node: Node, upto: int) -> Ledger:
    """What somebody has who was away since then."""
    replica = Replica(node.driver.ledger.network_id)
    for raw in node.driver.entries_after(0)[:upto]:
        replica.take(raw)
    return replica.ledger


class Peer:
    def __init__(self, uid: str, organisation: str) -> None:
        self.uid = uid
        self.identity = SimpleNamespace(organisation=organisation)

    def __str__(self) -> str:
        return "sn-2 (org-a)"


def link(call: Callable[[int], Awaitable[Any]], uid: str = "sn-2", organisation: str = "org-a") -> Any:
    """To somebody who answers so when it is asked for the entries behind an index."""

    async def ask(verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        assert verb == "snapshot"
        await trio.lowlevel.checkpoint()
        return await call(body["after"])

    return SimpleNamespace(peer=Peer(uid, organisation), call=ask, closed=trio.Event())


def link_to(node: Node, **changes: Any) -> Any:
    async def call(after: int) -> Any:
        return {**node.driver.snapshots.answer_piece({"after": after}), **changes}

    return link(call)


async def nobody_asks(after: int) -> Any:
    raise AssertionError("nothing is read for it")


class Shown:
    """A recovery, and the ledger of who was away since the first entry."""

    def __init__(self, swci: Author, peer: Node, behind: Ledger, index: int) -> None:
        self.swci, self.peer, self.behind, self.index = swci, peer, behind, index
        shown = peer.driver.entry_at(index)
        assert shown is not None
        self.raw = shown.raw
        author = swci.local.credentials.identity
        self.recovery = Recovery(shown.raw, 1, index, peer.local.state.uid, str(author), author.anchor)
        self.followed: list[Recovery] = []
        self.judge = Judge(lambda: behind, self._follow)

    async def _follow(self, recovery: Recovery, link: Any) -> None:
        self.followed.append(recovery)

    def forged(self, *, index: int, epoch: int = 1, lost_after: int | None = None, by: Author | None = None) -> bytes:
        """An entry at this index, whatever its author has signed."""
        lost = index - 1 if lost_after is None else lost_after
        proposal = recovery(by or self.swci, self.peer, lost_after=lost, epoch=1)
        return make_entry(index, first_term(epoch), self.behind.time, NO_HASH, proposal).raw


@asynccontextmanager
async def shown(world: World) -> AsyncIterator[Shown]:
    with world.client("swci") as swci:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            behind = ledger_of(sentinel, 1)
            await renew(sentinel, 3)
            world.network.cut = True
            outcome = await peer.driver.promote(recovery(swci, peer), deadline_s=5)
            assert outcome.accepted, outcome.reason
            yield Shown(swci, peer, behind, outcome.index)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(sn_recovery, "AGAIN_S", 0.0)
    return World(tmp_path)


def test_who_is_behind_judges_a_recovery_by_the_entries_that_the_other_side_has(world: World) -> None:
    async def scenario() -> None:
        async with shown(world) as case:
            with pytest.raises(SwarmError, match="is no network node of this ledger"):
                judged(case.raw, case.behind, "sn-2")
            ledger = await Case(link_to(case.peer), case.raw, case.index).ledger_before(case.behind)
            assert judged(case.raw, ledger, "sn-2") == case.recovery
            assert case.behind.head_index == 1, "the own ledger is another object"
            for lie in ([b"?"], [], ["x"], [case.peer.driver.entries_after(0)[0]]):
                with pytest.raises(SwarmError):
                    await Case(link_to(case.peer, entries=lie), case.raw, case.index).ledger_before(case.behind)

    run(scenario)


def test_a_ledger_that_is_long_to_read_is_judged_after_several_tries(world: World) -> None:
    """Each of which goes on where the one before ended."""
    asked: list[int] = []

    async def scenario() -> None:
        async with shown(world) as case:

            async def one_at_a_time(after: int) -> Any:
                asked.append(after)
                if asked.count(after) == 1:
                    raise Unreachable("it is slow")
                return {"entries": case.peer.driver.entries_after(after, 1)}

            case.judge.take(link(one_at_a_time), case.raw)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.judge.run)
                while not case.followed:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert case.followed == [case.recovery]
            assert asked == [after for after in range(1, case.index - 1) for _ in range(2)]

    run(scenario)


def test_a_try_that_takes_too_long_says_whom_it_waited_for_and_how_far_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sn_recovery, "TRY_S", 0.05)
    caplog.set_level(logging.WARNING)

    async def scenario() -> None:
        async with shown(world) as case:
            tries = 0

            async def never(after: int) -> Any:
                nonlocal tries
                tries += 1
                await trio.sleep_forever()

            case.judge.take(link(never), case.raw)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.judge.run)
                while tries < 2:
                    await trio.sleep(0)
                nursery.cancel_scope.cancel()
            said = f"sn-2 (org-a) shows at entry {case.index}: waited 0.05 s for its entries, and has read them up to"
            assert f"{said} entry 1" in caplog.text

    run(scenario)


def test_for_what_nobody_has_signed_or_for_another_place_nothing_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Replica, "begun", lambda *_: pytest.fail("the state was copied"))

    async def scenario() -> None:
        async with shown(world) as case:
            entry = decode_entry(case.raw)
            forgeries = {
                "a proposal that cannot be read": make_entry(2**40, entry.term, entry.time, NO_HASH, b"").raw,
                "is not signed with the node key": make_entry(
                    2**40, entry.term, entry.time, NO_HASH, entry.proposal.replace(b"burned", b"melted")
                ).raw,
                "what is none of this network": case.peer.driver.entries_after(3)[0],
                f"behind entry {case.index - 1} as entry 1099511627776": case.forged(
                    index=2**40, lost_after=case.index - 1
                ),
                "into epoch 1 as a later one": case.forged(index=9, epoch=2),
                f"at most {LACKED_MAX} are read": case.forged(index=LACKED_MAX + 2),
            }
            for why, raw in forgeries.items():
                with pytest.raises(SwarmError, match=why):
                    case.judge.take(link(nobody_asks), raw)
            assert not case.judge._cases

    run(scenario)


def test_what_proved_false_is_not_looked_at_again_and_takes_nobodys_turn(world: World) -> None:
    async def scenario() -> None:
        async with shown(world) as case:
            lies: list[int] = []

            async def lie(after: int) -> Any:
                lies.append(after)
                return {"entries": [make_entry(after + 1, 1, case.behind.time, NO_HASH, b"").raw]}

            liar = link(lie, "liar")
            case.judge.take(liar, case.raw)
            case.judge.take(link_to(case.peer), case.raw)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.judge.run)
                while not case.followed:
                    await trio.sleep(0)
                nursery.cancel_scope.cancel()
            assert lies == [1]
            with pytest.raises(SwarmError, match="its own entries do not bear out"):
                case.judge.take(liar, case.raw)

    run(scenario)


@pytest.mark.parametrize("at", ["while it is asked", "between two entries"])
def test_a_recovery_is_not_judged_by_what_was_read_for_another_one_that_is_shown_meanwhile(
    world: World, at: str
) -> None:
    """Which is that of an earlier place: less is read for it, or more was read already."""

    async def scenario() -> None:
        async with shown(world) as case:
            another = case.forged(index=2)
            asked: list[int] = []

            async def call(after: int) -> Any:
                asked.append(after)
                if at == "while it is asked" and len(asked) == 2:
                    case.judge.take(shows, another)
                entries = case.peer.driver.entries_after(after)
                return {"entries": entries[:1] if at == "while it is asked" else entries}

            async def change_its_mind() -> None:
                (read,) = case.judge._cases.values()
                while read.head(case.behind) < 2:
                    await trio.lowlevel.checkpoint()
                case.judge.take(shows, another)

            shows = link(call)
            case.judge.take(shows, case.raw)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.judge.run)
                if at == "between two entries":
                    nursery.start_soon(change_its_mind)
                while another not in [raw for raw, _ in case.judge._found_false.values()]:
                    await trio.lowlevel.checkpoint()
                case.judge.take(shows, case.raw)
                while not case.followed:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert case.followed == [case.recovery]

    run(scenario)


def test_strangers_keep_no_network_node_from_being_heard(world: World) -> None:
    async def scenario() -> None:
        async with shown(world) as case:
            for number in range(CASES_MAX + 1):
                case.judge.take(link(nobody_asks, f"stranger-{number}"), case.raw)
            assert len(case.judge._cases) == CASES_MAX
            admitted = case.behind.sns()[0][0]
            case.judge.take(link(nobody_asks, admitted), case.raw)
            assert admitted in case.judge._cases
            assert len(case.judge._cases) == CASES_MAX

    run(scenario)


def test_who_is_gone_keeps_no_other_from_being_heard(world: World) -> None:
    """All of them admitted."""

    async def scenario() -> None:
        async with shown(world) as case:
            case.behind.sns = lambda: [(f"sn-{number}", b"") for number in range(9)]  # type: ignore[method-assign]
            shows = [link(nobody_asks, f"sn-{number}", f"org-{number}") for number in range(CASES_MAX + 1)]
            for each in shows:
                case.judge.take(each, case.raw)
            assert shows[-1].peer.uid not in case.judge._cases, "there are as many others"
            shows[2].closed.set()
            case.judge.take(shows[-1], case.raw)
            assert list(case.judge._cases) == ["sn-0", "sn-1", "sn-3", f"sn-{CASES_MAX}"]

    run(scenario)


def test_one_organisation_keeps_no_other_from_being_heard(world: World) -> None:
    async def scenario() -> None:
        async with shown(world) as case:
            case.behind.sns = lambda: [(f"sn-{number}", b"") for number in range(9)]  # type: ignore[method-assign]
            many = [link(nobody_asks, f"sn-{number}", "org-a") for number in range(CASES_MAX)]
            for each in (*many, link(nobody_asks, "sn-8", "org-b"), *many):
                case.judge.take(each, case.raw)
            assert list(case.judge._cases) == ["sn-1", "sn-2", "sn-3", "sn-8"]

    run(scenario)


@pytest.mark.parametrize(("limit", "value"), [("READ_MAX", 1), ("GROWN_MAX", -1)])
def test_entries_that_nobody_has_ordered_do_not_fill_the_memory(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Whoever has a certificate can make as many as it likes, and a recovery behind them that seems to be signed."""
    monkeypatch.setattr(sn_recovery, "MEASURE_EVERY", 1)
    monkeypatch.setattr(sn_recovery, limit, value)

    async def scenario() -> None:
        async with shown(world) as case:
            asked: list[int] = []

            async def one_at_a_time(after: int) -> Any:
                asked.append(after)
                return {"entries": case.peer.driver.entries_after(after, 1)}

            shows = link(one_at_a_time)
            case.judge.take(shows, case.raw)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.judge.run)
                while case.judge._cases:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert asked == [1], "nothing is read beyond the bound"
            assert not case.followed
            with pytest.raises(SwarmError, match="start this node with --rejoin"):
                case.judge.take(shows, case.raw)

    run(scenario)


def test_an_organisation_that_came_later_may_have_signed(world: World, tmp_path: Path) -> None:
    """Whose it is only the entries show that are not here: but it is signed, and for this place."""
    tree = CertificateTree(tmp_path / "others", "2")
    issue(tree, organisation="org-b")

    async def scenario() -> None:
        async with shown(world) as case:
            credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath)
            with StateDirectory(tmp_path / "other") as state:
                raw = case.forged(index=9, by=Author(Local(credentials, state)))
                with pytest.raises(SwarmError, match="nobody can have signed"):
                    judged(raw, case.behind, "sn-2")
                case.judge.take(link(nobody_asks), raw)
                assert case.judge._cases

    run(scenario)
