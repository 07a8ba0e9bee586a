"""What a network node makes of what others say of it when it calls them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from swarm.core.names import Identity
from swarm.errors import Outdated, Replaced, RunsTwice, SwarmError
from swarm.nodes.sn_links import Links

OWN = "own"
SAID = Outdated("this network follows rules version 2")


def of(
    others: int, *, head: int = 9, voters: tuple[str, ...] = ("sn-0",), shown: bytes = b"shown"
) -> tuple[Links, list[SwarmError]]:
    """The links of a node among so many others, and why it ended."""
    ended: list[SwarmError] = []
    uids = [f"sn-{number}" for number in range(others)]
    node = SimpleNamespace(
        addresses=["10.0.0.9:1"], node_key=bytes(32), identity=Identity("b", bytes(32), "sn", "sn-9")
    )
    ledger = SimpleNamespace(
        sns=lambda: [(OWN, b""), *((uid, b"") for uid in uids)],
        nodes=dict.fromkeys(uids, node),
        head_index=head,
        voters=voters,
    )
    local = SimpleNamespace(state=SimpleNamespace(uid=OWN))
    links = Links(
        cast(Any, local),
        lambda: cast(Any, ledger),
        list,
        linked=cast(Any, None),
        ended=ended.append,
        shown=lambda proof: proof == shown,
    )
    return links, ended


@pytest.mark.parametrize(("others", "needed"), [(1, 1), (2, 1), (4, 2)])
def test_half_of_the_others_have_to_say_that_a_node_is_outdated(others: int, needed: int) -> None:
    links, ended = of(others)
    for number in range(needed):
        assert not ended
        for _ in range(3):  # one that says it again counts once
            if not ended:
                links._note_outdated(f"sn-{number}", SAID)
    assert ended == [SAID]


@pytest.mark.parametrize("kind", [Replaced, RunsTwice])
@pytest.mark.parametrize(("others", "needed"), [(1, 1), (2, 2), (4, 3)])
def test_most_of_the_others_have_to_say_that_another_process_has_a_nodes_place(
    others: int, needed: int, kind: type[Replaced | RunsTwice]
) -> None:
    """One admitted node that lies would end whoever dials it, at every start."""
    links, ended = of(others)
    said = kind("sn-9 refused this node")
    control: Any = Refusing(said)
    for number in range(needed):
        assert not ended
        for _ in range(2):
            trio.run(links._dial, control, f"sn-{number}")
    assert set(ended) == {said}


@pytest.mark.parametrize("kind", [Replaced, RunsTwice])
def test_who_decides_alone_is_ended_by_the_only_other_one_with_what_its_own_key_has_signed(
    kind: type[Replaced | RunsTwice],
) -> None:
    links, ended = of(1, voters=(OWN,))
    mere = kind("sn-9 refused this node")
    for said in (mere, kind("sn-9 refused this node").showing(b"nothing of it")):
        for _ in range(3):
            trio.run(links._dial, cast(Any, Refusing(said)), "sn-0")
    assert not ended
    proven = kind("sn-9 refused this node").showing(b"shown")
    trio.run(links._dial, cast(Any, Refusing(proven)), "sn-0")
    assert ended == [proven]


def test_who_decides_alone_is_not_ended_by_the_only_other_ones_word_that_its_release_is_old() -> None:
    links, ended = of(1, voters=(OWN,))
    for _ in range(3):
        trio.run(links._dial, cast(Any, Refusing(SAID)), "sn-0")
    assert not ended


def test_one_of_several_that_shows_it_ends_who_is_one_too_many() -> None:
    links, ended = of(4)
    proven = RunsTwice("sn-9 refused this node").showing(b"shown")
    trio.run(links._dial, cast(Any, Refusing(proven)), "sn-0")
    assert ended == [proven]


@pytest.mark.parametrize("head", [9, 0])
def test_an_entrance_ends_only_who_has_no_ledger_yet(head: int) -> None:
    links, ended = of(2, head=head)
    said = RunsTwice("sn-9 refused this node")
    control: Any = Refusing(said, times=2)

    async def use() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(links._use_entrances, control, [("10.0.0.9", 1)])
            await control.refused.wait()
            nursery.cancel_scope.cancel()

    trio.run(use)
    assert ended == ([] if head else [said])


class Refusing:
    """Every call ends with this."""

    def __init__(self, error: SwarmError, times: int = 10**9) -> None:
        self.error, self.left = error, times
        self.refused = trio.Event()

    async def connect(self, *address: Any, **given: Any) -> Any:
        self.left -= 1
        if not self.left:
            self.refused.set()
            await trio.sleep_forever()
        raise self.error


def test_who_is_no_network_node_any_longer_has_no_say() -> None:
    links, ended = of(2)
    links._note_outdated("sn-9", SAID)
    assert not ended
