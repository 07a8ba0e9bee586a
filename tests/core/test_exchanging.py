"""In whatever order bytes come: one merge of the snap's members, Ready with every byte, blame where bytes are owed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.core import layout
from swarm.core.events import Contributor, Shard, SnapMade
from swarm.core.exchanging import AGAIN_S, AT_ONCE, Exchanging
from swarm.core.exchanging_places import CHUNK, CHUNK_S, PIECES, Place, chunks
from swarm.core.exchanging_silence import PATIENCE, SILENT_S, TIMES
from swarm.core.exchanging_steps import (
    Arrived,
    Blame,
    Effect,
    Event,
    Failed,
    Finish,
    Held,
    Measure,
    Measured,
    Merge,
    Merged,
    Publish,
    Published,
    Pull,
    Serve,
    Sign,
    Spoilt,
    Stop,
    Ticked,
    Verified,
    Weigh,
    Weighed,
)
from swarm.core.spans import Spans
from swarm.core.tensors import LEAF_BYTES, split

NBYTES = 12 * CHUNK + 320
LEAVES = -(-NBYTES // LEAF_BYTES)


def snap(uids: str, *, weights: dict[str, int] | None = None, attempt: int = 0, topology: str = "sharded") -> SnapMade:
    members = tuple(Contributor(uid, (weights or {}).get(uid, 1000), f"d-{uid}", f"{uid}:1") for uid in uids)
    cut = zip(uids, split(LEAVES, len(uids)), strict=True)
    shards = tuple(Shard(uid, *leaves) for uid, leaves in cut) if topology == "sharded" else ()
    return SnapMade("c", 1, attempt, members, shards, topology, "base")


class Attempt:
    """One member's exchange, with the world around it: pulls that run, merges that were asked for."""

    def __init__(self, snap: SnapMade, uid: str, kept: dict[str, Spans] | None = None, *, judges: bool = False) -> None:
        self.machine = Exchanging(snap, uid, NBYTES, kept, judges=judges)
        self.now_s = 0.0
        self.pulls: dict[Pull, int] = {}
        self.merging: list[Merge] = []
        self.working: list[Measure | Publish | Weigh] = []
        self.said: list[Effect] = []
        self._do(self.machine.begin(0.0))

    def happens(self, event: Event) -> list[Effect]:
        effects = self.machine.handle(event, self.now_s)
        if isinstance(event, Failed | Verified):
            self.pulls.pop(event.pull, None)
        self._do(effects)
        self.machine.check()
        return effects

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Pull():
                    assert effect not in self.pulls, "one at a time"
                    self.pulls[effect] = effect.start
                case Merge():
                    self.merging.append(effect)
                case Measure() | Publish() | Weigh():
                    self.working.append(effect)
        self.said += effects

    def pass_s(self, seconds: float) -> list[Effect]:
        """In ticks, as they come."""
        effects = []
        for _ in range(round(seconds / 0.5)):
            self.now_s += 0.5
            effects += self.happens(Ticked())
        return effects

    def pass_alive(self, seconds: float) -> list[Effect]:
        """The same, while whoever is pulled from lives and has nothing more yet."""
        effects = []
        for _ in range(round(seconds / 0.5)):
            for pull, upto in self.pulls.items():
                self.happens(Arrived(pull, upto))
            effects += self.pass_s(0.5)
        return effects

    def arrive(self, pull: Pull, upto: int | None = None) -> list[Effect]:
        """Bytes up to here, all of them and verified when no end is named."""
        if upto is not None:
            self.pulls[pull] = upto
            return self.happens(Arrived(pull, upto))
        return [*self.happens(Arrived(pull, pull.stop)), *self.happens(Verified(pull))]

    def pull(self, what: str, of: str) -> Pull:
        return next(pull for pull in self.pulls if (pull.what, pull.of) == (what, of))

    def merge_all(self) -> None:
        while self.merging:
            self.happens(Merged(self.merging.pop(0).start))

    def work(self, done: Measure | Publish | Weigh) -> None:
        self.working.remove(done)
        match done:
            case Measure():
                self.happens(Measured(done.start))
            case Publish():
                self.happens(Published())
            case Weigh():
                self.happens(Weighed())

    def measure_all(self) -> None:
        while self.working:
            self.work(self.working[0])

    def of(self, kind: type) -> list:
        return [effect for effect in self.said if isinstance(effect, kind)]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    weights=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([0, 1000, 3000])),
    uid=st.sampled_from("abcd"),
    topology=st.sampled_from(["sharded", "broadcast"]),
    judges=st.booleans(),
)
def test_in_any_order_each_chunk_is_merged_once_from_all_in_uid_order_with_the_snaps_weights(
    seed, weights, uid, topology, judges
) -> None:
    chance = Random(seed)
    made = snap("abcd", weights=weights, topology=topology)
    attempt = Attempt(made, uid, judges=judges)
    while attempt.pulls or attempt.merging or attempt.working:
        choices = [*attempt.pulls, *attempt.merging, *attempt.working]
        chosen = chance.choice(choices)
        assert not attempt.of(Finish), "something is outstanding"
        if isinstance(chosen, Measure | Publish | Weigh):
            attempt.work(chosen)
        elif isinstance(chosen, Merge):
            attempt.merging.remove(chosen)
            attempt.happens(Merged(chosen.start))
        elif chance.random() < 0.4:
            attempt.arrive(chosen)
        elif chance.random() < 0.8:
            attempt.arrive(chosen, chance.randint(attempt.pulls[chosen], chosen.stop))
        else:
            attempt.happens(Failed(chosen, "the connection broke"))
            attempt.now_s += AGAIN_S
            attempt.happens(Ticked())
    merges, machine = attempt.of(Merge), attempt.machine
    counted = tuple((member.uid, member.weight) for member in made.members if member.weight)
    if counted:
        assert all(merge.parts == counted for merge in merges)
        mine = sorted((start, stop) for shard in machine.mine for start, stop in chunks(shard))
        assert sorted((merge.start, merge.stop) for merge in merges) == mine
        assert len(attempt.of(Sign)) == len(machine.mine)
        assert attempt.of(Finish) == [Finish()]
        measures = [(one.start, one.stop, one.parts) for one in attempt.of(Measure)]
        assert sorted(measures) == (sorted((one.start, one.stop, one.parts) for one in merges) if judges else [])
        assert len(attempt.of(Weigh)) == judges


