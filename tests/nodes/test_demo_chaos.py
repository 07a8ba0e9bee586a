"""What falls when in `swarm demo --chaos`, and what is said of it: with processes that only sleep, and no ledger."""

import json
import signal
import sys
from types import SimpleNamespace

import psutil
import pytest

from swarm.core.events import Committed, MemberReady, SnapMade
from swarm.errors import Unreachable
from swarm.nodes.demo import chaos
from swarm.nodes.demo.chaos import PATIENCE_S, Chaos
from swarm.nodes.demo.play import Played
from swarm.nodes.demo.watch import Watch
from swarm.nodes.launch import Launch
from swarm.nodes.localrun import Ran
from swarm.runtime.authority import CertificateTree

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
NAMES = ("sn-1", "sn-2", "sn-3", "swop-1", "swop-2", "swop-3", "sl-1", "sl-2", "sl-3")


class Stage:
    """A swarm of sleepers; its clock goes a tenth of a second at each look, and each look is within a round."""

    def __init__(self, directory, launch, monkeypatch):
        self.directory, self.launch = directory, launch
        nodes = {name: self.start(name) for name in NAMES}
        self.swarm = SimpleNamespace(
            network=[nodes[name] for name in NAMES[:3]],
            operators=[nodes[name] for name in NAMES[3:6]],
            peers=[SimpleNamespace(node=nodes[name]) for name in NAMES[6:]],
        )
        self.watch = Watch(CertificateTree(directory, "1"), ("127.0.0.1", 1), directory / "watch")
        self.watch.leader = "uid of sn-2"
        self.watch.seen("")
        self.now_s, self.round = 0.0, 0
        monkeypatch.setattr(chaos, "LOOK_S", 0.0)
        self.chaos = Chaos(self, launch, self.watch, 0, lambda: self.now_s)

    def start(self, name):
        process = self.launch.start(name, name[:2], SLEEPER, state=self.directory / name)
        ready = {"pid": process.pid, "uid": f"uid of {name}"}
        (self.directory / name / "ready.json").write_text(json.dumps(ready))
        return process

    def start_again(self, dead):
        for group in (self.swarm.network, self.swarm.operators):
            group[:] = [self.start(one.name) if one is dead else one for one in group]
        for peer in self.swarm.peers:
            if peer.node is dead:
                peer.node = self.start(dead.name)

    def look(self, times=1):
        for _ in range(times):
            self.now_s += 0.1
            self.chaos.look()

    def rounds(self, times):
        """Looks within as many rounds, each committed after its look."""
        for _ in range(times):
            self.watch.on_event(SnapMade("demo", self.round, 0, (), (), "broadcast", "b"))
            self.watch.on_event(MemberReady("demo", self.round, 0, "uid"))
            self.look()
            self.watch.on_event(Committed("demo", self.round, 0, "d", (), (), False))
            self.round += 1


@pytest.fixture
def stage(tmp_path, monkeypatch):
    with Launch() as launch:
        stage = Stage(tmp_path, launch, monkeypatch)
        yield stage
        stage.chaos.thaw()


def test_a_node_of_each_kind_is_hit_in_mid_round_and_it_is_over_when_rounds_follow(stage):
    while not stage.chaos.over:
        assert stage.round < 1000
        stage.rounds(1)
    hit = [(blow.process.partition("-")[0], blow.signal, blow.phase) for blow in stage.chaos.blows]
    assert sorted(hit[1:]) == [(kind, "SIGKILL", "ready") for kind in ("sl", "sn", "swop")]
    assert hit[0][1:] == ("SIGSTOP", "ready")
    assert "sn-2" in [blow.process for blow in stage.chaos.blows]
    assert all(blow.back_s for blow in stage.chaos.blows)
    assert stage.round >= stage.chaos.blows[-1].round + chaos.LAST_ROUNDS
    assert stage.chaos.missed() == ""
    stage.launch.check()


def test_what_did_not_come_in_time_is_an_error_that_says_what_chaos_waited_for(stage):
    stage.look()
    assert stage.chaos.missed() == "0 of 4 blows had fallen, and chaos waited for a round to be committed"
    with pytest.raises(Unreachable, match=rf"^chaos has waited {PATIENCE_S:g} s for a round to be committed$"):
        stage.look(int(PATIENCE_S * 10) + 2)


def test_whoever_is_not_ready_is_named_and_waited_for(stage):
    (stage.directory / "sl-3" / "ready.json").unlink()
    (stage.directory / "swop-1" / "ready.json").unlink()
    stage.rounds(30)
    assert not stage.chaos.blows
    assert stage.chaos.missed() == "0 of 4 blows had fallen, and chaos waited for swop-1, sl-3 to be ready"


def test_why_the_ledger_cannot_be_seen_is_said(stage):
    stage.watch.seen("no sign of life for 6 s")
    stage.look()
    assert stage.chaos.missed().endswith("waited for a round to be committed (no sign of life for 6 s)")


def test_where_nobody_leads_no_blow_falls_on_another(stage):
    while len(stage.chaos.blows) < 2 or stage.chaos.blows[-1].back_s is None:  # the leader's is the third
        stage.rounds(1)
    stage.watch.leader = ""
    stage.rounds(30)
    assert len(stage.chaos.blows) == 2
    assert stage.chaos.waits_for == "a network node to lead the ledger"


def test_nobody_stays_frozen(stage):
    while not stage.chaos.blows:
        stage.rounds(1)
    frozen = stage.chaos.blows[0]
    assert frozen.signal == signal.SIGSTOP.name
    stage.chaos.thaw()
    assert psutil.Process(frozen.pid).status() != psutil.STATUS_STOPPED


def test_a_training_that_was_over_before_chaos_was_is_a_failure_that_says_for_what_it_waited():
    ran = Ran(1, "blake3:aa", {}, {}, None, [], {})
    missed = "3 of 4 blows had fallen, and chaos waited for sl-2 to be ready"
    played = Played(ran, 0.9, {}, 0.9, 360, {"peer-1": "blake3:aa"}, missed=missed)
    assert str(played.failure()) == f"the training was over too early: {missed}"
