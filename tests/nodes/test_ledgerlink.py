"""Which network node a node turns to when names cannot be looked up, and what it says meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from swarm.core.ledger import Ledger
from swarm.errors import (
    BadInput,
    Crowded,
    IdentityError,
    InternalError,
    Outdated,
    Refused,
    Replaced,
    RunsTwice,
    Unreachable,
)
from swarm.nodes.firstcontact import FIRST_CONTACT_S
from swarm.nodes.joining import join
from swarm.nodes.ledgerlink import BACKOFF_S, BEHIND_S, CATCH_UP_S, Address, LedgerLink
from swarm.runtime.control import Control, Link
from swarm.runtime.ledgercopy import NAME
from tests.certificates import leaf
from tests.handshakes import A, B, node

UNKNOWN, OTHER = ("sn-1.hospital.example", 30304), ("10.0.0.2", 30304)


class Answering:
    """A link to a network node whose ledger is empty."""

    def __init__(self) -> None:
        self.closed, self.reason = trio.Event(), "it was stopped"
        identity = SimpleNamespace(role="sn", name="sn-2", organisation="b")
        self.peer = SimpleNamespace(identity=identity, uid="sn-2")

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        return {"head": 0}

    async def close(self) -> None:
        self.closed.set()


class Names:
    """Stands for the control: one address answers, and the other is a name that nobody knows."""

    def __init__(self) -> None:
        self.tried: list[Address] = []
        self.links: list[Answering] = []

    async def connect(self, host: str, port: int, *, deadline_s: float) -> Answering:
        self.tried.append((host, port))
        if host == UNKNOWN[0]:
            raise Unreachable(f"{host}:{port} is not reachable: Name or service not known")
        self.links.append(Answering())
        return self.links[-1]


@pytest.fixture
def names() -> Names:
    return Names()


def link(directory: Path, *entrances: Address) -> LedgerLink:
    return LedgerLink(node(directory, leaf(B, "SL-1", key="p256"), [A, B]), entrances)


def test_r031_a_name_that_cannot_be_looked_up_is_tried_again_and_another_network_node_is_used(
    tmp_path: Path, names: Names
) -> None:
    made = link(tmp_path, UNKNOWN, OTHER)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            assert names.tried == [UNKNOWN, OTHER]
            assert made.lost == ""
            names.links[0].closed.set()  # it goes: any other one comes before it, and then it again
            with trio.fail_after(10):
                while len(names.links) < 2:
                    await trio.sleep(0.01)
            assert names.tried == [UNKNOWN, OTHER, UNKNOWN, OTHER]
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_r031_the_only_name_is_tried_again_said_every_ten_seconds_and_given_up_in_one_sentence(
    tmp_path: Path, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    made = link(tmp_path, UNKNOWN)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(Unreachable, match=r"^no network node answered at sn-1") as gone,
    ):
        trio.run(made.run, cast(Control, names), clock=MockClock(autojump_threshold=0))
    said = "no network node yet: sn-1.hospital.example:30304 is not reachable: Name or service not known; next try in "
    pauses = [BACKOFF_S[0], *[BACKOFF_S[-1]] * 5]
    assert [record.getMessage() for record in caplog.records] == [f"{said}{pause:g} s" for pause in pauses]
    assert len(names.tried) > FIRST_CONTACT_S / 2  # the longest pause between two tries
    assert "Name or service not known" in gone.value.message


def test_r069_who_is_turned_away_by_a_busy_network_node_comes_again_there(tmp_path: Path, names: Names) -> None:
    """Another network node would ask the same leader, and to change costs both of them more than to wait."""
    asked: list[bytes] = []
    made = link(tmp_path, ("10.0.0.1", 30304), OTHER)

    async def call(verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        asked.append(body["proposal"])
        if len(asked) < 4:
            raise Crowded("more than 4096 proposals of this organisation wait for the ledger")
        return {"index": 0, "accepted": False, "code": 5, "reason": "a test", "result": {}, "hint": ""}

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            names.links[0].call = call  # type: ignore[assignment]
            outcome = await made.propose("NodeLeft", {})
            assert outcome.reason == "a test"
            assert made.lost == ""
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(asked) == 4
    assert len(set(asked)) == 1
    assert len(names.links) == 1


def test_a_network_node_that_turns_a_node_away_for_ever_is_left_for_another(tmp_path: Path, names: Names) -> None:
    made = link(tmp_path, ("10.0.0.1", 30304), OTHER)
    lost: list[str] = []

    async def call(verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        raise Crowded("a test")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            names.links[0].call = call  # type: ignore[method-assign]
            made._on_link = lost.append
            nursery.start_soon(made.propose, "NodeLeft", {})
            with trio.fail_after(60):
                await names.links[0].closed.wait()
            assert lost[0] == "a test", "and who waits is told for whom"
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


class Lying(Answering):
    """Of another organisation; to whatever it is asked, it raises this, or sends it."""

    def __init__(self, lie: Any) -> None:
        super().__init__()
        self.asked, self._lie = 0, lie

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        if verb == "follow":
            return {"head": 0}
        self.asked += 1
        if isinstance(self._lie, Exception):
            raise self._lie
        return self._lie


GIVEN_UP = {"index": 0, "accepted": True, "code": 0, "reason": "", "result": {}, "hint": ""}
"""Accepted by a ledger that a forced recovery has given up: the own copy, of the one that goes on, lacks it."""


@pytest.mark.parametrize(
    "lie", [BadInput("a lie"), InternalError("a lie"), IdentityError("a lie"), {}, None, [1], GIVEN_UP]
)
def test_what_one_network_node_says_to_a_proposal_ends_nothing_and_another_is_asked(
    tmp_path: Path, names: Names, lie: Any
) -> None:
    made = link(tmp_path, ("10.0.0.1", 30304), OTHER)
    lying = Lying(lie)
    honest = Lying({"index": 0, "accepted": False, "code": 5, "reason": "a test", "result": {}, "hint": ""})

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        return honest if (host, port) == OTHER else lying

    names.connect = connect  # type: ignore[method-assign]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            with trio.fail_after(60):
                assert (await made.propose("NodeLeft", {})).reason == "a test"
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert lying.asked == 1
    assert lying.closed.is_set()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_who_is_not_admitted_is_told_what_helps_and_ends_once_most_network_nodes_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """A learning node asked for ever, and nobody was told that its organisation is not admitted."""
    hosts = [f"10.0.0.{number + 1}" for number in range(count)]
    made = link(tmp_path, (hosts[0], 1))
    monkeypatch.setattr(made, "_in_ledger", lambda: [(host, 1) for host in hosts])
    monkeypatch.setattr(Ledger, "sns", lambda ledger: [(host, b"") for host in hosts])
    refusing: list[Lying] = []

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        refusing.append(Lying(IdentityError(f"{host} knows no CA of it", hint="swarm org admit CA.pem")))
        refusing[-1].peer.uid = host
        return refusing[-1]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, SimpleNamespace(connect=connect)))
            with trio.fail_after(60), pytest.raises(IdentityError, match="knows no CA of it") as ended:
                await join(made)
            assert ended.value.hint == "swarm org admit CA.pem"
            nursery.cancel_scope.cancel()

    with caplog.at_level(logging.WARNING):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert sum(each.asked for each in refusing) == count // 2 + 1
    said = [record.getMessage() for record in caplog.records if "does not let this node join" in record.getMessage()]
    assert len(said) == count // 2
    assert all(line.endswith("knows no CA of it (swarm org admit CA.pem)") for line in said)


class Turning(Answering):
    """To `follow` it raises this, or sends it."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