def test_a_method_that_judges_goes_through_its_stages() -> None:
    attempt = Attempt(snap("abc"), "a", judges=True)
    machine = attempt.machine
    assert {(pull.what, pull.of) for pull in attempt.pulls} == {
        (what, of) for what in ("offer", "distances", "shard") for of in "bc"
    }
    for of in "bc":
        attempt.arrive(attempt.pull("offer", of))
    assert (machine.stage, attempt.of(Merge), attempt.of(Publish)) == ("measuring", [], [])
    attempt.measure_all()
    assert (machine.stage, attempt.of(Publish), attempt.of(Weigh)) == ("comparing", [Publish()], [])
    for of in "bc":
        attempt.arrive(attempt.pull("distances", of))
    assert (machine.stage, attempt.of(Weigh), attempt.of(Merge)) == ("weighing", [Weigh()], [])
    attempt.work(attempt.working[0])
    assert machine.stage == "merging"
    assert len(attempt.of(Merge)) == len(attempt.of(Measure)) == len(list(chunks(machine.mine[0])))
    attempt.merge_all()
    for of in "bc":
        attempt.arrive(attempt.pull("shard", of))
    assert attempt.of(Finish) == [Finish()]


def test_nobody_weighs_before_its_own_part_is_written_down() -> None:
    attempt = Attempt(snap("ab"), "a", judges=True)
    attempt.arrive(attempt.pull("offer", "b"))
    attempt.arrive(attempt.pull("distances", "b"))
    while isinstance(attempt.working[0], Measure):
        attempt.work(attempt.working[0])
    assert (attempt.working, attempt.of(Weigh)) == ([Publish()], [])
    attempt.work(attempt.working[0])
    assert attempt.working == [Weigh()]


