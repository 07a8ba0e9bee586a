"""Which forced recoveries there were is found once, and whoever asks is answered from memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from swarm.core.ordering import first_term
from swarm.errors import Refused
from swarm.nodes.sn_feed import Feed
from swarm.nodes.sn_recoveries import Recoveries
from swarm.runtime.change import Change
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver
from swarm.wire.signed import decode_entry, make_entry

BEGIN = {1: 500, 4: 501, 5: 900}
"""By epoch, the index of the forced recovery."""


class Entries:
    """Stands for a driver with a thousand entries; ``first``: those before it are in a snapshot only."""

    def __init__(self, first: int = 1) -> None:
        self.first, self.reads, self.head = first, 0, 1000
        self.ledger = cast(Any, SimpleNamespace(epoch=5, voting=SimpleNamespace(lost_after=899)))

    def raw(self, index: int) -> bytes:
        epoch = max((epoch for epoch, begin in BEGIN.items() if begin <= index), default=0)
        return make_entry(index, first_term(epoch), 0, bytes(32), b"").raw

    def entries_after(self, index: int, max_bytes: int) -> list[bytes]:
        self.reads += 1
        if index + 1 < self.first:
            raise Refused("this network node began with a snapshot")
        return [self.raw(index + 1)] if index < self.head else []

    def entry_at(self, index: int) -> Any:
        return decode_entry(self.raw(index))


def shown(recoveries: Recoveries, epoch: int, upto: int = 1000) -> int | None:
    entry = recoveries.after(epoch, upto)
    return entry.index if entry is not None else None


def test_each_is_found_however_many_there_were_and_shown_to_who_has_read_so_far() -> None:
    recoveries = Recoveries(Entries())
    recoveries.look_back()
    assert [shown(recoveries, epoch) for epoch in (-1, 0, 1, 2, 4, 5, 6)] == [500, 500, 501, 501, 900, None, None]
    assert [shown(recoveries, 0, upto) for upto in (499, 500)] == [None, 500]
    assert [shown(recoveries, 4, upto) for upto in (899, 900)] == [None, 900]


def test_what_is_not_here_yet_is_found_when_it_has_come() -> None:
    entries = Entries(first=950)
    recoveries = Recoveries(entries)
    recoveries.look_back()
    assert shown(recoveries, 0) is None
    recoveries.take(entries.raw(900))
    assert shown(recoveries, 0) == 900, "it gave up what was read up to there, too"
    for entries.first, found in ((700, 900), (1, 500)):
        recoveries.look_back()
        assert shown(recoveries, 0) == found


def test_a_log_whose_place_a_snapshot_is_taking_may_answer_with_nothing() -> None:
    entries = Entries()
    entries.head = 0
    recoveries = Recoveries(entries)
    recoveries.look_back()
    assert shown(recoveries, 0) is None
    entries.head = 1000
    recoveries.look_back()
    assert shown(recoveries, 0) == 500


@pytest.mark.parametrize("first", [1, 950])
def test_nobody_who_follows_makes_a_network_node_read_old_entries(first: int) -> None:
    """A certificate was enough to have all of the ledger searched, without a pause, as often as one asked."""

    async def main() -> None:
        entries = Entries(first)
        driver = cast(Driver, entries)
        recoveries = Recoveries(driver)
        recoveries.look_back()
        known, entries.reads = entries.reads, 0
        assert known < 40
        async with trio.open_nursery() as nursery:
            feed = Feed(driver, recoveries, nursery, Change())
            link = cast(Link, object())
            for _ in range(64):
                answer = await feed.follow(link, {"after": 1000, "hash": bytes(32), "epoch": 0})
                assert answer["goes_on"] is False
                assert ("recovery" in answer) == (first == 1)
        assert entries.reads == 0
        recoveries.look_back()
        assert entries.reads <= 1, "nor are they searched again"

    trio.run(main)
