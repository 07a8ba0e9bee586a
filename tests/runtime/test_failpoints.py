"""Situation 8: an SN killed at each point at which something is written, sent, applied or answered loses nothing.

The traps are set from outside, in a forked child that is killed by SIGKILL; the program knows no failpoints.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from swarm.core.ledger import Ledger
from swarm.core.ordering import LogEntry
from swarm.core.snapshot import Snapshot, digest_of
from swarm.runtime import snapshots as snapshots_module
from swarm.runtime import store as store_module
from swarm.runtime.answers import Questions
from swarm.runtime.archive import Archive
from swarm.runtime.replica import Replica
from swarm.runtime.store import Store
from swarm.runtime.storejobs import KeepSnapshot, ReplaceLog, Shed, SignSnapshot, Write
from swarm.wire.signed import make_entry, proposal_header
from tests.runtime.sns import DEADLINE_S, Network, World, level, run, until

PROPOSALS = 45


@dataclass(frozen=True)
class Point:
    owner: type
    method: str
    when: str
    about: Callable[..., bool] = lambda *_: True
    """Whether this call counts, by its arguments without self."""
    nth: int = 9

    def set_trap(self, armed: Callable[[], bool]) -> None:
        genuine, seen = getattr(self.owner, self.method), 0

        def trapped(this: Any, *values: Any) -> Any:
            nonlocal seen
            counts = armed() and self.about(*values)
            seen += counts
            if counts and self.when == "before" and seen >= self.nth:
                os.kill(os.getpid(), signal.SIGKILL)
            result = genuine(this, *values)
            if counts and self.when == "after" and seen >= self.nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(self.owner, self.method, trapped)


def holds_entries(job: Any) -> bool:
    return isinstance(job, Write) and bool(job.entries)


def any_holds_entries(*values: Any) -> bool:
    return any(map(holds_entries, values[-1]))


POINTS = {
    "before an append is submitted": Point(Store, "submit", "before", holds_entries),
    "after an append is submitted": Point(Store, "submit", "after", holds_entries),
    "before an append is written at once": Point(Store, "write_now", "before", any_holds_entries),
    "after an append was written at once": Point(Store, "write_now", "after", any_holds_entries),
    "before the transaction": Point(Store, "_transact", "before", any_holds_entries),
    "between the insertion and the commit": Point(Write, "carry_out", "after"),
    "after the fsync": Point(Store, "_transact", "after", any_holds_entries),
    "after the store has reported": Point(Store, "_report", "after", any_holds_entries),
    "before a message goes": Point(Network, "send", "before", nth=25),
    "after a message went": Point(Network, "send", "after", nth=25),
    "after a message was taken": Point(Network, "deliver", "after", nth=25),
    "before an entry is applied": Point(Ledger, "apply", "before", nth=20),
    "after an entry is applied": Point(Ledger, "apply", "after", nth=21),
    "before somebody is answered": Point(Questions, "answer", "before"),
    "after somebody is answered": Point(Questions, "answer", "after"),
    "before a snapshot is written": Point(KeepSnapshot, "carry_out", "before", nth=2),
    "between a snapshot and its commit": Point(KeepSnapshot, "carry_out", "after", nth=3),
    "before a snapshot counts as signed": Point(SignSnapshot, "carry_out", "before", nth=1),
    "between the signatures and their commit": Point(SignSnapshot, "carry_out", "after", nth=2),
    "before a segment is written": Point(Archive, "write", "before", nth=2),
    "between a segment and the entries' end": Point(Archive, "write", "after", nth=3),
    "between the entries' end and its commit": Point(Shed, "carry_out", "after", nth=2),
}


SLOWLY = ("before an append is submitted", "after an append is submitted", "after the store has reported")
"""Points that a disk passes only if the loop does not wait for it."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(snapshots_module, "KEPT_BEHIND", 3)
    monkeypatch.setattr(snapshots_module, "AGAIN_S", 0.05)
    world = World(tmp_path)
    world.settings["snapshot_every"] = 8
    return world


@pytest.mark.parametrize("name", POINTS)
def test_nothing_acknowledged_is_lost_and_nothing_takes_effect_twice(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "QUICK_S", 0.0 if name in SLOWLY else 60.0)
    said = in_a_killed_child(lambda tell: run(work, world, POINTS[name], tell))
    raws = [raw for what, raw in said if what == "proposing"]
    indexes = [index for what, index in said if what == "acknowledged"]
    acknowledged = dict(zip(raws, indexes, strict=False))  # one after the other: only the last may lack its answer
    assert len(raws) - len(acknowledged) <= 1
    run(check, world, raws, acknowledged)


async def work(world: World, point: Point, tell: Callable[[str, Any], None]) -> None:
    """Two SNs, in one process that dies as a whole; entries come one after the other."""
    armed = False
    point.set_trap(lambda: armed)
    with world.client() as client:
        async with world.sentinel() as sentinel, world.peer(sentinel) as peer:
            network_id = sentinel.driver.ledger.network_id
            tell("network", peer.local.state.uid)
            armed = True
            for _ in range(PROPOSALS):
                raw = client.joining(network_id)
                tell("proposing", raw)
                outcome = await sentinel.driver.propose(raw, deadline_s=DEADLINE_S)
                assert outcome.accepted, outcome.reason
                tell("acknowledged", outcome.index)
            await trio.sleep_forever()