def test_who_merges_nothing_waits_for_what_the_owners_say_as_well() -> None:
    made = snap("abc")
    attempt = Attempt(replace(made, shards=(Shard("b", 0, 70), Shard("c", 70, LEAVES))), "a", judges=True)
    assert attempt.machine.stage == "comparing"
    assert {(pull.what, pull.of) for pull in attempt.pulls} == {
        (what, of) for what in ("distances", "shard") for of in "bc"
    }
    for of in "bc":
        attempt.arrive(attempt.pull("shard", of))
    assert attempt.of(Finish) == []
    for of in "bc":
        attempt.arrive(attempt.pull("distances", of))
    attempt.measure_all()
    assert (attempt.of(Publish), attempt.of(Finish)) == ([], [Finish()])


def test_what_an_owner_says_is_had_from_others_before_it_is_blamed() -> None:
    attempt = Attempt(snap("abc"), "a", judges=True)
    pull = attempt.pull("distances", "c")
    relayed = attempt.happens(Failed(pull, "it is gone"))
    assert relayed == [pull._replace(source="b")]
    assert attempt.happens(Failed(relayed[0], "not here")) == [Blame("c", "it is gone")]
    assert attempt.happens(Held("b")) == [pull._replace(source="b")]


def test_an_owner_that_lives_and_never_publishes_is_blamed_once_all_can_have_sent_it_everything() -> None:
    attempt = Attempt(snap("abc"), "a", judges=True)
    expected_s = layout.expected_s(attempt.machine.snap, NBYTES)

    for of in "bc":
        attempt.arrive(attempt.pull("offer", of))
    assert attempt.pass_alive(60.0) == [], "this member itself is not done"
    attempt.measure_all()
    attempt.arrive(attempt.pull("distances", "b"))
    late = attempt.pull("distances", "c")
    effects = attempt.pass_alive(expected_s + SILENT_S * PATIENCE + 1)
    stopped = [effect for effect in effects if isinstance(effect, Stop)]
    assert [stop.pull for stop in stopped] == [late], "shards cannot come yet"


def test_a_shard_is_served_as_far_as_it_is_merged_without_a_hole() -> None:
    attempt = Attempt(snap("ab"), "a")
    attempt.arrive(attempt.pull("offer", "b"))
    first, second, *rest = attempt.merging
    assert attempt.happens(Merged(second.start)) == []
    assert attempt.happens(Merged(first.start)) == [Serve(0, second.stop)]
    for merge in rest[:-1]:
        attempt.happens(Merged(merge.start))
    shard = attempt.machine.mine[0]
    assert attempt.happens(Merged(rest[-1].start)) == [Serve(0, shard.stop), Sign(0)]
    assert attempt.arrive(attempt.pull("shard", "b")) == [Finish()]


