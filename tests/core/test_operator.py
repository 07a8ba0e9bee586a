"""The operator's decisions, on a real ledger and a host made of two sets: what lies on its disk and what runs."""

from __future__ import annotations

from random import Random

import pytest

from swarm.core import operator_steps as o
from swarm.core.events import SlotAssigned, TaskrunnerCleared
from swarm.core.operator import JOBS_ALONE_S, RESTARTS_MAX, SAVING_S, Operator
from swarm.core.operator_steps import Refusal, Verdict
from swarm.core.timekeeper import LEASE_S
from tests.core.jobscene import JobScene
from tests.core.scene import Actor
from tests.core.tasks import TaskScene

SL = Actor("sl", "sl-1").uid
DONE = Verdict("done", "", 0)
FAILED = Verdict("failed", "its program ended with exit code 3", 3)
DIED = Verdict("failed", "its learning node was killed by SIGKILL", 137, died=True)


class Host:
    """What an operator's host performs at once, unless it is told to hold it back."""

    def __init__(self, scene: TaskScene, swop: Actor) -> None:
        self.scene, self.swop = scene, swop
        self.disk: dict[tuple[str, int], SlotAssigned] = {}
        self.starts: dict[tuple[str, int], int] = {}
        self.running: set[tuple[str, int]] = set()
        self.effects: list[o.Effect] = []
        self.judgement = {}
        self.held_back: set[type] = set()
        self.now_s = 0.0
        self.boot()

    def boot(self, *, caught_up: bool = True) -> None:
        """The operator's process begins anew; what runs and what is on disk stays."""
        self.machine = Operator(self.swop.uid, lambda: self.scene.ledger)
        for lease in self.disk.values():
            self.happened(o.Kept(lease))
        if caught_up:
            self.happened(o.CaughtUp())

    def happened(self, event: o.Event) -> None:
        for effect in self.machine.handle(event, self.now_s):
            self.effects.append(effect)
            if type(effect) not in self.held_back:
                self.perform(effect)

    def perform(self, effect: o.Effect) -> None:
        if isinstance(effect, o.Tell):
            return
        lease = effect.lease
        key = (lease.slot, lease.fence)
        match effect:
            case o.Judge():
                self.happened(o.Judged(lease, **self.judgement))
            case o.Prepare():
                self.happened(o.Prepared(lease, DONE, "nothing to do"))
            case o.Look():
                self.happened(o.Looked(lease, key in self.starts))
            case o.Intend():
                self.disk[key] = lease
                self.happened(o.Intended(lease))
            case o.Start():
                assert key in self.disk, "started before the intent was on disk"
                assert key not in self.running, "started twice"
                self.running.add(key)
                self.starts[key] = self.starts.get(key, 0) + 1
                self.happened(o.Started(lease))
            case o.Adopt() if key not in self.running:
                self.happened(o.Ended(lease, DIED, False, self.starts[key]))
            case o.End():
                self.ends(key, Verdict("failed", "was killed by SIGTERM", 143), asked=True)
            case o.Reap():
                self.running.discard(key)
                self.happened(o.Reaped(lease))
            case o.Report():
                outcome = self.scene.say(self.swop, "SlotReported", effect.body())
                assert outcome.accepted or not self.machine.holds(lease), (effect, outcome)
                self.happened(o.LedgerMoved())
            case o.Decline():
                body = {"run": lease.run, "reason": effect.refusal.reason, "hint": effect.refusal.hint}
                self.scene.say(self.swop, "TaskDeclined", body)
                self.happened(o.LedgerMoved())

    def ends(self, key: tuple[str, int], verdict: Verdict, *, asked: bool = False) -> None:
        self.running.discard(key)
        lease = self.disk[key]
        self.happened(o.Ended(lease, verdict, asked, self.starts[key], ("line",)))

    def moved(self) -> None:
        self.happened(o.LedgerMoved())

    def names(self) -> list[str]:
        return [type(effect).__name__ for effect in self.effects]

    def reports(self) -> list[tuple[str, str]]:
        return [(effect.state, effect.reason) for effect in self.effects if isinstance(effect, o.Report)]


@pytest.fixture
def scene():
    scene = TaskScene(1)
    scene.final()
    return scene


@pytest.fixture
def host(scene):
    return Host(scene, scene.operators[0])


def assign(host: Host, peers: int = 1) -> tuple[str, int]:
    """The key of the first slot."""
    host.scene.assign(peers)
    host.moved()
    slot = host.scene.slots(host.swop)[0]
    return (slot.id, slot.fence)


def slot_of(host: Host):
    return host.scene.slots(host.swop)[0]