NO_TLS = IdentityError("no TLS is spoken there")
"""As by a proxy that answers in HTTP while the network node is away."""


@pytest.mark.parametrize(
    "lie",
    [NO_TLS, *map(Turning, [Refused("a lie"), InternalError("a lie"), Outdated("a lie"), None, [1], {"head": "1"}])],
)
def test_whoever_answers_at_the_address_of_the_command_line_ends_no_node_that_has_begun(
    tmp_path: Path, lie: IdentityError | Turning
) -> None:
    made = link(tmp_path, OTHER)
    first, again = Answering(), Answering()
    tried: list[int] = []

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        tried.append(port)
        if len(tried) == 1:
            return first
        if len(tried) > 5:
            return again
        if isinstance(lie, IdentityError):
            raise lie
        return lie

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, SimpleNamespace(connect=connect)))
            first.closed.set()
            with trio.fail_after(60):
                while made._link is not again:
                    await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(tried) == 6


@pytest.mark.parametrize("kind", [Outdated, Replaced, RunsTwice])
def test_who_has_begun_and_is_turned_away_by_most_network_nodes_ends_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[IdentityError]
) -> None:
    """It was tried for ever, and nobody was told what helps."""
    made = link(tmp_path, OTHER)
    monkeypatch.setattr(made, "_in_ledger", lambda: [("10.0.0.3", 1), ("10.0.0.4", 1), ("10.0.0.5", 1)])
    monkeypatch.setattr(Ledger, "sns", lambda ledger: [(uid, b"") for uid in ("10.0.0.3", "10.0.0.4", "10.0.0.5")])
    first = Answering()
    tried: list[str] = []

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        tried.append(host)
        if len(tried) == 1:
            return first
        error = kind("only the newest takes part", hint="end this one")
        if host in ("10.0.0.3", "10.0.0.4"):
            error.said_by = host
        raise error

    async def main() -> None:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await nursery.start(made.run, cast(Control, SimpleNamespace(connect=connect)))
                first.closed.set()

    with pytest.RaisesGroup(pytest.RaisesExc(kind, match="only the newest")) as ended:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    (error,) = ended.value.exceptions
    assert isinstance(error, kind)
    assert (error.hint, error.code) == ("end this one", 3)
    assert {"10.0.0.3", "10.0.0.4"} < set(tried)


