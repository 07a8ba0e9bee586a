"""Items of work: taken by one, done once, given out again when their holder ends; the counts always add up."""

import random

import pytest

from swarm.core import rolesboard, worklist
from swarm.core.roles import Role
from swarm.core.timekeeper import Propose, Tick, Timekeeper
from swarm.core.worklist import WorkList
from swarm.errors import Refused
from tests.core.rolescene import RoleScene, held
from tests.core.scene import restored


def refusal(act, *arguments) -> str:
    with pytest.raises(Refused) as caught:
        act(*arguments)
    return caught.value.message


class Collectors(RoleScene):
    """A task that runs, with two collectors and a coordinator that gives them work."""

    def __init__(self) -> None:
        super().__init__(8)
        self.played = self.play()
        self.all_run(self.played)
        self.coordinator = self.played.slots_of("coordinator")[0]
        self.collectors = self.played.slots_of("collector")

    def put(self, *keys, by=None, within_s=60):
        slot = by or self.coordinator
        body = {**held(slot), "items": [[key, f'"{key}"'] for key in keys], "within_s": within_s}
        return self.say(self.holder(slot), "WorkPut", body)

    def takes(self, slot, nonce=None):
        self.asked = getattr(self, "asked", 0) + 1
        return self.say(self.holder(slot), "WorkTaken", {**held(slot), "nonce": nonce or str(self.asked)})

    def done(self, slot, key, lease=1, result="1"):
        return self.say(self.holder(slot), "WorkDone", {**held(slot), "key": key, "lease": lease, "result": result})

    @property
    def counts(self):
        return self.played.work.counts()


def test_an_item_is_taken_by_one_and_done_once():
    scene = Collectors()
    first, second = scene.collectors
    assert scene.put("a", "b").result == {"new": 2}
    assert scene.put("b", "c").result == {"new": 1}, "what was put is not put again"
    assert scene.takes(first).result == {"key": "a", "value": '"a"', "lease": 1}
    assert scene.takes(second).result["key"] == "b"
    assert "was returned meanwhile" in scene.done(second, "a").reason, "it is not its own"
    assert scene.done(first, "a").accepted
    assert scene.done(first, "a", result="2").accepted, "said again it changes nothing"
    assert scene.played.work.items["a"].result == "1"
    assert scene.takes(first).result["key"] == "c"
    assert scene.takes(first).reason == "no item of work waits"
    assert scene.counts == {"put": 3, "waiting": 0, "leased": 2, "done": 1, "failed": 0, "returned": 0}


def test_who_did_not_hear_the_answer_asks_again_and_gets_the_same_item():
    scene = Collectors()
    first, second = scene.collectors
    scene.put("a", "b")
    assert [scene.takes(first, "once").result["key"] for _ in range(2)] == ["a", "a"]
    assert scene.takes(second, "once").result["key"] == "b", "another slot asks for itself"
    assert scene.takes(first, "more").reason == "no item of work waits"


def test_what_a_slot_held_is_given_out_again_when_its_attempt_is_over():
    scene = Collectors()
    first, second = scene.collectors
    scene.put("a")
    scene.takes(first)
    scene.ends(first, "failed", "killed by SIGKILL")
    assert (scene.counts["waiting"], scene.counts["returned"], first.state) == (1, 1, "assigned")
    assert scene.takes(second).result == {"key": "a", "value": '"a"', "lease": 2}
    scene.runs(first)
    assert "was returned meanwhile" in scene.done(first, "a").reason
    assert scene.done(second, "a", 2).accepted


def test_a_coordinator_that_ends_takes_nothing_with_it():
    scene = Collectors()
    scene.put("a", "b")
    scene.takes(scene.collectors[0])
    scene.ends(scene.coordinator, "failed", "killed by SIGKILL")
    assert scene.done(scene.collectors[0], "a").accepted
    scene.runs(scene.coordinator)
    assert scene.put("a", "b", "c").result == {"new": 1}, "it may simply put them all again"
    assert scene.counts == {"put": 3, "waiting": 2, "leased": 0, "done": 1, "failed": 0, "returned": 0}


def test_a_removed_slot_gives_back_what_it_has_not_finished():
    scene = Collectors()
    first, second = scene.collectors
    scene.put("a", "b")
    scene.takes(first)
    scene.takes(second)
    scene.scale("collector", to=1)
    assert scene.done(second, "b").accepted, "it may finish while it ends"
    scene.scale("collector", to=2)
    third = scene.played.slots_of("collector")[1]
    scene.runs(third)
    scene.ends(second, "stopped")
    scene.ends(first, "stopped")
    assert scene.takes(third).result["key"] == "a"


