"""What programs of slots ask their operator: who is heard, what is answered, and that nobody speaks for another."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import trio

import swarm
from swarm.callbacks import desk as client
from swarm.core.events import Outcome
from swarm.errors import BadInput, Refused, Unreachable
from swarm.nodes import desk
from swarm.nodes.desk import Desk
from swarm.nodes.goal import Goal
from tests.core.rolescene import RoleScene


class Attempt:
    """What a desk sees of a slot's work."""

    class pass_:
        token = "secret"

    def __init__(self, lease):
        self.lease = lease


class Operator:
    """Of a scene whose coordinator runs here; ``said``: what its desk has proposed."""

    def __init__(self, tmp_path, monkeypatch):
        self.scene = RoleScene(8)
        self.run = self.scene.play()
        self.scene.all_run(self.run)
        self.slot = self.run.slots_of("coordinator")[0]
        works = {(self.slot.id, self.slot.fence): Attempt(self.slot.assigned())}
        self.desk = Desk(
            tmp_path,
            ledger=lambda: self.scene.ledger,
            work=lambda slot, fence: works.get((slot, fence)),
            propose=self.propose,
            patience_s=0,
        )
        said = {"SWARM_DESK": self.desk.file, "SWARM_DESK_TOKEN": "secret", "SWARM_SLOT": self.slot.id}
        for name, value in {**said, "SWARM_FENCE": self.slot.fence}.items():
            monkeypatch.setenv(name, str(value))

    async def propose(self, kind, body) -> Outcome:
        return self.scene.say(self.scene.holder(self.slot), kind, body)

    def asked(self, *questions):
        """The answers to questions that are asked while the desk is open."""

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.desk.run)
                answers = [await trio.to_thread.run_sync(question) for question in questions]
                nursery.cancel_scope.cancel()
            return answers

        return trio.run(main)


@pytest.fixture
def operator(tmp_path, monkeypatch):
    return Operator(tmp_path, monkeypatch)


def refusal(question):
    return raising((BadInput, Refused), question)


def raising(kind, question):
    def ask():
        with pytest.raises(kind) as caught:
            question()
        return caught.value.message

    return ask


def test_a_program_scales_its_own_task_and_finds_its_peers(operator):
    operator.run.addresses[operator.run.slots_of("collector")[0].id] = "10.0.0.1:4000"
    scaled, peers = operator.asked(lambda: swarm.scale("collector", by=1), lambda: swarm.peers("collector"))
    assert (scaled["slots"], [slot["index"] for slot in scaled["added"]]) == (3, [2])
    assert [(peer["index"], peer["state"], peer["address"]) for peer in peers] == [
        (0, "running", "10.0.0.1:4000"), (1, "running", None), (2, "assigned", None),
    ]  # fmt: skip


def test_a_program_waits_for_all_of_a_role_and_is_told_who_keeps_it_waiting(operator):
    one, other = operator.run.slots_of("collector")
    asked, stands, peers = [], trio.Event(), operator.desk._asks["peers"]

    def end(slot):
        operator.scene.ends(slot, "done")
        operator.desk.ledger_moved()

    async def heard(*question):
        asked.append(question)
        stands.set()
        return await peers(*question)

    async def end_once_it_stands():
        with trio.fail_after(30):
            await stands.wait()
        end(other)

    def wait():
        operator.desk._asks["peers"] = heard
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(swarm.peers, "collector", until="done")
            trio.from_thread.run(end_once_it_stands)
            return [peer["state"] for peer in waiting.result()], len(asked)

    _, late, never, waited = operator.asked(
        lambda: trio.from_thread.run_sync(end, one),
        raising(Unreachable, lambda: swarm.peers("collector", until="done", patience_s=0)),
        raising(BadInput, lambda: swarm.peers("collector", until="finished")),
        wait,
    )
    assert late == "1 of 2 collector are not done after 0 s: collector 1 is running"
    assert never.startswith("a slot is never 'finished', expected one of waiting, assigned")
    assert waited == (["done", "done"], 1), "one question, which stood until they were"


def test_slots_give_each_other_work_and_hear_what_came_of_it(operator):
    def collect():
        item = swarm.work.take(patience_s=60)
        return (item.value, item.attempt, item.done({"return": 12.5}), item.done({"return": 1}))

    new, again, collected, none, results, counts, forgotten = operator.asked(
        lambda: swarm.work.put({"gen-0": {"seed": 3}}),
        lambda: swarm.work.put({"gen-0": {"seed": 4}}),
        collect,
        lambda: swarm.work.take(patience_s=0),
        lambda: swarm.work.results(["gen-0"], patience_s=0),
        lambda: swarm.work.counts(),
        lambda: swarm.work.forget(["gen-0"]),
    )
    assert (new, again, none, forgotten) == (1, 0, None, 1)
    assert collected == ({"seed": 3}, 1, True, True)
    assert results == {"gen-0": {"return": 12.5}}
    assert counts == {"put": 1, "waiting": 0, "leased": 0, "done": 1, "failed": 0, "returned": 0}


