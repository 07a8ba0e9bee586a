"""What a network node makes of what others say of it when it calls them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarm.errors import Outdated, SwarmError
from swarm.nodes.sn_links import Links

OWN = "own"
SAID = Outdated("this network follows rules version 2")


def of(others: int) -> tuple[Links, list[SwarmError]]:
    """The links of a node among so many others, and why it ended."""
    ended: list[SwarmError] = []
    ledger = SimpleNamespace(sns=lambda: [(OWN, b""), *((f"sn-{number}", b"") for number in range(others))])
    local = SimpleNamespace(state=SimpleNamespace(uid=OWN))
    links = Links(cast(Any, local), lambda: cast(Any, ledger), list, linked=cast(Any, None), ended=ended.append)
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


def test_who_is_no_network_node_any_longer_has_no_say() -> None:
    links, ended = of(2)
    links._note_outdated("sn-9", SAID)
    assert not ended