def test_a_lease_is_judged_intended_started_and_reported(host):
    key = assign(host)
    host.happened(o.ProgramStarted(host.disk[key], SL))
    host.ends(key, DONE)
    assert host.names() == ["Judge", "Intend", "Start", "Report", "Report", "Conclude", "Report"]
    assert host.reports() == [("starting", ""), ("running", ""), ("done", "")]
    assert (slot_of(host).state, slot_of(host).leased) == ("done", False)


def test_nothing_is_decided_before_the_ledger_is_read_to_its_head(host):
    host.boot(caught_up=False)
    host.scene.assign(1)
    host.moved()
    assert host.effects == []
    host.happened(o.CaughtUp())
    assert "Start" in host.names()


def test_r014_an_intent_of_which_nothing_ran_is_started_once(host):
    host.held_back = {o.Start}
    key = assign(host)
    assert key in host.disk
    assert host.running == set()
    host.held_back = set()
    host.boot()
    host.boot()
    assert host.starts[key] == 1


def test_r015_what_runs_is_adopted_and_not_started_again(host):
    key = assign(host)
    host.effects.clear()
    host.boot()
    assert host.names() == ["Judge", "Look", "Adopt"]
    assert (host.starts[key], host.running) == (1, {key})


def test_r016_what_runs_under_a_lease_that_is_over_is_reaped_before_the_next_at_its_place_begins(host):
    key = assign(host)
    host.scene.lose(host.swop)
    host.scene.end_lease(slot_of(host))
    host.scene.listen(host.swop)
    assert host.scene.target(host.swop).accepted
    assert slot_of(host).fence > key[1]
    host.effects.clear()
    host.held_back = {o.Reap}
    host.boot()
    assert host.names() == ["Reap"]
    host.perform(host.effects[-1])
    assert host.running == {(slot_of(host).id, slot_of(host).fence)}


def test_an_entry_that_ends_the_lease_ends_the_worker_and_no_more_is_said_of_it(host):
    key = assign(host)
    host.scene.lose(host.swop)
    host.scene.end_lease(slot_of(host))
    host.effects.clear()
    host.moved()
    assert host.running == set()
    assert host.names() == ["End", "Conclude"]
    assert "its lease is over" in host.effects[0].why
    assert host.effects[0].lease.fence == key[1]


def test_a_ledger_out_of_reach_ends_nothing_however_long_and_says_so(host):
    key = assign(host)
    host.happened(o.LedgerLost("sn-1 is gone"))
    host.now_s += 10 * LEASE_S
    host.happened(o.Ticked())
    host.happened(o.Ticked())
    assert host.running == {key}
    assert [type(effect) for effect in host.effects[-1:]] == [o.Tell]
    assert f"slots {key[0]} go on" in host.effects[-1].text
    assert "sn-1 is gone" in host.effects[-1].text
    assert host.names().count("Tell") == 1
    host.happened(o.LedgerBack())
    host.now_s += LEASE_S
    host.happened(o.Ticked())
    assert host.names().count("Tell") == 1


def test_a_job_ends_25_s_after_a_majority_answered_last_whenever_that_was_noticed():
    """The link to a network node that was cut off with this host is up: only what is asked in vain says so."""
    scene = JobScene(1)
    host = Host(scene, scene.operators[0])
    scene.submit()
    host.moved()
    (key,) = host.running
    host.happened(o.LedgerSure(0.0))
    host.now_s = 15.0
    host.happened(o.LedgerLost("sn-1 is no leader and knows of none"))
    host.now_s = JOBS_ALONE_S - 0.5
    host.happened(o.Ticked())
    assert key in host.running
    host.now_s = JOBS_ALONE_S
    host.happened(o.Ticked())
    assert key not in host.running, "before its lease can end, and another operator has the slot"


def test_what_was_sure_for_a_job_that_is_over_counts_for_no_later_one():
    scene = JobScene(1)
    host = Host(scene, scene.operators[0])
    run = scene.submit()
    host.moved()
    host.happened(o.LedgerSure(0.0))
    (key,) = host.running
    host.ends(key, DONE)
    assert run.state == "done"
    host.now_s = 1000.0
    host.happened(o.Ticked())
    scene.submit("later")
    host.moved()
    host.happened(o.LedgerLost("gone"))
    host.now_s += JOBS_ALONE_S - 1
    host.happened(o.Ticked())
    assert host.running, "there is nothing that it has not been told"


def test_a_learning_node_that_dies_is_started_again_and_the_slot_says_so(host):
    key = assign(host)
    host.happened(o.ProgramStarted(host.disk[key], SL))
    host.ends(key, DIED)
    assert host.starts[key] == 2
    assert (slot_of(host).state, slot_of(host).attempt) == ("running", 1)
    assert slot_of(host).reason == f"{DIED.reason}; it was started again, 1 of {RESTARTS_MAX} times"
    host.happened(o.ProgramStarted(host.disk[key], SL))
    host.ends(key, DONE)
    assert slot_of(host).state == "done"
    assert "started again, 1 of" in slot_of(host).description