def test_what_answers_at_the_address_of_the_command_line_is_told_to_who_begins(tmp_path: Path) -> None:
    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        raise NO_TLS

    with pytest.raises(IdentityError, match="no TLS is spoken there"):
        trio.run(link(tmp_path, OTHER).run, cast(Control, SimpleNamespace(connect=connect)))


@pytest.mark.parametrize("status", [{}, {"head": "many"}, {"head": None}, None, [1]])
def test_a_status_that_does_not_say_how_far_the_ledger_goes_is_no_answer(tmp_path: Path, status: Any) -> None:
    made = link(tmp_path, OTHER)

    async def main() -> None:
        made._link = cast(Link, Lying(status))
        made._linked.set()
        with pytest.raises(Unreachable, match="does not say how far its ledger goes"):
            await made.catch_up(5.0)

    trio.run(main)


def test_nothing_is_proposed_where_the_ledger_ended_before_what_was_read_until_that_is_known_to_go_on(
    tmp_path: Path, names: Names
) -> None:
    """It may go on in another way, since a forced recovery: a round's number and attempt would mean another round."""
    made = link(tmp_path, ("10.0.0.1", 30304))
    heads, asked, said = [0, 4, 5], [], list[str]()

    async def call(verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        if verb == "follow":
            return {"head": heads.pop(0)}
        asked.append(len(heads))
        return {"index": 0, "accepted": False, "code": 5, "reason": "a test", "result": {}, "hint": ""}

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        names.links.append(Answering())
        names.links[-1].call = call  # type: ignore[method-assign]
        return names.links[-1]

    names.connect = connect  # type: ignore[method-assign]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            made.ledger.head_index, made._report = 5, said.append
            names.links[0].closed.set()
            while len(names.links) < 2:
                await trio.sleep(0.01)
            with trio.fail_after(60):
                assert (await made.propose("NodeLeft", {})).reason == "a test"
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert asked == [0], "only where the ledger ends with what this node has, and has that"
    assert [each.closed.is_set() for each in names.links] == [True, True, False]
    assert [text.endswith("start this node again: it reads the ledger anew") for text in said] == [True], said


def test_a_network_node_without_a_majority_is_left_and_the_ledger_is_lost_until_one_has_it(
    tmp_path: Path, names: Names
) -> None:
    """The link is up all the time, and so is the one to the next: what is asked of a majority alone tells."""
    made = link(tmp_path, ("10.0.0.1", 30304), OTHER)
    told: list[str] = []
    alone = True

    class Cut(Answering):
        async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
            if verb == "status" and body.get("confirmed") and alone:
                raise Unreachable("the ledger pauses: 2 of 3 network nodes are missing")
            return {"head": 0}

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        names.links.append(Cut())
        return names.links[-1]

    names.connect = connect  # type: ignore[method-assign]

    async def main() -> None:
        nonlocal alone
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            made._on_link = told.append
            assert not await made.confirm()
            assert told[0] == "the ledger pauses: 2 of 3 network nodes are missing"
            with trio.fail_after(60):
                while len(names.links) < 2 or made._link is not names.links[1]:
                    await trio.sleep(0.1)
            assert "" not in told, "that another one answers says nothing"
            alone = False
            assert await made.confirm()
            assert (told[-1], made.lost) == ("", "")
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


class Slow:
    """Stands for the replica, on a host that is so busy that an entry takes a tenth of a second."""

    def __init__(self, clock: MockClock) -> None:
        self.head_index, self._clock = 0, clock

    def take(self, raw: bytes) -> None:
        self.head_index += 1
        self._clock.jump(0.1)


class Follower:
    """A node that kept the ledger up to entry 9; ``answer`` is what the network node says when it is to follow."""

    def __init__(self, directory: Path, names: Names, answer: Callable[[Answering, dict[str, Any]], Any]) -> None:
        self.link = link(directory, OTHER)
        self.asked: list[tuple[int, bytes]] = []
        self._names = names
        self.kept = kept = cast(Any, Slow(MockClock()))
        kept.head_index, kept.ledger = 9, SimpleNamespace(head_hash=b"9", epoch=0, nodes={}, sns=list)
        self.link.replica, self.link.copy.index = kept, 9
        follower = self

        class Following(Answering):
            async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
                follower.asked.append((body["after"], body["hash"]))
                said: dict[str, Any] = await answer(self, body)
                return said

        async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
            return Following()

        names.connect = connect  # type: ignore[method-assign]

    def begin(self) -> None:
        async def main() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.link.run, cast(Control, self._names))
                nursery.cancel_scope.cancel()

        trio.run(main, clock=MockClock(autojump_threshold=0))