def test_who_takes_too_long_loses_it_by_the_leaders_clock():
    scene = Collectors()
    keeper = Timekeeper(scene.ledger, scene.sn.uid, 0.0)
    scene.put("a", within_s=30)
    scene.takes(scene.collectors[0])
    keeper.handle(Tick(1.0))
    asked = []
    for second in range(2, 33):
        for node in scene.ledger.nodes:
            keeper.alive(node, float(second))
        asked += keeper.handle(Tick(float(second)))
    lapse = Propose("WorkLapsed", {"run": scene.played.number, "key": "a", "lease": 1})
    assert asked == [lapse]
    assert scene.say(scene.sn, lapse.kind, lapse.body).accepted
    assert "is not held as number 1" in scene.say(scene.sn, lapse.kind, lapse.body).reason
    assert scene.takes(scene.collectors[1]).result["lease"] == 2


def test_an_item_that_ends_everybody_is_given_up_and_room_is_made_by_forgetting(monkeypatch):
    items = WorkList()
    items.put([("a", "1"), ("b", "22")], 60)
    for lease in range(1, worklist.TAKEN_MAX + 1):
        assert items.take("1.0", "x").key == "a" if lease == 1 else items.take("1.0", "x")
        items.release("1.0")
    while items.waits:
        items.take("1.0", "x")
        items.release("1.0")
    assert items.counts()["failed"] == 2
    monkeypatch.setattr(worklist, "ITEMS_MAX", 2)
    assert "may have 2 of" in refusal(items.put, [("c", "")], 60)
    assert items.forget(["a", "nobody"]) == 1
    assert items.put([("c", "")], 60) == 1
    monkeypatch.setattr(worklist, "BYTES_MAX", 5)
    taken = items.take("1.1", "x")
    assert "are over 5 bytes" in refusal(items.done, "1.1", "c", taken.lease, "333")
    assert items.counts() == {"put": 3, "waiting": 0, "leased": 1, "done": 0, "failed": 2, "returned": 20}


def test_only_the_holder_of_a_lease_says_anything_of_items():
    scene = Collectors()
    old = {**held(scene.coordinator), "fence": 1, "items": [["a", "1"]], "within_s": 60}
    assert "is not leased to" in scene.say(scene.holder(scene.coordinator), "WorkPut", old).reason
    assert scene.say(scene.swci, "WorkPut", old).accepted is False


@pytest.mark.parametrize("seed", range(15))
def test_whatever_happens_the_counts_add_up(seed):
    chance = random.Random(seed)
    scene = Collectors()
    put, done = set(), {}
    for step in range(120):
        slots = [slot for slot in scene.played.slots.values() if slot.leased]
        if scene.played.over or not slots:
            break
        slot = chance.choice(slots)
        match chance.randrange(6):
            case 0:
                keys = {str(chance.randrange(40)) for _ in range(3)}
                if scene.put(*sorted(keys), by=slot).accepted:
                    put |= keys
            case 1 | 2:
                scene.takes(slot)
            case 3 | 4:
                item = chance.choice([*scene.played.work.items.values(), None])
                if item is not None and scene.done(slot, item.key, max(item.lease, 1), str(step)).accepted:
                    assert done.setdefault(item.key, item.result) == item.result, "done once"
            case 5 if slot.role == "collector":
                scene.report(scene.holder(slot), slot, chance.choice(["running", "stopped"]))
    counts = scene.counts
    assert counts["put"] == len(put) == sum(counts[state] for state in ("waiting", "leased", "done", "failed"))
    assert counts["done"] == len(done)
    again = restored(scene.ledger)
    for one in (scene.ledger, again):
        one.board.jobs.with_roles[scene.played.number].work.release(scene.collectors[0].id)
    assert again.digest() == scene.ledger.digest(), "what was restored goes on in the same order"


def test_all_tasks_of_an_organisation_have_one_bound_together(monkeypatch):
    """Of each task there are so many bytes at most; without this, as many times that as there are tasks."""
    monkeypatch.setattr(rolesboard, "WORK_BYTES_MAX", 300)
    scene = RoleScene(4)
    runs = [scene.play(Role("worker"), name=name) for name in ("one", "two")]
    first, second = (run.slots_of("worker")[0] for run in runs)
    put = {"within_s": 60}
    assert scene.say(scene.holder(first), "WorkPut", {**held(first), **put, "items": [["a", "x" * 199]]}).accepted
    over = scene.say(scene.holder(second), "WorkPut", {**held(second), **put, "items": [["b", "\u00e9" * 60]]})
    assert "have items of 200 bytes in the ledger, and 121 more are over 300" in over.reason
    assert runs[1].work.counts()["put"] == 0
