"""Anybody does anything to tasks and slots at any moment: what holds whatever happens, judged by the events alone."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from swarm.core.events import SlotAssigned, SlotChanged, TaskChanged, TaskFinal
from swarm.core.ledger import Ledger
from swarm.core.slot import ENDED
from swarm.core.task import RUN_SWARM, TASK
from tests.core.scene import restored
from tests.core.tasks import TaskScene

TASKS = ("train", "build")
OPERATORS = st.integers(0, 2)
STATES = ("starting", "running", "done", "failed", "stopped")


class SlotObserver:
    """One slot is run once at a time: a new lease follows the end of the one before; done is the last word."""

    def __init__(self):
        self.fence = {}
        self.leased = {}
        self.results = {}
        self.places = {}

    def see(self, event):
        match event:
            case SlotAssigned():
                known = self.places.setdefault((event.run, event.swop, event.index), event.slot)
                assert known == event.slot, "two slots for one place of a profile in one run"
                assert not self.leased.get(event.slot), "two leases of one slot"
                assert event.fence > self.fence.get(event.slot, 0), "a fence that is not new"
                assert self.results.get(event.slot) != "done", "a done slot runs again"
                self.fence[event.slot], self.leased[event.slot] = event.fence, True
            case SlotChanged():
                assert event.fence == self.fence[event.slot]
                assert self.leased[event.slot] >= event.leased, "a lease that ended goes on"
                assert self.results.get(event.slot) != "done" or event.state == "done", "done is not undone"
                self.leased[event.slot] = event.leased
                if event.state in ENDED:
                    assert not event.leased
                    self.results[event.slot] = event.state


class TaskObserver:
    """Runs move along the table of tasks, begin once, and are decided by the slots that ended."""

    def __init__(self):
        self.states = {}
        self.final = {}

    def see(self, event, scene):
        match event:
            case TaskFinal():
                assert event.task not in self.final, "finalized twice"
                self.final[event.task] = event.digest
            case TaskChanged():
                before = self.states.get(event.run, "final")
                moves = {after for (state, _), after in TASK.items() if state == before}
                assert event.state in moves or event.state == before == "queued", (before, event.state)
                self.states[event.run] = event.state
        for name, digest in self.final.items():
            assert scene.ledger.tasks[name].digest == digest, "a final task has changed"


class Interleavings(RuleBasedStateMachine):
    """`TaskScene` checks the ledger's own invariants after every entry; the observers check its history."""

    @initialize(peers=st.integers(1, 3))
    def begin(self, peers):
        self.scene = TaskScene(3, peers)
        self.scene.final("train")
        self.scene.create("build", type="MAKE_USER_CONTAINER")
        self.seen = 0
        self.slots, self.tasks = SlotObserver(), TaskObserver()
        self.stale, self.over = [], set()

    @invariant()
    def observe(self):
        if not hasattr(self, "scene"):
            return
        for event in self.scene.events[self.seen :]:
            self.slots.see(event)
            self.tasks.see(event, self.scene)
        self.seen = len(self.scene.events)
        for slot in self.scene.ledger.board.slots.values():
            assert (slot.fence, slot.leased) == (self.slots.fence[slot.id], self.slots.leased[slot.id])

    def someone(self, number):
        return self.scene.operators[number]

    def any_slot(self, number):
        slots = sorted(self.scene.ledger.board.slots.values(), key=lambda slot: slot.id)
        return slots[number % len(slots)] if slots else None

    @rule(name=st.sampled_from(TASKS), other=st.booleans())
    def finalize(self, name, other):
        outcome = self.scene.finalize(name, by=self.scene.other_swci if other else None)
        assert outcome.accepted != other, "another organisation finalizes"

    @rule(name=st.sampled_from(TASKS), peers=st.sampled_from([1, 2, 4, 6, "all"]))
    def assign(self, name, peers):
        self.scene.assign(peers, task=name)

    @rule(name=st.sampled_from(TASKS), number=OPERATORS)
    def target(self, name, number):
        self.scene.target(self.someone(number), name)

    @rule(other=st.booleans())
    def reset(self, other):
        self.scene.reset(by=self.scene.other_swci if other else None)

    @rule(number=st.integers(0, 20), state=st.sampled_from(STATES))
    def report(self, number, state):
        slot = self.any_slot(number)
        if slot is None:
            return
        holder = next(swop for swop in self.scene.operators if swop.uid == slot.swop)
        leased, before = slot.leased, slot.state
        self.stale.append((holder, slot.id, slot.fence))
        if self.scene.report(holder, slot, state).accepted and state != before:  # else it only says what stands there
            assert leased, "a report without a lease counts"
            assert (slot.id, slot.fence) not in self.over, "a lease that ended counts"

    @rule(number=st.integers(0, 200), state=st.sampled_from(STATES), other=OPERATORS)
    def stale_report(self, number, state, other):
        """With a fence seen some time ago, perhaps by another operator."""
        if not self.stale:
            return
        holder, id_, fence = self.stale[number % len(self.stale)]
        author = self.someone(other)
        slot = self.scene.ledger.board.slots.get(id_)
        current = slot is not None and slot.fence == fence
        body = {"slot": id_, "fence": fence, "state": state, "reason": ""}
        if self.scene.say(author, "SlotReported", body).accepted:
            assert current, "an old fence is heard"
            assert author is holder, "a stranger is heard"

    @rule(number=OPERATORS)
    def decline(self, number):
        run = self.scene.taskrunner.current
        if run:
            self.scene.say(self.someone(number), "TaskDeclined", {"run": run.number, "reason": "no", "hint": ""})

    @rule(number=OPERATORS)
    def lose(self, number):
        self.scene.lose(self.someone(number))

    @rule(number=st.integers(0, 20))
    def end_lease(self, number):
        slot = self.any_slot(number)
        if slot and self.scene.end_lease(slot).accepted:
            self.over.add((slot.id, slot.fence))

    @rule(number=st.integers(0, 20), how=st.sampled_from(["failed", "stopped", "lost", "done"]))
    def end_and_retry(self, number, how):
        """A slot ends one way or the other, and its operator is asked to try again."""
        slot = self.any_slot(number)
        if slot is None:
            return
        swop = next(swop for swop in self.scene.operators if swop.uid == slot.swop)
        self.stale.append((swop, slot.id, slot.fence))
        if how == "lost":
            self.scene.lose(swop)
            self.end_lease(number)
            self.scene.join(swop)
        else:
            self.scene.report(swop, slot, how)
        self.scene.target(swop, slot.task)

    @rule(number=OPERATORS, restart=st.booleans(), listen=st.booleans(), peers=st.integers(1, 3))
    def join(self, number, restart, listen, peers):
        swop = self.someone(number)
        if restart:
            swop.restart()
        self.scene.join(swop)
        if listen:
            self.scene.listen(swop, peers)

    @rule(number=OPERATORS)
    def leave(self, number):
        self.scene.say(self.someone(number), "NodeLeft")

    @rule(back=st.integers(0, 40))
    def retry(self, back):
        """The same bytes once more, with whatever has happened since."""
        _, claim = self.scene.log[max(1, len(self.scene.log) - 1 - back)]
        before = self.scene.ledger.board.to_state()
        applied = self.scene.take(claim)
        assert applied.events == ()
        assert self.scene.ledger.board.to_state() == before

    @rule()
    def restore(self):
        self.scene.ledger = restored(self.scene.ledger)

    @rule(number=OPERATORS)
    def everybody_completes(self, number):
        """Long sequences of luck, so that tasks end, too."""
        for slot in list(self.scene.ledger.board.leases()):
            holder = next(swop for swop in self.scene.operators if swop.uid == slot.swop)
            self.scene.report(holder, slot, "failed" if slot.swop == self.someone(number).uid else "done")

    def teardown(self):
        if not hasattr(self, "scene"):
            return
        ledger = Ledger()
        for header, claim in self.scene.log:
            ledger.apply(header, claim)
        assert ledger.digest() == self.scene.ledger.digest()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_refused_proposal_changes_nothing_on_the_board():
    scene = TaskScene(2)
    scene.final("train")
    scene.assign(2, task="train")
    (slot,) = scene.slots(scene.operators[0])
    refused = [
        lambda: scene.assign(2, task="train"),
        lambda: scene.assign(2, task="nothing"),
        lambda: scene.report(scene.operators[1], slot, "done"),
        lambda: scene.end_lease(slot, slot.fence + 1),
        lambda: scene.create("train", type=RUN_SWARM, outcome="other"),
        lambda: scene.listen(scene.operators[0], taskrunner="nothing"),
        lambda: scene.finalize("nothing"),
        lambda: scene.target(scene.operators[0], "train"),
    ]
    for say in refused:
        before, events = scene.ledger.board.to_state(), len(scene.events)
        assert not say().accepted
        assert scene.ledger.board.to_state() == before
        assert len(scene.events) == events