def test_what_it_kept_is_given_up_where_the_ledger_went_another_way(tmp_path: Path, names: Names) -> None:
    replies = [{"head": 3, "goes_on": False}, {"head": 0}]

    async def answer(feeder: Answering, body: dict[str, Any]) -> Any:
        return replies.pop(0)

    follower = Follower(tmp_path, names, answer)
    copy = follower.link.state.path / NAME
    copy.write_bytes(b"of what a forced recovery gave up")
    follower.begin()
    assert follower.asked == [(9, b"9"), (0, bytes(32))]
    assert not copy.exists()


def test_where_the_ledger_ends_before_what_it_kept_it_does_not_begin_and_reads_all_in_the_end(
    tmp_path: Path, names: Names
) -> None:
    async def answer(feeder: Answering, body: dict[str, Any]) -> Any:
        assert not follower.link._begun
        return {"head": 4 if body["after"] else 0}

    follower = Follower(tmp_path, names, answer)
    follower.begin()
    assert [after for after, _ in follower.asked] == [9, 9, 9, 0]


def test_entries_that_do_not_fit_what_it_kept_have_it_begin_anew(tmp_path: Path, names: Names) -> None:
    def take(raw: bytes) -> None:
        raise Refused("this network has two ledgers")

    async def answer(feeder: Answering, body: dict[str, Any]) -> Any:
        if body["after"]:
            with pytest.raises(Refused):
                await follower.link._entries(cast(Link, feeder), {"entries": [b""]})
        return {"head": 10 if body["after"] else 0}

    follower = Follower(tmp_path, names, answer)
    follower.kept.take = take
    follower.begin()
    assert [after for after, _ in follower.asked] == [9, 0]


