"""A lease that a forced recovery gave up is not taken for one of the same slot and fence."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from swarm.core.events import Applied, Event, Outcome, SlotAssigned, SlotChanged
from swarm.core.ledger import Ledger
from swarm.engines.process import MARK, ProcessEngine
from swarm.nodes.launch import Launch
from swarm.nodes.leases import ASIDE, Leases, end_given_up
from swarm.nodes.slotdirectory import SlotDirectories, SlotDirectory
from swarm.runtime import ledgercopy
from swarm.runtime.ledgercopy import LedgerCopy
from swarm.runtime.replica import Replica
from swarm.runtime.statedir import StateDirectory
from swarm.wire.signed import Entry
from tests.nodes.operators import Scene, learning_nodes, only
from tests.nodes.waiting import eventually
from tests.runtime.sns import World, run

LEASE = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)
OTHERS = SlotAssigned("12.0", "runner", 12, "task", "another", 0, 12, 1)

HEAD = 15


class Board:
    """What the operator "uid" has leases of."""

    def __init__(self) -> None:
        self.held: dict[str, SimpleNamespace] = {}
        self.board = self

    def leases_of(self, uid: str) -> list[SlotAssigned]:
        assert uid == "uid"
        return cast(list[SlotAssigned], list(self.held.values()))

    def take(self, event: Event) -> None:
        if isinstance(event, SlotAssigned | SlotChanged) and event.swop == "uid":
            self.held.pop(event.slot, None)
            if isinstance(event, SlotAssigned) or event.leased:
                self.held[event.slot] = SimpleNamespace(id=event.slot, fence=event.fence)


def leases_of(copy: LedgerCopy | None = None) -> Leases:
    ledger = cast(Ledger, Board())
    return Leases("uid", lambda: ledger, copy or LedgerCopy(cast(StateDirectory, None)))


def seen(leases: Leases, entry: bytes, *events: Event) -> None:
    for event in events:
        cast(Board, leases._ledger()).take(event)
    leases.applied(cast(Entry, SimpleNamespace(hash=entry)), Applied(Outcome(12, True), events))


@pytest.fixture
def directories(tmp_path: Path) -> SlotDirectories[SlotDirectory]:
    (tmp_path / "slots").mkdir()
    return SlotDirectories(tmp_path / "slots", SlotDirectory)


def begun(directories: SlotDirectories[Any], leases: Leases) -> SlotDirectory:
    """What an operator finds that is started again."""
    directory = directories.of(LEASE)
    directory.entry = leases.entry(LEASE)
    directory.intend()
    (kept,) = directories.kept()
    assert kept.lease == LEASE
    return kept


def test_it_is_told_by_the_entry_that_made_it(directories: SlotDirectories[SlotDirectory]) -> None:
    before, after = leases_of(), leases_of()
    seen(before, b"a", OTHERS, LEASE)
    kept = begun(directories, before)
    assert not after.is_given_up(kept, HEAD), "nothing is known of it"
    seen(after, b"a", LEASE)
    assert not after.is_given_up(kept, HEAD), "it goes on"
    seen(after, b"b", OTHERS)
    assert not after.is_given_up(kept, HEAD)
    seen(after, b"b", LEASE)
    assert after.is_given_up(kept, HEAD)
    seen(after, b"c", SlotChanged("12.0", "uid", 12, "done", "", leased=False))
    assert not after.is_given_up(kept, HEAD), "it is over as it is"


def test_it_is_known_where_the_lease_is_known_only_from_what_was_kept_of_the_ledger(
    directories: SlotDirectories[SlotDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgercopy, "EVERY", 1)
    raws: list[bytes] = []

    async def scenario() -> None:
        async with World(tmp_path / "world").sentinel() as node:
            raws.extend(node.driver.entries_after(0))

    run(scenario)
    replica = Replica(b"")
    replica.take(raws[0])
    with StateDirectory(tmp_path / "operator") as state:
        before = LedgerCopy(state)
        seen(leases_of(before), b"a", LEASE)
        before.keep(replica)
    with StateDirectory(tmp_path / "operator") as state:
        after = LedgerCopy(state)
        assert after.read() is not None
        leases = leases_of(after)
        kept = begun(directories, leases)
    assert kept.entry == b"a".hex()
    seen(leases, b"b", LEASE)
    assert leases.is_given_up(kept, HEAD)


def test_only_the_leases_that_go_on_are_kept(directories: SlotDirectories[SlotDirectory]) -> None:
    copy = LedgerCopy(cast(StateDirectory, None))
    leases = leases_of(copy)
    seen(leases, b"a", LEASE, OTHERS, replace(LEASE, slot="12.1"))
    assert set(copy.leases) == {"12.0", "12.1"}
    seen(leases, b"b", replace(LEASE, fence=13))
    assert leases.entry(LEASE) == "", "its slot was leased anew"
    cast(Board, leases._ledger()).held.clear()  # their taskrunner was reset, and no event names them
    seen(leases, b"c", replace(LEASE, slot="14.0"))
    assert set(copy.leases) == {"14.0"}


def test_what_the_ledger_can_still_lease_to_another_task_is_out_of_the_way_before_it_does(
    directories: SlotDirectories[SlotDirectory],
) -> None:
    """Whether its entry is known or not: under the new lease it would be adopted, or that would never be started."""
    before, after = leases_of(), leases_of()
    seen(before, b"a", LEASE)
    for kept in (begun(directories, before), begun(directories, leases_of())):
        assert after.is_given_up(kept, LEASE.fence - 1)
        assert not after.is_given_up(kept, LEASE.fence), "no entry will have that number again"


def test_what_was_begun_by_an_older_release_is_not_ended_for_that(directories: SlotDirectories[SlotDirectory]) -> None:
    kept, leases = begun(directories, leases_of()), leases_of()
    seen(leases, b"a", LEASE)
    assert not leases.is_given_up(kept, HEAD)
    assert "entry" not in (kept.path / "slot.json").read_text(), "and an older release reads it"


def test_where_the_logs_cannot_be_kept_it_ends_all_the_same(
    directories: SlotDirectories[SlotDirectory], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = begun(directories, leases_of())
    (tmp_path / ASIDE).touch()
    end_given_up(kept, ProcessEngine())
    assert not kept.path.exists(), "it is out of the way"
    assert "could not be kept: " in caplog.text


def test_of_what_was_given_up_the_newest_logs_are_kept(
    directories: SlotDirectories[SlotDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarm.nodes.leases.KEPT", 2)
    for fence in (12, 13, 14):
        directory = directories.of(replace(LEASE, fence=fence))
        directory.intend()
        os.utime(directory.path, (fence, fence))
        end_given_up(directory, ProcessEngine())
    assert sorted(os.listdir(tmp_path / ASIDE / "slots")) == ["12.0-13", "12.0-14"]


def test_what_runs_under_it_is_ended_and_its_logs_are_kept_aside(
    directories: SlotDirectories[SlotDirectory], tmp_path: Path
) -> None:
    kept = begun(directories, leases_of())
    (kept.path / "ml.log").write_text("a line")
    (kept.path / "sl").mkdir()
    with subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: str(kept.path)}) as process:
        for _ in range(2):  # it may be given up twice
            end_given_up(kept, ProcessEngine())
            assert process.wait() == -9
            assert list(directories.kept()) == []
            assert sorted(os.listdir(tmp_path / ASIDE / "slots" / "12.0-12")) == ["ml.log", "slot.json"]
            kept.intend()
            (kept.path / "ml.log").write_text("a line")


def test_an_operator_that_is_started_again_ends_what_runs_under_it_and_begins_the_other_anew(tmp_path: Path) -> None:
    with Launch(environment={"PYTHONPATH": os.getcwd()}) as launch:
        scene = Scene(tmp_path, launch)
        operator = scene.operator(1)
        scene.assign("model/ending.py for-ever")
        slot = only(scene.running())
        place, before = scene.place(1, slot), learning_nodes(tmp_path)
        scene.kill(operator)
        assert learning_nodes(tmp_path) == before
        intent = json.loads((place / "slot.json").read_text())
        made = bytes.fromhex(intent["entry"])
        (place / "slot.json").write_text(json.dumps({**intent, "entry": made[::-1].hex()}))
        scene.operator(1)
        eventually("another", lambda: (now := learning_nodes(tmp_path)) and not set(now) & set(before))
        assert json.loads((place / "slot.json").read_text()) == intent
        aside = tmp_path / "swop-1" / ASIDE / "slots" / place.name
        assert "slot.json" in os.listdir(aside)
        assert not (aside / "sl").exists()