def test_a_learning_node_that_dies_again_and_again_is_for_a_person_to_look_at(host):
    key = assign(host)
    for _ in range(RESTARTS_MAX + 1):
        host.ends(key, DIED)
    assert host.starts[key] == RESTARTS_MAX + 1
    assert slot_of(host).state == "failed"
    assert slot_of(host).reason == f"{DIED.reason}, {RESTARTS_MAX + 1} times: it is not started again"


def test_a_program_that_fails_is_not_started_again(host):
    key = assign(host)
    host.ends(key, FAILED)
    assert host.starts[key] == 1
    assert (slot_of(host).state, slot_of(host).lines) == ("failed", ("line",))


def test_what_died_while_no_operator_was_there_is_started_again(host):
    key = assign(host)
    host.running.clear()
    host.boot()
    assert host.starts[key] == 2


@pytest.mark.parametrize("moment", [o.Judge, o.Intend, o.Start])
def test_a_lease_that_ends_meanwhile_comes_to_nothing(host, moment):
    host.held_back = {moment}
    assign(host)
    host.scene.lose(host.swop)
    host.scene.end_lease(slot_of(host))
    host.moved()
    host.held_back = set()
    host.perform(host.effects[-1])
    assert bool(host.starts) == (moment is o.Start)  # which was under way
    assert host.running == set()
    assert host.reports() == []
    assert host.machine.at_work() == []


def test_a_refusal_is_told_once_for_all_that_was_leased_at_once():
    scene = TaskScene(1, peers=3)
    scene.final()
    host = Host(scene, scene.operators[0])
    host.judgement = {"refused": Refusal("not accepted", "accept it")}
    host.held_back = {o.Decline}
    assign(host, 3)
    assert sorted(host.names()) == ["Decline", "Judge", "Judge", "Judge"]
    assert host.disk == {}


def test_what_was_started_when_it_was_still_accepted_is_ended_and_reported(host):
    assign(host)
    host.judgement = {"refused": Refusal("not accepted", "accept it")}
    host.boot()
    assert host.running == set()
    assert (slot_of(host).state, slot_of(host).reason) == ("stopped", "not accepted (accept it)")


def test_what_has_no_place_any_more_is_ended_and_failed(host):
    assign(host)
    host.judgement = {"unfit": Refusal("no such node", "add it")}
    host.boot()
    assert host.running == set()
    assert (slot_of(host).state, slot_of(host).reason, slot_of(host).lines) == ("failed", "no such node", ("add it",))


def test_a_stopped_operator_ends_its_workers_first_and_begins_nothing(host):
    assign(host)
    host.happened(o.Stopped())
    assert host.running == set()
    assert (slot_of(host).state, slot_of(host).reason) == ("stopped", "its operator was stopped")
    host.scene.target(host.swop)
    host.moved()
    assert host.running == set()


def test_what_an_earlier_life_left_ends_with_an_operator_that_is_stopped_before_it_has_caught_up(host):
    key = assign(host)
    host.boot(caught_up=False)
    host.held_back = {o.Reap}
    host.happened(o.Stopped())
    assert host.effects[-1] == o.Reap(host.disk[key])
    for late in (o.Kept(host.disk[key]), o.CaughtUp()):
        host.happened(late)
        assert host.machine.at_work() == [host.disk[key]]
    host.perform(o.Reap(host.disk[key]))
    assert host.running == set()
    assert not host.machine.at_work()


def test_what_was_on_its_way_when_the_operator_was_stopped_ends_once_it_has_started(host):
    """Its directory takes a while to be made: meanwhile nothing of it runs that could be ended."""
    host.held_back = {o.Start}
    key = assign(host)
    host.happened(o.Stopped())
    host.perform(o.Start(host.disk[key]))
    assert host.running == set()
    assert (slot_of(host).state, slot_of(host).reason) == ("stopped", "its operator was stopped")


@pytest.mark.parametrize(("finished", "grace_s"), [(False, 0.0), (True, SAVING_S)])
def test_a_reset_gives_who_saves_the_final_model_its_time(host, finished, grace_s):
    key = assign(host)
    (sl,) = host.scene.learners(1, minPeers=1)
    host.happened(o.ProgramStarted(host.disk[key], sl.uid))
    host.scene.commit(sl, stop=finished)
    host.held_back = {o.End}
    host.scene.reset()
    host.happened(TaskrunnerCleared(slot_of(host).taskrunner, host.disk[key].run, "alice"))
    assert host.effects[-1] == o.End(host.disk[key], "the taskrunner was reset by alice", grace_s)
    host.moved()
    assert host.names().count("End") == 1
    host.happened(o.Stopped())
    assert [effect.grace_s for effect in host.effects if isinstance(effect, o.End)][-1] == 0.0