def test_a_busy_node_tells_in_time_how_far_it_has_taken_entries_and_breathes_meanwhile(tmp_path: Path) -> None:
    made, clock, breaths = link(tmp_path, OTHER), MockClock(), 0
    made.replica = replica = cast(Any, Slow(clock))
    feeder = made._feeder = cast(Any, Answering())

    async def main() -> None:
        nonlocal breaths
        told: list[int] = []
        async with trio.open_nursery() as nursery:

            async def breathe() -> None:
                nonlocal breaths
                while True:
                    breaths += 1
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(breathe)
            while replica.head_index < 100:
                left = [b""] * (100 - replica.head_index)
                told.append((await made._entries(feeder, {"entries": left}))["head"])
            nursery.cancel_scope.cancel()
        assert told == [32, 64, 96, 100]

    trio.run(main, clock=clock)
    assert breaths >= 3


def test_a_long_ledger_is_read_as_long_as_entries_come(tmp_path: Path) -> None:
    made, clock = link(tmp_path, OTHER), MockClock(autojump_threshold=0)
    made.replica = replica = cast(Any, Slow(clock))
    feeder = made._feeder = cast(Any, Answering())

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made._reach, 5)
            for _ in range(5):
                await trio.sleep(CATCH_UP_S - 1)
                await made._entries(feeder, {"entries": [b""]})
        with pytest.raises(Unreachable, match=r"up to 6 none came for 60 s: this node is at 5"):
            await made._reach(6)

    trio.run(main, clock=clock)
    assert replica.head_index == 5


@pytest.mark.parametrize("waiting", [1, 2, 8])
def test_what_a_network_node_cannot_give_although_it_is_decided_is_read_from_another_one(
    tmp_path: Path, names: Names, waiting: int
) -> None:
    """With a full disk it answers, and does not get what the others acknowledge. The other one needs a second, which
    those that have waited for less long must not take from it."""
    made = link(tmp_path, ("10.0.0.1", 30304), OTHER)
    kept = cast(Any, Slow(clock := MockClock(autojump_threshold=0)))
    kept.ledger, made.replica = made.ledger, kept

    class Full(Answering):
        async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
            return {"head": 1 if body.get("confirmed") else 0}

    class Whole(Full):
        async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
            if verb == "follow":
                await trio.sleep(1)
                await made._entries(cast(Any, self), {"entries": [b""]})
            return {"head": 1}

    async def connect(host: str, port: int, *, deadline_s: float) -> Answering:
        names.links.append(Whole() if (host, port) == OTHER else Full())
        return names.links[-1]

    names.connect = connect  # type: ignore[method-assign]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run, cast(Control, names))
            with trio.fail_after(BEHIND_S + 3):
                async with trio.open_nursery() as waiters:
                    for _ in range(waiting):
                        waiters.start_soon(made.catch_up, 1)
                        await trio.sleep(1 / waiting)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    assert [type(each) for each in names.links] == [Full, Whole]
    assert kept.head_index == 1


def test_a_node_that_meets_rules_that_it_does_not_know_ends_with_that_sentence(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = link(tmp_path, OTHER)

    def take(raw: bytes) -> None:
        raise Outdated("from entry 7 on this network follows rules version 2")

    monkeypatch.setattr(made.replica, "take", take)

    async def feed() -> None:
        while not names.links:
            await trio.sleep(0.01)
        with pytest.raises(Outdated):
            await made._entries(cast(Any, names.links[0]), {"entries": [b""]})

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            with pytest.raises(Outdated, match="from entry 7 on this network follows rules version 2"):
                await made.run(cast(Control, names))

    trio.run(main, clock=MockClock(autojump_threshold=0))