async def check(world: World, raws: list[bytes], acknowledged: dict[bytes, int]) -> None:
    async with world.node("s") as sentinel, world.node("p") as peer:
        driver = sentinel.driver
        for raw in raws:
            header = proposal_header(raw)
            if raw in acknowledged:
                recorded = driver.ledger.outcome_of(header.uid, header.incarnation, header.seq)
                assert recorded is not None, f"seq {header.seq} was acknowledged"
                assert recorded.accepted
                assert recorded.index == acknowledged[raw]
        for raw in raws[-1:]:  # whoever was not answered asks again, and so may anybody
            first = await driver.propose(raw, deadline_s=DEADLINE_S)
            again = await driver.propose(raw, deadline_s=DEADLINE_S)
            assert first.accepted
            assert first == again
        await until(lambda: level(sentinel, peer))
        replica, effects = Replica(driver.ledger.network_id), 0
        while pieces := driver.entries_after(replica.head_index):
            for piece in pieces:
                events = replica.take(piece).events
                effects += bool(events) and msgpack.unpackb(piece)[5] in raws
        assert replica.ledger.digest() == driver.ledger.digest()
        assert effects == len(raws)


def in_a_killed_child(task: Callable[[Callable[[str, Any], None]], None]) -> list[tuple[str, Any]]:
    """What the child told before it was killed."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(source)
            task(partial(_tell, target))
        finally:
            os._exit(1)
    os.close(target)
    with os.fdopen(source, "rb") as pipe:
        said = [tuple(each) for each in msgpack.Unpacker(pipe)]
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it has to die in the trap"
    assert os.WTERMSIG(status) == signal.SIGKILL
    return said


def _tell(pipe: int, what: str, value: Any) -> None:
    os.write(pipe, msgpack.packb([what, value]))


# ---- points of a node that follows others: what it replaces


def chain(first: int, count: int, previous: bytes, term: int) -> list[LogEntry]:
    entries = []
    for index in range(first, first + count):
        entry = make_entry(index, term, 1000 * term + index, previous, b"")
        entries.append(LogEntry(index, term, entry.hash, entry.raw))
        previous = entry.hash
    return entries


OLD = chain(1, 20, bytes(32), term=1)
NEW = chain(11, 5, OLD[9].hash, term=2)
STATE = b"the state after entry 40"
SNAPSHOT = Snapshot(40, 1, b"h" * 32, ("s",), STATE, digest_of(STATE))

REPLACING = {
    "before a truncation": (Point(Store, "_transact", "before", nth=2), False),
    "between a truncation and its commit": (Point(Write, "carry_out", "after", nth=2), False),
    "after a truncation": (Point(Store, "_transact", "after", nth=2), True),
}


@pytest.mark.parametrize("name", REPLACING)
def test_a_truncation_is_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    point, through = REPLACING[name]
    in_a_killed_child(lambda tell: replace(tmp_path / "ledger.db", point, Write(2, tuple(NEW), {"term": 2}, 10)))
    with Store(tmp_path / "ledger.db") as store:
        expected = [*OLD[:10], *NEW] if through else OLD
        assert list(store.read(0, store.last_index, 10**9)) == expected
        assert store.term == (2 if through else 1)


INSTALLING = {
    "before an installation": (Point(ReplaceLog, "carry_out", "before", nth=1), False),
    "between an installation and its commit": (Point(ReplaceLog, "carry_out", "after", nth=1), False),
    "after an installation": (Point(Store, "_transact", "after", nth=2), True),
}


@pytest.mark.parametrize("name", INSTALLING)
def test_an_installation_is_whole_or_not_at_all(tmp_path: Path, name: str) -> None:
    point, through = INSTALLING[name]
    in_a_killed_child(
        lambda tell: replace(tmp_path / "ledger.db", point, ReplaceLog(SNAPSHOT, {"s": b"signed"}, lambda: None))
    )
    with Store(tmp_path / "ledger.db") as store:
        if through:
            assert (store.first_index, store.last_index, store.commit) == (41, 40, 40)
            assert store.snapshot() == (SNAPSHOT, {"s": b"signed"})
            assert (store.hash_at(40), store.term_at(40), store.voters_at(40)) == (SNAPSHOT.hash, 1, ("s",))
        else:
            assert list(store.read(0, store.last_index, 10**9)) == OLD
            assert store.snapshot() is None


def replace(path: Path, point: Point, job: Any) -> None:
    """Store the old entries, then ask for the replacement."""
    point.set_trap(lambda: True)
    with Store(path) as store:
        stored = threading.Event()
        store.start(lambda number: stored.set(), lambda: None)
        store.submit(Write(1, tuple(OLD), {"term": 1}, 0))
        assert stored.wait(DEADLINE_S)
        store.submit(job)
        threading.Event().wait(DEADLINE_S)