def test_of_a_run_that_was_reset_only_logs_are_kept(host):
    key = assign(host)
    host.ends(key, DONE)
    assert "Forget" not in host.names()
    host.scene.reset()
    host.moved()
    assert host.names()[-1] == "Forget"
    assert host.machine.attempts == {}


def test_what_has_ended_is_not_begun_again_when_its_run_is_reset_before_its_end_is_in_the_ledger(host):
    key = assign(host)
    host.held_back = {o.Report}
    host.ends(key, DONE)
    host.scene.reset()
    host.moved()
    assert host.machine.holds(host.disk[key]), "its lease stands until its end is told"
    assert (host.names().count("Start"), host.names().count("Forget")) == (1, 0)
    host.perform(host.effects[-1])
    host.moved()
    assert (host.names().count("Start"), host.names()[-1], host.machine.attempts) == (1, "Forget", {})


def test_a_task_that_prepares_hosts_needs_no_directory(host):
    body = {"BuildContext": None, "BuildType": "INLINE", "BuildSteps": []}
    host.scene.final("image", type="MAKE_USER_CONTAINER", body=body)
    host.scene.assign("all", task="image")
    host.moved()
    assert host.names() == ["Judge", "Prepare", "Report"]
    assert (slot_of(host).state, slot_of(host).description) == ("done", "nothing to do")


def test_however_an_operator_is_killed_no_slot_runs_twice_and_none_is_forgotten():
    seed = Random().randrange(10**6)
    print("seed", seed)
    for turn in range(100):
        _play(Random(f"{seed} {turn}"))


def _play(random: Random) -> None:
    """Effects are performed late and in part, the operator dies at any of them, leases end and begin anew."""
    scene = TaskScene(1, peers=2)
    scene.final()
    host = Host(scene, scene.operators[0])
    host.held_back = set(o.Effect.__args__)
    scene.assign(2)
    for _ in range(60):
        at = len(host.effects)
        match random.randrange(8):
            case 0:
                host.effects.clear()
                host.boot()
            case 1:
                scene.lose(host.swop)
                for slot in scene.slots(host.swop):
                    if slot.leased:
                        scene.end_lease(slot)
            case 2:
                scene.listen(host.swop, 2)
                scene.target(host.swop)
            case 3 if host.running:
                key = random.choice(sorted(host.running))
                watched = {(lease.slot, lease.fence) for lease in host.machine.at_work()}
                host.running.discard(key)
                if key in watched:
                    host.ends(key, random.choice([DIED, FAILED, DONE]))
            case _:
                for effect in host.effects[:at]:
                    host.perform(effect)
                del host.effects[:at]
        host.moved()
        _check(host)
    host.held_back = set()
    host.effects.clear()
    host.boot()
    scene.listen(host.swop, 2)
    host.moved()
    _check(host)
    for slot in scene.slots(host.swop):
        assert slot.leased == ((slot.id, slot.fence) in host.running), slot


def _check(host: Host) -> None:
    at_places: dict[int, list[tuple[str, int]]] = {}
    for key in host.running:
        at_places.setdefault(host.disk[key].index, []).append(key)
    assert all(len(keys) == 1 for keys in at_places.values()), at_places


def test_events_of_others_move_nothing(host):
    key = assign(host)
    stranger = SlotAssigned("99.0", "runner", 99, "task", "uid", 0, 99, 1)
    for event in (o.Started(stranger), o.Ended(stranger, DONE, False, 1), o.Reaped(host.disk[key])):
        host.effects.clear()
        host.happened(event)
        assert host.effects == []


def test_a_job_that_was_asked_to_end_is_killed_once_the_ledger_says_so():
    scene = JobScene(1)
    host = Host(scene, scene.operators[0])
    host.held_back = {o.End, o.Kill}
    scene.submit()
    host.moved()
    (slot,) = scene.ledger.board.leases_of(host.swop.uid)
    scene.stop()
    host.moved()
    host.moved()
    assert host.names().count("End") == 1
    scene.stop(kill=True)
    host.moved()
    host.moved()
    assert host.names()[-1] == "Kill"
    assert host.names().count("Kill") == 1
    host.ends((slot.id, slot.fence), Verdict("stopped", "nobody saw how", None), asked=True)
    said = f"stopped by {scene.swci.identity}"
    assert host.reports()[-1] == ("stopped", said)
    assert scene.ledger.board.jobs.of("job").state == "stopped"
