"""A network node that a person removes while it runs, or is away, in this process, with all parts real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.core import rules
from swarm.core.voters import FOLLOWED
from swarm.nodes.client import Client
from swarm.nodes.sn import NetworkNode
from swarm.runtime import founding
from swarm.wire.signed import sign_proposal
from tests.nodes.lives import HERE, Lives, play
from tests.runtime import sns

NAMES = ("sn-1", "sn-2", "sn-3")


async def network_of(lives: Lives, count: int) -> list[NetworkNode]:
    """So many network nodes, of which all vote that should."""
    nodes = [await lives.start(name, NAMES[0] if place else None) for place, name in enumerate(NAMES[:count])]
    await lives.until(lambda: all(len(each.driver.voters) == (3 if count == 3 else 1) for each in nodes))
    return nodes


async def remove(lives: Lives, at: str, uid: str) -> None:
    with lives.author("swci") as swci:
        await lives.write(at, swci)
        state, driver = swci.local.state, lives.nodes[at].driver
        raw = sign_proposal(
            state.node_key, network_id=driver.ledger.network_id, uid=state.uid, incarnation=state.incarnation,
            seq=swci.seq, kind="SnRemoved", body={"uid": uid},
        )  # fmt: skip
        outcome = await driver.propose(raw, deadline_s=10)
        assert outcome.accepted, outcome.reason


def uid_of(node: NetworkNode) -> str:
    return node.local.state.uid


def leads(nodes: list[NetworkNode]) -> NetworkNode:
    return next(node for node in nodes if node.driver.role == "leader")


async def notes(node: NetworkNode) -> list[str]:
    link: Any = None
    said: list[str] = (await node._status(link, {}))["notes"]
    return said


@pytest.mark.parametrize("count", [2, 3])
def test_one_that_runs_and_does_not_lead_ends_by_its_own_ledger_and_its_followers_go_on_through_another(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            nodes = await network_of(lives, count)
            leader = leads(nodes)
            one = next(node for node in reversed(nodes) if node is not leader)
            name, at = one.settings.state.path.name, leader.settings.state.path.name
            with lives.author("sl") as follower:
                client = Client(follower.local, (HERE, one.api_port))
                async with trio.open_nursery() as nursery:
                    await nursery.start(client.run)
                    await client.ledger()
                    await remove(lives, at, uid_of(one))
                    await lives.until(lambda: name in lives.ended)
                    assert "was removed from its network" in lives.ended[name].message
                    own = one.driver.ledger
                    assert own.nodes[uid_of(one)].state == "removed", "nobody else had to tell it"
                    assert not one.removal.notes(one.links)
                    with lives.author("swop") as other:
                        index = await lives.write(at, other)
                    await client.until(lambda ledger: ledger.head_index >= index or None, 30)
                    assert client.link.ledger.head_index >= index
                    client.close()
            await lives.until(lambda: leader.driver.partners == leader.driver.voters)

    play(main)


@pytest.mark.parametrize("count", [2, 3])
def test_one_that_was_away_while_it_was_removed_ends_by_the_word_of_the_others(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            nodes = await network_of(lives, count)
            leader = leads(nodes)
            one = next(node for node in reversed(nodes) if node is not leader)
            name, at = one.settings.state.path.name, leader.settings.state.path.name
            monkeypatch.setattr(one.heads, "hears", lambda link: False)
            await remove(lives, at, uid_of(one))
            await lives.until(lambda: name in lives.ended)
            assert "was removed from its network" in lives.ended[name].message
            assert one.driver.ledger.nodes[uid_of(one)].state == "live", "as far as its own ledger knows"

    play(main)


def test_one_that_is_started_again_hands_over_what_it_decided_and_ends_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            former, other = await network_of(lives, 2)
            own, theirs = uid_of(former), uid_of(other)
            await remove(lives, "sn-1", own)
            assert former.driver.voters == (own,), "before anything was handed over"
            await lives.stop("sn-1")
            again = await lives.start("sn-1", "sn-2", ready=False)
            await lives.until(lambda: other.driver.ledger.voters == (theirs,))
            await lives.until(lambda: "sn-1" in lives.ended)
            assert again.driver.ledger.voters == (theirs,)
            assert "was removed from its network" in lives.ended["sn-1"].message

    play(main)


def test_one_that_has_nobody_to_hand_over_to_says_whom_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            former, other = await network_of(lives, 2)
            name = str(other.driver.ledger.nodes[uid_of(other)].identity.name)
            await remove(lives, "sn-1", uid_of(former))
            await lives.stop("sn-1")
            await lives.stop("sn-2")
            again = await lives.start("sn-1", "sn-2", ready=False)
            await lives.until(lambda: "this network node was removed: it hands over as soon as" in caplog.text)
            (said,) = [note for note in await notes(again) if "removed" in note]
            assert name in said
            await lives.start("sn-2", "sn-1")
            await lives.until(lambda: "sn-1" in lives.ended)
            assert "was removed from its network" in lives.ended["sn-1"].message

    play(main)


def test_by_older_rules_one_that_is_started_again_ends_since_the_ledger_would_not_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (founding, rules, sns):
        monkeypatch.setattr(module, "KNOWN", FOLLOWED - 1)
    lives = Lives(tmp_path, monkeypatch)

    async def main() -> None:
        async with lives.running():
            former, _ = await network_of(lives, 2)
            await remove(lives, "sn-1", uid_of(former))
            await lives.stop("sn-1")
            await lives.start("sn-1", "sn-2", ready=False)
            await lives.until(lambda: "sn-1" in lives.ended)
            assert "the network did not admit this node" in lives.ended["sn-1"].message

    play(main)
