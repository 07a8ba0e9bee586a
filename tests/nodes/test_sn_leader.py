"""What a network node passes on to whoever leads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from swarm.errors import BadInput, Crowded
from swarm.nodes.sn_leader import Leader
from swarm.runtime.answers import NotLeader
from swarm.runtime.change import Change


class Link:
    peer = SimpleNamespace(uid="leader")

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        self.asked.append(body)
        return {"accepted": True}


async def catch_up(*, deadline_s: float) -> None:
    raise NotLeader("leader")


def follower(link: Link) -> Leader:
    driver: Any = SimpleNamespace(catch_up=catch_up, leader_uid="leader", role="follower", leadership=Change())
    links: Any = SimpleNamespace(of=lambda uid: link)
    return Leader(driver, links, "own")


ASKED = {"uid": "u", "incarnation": bytes(16), "seq": 2}


def test_what_somebody_adds_to_a_question_does_not_reach_the_leader() -> None:
    """It would be more than a link takes, which ends it."""
    link = Link()
    more = {f"field-{number}": number for number in range(29)}
    trio.run(follower(link).outcome, {**ASKED, **more}, 5.0)
    assert link.asked == [{**ASKED, "here": True}]


@pytest.mark.parametrize("body", [{}, {**ASKED, "uid": []}, {**ASKED, "seq": None}, {**ASKED, "incarnation": "text"}])
def test_a_question_about_no_proposal_is_refused(body: dict[str, Any]) -> None:
    link = Link()
    with pytest.raises(BadInput):
        trio.run(follower(link).outcome, body, 5.0)
    assert not link.asked


def test_who_asks_too_much_is_told_so_at_once_and_not_asked_for_again_and_again() -> None:
    class Full(Link):
        async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
            await super().call(verb, body, deadline_s=deadline_s)
            raise Crowded("too many", hint="later")

    async def propose_all(raws: list[bytes], *, deadline_s: float, by: bytes) -> Any:
        raise NotLeader("leader")

    async def propose() -> None:
        with pytest.raises(Crowded, match="too many"):
            await leader.propose_all([b"raw"], 5.0, b"org")

    link = Full()
    leader = follower(link)
    leader._driver.propose_all = propose_all  # type: ignore[method-assign]
    trio.run(propose)
    assert link.asked == [{"proposals": [b"raw"], "by": b"org"}]


def test_a_pause_says_who_is_missing_and_both_ways_out_of_it() -> None:
    nodes = {
        uid: SimpleNamespace(identity=SimpleNamespace(name=uid, organisation="org"), addresses=(address,))
        for uid, address in {"sn-1": "10.0.0.1:30304", "sn-2": "10.0.0.2:30304"}.items()
    }
    ledger = SimpleNamespace(nodes=nodes)
    driver: Any = SimpleNamespace(role="learner", voters=("sn-1",), leader_uid="sn-1", one_copy=True, ledger=ledger)
    links: Any = SimpleNamespace(of=lambda uid: None)
    leader = Leader(driver, links, "sn-2")
    (note,) = leader.notes()
    assert note.startswith("ledger pauses: sn-1 (org), which decides alone, is not reachable from here; start ")
    assert "again with its state directory" in note
    assert note.endswith("swarm sn promote --force --sn-ip 10.0.0.2 --sn-api-port 30304")
    assert leader.uid() is None, "nobody leads what pauses"
    links.of = lambda uid: "a link"
    assert (leader.notes(), leader.uid()) == (["ledger has one copy"], "sn-1")
    driver.one_copy = False
    assert leader.notes() == []
