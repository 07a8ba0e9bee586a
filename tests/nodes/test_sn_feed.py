"""Entries are on their way to who is far before the last ones are answered, and come in order and whole."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from swarm.errors import Unreachable
from swarm.nodes.sn_feed import AHEAD, FOLLOW_S, Feed
from swarm.nodes.sn_recoveries import Recoveries
from swarm.runtime.change import Change
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver
from swarm.runtime.inturn import InTurn
from swarm.runtime.requests import Request

DELAY_S = 0.025
PIECE = 3


class Ledger:
    """Stands for a driver; its entries are their own numbers."""

    def __init__(self) -> None:
        self.head, self.applied, self.epoch = 0, Change(), 0
        self.ledger = self

    @property
    def head_index(self) -> int:
        return self.head

    def entry_at(self, index: int) -> None:
        return None

    def entries_after(self, index: int) -> list[int]:
        return list(range(index + 1, min(index + PIECE, self.head) + 1))

    def add(self, count: int = 1) -> None:
        self.head += count
        self.applied.tell()


class Far:
    """Stands for the link to a follower that is DELAY_S away and takes ``at_most`` entries of a piece; its answers are
    seen ``late_s`` after they came."""

    def __init__(self, at_most: Callable[[], int] = lambda: PIECE, late_s: Callable[[], float] = lambda: 0.0) -> None:
        self.closed, self.peer = trio.Event(), SimpleNamespace(identity="sl-1")
        self.entries: list[int] = []
        self.came: list[float] = []
        self.under_way = self.most_under_way = 0
        self.answers = True
        self._at_most, self._late_s = at_most, late_s

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await trio.sleep(DELAY_S)
        if body["after"] == len(self.entries):
            self.entries += body["entries"][: self._at_most()]
            self.came.append(trio.current_time())
        answer = len(self.entries)
        if not self.answers:
            await trio.sleep(deadline_s)
            raise Unreachable(f"no answer within {deadline_s:g} s")
        await trio.sleep(DELAY_S + self._late_s())
        self.under_way -= 1
        return {"head": answer}

    async def close(self) -> None:
        self.closed.set()


def play(far: Far, story: Callable[[Ledger], Awaitable[None]], *, ahead: bool = True) -> None:
    async def main() -> None:
        ledger = Ledger()
        async with trio.open_nursery() as nursery:
            driver = cast(Driver, ledger)
            feed = Feed(driver, Recoveries(driver), nursery, ledger.applied)
            await feed.follow(cast(Link, far), {"after": 0, **({"ahead": True} if ahead else {})})
            await story(ledger)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_what_is_new_is_sent_before_what_is_under_way_is_answered() -> None:
    far = Far()

    async def story(ledger: Ledger) -> None:
        for _ in range(3):
            ledger.add()
            await trio.sleep(0.01)
        await trio.sleep(1)

    play(far, story)
    assert far.entries == [1, 2, 3]
    assert far.came[-1] - far.came[0] == pytest.approx(0.02), "each came a way after it was new"


def test_who_does_not_say_that_it_takes_them_ahead_is_sent_one_piece_at_a_time() -> None:
    far = Far()

    async def story(ledger: Ledger) -> None:
        ledger.add(5 * PIECE)
        await trio.sleep(10 * DELAY_S)

    play(far, story, ahead=False)
    assert far.entries == list(range(1, 5 * PIECE + 1))
    assert far.most_under_way == 1


def test_no_more_than_a_few_pieces_are_unanswered_and_silence_ends_the_link() -> None:
    far = Far()
    far.answers = False

    async def story(ledger: Ledger) -> None:
        ledger.add(100)
        with trio.fail_after(FOLLOW_S + 1):
            await far.closed.wait()

    play(far, story)
    assert far.most_under_way == AHEAD
    assert far.entries == list(range(1, AHEAD * PIECE + 1))


def test_a_link_that_ends_takes_what_is_under_way_along() -> None:
    far = Far()

    async def story(ledger: Ledger) -> None:
        ledger.add(100)
        await wait_all_tasks_blocked()
        far.closed.set()
        await trio.sleep(1)

    play(far, story)
    assert far.entries == []


@pytest.mark.parametrize("seed", range(20))
def test_what_a_busy_follower_had_no_time_for_comes_again_in_order(seed: int) -> None:
    chance = random.Random(seed)
    far = Far(lambda: chance.randint(1, PIECE))

    async def story(ledger: Ledger) -> None:
        for _ in range(20):
            ledger.add(chance.randint(1, 9))
            await trio.sleep(chance.choice([0, 0.001, DELAY_S, 0.2]))
        while len(far.entries) < ledger.head:
            await trio.sleep(DELAY_S)
        assert not far.closed.is_set()
        assert far.entries == list(range(1, ledger.head + 1)), f"seed {seed}"

    play(far, story)


@pytest.mark.parametrize("seed", range(20))
def test_answers_may_be_seen_in_any_order(seed: int) -> None:
    """Each wakes a task, and tasks that wake together go on in any order."""
    chance = random.Random(seed)
    far = Far(late_s=lambda: chance.choice([0, 0.01, 0.02]))

    async def story(ledger: Ledger) -> None:
        for _ in range(20):
            ledger.add(chance.randint(1, 9))
            await trio.sleep(chance.choice([0, 0.001, 0.006]))
        while len(far.entries) < ledger.head:
            assert not far.closed.is_set(), f"seed {seed}"
            await trio.sleep(DELAY_S)
        await trio.sleep(1)
        assert not far.closed.is_set(), f"seed {seed}"

    play(far, story)


def test_a_follower_that_takes_nothing_is_sent_nothing_more() -> None:
    far = Far(lambda: 0)

    async def story(ledger: Ledger) -> None:
        ledger.add(100)
        with trio.fail_after(1):
            await far.closed.wait()

    play(far, story)


@pytest.mark.parametrize("ahead", [False, True])
def test_only_who_is_ahead_of_a_forced_recovery_is_let_go_to_come_again_and_be_told(ahead: bool) -> None:
    far = Far()

    async def story(ledger: Ledger) -> None:
        ledger.add(1)
        await trio.sleep(1)
        ledger.epoch, ledger.voting = 1, SimpleNamespace(lost_after=0 if ahead else 1)
        ledger.add(0 if ahead else 1)
        await trio.sleep(1)
        ledger.add(0 if ahead else 1)
        await trio.sleep(1)

    play(far, story)
    assert far.closed.is_set() == ahead


def test_requests_of_a_line_begin_in_their_order_each_after_the_end_of_the_one_before() -> None:
    line, begun = InTurn(), list[int]()

    def request(number: int) -> Request:
        return cast(Request, SimpleNamespace(take_time=lambda: begun.append(number)))

    assert [line.comes(request(number)) for number in range(3)] == [False, True, True]
    assert begun == []
    line.ended()
    assert begun == [1]
    line.ended()
    assert begun == [1, 2]
    line.ended()
    assert not line.comes(request(3)), "nobody is before it any more"
