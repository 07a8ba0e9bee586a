"""The news of a commit: held for a moment while entries keep following, told at once while they do not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from swarm.core.ordering import Answer, Entries, LogEntry, Message, Send
from swarm.runtime.news import HOLD_S, News

ENTRY = LogEntry(1, 1, b"h" * 32, b"raw")


def news_of(commit: int) -> Entries:
    return Entries(1, 0, commit, b"h" * 32, (), commit, commit, False)


def heartbeat(commit: int) -> Entries:
    return Entries(1, 7, commit, b"h" * 32, (), commit, commit, False)


def entries(commit: int) -> Entries:
    return Entries(1, 8, commit, b"h" * 32, (ENTRY,), commit + 1, commit, False)


class Scene:
    """``sent`` is what has left: to whom, with which commit."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.news = News(lambda to, message: self.sent.append((to, message)))

    def send(self, message: Message, *uids: str) -> None:
        for uid in uids or ("a", "b"):
            self.news.send(Send(uid, message))

    def take(self) -> list[tuple[str, Message]]:
        sent, self.sent = self.sent, []
        return sent

    def writes_follow_each_other(self) -> None:
        """One proposal as soon as the last is committed."""
        self.send(news_of(1))
        self.send(entries(1))
        self.take()


def to_both(message: Message) -> list[tuple[str, Message]]:
    return [("a", message), ("b", message)]


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        scene = Scene()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.news.run)
            await act(scene)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_news_leaves_at_once_while_nothing_is_known_to_follow_it() -> None:
    async def act(scene: Scene) -> None:
        for commit in (1, 2, 3):
            scene.send(news_of(commit))
            assert scene.take() == to_both(news_of(commit))
            await trio.sleep(2 * HOLD_S)
            scene.send(entries(commit))
            assert scene.take() == to_both(entries(commit))

    play(act)


def test_news_is_spared_where_entries_follow_it_soon() -> None:
    async def act(scene: Scene) -> None:
        scene.writes_follow_each_other()
        for commit in range(2, 9):
            scene.send(news_of(commit))
            assert scene.take() == []
            await trio.sleep(HOLD_S / 2)
            scene.send(entries(commit))
            assert scene.take() == to_both(entries(commit)), "they carry it"
        await trio.sleep(10 * HOLD_S)
        assert scene.take() == []

    play(act)


def test_news_that_nothing_follows_leaves_after_a_moment_and_the_next_at_once() -> None:
    async def act(scene: Scene) -> None:
        scene.writes_follow_each_other()
        scene.send(news_of(2))
        await trio.sleep(0.9 * HOLD_S)
        assert scene.take() == []
        await trio.sleep(0.2 * HOLD_S)
        assert scene.take() == to_both(news_of(2))
        scene.send(news_of(3))
        assert scene.take() == to_both(news_of(3))

    play(act)


def test_each_node_hears_of_the_latest_commit_whoever_else_was_sent_entries() -> None:
    async def act(scene: Scene) -> None:
        scene.writes_follow_each_other()
        scene.send(news_of(2))
        scene.send(news_of(3))
        scene.send(entries(3), "a")
        assert scene.take() == [("a", entries(3))]
        await trio.sleep(2 * HOLD_S)
        assert scene.take() == [("b", news_of(3))]

    play(act)


def test_what_is_no_news_leaves_at_once_and_in_order() -> None:
    async def act(scene: Scene) -> None:
        scene.writes_follow_each_other()
        answer = Answer(1, 1, True, 1, 1, 0)
        scene.send(news_of(2))
        scene.send(answer)
        scene.send(heartbeat(2))
        assert scene.take() == to_both(answer) + to_both(heartbeat(2)), "a heartbeat carries it, too"
        await trio.sleep(10 * HOLD_S)
        assert scene.take() == []

    play(act)