def test_what_another_has_by_now_is_handed_in_in_vain(operator):
    def take():
        item = swarm.work.take()
        operator.run.work.release(operator.slot.id)
        return item.done(1)

    _, late, waiting, nobodys = operator.asked(
        lambda: swarm.work.put({"a": 1}),
        take,
        raising(Unreachable, lambda: swarm.work.results(["a"], patience_s=0)),
        raising(Unreachable, lambda: swarm.work.results(["b"], patience_s=0)),
    )
    assert late is False
    assert waiting == "1 of 1 items are not done after 0 s: 'a'"
    assert nobodys == "1 of 1 items are not done after 0 s: 'b'", "somebody may yet put it"


def test_what_the_ledger_refuses_is_raised_where_it_was_asked(operator):
    bounds, role, nothing = operator.asked(
        refusal(lambda: swarm.scale("collector", 99)),
        refusal(lambda: swarm.peers("actor")),
        refusal(lambda: client.ask("dance")),
    )
    assert bounds == "role collector of task cartpole has 1 to 8 slots, asked for 99; it has 2"
    assert role == "task cartpole has no role actor"
    assert nothing == "a question to the operator that it does not understand"


@pytest.mark.parametrize(
    ("name", "value"), [("SWARM_DESK_TOKEN", "guessed"), ("SWARM_FENCE", "1"), ("SWARM_SLOT", "9.9")]
)
def test_nobody_speaks_for_a_slot_without_its_token(operator, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    (said,) = operator.asked(refusal(lambda: swarm.scale("collector", by=1)))
    assert said.startswith("this operator runs no attempt of slot")
    assert operator.run.wanted["collector"] == 2


def test_outside_of_a_slot_nobody_is_asked(monkeypatch):
    monkeypatch.delenv("SWARM_DESK", raising=False)
    with pytest.raises(BadInput, match="runs in no slot of a task with roles"):
        swarm.peers("collector")


def test_an_operator_that_is_gone_is_waited_for_until_the_deadline(operator):
    operator.desk.file.write_text(json.dumps({"path": "/nowhere/socket"}))
    with pytest.raises(Unreachable, match=f"the operator of slot {operator.slot.id} did not answer within 0 s"):
        client.ask("peers", role="collector", patience_s=0)


def test_who_says_nothing_holds_others_up_for_a_while_and_takes_no_more_than_there_is_room_for(operator, monkeypatch):
    monkeypatch.setattr(desk, "OPEN_MAX", 1)
    monkeypatch.setattr(desk, "QUESTION_S", 1.0)
    with socket.socket(socket.AF_UNIX) as silent:
        first = partial(swarm.peers, "learner")
        found, _, again = operator.asked(first, lambda: silent.connect(listens(operator)), first)
        assert found == again
        assert b"has to be one line" in silent.recv(1000)


def listens(operator):
    return json.loads(operator.desk.file.read_text())["path"]


def test_a_goal_is_reached_by_what_was_logged_whole(tmp_path):
    file = tmp_path / "metrics.jsonl"
    goal = Goal("reward", 195.0, file)
    assert goal.reached() == ""
    file.write_text('{"metrics": {"reward": 194.9}}\nnonsense\n{"metrics": {"loss": 300.0}}\n{"metrics": {"reward": 19')
    assert goal.reached() == ""
    with file.open("a") as more:
        more.write('6.5}}\n{"metrics": {"reward": null}}\n')
    assert goal.reached() == "reward is 196.5, StopOn asks for 195"
    assert goal.reached() == "", "a line is looked at once"


@pytest.mark.parametrize(
    "field",
    [
        '"fence": Infinity',
        r'"token": "\ud800"',
        '"ask": "results", "keys": 5',
        f'"ask": "take", "wait_s": 1{"0" * 400}',
    ],
)
def test_a_question_in_another_form_ends_nothing_but_itself(operator, field):
    """Whatever a program sends: its operator has others' slots to look after."""
    said = {"slot": operator.slot.id, "fence": operator.slot.fence, "token": "secret", "ask": "counts"}
    line = f"{json.dumps(said)[:-1]}, {field}}}\n".encode()
    sent = lambda: client._answered(str(operator.desk.file), line, 5.0)  # noqa: E731
    before, spoilt, after = operator.asked(swarm.work.counts, refusal(sent), swarm.work.counts)
    assert spoilt == "a question to the operator that it does not understand"
    assert before == after


def test_metrics_that_a_program_has_spoilt_end_nothing(tmp_path):
    number, pipe = tmp_path / "number.jsonl", tmp_path / "pipe.jsonl"
    number.write_text(f'{{"metrics": {{"reward": 1{"0" * 400}}}}}\n{{"metrics": {{"reward": 200}}}}\n')
    assert Goal("reward", 195.0, number).reached() == "reward is 200, StopOn asks for 195"
    os.mkfifo(pipe)
    assert Goal("reward", 195.0, pipe).reached() == "", "nobody waits for what never comes"