@given(
    st.integers(0, 5000),
    st.integers(1, 5000),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.booleans(),
    st.sampled_from([0.0, 0.01, 6.0, 600.0]),
)
def test_chunks_are_whole_leaves_and_as_many_as_let_the_first_travel_while_the_last_is_awaited(
    first: int, leaves: int, one: int, other: int, whole: bool, lasts_s: float
) -> None:
    shard = Place("a", first * LEAF_BYTES, (first + leaves) * LEAF_BYTES - (0 if whole else 320), lasts_s)
    found = list(chunks(shard))
    assert [start for start, _ in found] == [shard.start, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == shard.stop
    assert all(start % LEAF_BYTES == 0 and stop - start <= CHUNK for start, stop in found)
    assert len(found) >= min(leaves, PIECES / 2)
    longest = max(stop - start for start, stop in found)
    assert longest <= max(LEAF_BYTES, leaves * LEAF_BYTES * CHUNK_S / lasts_s if lasts_s > CHUNK_S else CHUNK)
    start, stop = min(one, other), max(one, other) + 1
    assert list(chunks(shard, start, stop)) == [(a, b) for a, b in found if a < stop and b > start]


def test_what_a_broadcast_merged_is_not_ready_before_the_contributions_are_known_as_those_offered() -> None:
    attempt = Attempt(snap("ab", topology="broadcast"), "a")
    pull = attempt.pull("offer", "b")
    attempt.arrive(pull, pull.stop)
    attempt.merge_all()
    assert attempt.machine.held.covers(0, NBYTES)
    assert not attempt.of(Finish)
    assert attempt.happens(Failed(pull, "it sent something else", bad=True)) == [Blame("b", "it sent something else")]
    assert "b" not in attempt.machine.kept()


def test_the_next_attempt_pulls_only_what_its_layout_adds() -> None:
    """b is gone: a's shard grows from a quarter to a third, and c's quarter is moved."""
    first = Attempt(snap("abcd"), "c")
    first.arrive(first.pull("offer", "a"))
    half = first.pull("offer", "d")
    first.arrive(half, half.start + CHUNK)
    kept = first.machine.kept()
    assert kept == {"a": Spans([(half.start, half.stop)]), "d": Spans([(half.start, half.start + CHUNK)])}
    second = Attempt(snap("acd", attempt=1), "c", kept)
    shard = second.machine.mine[0]
    assert shard.start < half.start < shard.stop < half.stop, "the case that is meant"
    pulled = {pull.of: (pull.start, pull.stop) for pull in second.pulls if pull.what == "offer"}
    assert pulled == {"a": (shard.start, half.start), "d": (shard.start, half.start)}
    second.arrive(second.pull("offer", "d"))
    assert second.pull("offer", "d").start == half.start + CHUNK, "the second gap, after the first"
    for what, of in (("offer", "a"), ("offer", "d"), ("shard", "a"), ("shard", "d")):
        second.arrive(second.pull(what, of))
    second.merge_all()
    assert second.of(Finish)
    assert {uid for merge in second.of(Merge) for uid, _ in merge.parts} == set("acd")


def test_a_contribution_that_is_here_whole_is_not_pulled_again_and_merged_at_once() -> None:
    made = snap("abc", attempt=1)
    attempt = Attempt(made, "a", {"b": Spans([(0, NBYTES)]), "c": Spans([(0, NBYTES)]), "gone": Spans([(0, NBYTES)])})
    assert {pull.what for pull in attempt.pulls} == {"shard"}
    assert len(attempt.merging) == len(list(chunks(attempt.machine.mine[0])))


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_many_members_are_pulled_from_a_few_at_a_time_beginning_behind_oneself(topology: str) -> None:
    uids = "abcdefghijklmnopqrst"
    one = Attempt(snap(uids, topology=topology), "h")
    offers = [pull.of for pull in one.pulls if pull.what == "offer"]
    assert offers == list("ijklmnop")
    assert len(offers) == AT_ONCE
    one.happens(Failed(next(pull for pull in one.pulls if pull.of == "j"), "it is gone"))
    turned_to = set(offers)
    while one.pulls:
        assert sum(pull.what == "offer" for pull in one.pulls) <= AT_ONCE + 1  # who failed is tried again beside them
        assert sum(pull.what == "shard" for pull in one.pulls) <= AT_ONCE
        pull = next(iter(one.pulls))
        turned_to.add(pull.of)
        one.happens(Arrived(pull, pull.stop))
        one.happens(Verified(pull))
        for merge in one.merging:
            one.happens(Merged(merge.start))
        one.merging.clear()
        if not one.pulls:
            one.pass_s(2 * AGAIN_S)
    assert turned_to == set(uids) - {"h"}
    assert one.machine.finished


def test_several_shards_of_one_owner_are_pulled_one_after_the_other_and_each_signed() -> None:
    cut = (Shard("a", 0, 40), Shard("b", 40, 80), Shard("a", 80, LEAVES))
    made = replace(snap("ab"), shards=cut)
    owner, other = Attempt(made, "a"), Attempt(made, "b")
    owner.arrive(owner.pull("offer", "b"))
    owner.arrive(owner.pull("offer", "b"))
    owner.merge_all()
    assert owner.of(Sign) == [Sign(0), Sign(80 * LEAF_BYTES)]
    other.arrive(other.pull("shard", "a"))
    assert other.pull("shard", "a").start == 80 * LEAF_BYTES


# ---- what does not come


def test_a_contributor_is_blamed_when_no_byte_came_for_so_long_however_alive_it_is() -> None:
    attempt = Attempt(snap("abc"), "a")
    pull = attempt.pull("offer", "b")
    attempt.pass_s(SILENT_S / 2 - 0.5)
    attempt.arrive(pull, pull.start + 1)
    for _ in range(9):
        assert attempt.pass_s(0.5) == []
        for alive in attempt.pulls:
            attempt.happens(Arrived(alive, attempt.pulls[alive]))
        attempt.arrive(attempt.pull("offer", "c"), attempt.pulls[attempt.pull("offer", "c")] + 1)
    reason = "no byte of its offer came for 5 s"
    assert attempt.pass_s(0.5) == [Stop(pull, reason)]
    assert attempt.pass_s(2.0) == [], "told once"
    assert attempt.happens(Failed(pull, "stopped")) == [Blame("b", reason)]


def test_a_long_way_is_given_twenty_round_trips() -> None:
    attempt = Attempt(snap("ab"), "a")
    attempt.happens(Ticked({"b": 0.5}))
    attempt.now_s = 1.0
    while attempt.now_s < 9.5:
        attempt.now_s += 0.5
        assert attempt.happens(Ticked({"b": 0.5})) == []
    attempt.now_s += 0.5
    assert {type(effect) for effect in attempt.happens(Ticked({"b": 0.5}))} == {Stop}


def test_an_owner_that_lives_may_wait_for_others_but_not_when_everybody_gave_its_part() -> None:
    attempt = Attempt(snap("abc"), "a")
    shards = [pull for pull in attempt.pulls if pull.what == "shard"]

    attempt.arrive(attempt.pull("offer", "b"))
    c = attempt.pull("offer", "c")
    for upto in range(60):  # slow, and it comes
        attempt.arrive(c, c.start + upto + 1)
        assert attempt.pass_alive(1.0) == []
    attempt.arrive(c)
    attempt.merge_all()
    for pull in shards:
        attempt.arrive(pull, pull.start + 1)
    assert attempt.pass_alive(SILENT_S * PATIENCE - 0.5) == []
    assert {effect.pull for effect in attempt.pass_alive(0.5) if isinstance(effect, Stop)} == set(shards)
    tried = shards[0]
    blamed = attempt.happens(Failed(tried, "stopped"))
    while not any(isinstance(effect, Blame) for effect in blamed):  # nobody else has it either
        tried = next(effect for effect in blamed if isinstance(effect, Pull))
        blamed = attempt.happens(Failed(tried, "not here"))
    reason = f"no byte of its shard came for {SILENT_S * PATIENCE:.0f} s"
    assert Blame(shards[0].of, reason, alive=True) in blamed


def test_a_silent_owner_is_stopped_after_the_short_time() -> None:
    attempt = Attempt(snap("ab"), "a")
    shard = attempt.pull("shard", "b")
    stops = [effect for effect in attempt.pass_s(SILENT_S) if isinstance(effect, Stop)]
    assert shard in {stop.pull for stop in stops}


def test_time_in_which_this_member_itself_stood_still_counts_against_nobody() -> None:
    attempt = Attempt(snap("ab"), "a")
    attempt.pass_s(1.0)
    attempt.now_s += 60.0
    assert attempt.happens(Ticked()) == []
    assert attempt.pass_s(3.5) == []
    assert attempt.pass_s(0.5) != []


def stopped(effects: list[Effect]) -> set[str]:
    return {effect.pull.source for effect in effects if isinstance(effect, Stop)}


def test_while_most_others_bring_nothing_either_the_machine_may_be_slow_and_each_is_given_longer() -> None:
    attempt = Attempt(snap("abcdef", topology="broadcast"), "a")
    assert attempt.pass_s(PATIENCE * SILENT_S - 0.5) == []
    assert stopped(attempt.pass_s(0.5)) == set("bcdef"), "and not for ever"


def test_two_of_five_that_are_silent_are_found_out_by_the_others_that_are_not() -> None:
    attempt = Attempt(snap("abcdef", topology="broadcast"), "a")
    for second in range(round(SILENT_S)):
        assert attempt.pass_s(1.0 if second else 0.5) == []
        for uid in "cde":
            attempt.arrive(attempt.pull("offer", uid), second + 1)
    assert stopped(attempt.pass_s(0.5)) == set("bf")


def test_what_took_long_for_one_and_came_may_take_longer_for_another() -> None:
    attempt = Attempt(snap("abcd", topology="broadcast"), "a")
    for uid in "cd":
        attempt.arrive(attempt.pull("offer", uid), 1)
    attempt.pass_s(4.0)
    for uid in "cd":
        attempt.arrive(attempt.pull("offer", uid))
    assert attempt.pass_s(4.0 * TIMES - 4.5) == []
    assert stopped(attempt.pass_s(0.5)) == set("b")


def test_who_sends_a_byte_an_hour_late_buys_nobody_more_than_a_few_times_the_usual() -> None:
    attempt = Attempt(snap("abc", topology="broadcast"), "a")
    attempt.now_s = 3600.0
    attempt.arrive(attempt.pull("offer", "c"), 1)
    attempt.arrive(attempt.pull("offer", "b"), 1)
    attempt.arrive(attempt.pull("offer", "c"))
    assert attempt.pass_s(PATIENCE * SILENT_S - 0.5) == []
    assert stopped(attempt.pass_s(0.5)) == set("b")


def test_a_shard_that_its_owner_does_not_give_is_had_from_others_before_it_is_blamed() -> None:
    attempt = Attempt(snap("abcde"), "b")
    pull = attempt.pull("shard", "e")
    attempt.arrive(pull, pull.stop - 1)
    asked = []
    effects = attempt.happens(Failed(pull, "it is gone"))
    while isinstance(effects[0], Pull):
        asked.append(effects[0].source)
        assert (effects[0].start, effects[0].stop) == (pull.start, pull.stop), "whole: the parts may differ"
        effects = attempt.happens(Failed(effects[0], "not here either"))
    assert asked == ["c", "d", "a"]
    assert effects == [Blame("e", "it is gone")]
    assert attempt.happens(Held("d")) == [pull._replace(source="d")], "who is Ready holds all shards"
    attempt.arrive(pull._replace(source="d"))
    assert attempt.machine.held.covers(pull.start, pull.stop)


def test_who_is_ready_is_asked_first() -> None:
    attempt = Attempt(snap("abcde"), "a")
    attempt.happens(Held("d"))
    assert attempt.happens(Failed(attempt.pull("shard", "e"), "gone"))[0].source == "d"


def test_a_relay_that_sends_something_else_is_to_blame_itself_and_not_asked_again() -> None:
    attempt = Attempt(snap("abc"), "a")
    relayed = attempt.happens(Failed(attempt.pull("shard", "c"), "gone"))[0]
    assert relayed.source == "b"
    effects = attempt.happens(Failed(relayed, "not signed by its owner", bad=True))
    assert effects == [Blame("b", "not signed by its owner"), Blame("c", "gone")]
    again = [effect for effect in attempt.pass_s(AGAIN_S) if isinstance(effect, Pull)]
    assert again == [relayed._replace(source="c")]
    assert attempt.happens(Failed(again[0], "gone")) == []


def test_what_failed_is_tried_again_from_where_it_stopped_and_blamed_once() -> None:
    attempt = Attempt(snap("ab"), "a")
    pull = attempt.pull("offer", "b")
    attempt.arrive(pull, pull.start + CHUNK)
    assert attempt.happens(Failed(pull, "gone")) == [Blame("b", "gone")]
    again = [effect for effect in attempt.pass_s(AGAIN_S) if isinstance(effect, Pull)]
    assert again == [pull._replace(start=pull.start + CHUNK)]
    assert attempt.happens(Failed(again[0], "gone")) == []
    attempt.pass_s(AGAIN_S)
    attempt.arrive(again[0])
    attempt.arrive(attempt.pull("shard", "b"))
    attempt.merge_all()
    assert attempt.of(Finish)


@pytest.mark.parametrize("topology", ["sharded", "broadcast"])
def test_a_contribution_that_broke_off_behind_its_last_byte_is_verified_without_being_sent_again(topology) -> None:
    attempt = Attempt(snap("ab", topology=topology), "a")
    pull = attempt.pull("offer", "b")
    attempt.arrive(pull, pull.stop)
    attempt.merge_all()
    attempt.happens(Failed(pull, "gone"))
    again = [effect for effect in attempt.pass_s(AGAIN_S) if isinstance(effect, Pull)]
    assert again == [pull._replace(start=pull.stop)]
    attempt.happens(Verified(again[0]))
    for shard in [pull for pull in attempt.pulls if pull.what == "shard"]:
        attempt.arrive(shard)
    assert attempt.of(Finish)


def test_a_contribution_that_cannot_be_merged_is_blamed_and_not_kept() -> None:
    attempt = Attempt(snap("abc"), "a")
    attempt.arrive(attempt.pull("offer", "b"))
    assert attempt.happens(Spoilt("b", "NaN")) == [Blame("b", "NaN")]
    assert attempt.machine.kept() == {}


def test_what_an_ended_pull_says_late_changes_nothing() -> None:
    attempt = Attempt(snap("ab"), "a")
    pull = attempt.pull("offer", "b")
    attempt.happens(Failed(pull, "gone"))
    before = attempt.machine.owed()
    assert attempt.happens(Arrived(pull, pull.stop)) == []
    assert attempt.happens(Verified(pull)) == []
    assert attempt.machine.owed() == before == {"b": NBYTES}


# ---- the check finds what it is there for


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("I4", lambda machine: machine._contributors.remove("b")),
        ("weights", lambda machine: machine._weights.update(b=7)),
        ("I6", lambda machine: setattr(machine, "finished", True)),
    ],
)
def test_the_check_finds_a_machine_that_went_wrong(wrong, line) -> None:
    attempt = Attempt(snap("abc"), "a")
    line(attempt.machine)

    def go_on() -> None:
        attempt.arrive(attempt.pull("offer", "c"))
        attempt.merge_all()

    with pytest.raises(AssertionError, match=wrong):
        go_on()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("I5", lambda machine: machine._whole.remove("b")),
        ("I11", lambda machine: machine._working.update({machine.mine[0].start: machine.mine[0].stop})),
    ],
)
def test_the_check_finds_a_merge_that_nobody_could_compute_again(wrong, line) -> None:
    attempt = Attempt(snap("ab"), "a")
    attempt.arrive(attempt.pull("offer", "b"))
    attempt.merge_all()
    attempt.arrive(attempt.pull("shard", "b"))
    assert attempt.machine.finished
    attempt.machine.check()
    line(attempt.machine)
    with pytest.raises(AssertionError, match=wrong):
        attempt.machine.check()
