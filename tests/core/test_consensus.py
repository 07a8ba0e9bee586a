"""The consensus machine in a random world, and alone where a world would hardly ever lead it.

Its traces, step by step, are in ``tests/sim/scripts``.
"""

from __future__ import annotations

import pytest

from swarm.core.consensus import Consensus
from swarm.core.election import ELECTION_MAX_S
from swarm.core.leadership import PIECE_BYTES
from swarm.core.ordering import (
    LEAP_MAX,
    NO_HASH,
    Answer,
    Append,
    Ballot,
    Campaign,
    Commit,
    Configured,
    Effect,
    Entries,
    EpochProven,
    LogEntry,
    Message,
    Promoted,
    Proposed,
    Received,
    Refuse,
    Role,
    Send,
    SnapshotOffered,
    Stored,
    Superseded,
    Ticked,
    first_term,
)
from swarm.core.progress import WINDOW
from tests.core.consensus_world import Disk, World, entry, machine, next_entries
from tests.core.storedlog import Mark

STEPS = 400


@pytest.mark.parametrize("first_seed", range(0, 160, 40))
def test_nothing_acknowledged_is_lost_and_all_agree_whatever_happens(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 40):
        print("seed", seed)
        world = World(seed)
        for number in range(STEPS):
            world.step()
            if number % 50 == 0:
                world.check()
        world.heal()
        assert {node.commit for node in world.nodes.values()} == {len(world.order)}
        assert len({disk.hash_at(disk.last_index) for disk in world.disks.values()}) == 1
        assert world.order[-1].raw == b"at last"


def test_the_same_seed_gives_the_same_world() -> None:
    runs = []
    for _ in range(2):
        world = World(7)
        for _ in range(STEPS):
            world.step()
        runs.append((world.order, world.network, world.now_s))
    assert runs[0] == runs[1]


def test_worlds_have_elections_changes_reads_and_snapshots() -> None:
    """A checker that never sees anything proves nothing."""
    terms = reads = snapshots = changed = 0
    for seed in range(30):
        world = World(seed)
        for _ in range(STEPS):
            world.step()
        terms += len(world.leaders)
        reads += world.readable
        snapshots += sum(disk.floor.index > 0 for disk in world.disks.values())
        changed += sum(each.voters is not None for each in world.order)
    assert terms > 60
    assert reads > 60
    assert snapshots > 10
    assert changed > 60


# ---- nodes alone


VOTERS = ("a", "b", "c")


def disk_of(*raws: str, voters: tuple[str, ...] = VOTERS, term: int = 1, commit: int | None = None) -> Disk:
    disk = Disk()
    for index, raw in enumerate(("genesis", *raws), 1):
        prev = disk.hash_at(disk.last_index)
        disk.entries.append(entry(index, term, prev, raw.encode(), voters if index == 1 else None))
    disk.term, disk.commit = term, disk.last_index if commit is None else commit
    return disk


def sent(effects: list[Effect]) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Send)]


def store(node: Consensus, disk: Disk, effects: list[Effect]) -> list[Effect]:
    appends = [effect for effect in effects if isinstance(effect, Append)]
    for append in appends:
        disk.write(append)
    return node.handle(Stored(appends[-1].number)) if appends else []


def take(node: Consensus, disk: Disk, sender: str, message: Message) -> list[Effect]:
    effects = node.handle(Received(sender, message))
    effects += store(node, disk, effects)
    node.check()
    return effects


def led(disk: Disk, *, learners: tuple[str, ...] = ()) -> Consensus:
    """Node a, leading alone, with the blank entry of its term committed."""
    node = machine("a", disk)
    node.handle(Configured(learners))
    store(node, disk, node.handle(Ticked(0.0)))
    store(node, disk, node.handle(Proposed(next_entries(node, b"blank"))))
    assert node.role == "leader"
    assert node.commit == disk.last_index
    return node


def heartbeat(disk: Disk, term: int, *, prev: int | None = None, last: int | None = None) -> Entries:
    prev = disk.last_index if prev is None else prev
    return Entries(term, 1, prev, disk.hash_at(prev), (), prev if last is None else last, 0, False)


def follow_on(disk: Disk, term: int, *raws: bytes, after: int) -> tuple[LogEntry, ...]:
    made: list[LogEntry] = []
    prev = disk.hash_at(after)
    for index, raw in enumerate(raws, after + 1):
        made.append(entry(index, term, prev, raw))
        prev = made[-1].hash
    return tuple(made)


def test_who_has_the_same_log_must_be_a_voter_to_be_elected() -> None:
    for sender, granted in (("b", True), ("x", False)):
        disk = disk_of("one")
        ballots = sent(take(machine("a", disk), disk, sender, Campaign(2, False, 2, 1)))
        assert [ballot.granted for ballot in ballots if isinstance(ballot, Ballot)] == [granted]


def test_who_has_more_may_know_of_voters_that_others_do_not_know() -> None:
    disk = disk_of("one")
    (ballot,) = sent(take(machine("a", disk), disk, "x", Campaign(2, False, 3, 1)))
    assert ballot == Ballot(2, False, True)
    assert disk.vote == "x"


@pytest.mark.parametrize(
    "campaign",
    [
        Campaign(2, False, 1, 1),  # less than the voter has
        Campaign(1, True, 9, 1),  # not a later term
        Campaign(first_term(1), False, 9, 1),  # of an epoch in which its log has no entry
    ],
)
def test_a_vote_is_refused(campaign: Campaign) -> None:
    disk = disk_of("one")
    node = machine("a", disk)
    node.handle(EpochProven(1))
    (ballot,) = sent(take(node, disk, "b", campaign))
    assert isinstance(ballot, Ballot)
    assert not ballot.granted


def test_one_vote_a_term_also_after_a_crash() -> None:
    disk = disk_of("one")
    take(machine("a", disk), disk, "b", Campaign(2, False, 2, 1))
    again = machine("a", disk)
    assert sent(take(again, disk, "c", Campaign(2, False, 2, 1))) == [Ballot(2, False, False)]
    assert sent(take(again, disk, "b", Campaign(2, False, 2, 1))) == [Ballot(2, False, True)]


def test_a_vote_leaves_when_it_is_stored() -> None:
    disk = disk_of("one")
    node = machine("a", disk)
    effects = node.handle(Received("b", Campaign(2, False, 2, 1)))
    assert sent(effects) == []
    assert sent(store(node, disk, effects)) == [Ballot(2, False, True)]


def test_a_message_of_an_older_term_is_answered_with_the_newer() -> None:
    disk = disk_of("one")
    disk.term = 5
    (answer,) = sent(take(machine("a", disk), disk, "b", heartbeat(disk, 4)))
    assert answer.term == 5


@pytest.mark.parametrize("leap", [LEAP_MAX, LEAP_MAX + 1, 2**31])
def test_a_term_that_no_elections_can_have_led_to_is_as_good_as_lost(leap: int) -> None:
    """Else one node's broken memory would use up an epoch's terms, and nobody could be elected ever again."""
    disk = disk_of("one")
    term = 1 + leap
    for message in (heartbeat(disk, term), Campaign(term, False, 2, 1), SnapshotOffered(term, 1, 2, NO_HASH, 2)):
        node = machine("a", disk)
        take(node, disk, "b", message)
        assert node.term == (term if leap == LEAP_MAX else 1)
        disk.term, disk.vote = 1, ""
    alone = disk_of("one", voters=("a",))
    leader = led(alone, learners=("b",))
    take(leader, alone, "b", Answer(leader.term + leap, 1, True, 2, 2, 0))
    assert (leader.role == "leader") == (leap > LEAP_MAX)


@pytest.mark.parametrize("proven", [0, 1])
def test_an_epoch_whose_recovery_nobody_has_shown_is_not_entered(proven: int) -> None:
    """One admitted node that lies, or a flipped bit, would end every voter, or have nobody elected ever again."""
    for term in (first_term(proven + 1), first_term(7), first_term(proven) + 2 * LEAP_MAX):
        heard = (heartbeat(disk_of("one"), term), Campaign(term, False, 2, 1), Ballot(term, False, False))
        for message in (*heard, SnapshotOffered(term, 1, 10**6, NO_HASH, 10**6), Answer(term, 1, False, 0, 0, 0)):
            for disk, learners in ((disk_of("one"), ("x",)), (disk_of("one", voters=("a",)), ("b", "x"))):
                node = led(disk, learners=learners) if disk.entries[0].voters == ("a",) else machine("a", disk)
                node.handle(EpochProven(proven))
                before = node.term, node.role
                assert [take(node, disk, sender, message) for sender in ("b", "x")] == [[], []]
                assert (node.term, node.role, node.ended) == (*before, False)


def test_who_has_no_entry_yet_is_told_any_term() -> None:
    disk, theirs = Disk(), disk_of("one")
    node = machine("a", disk)
    take(node, disk, "b", heartbeat(theirs, LEAP_MAX + 7, prev=0))
    assert node.term == LEAP_MAX + 7


def test_a_stranger_that_knows_nothing_new_is_not_followed() -> None:
    disk = disk_of("one", term=3)
    assert machine("a", disk).handle(Received("x", heartbeat(disk, 3))) == []


def test_a_new_node_follows_whoever_brings_it_the_ledger() -> None:
    disk, theirs = Disk(), disk_of("one")
    node = machine("d", disk)
    effects = take(node, disk, "b", Entries(1, 1, 0, NO_HASH, tuple(theirs.entries), 2, 2, False))
    assert node.voters == VOTERS
    assert Commit(2) in effects
    assert sent(effects) == [Answer(1, 1, True, 2, 0, 0)]


def test_what_is_not_committed_gives_way_and_the_voters_with_it() -> None:
    disk = disk_of("one", commit=1)
    disk.entries.append(entry(3, 1, disk.hash_at(2), b"voters", ("a", "b")))
    node = machine("a", disk)
    assert node.voters == ("a", "b")
    other = follow_on(disk, 2, b"other", after=1)
    take(node, disk, "b", Entries(2, 1, 1, disk.hash_at(1), other, 2, 2, False))
    assert [each.raw for each in disk.entries] == [b"genesis", b"other"]
    assert node.voters == VOTERS


def test_a_follower_names_the_first_committed_entry_that_its_leader_does_not_have() -> None:
    disk = disk_of("one", "two", "three")
    node = machine("a", disk)
    other = follow_on(disk, 1, b"other", b"x", b"y", after=2)
    effects = take(node, disk, "b", Entries(1, 1, 2, disk.hash_at(2), other, 5, 5, False))
    assert Refuse("b", 3) in effects
    assert [answer.conflict for answer in sent(effects) if isinstance(answer, Answer)] == [3]
    assert [each.raw for each in disk.entries] == [b"genesis", b"one", b"two", b"three"]


def test_it_goes_back_to_where_two_committed_logs_part() -> None:
    disk = disk_of(*(f"e{number}" for number in range(30)))
    node = machine("a", disk)
    theirs = disk_of(*(f"{'e' if number < 9 else 'x'}{number}" for number in range(30)))
    prev, effects = theirs.last_index, []
    for _ in range(8):
        piece = tuple(theirs.entries[prev:])
        effects = take(node, disk, "b", Entries(1, 1, prev, theirs.hash_at(prev), piece, 31, 31, False))
        (answer,) = sent(effects)
        assert isinstance(answer, Answer)
        if answer.conflict:
            break
        prev = answer.last
    assert Refuse("b", 11) in effects


def test_a_leader_with_less_than_was_committed_before_is_not_followed() -> None:
    disk = disk_of("one", "two")
    node = machine("a", disk)
    short = disk_of("one")
    effects = take(node, disk, "b", heartbeat(short, 7))
    assert Refuse("b", 3) in effects
    assert node.term == 1
    assert sent(effects) == [Answer(1, 1, False, 0, 3, 3)]


@pytest.mark.parametrize("answer", [Answer(2, 1, False, 0, 0, 1), Answer(2, 1, True, 9, 9, 0)])
def test_who_decides_alone_goes_on_whatever_another_says_of_its_log(answer: Answer) -> None:
    """Nobody has signed that: an admitted node that lies would end the only voter, at every start."""
    disk = disk_of("one", voters=("a",))
    node = led(disk, learners=("b",))
    assert node.term == 2
    assert take(node, disk, "b", answer) == [Refuse("b", answer.conflict or disk.last_index + 1)]
    assert take(node, disk, "b", answer) == [], "it is said once"
    store(node, disk, node.handle(Proposed(next_entries(node, b"on"))))
    assert (node.role, node.commit) == ("leader", disk.last_index)


def test_a_leader_that_a_majority_follows_is_not_stopped_by_one_that_differs() -> None:
    disk = disk_of("one")
    node = machine("a", disk)
    node.handle(Ticked(0.0))
    effects = node.handle(Ticked(2.0))
    assert sent(effects)[0] == Campaign(2, True, 2, 1)
    effects = node.handle(Received("b", Ballot(2, True, True)))
    store(node, disk, effects)
    node.handle(Received("b", Ballot(2, False, True)))
    assert node.role == "leader"
    effects = node.handle(Received("c", Answer(2, 1, False, 0, 9, 2)))
    assert effects == [Refuse("c", 2)]
    assert node.handle(Received("c", Answer(2, 2, False, 0, 9, 2))) == []
    assert node.role == "leader"
    node.handle(Proposed(next_entries(node, b"on")))
    node.check()


@pytest.mark.parametrize(
    "answer", [Answer(2, 1, False, 0, 0, 1), Answer(3, 1, False, 0, 9, 0), Answer(2, 1, True, 9, 9, 0)]
)
def test_who_leaves_moves_nobody_any_longer(answer: Answer) -> None:
    """It gets entries until it knows that it was removed, and may have been removed for what it says."""
    disk = disk_of("one", voters=("a",))
    node = led(disk, learners=("b",))
    node.handle(Configured(()))
    assert node.leaving == ("b",)
    assert not [effect for effect in take(node, disk, "b", answer) if not isinstance(effect, Send)]
    assert (node.role, node.term, node.refused) == ("leader", 2, False)
    node.handle(Ticked(ELECTION_MAX_S / 2))
    assert node.leaving == ("b",)
    node.handle(Ticked(2 * ELECTION_MAX_S))
    assert node.leaving == ()


def test_who_leaves_and_is_taken_back_before_it_knows_is_a_copy_again() -> None:
    disk = disk_of("one", voters=("a",))
    node = led(disk, learners=("b",))
    node.handle(Configured(()))
    node.handle(Configured(("b",)))
    assert node.leaving == ()
    for stamp in (1, 2, 3):
        take(node, disk, "b", Answer(2, stamp, True, disk.last_index, disk.last_index, 0))
    assert node.in_step == ("b",)


def test_what_an_only_voter_stored_it_may_have_acknowledged() -> None:
    """Also when it crashed before it could note that."""
    disk = disk_of("alone", voters=("a",), commit=1)
    node = machine("a", disk)
    term = first_term(1)
    recovery = entry(2, term, disk.hash_at(1), b"recovery", ("b",))
    node.handle(EpochProven(1))
    effects = take(node, disk, "b", Entries(term, 1, 1, disk.hash_at(1), (recovery,), 2, 2, True))
    assert Superseded("b", 1, 1) in effects
    assert disk.entries[-1].raw == b"alone"
    assert node.handle(Ticked(100.0)) == []


def test_what_an_only_voter_sent_is_kept_although_it_had_not_acknowledged_it() -> None:
    disk = disk_of("one", voters=("s",))
    node = machine("a", disk)
    more = follow_on(disk, 2, b"two", after=2)
    effects = take(node, disk, "s", Entries(2, 1, 2, disk.hash_at(2), more, 3, 2, False))
    assert Commit(3) not in effects
    assert Refuse("s", 3) in take(node, disk, "s", heartbeat(disk, 3, prev=2))


def test_an_older_epoch_is_over_for_a_voter_that_hears_of_a_later_one() -> None:
    """It neither goes on in its own nor takes the later one from whom was promoted."""
    disk = disk_of("one", voters=("a",))
    node = led(disk, learners=("b",))
    node.handle(EpochProven(1))
    effects = take(node, disk, "b", Answer(first_term(1), 1, False, 0, 2, 0))
    assert Role("follower", first_term(1), "") in effects
    assert [effect for effect in node.handle(Ticked(9.0)) if isinstance(effect, Append | Send)] == []


def test_two_nodes_promoted_into_one_epoch_find_out() -> None:
    disks = {uid: disk_of("one", voters=("s",)) for uid in ("a", "b")}
    nodes = {uid: machine(uid, disk) for uid, disk in disks.items()}
    for uid, node in nodes.items():
        node.handle(Configured(tuple("ab".replace(uid, ""))))
        recovery = entry(3, first_term(1), disks[uid].hash_at(2), b"by " + uid.encode(), (uid,))
        store(node, disks[uid], node.handle(Promoted(recovery)))
        assert node.role == "leader"
    effects = take(nodes["a"], disks["a"], "b", heartbeat(disks["b"], first_term(1)))
    assert effects == [Refuse("b", 3)]


def test_a_promotion_that_a_crash_cut_short_is_none() -> None:
    disk = disk_of("one", voters=("s",))
    node = machine("b", disk)
    recovery = entry(3, first_term(1), disk.hash_at(2), b"recovery", ("b",))
    node.handle(Promoted(recovery))
    again = machine("b", disk)
    assert again.term == 1
    assert again.voters == ("s",)


def test_a_voter_whose_decisions_can_no_longer_be_compared_is_superseded() -> None:
    disk = disk_of("one", voters=("a",))
    node = machine("a", disk)
    node.handle(EpochProven(1))
    effects = take(node, disk, "b", SnapshotOffered(first_term(1), 1, 5000, bytes(32), 6000))
    assert Superseded("b", 0, 1) in effects


def test_pieces_are_bounded_and_so_is_what_is_unanswered() -> None:
    disk = disk_of("one", voters=("a",))
    node = led(disk, learners=("b",))
    big = next_entries(node, *(bytes(100_000) for _ in range(60)))
    effects = store(node, disk, node.handle(Proposed(big)))
    stamp = max(message.stamp for message in sent(node.handle(Ticked(1.0))) if isinstance(message, Entries))
    effects = node.handle(Received("b", Answer(node.term, stamp, False, 0, 0, 0)))
    pieces = [message for message in sent(effects) if isinstance(message, Entries)]
    assert len(pieces) == WINDOW
    assert all(sum(len(each.raw) for each in piece.entries[1:]) <= PIECE_BYTES for piece in pieces)
    assert [piece.prev_index for piece in pieces] == [0, *(piece.entries[-1].index for piece in pieces[:-1])]
    node.check()


def test_a_piece_is_read_from_the_disk_or_from_memory_alike() -> None:
    disk = disk_of(*(f"e{number}" for number in range(50)), voters=("a",))
    fresh = led(disk, learners=("b",))
    fresh.handle(Received("b", Answer(fresh.term, 1, False, 0, 0, 0)))
    fresh.check()
    assert [fresh.entry(index) for index in range(1, disk.last_index + 1)] == disk.entries
    assert fresh.hash_at(0) == NO_HASH


def test_an_older_answer_that_comes_late_changes_nothing() -> None:
    world = World(0, count=2, quiet=True)
    world.heal()
    node = world.nodes["a"]
    before = node.in_step
    assert before == ("b",)
    assert node.handle(Received("b", Answer(node.term, 1, False, 0, 0, 0))) == []
    assert node.in_step == before


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_a_sentinel_from_an_old_backup_is_refused_and_nothing_is_given_up_for_it(restarts: int) -> None:
    """However its new term compares with the peer's: fewer restarts than the lost ledger, as many, or more."""
    world = World(0, count=2, quiet=True)
    for _ in range(3):
        world.heal()
        world.crash("a")
        world.start("a")
    world.heal()
    world.crash("a")
    world.network.clear()
    backup = world.disks["a"].copy()
    backup.entries = [each for each in backup.entries if each.term < 3]
    backup.term, backup.commit = 2 + restarts, len(backup.entries)
    lost = backup.last_index + 1
    world.disks["a"] = backup
    before = list(world.disks["b"].entries)
    world.leaders.clear()
    world.order = list(backup.entries)
    world.start("a")
    for _ in range(40):
        world.tick(0.1)
        for _ in range(5):
            world.store("a")
            world.store("b")
            if world.network:
                world.deliver()
    (refusal,) = [refusal for uid, refusal in world.refusals if uid == "a"]
    assert isinstance(refusal, Refuse)
    assert lost <= refusal.index <= lost + 1  # its new blank entry may be the very one that was lost
    assert world.disks["b"].entries == before
    assert not world.nodes["a"].in_step


def test_a_snapshot_takes_the_place_of_the_log() -> None:
    world = World(3, count=2, quiet=True)
    world.heal()
    world.crash("b")
    for number in range(30):
        world.propose("a", b"%d" % number)
        world.store("a", all_of_it=True)
    world.tick(1.5)
    world.disks["a"].compact(world.nodes["a"].commit, 3)
    world.start("b")
    world.heal()
    assert isinstance(world.disks["b"].floor, Mark)
    assert world.disks["b"].floor.index == world.disks["a"].snapshot.index
    assert world.disks["b"].entries == world.disks["a"].entries[3:]


@pytest.mark.parametrize(("commit", "stands"), [(1, True), (2, True), (3, False)])
def test_who_is_no_voter_by_its_last_entry_stands_unless_that_is_committed_for_sure(commit: int, stands: bool) -> None:
    """It knew when it stored the entry that the voters before were decided, though it may not have noted so since."""
    disk = disk_of("two", "one", voters=("a",), commit=commit)
    for place, voters in ((1, ("a", "b")), (2, ("a",))):
        disk.entries[place] = entry(place + 1, 1, disk.hash_at(place), b"voters", voters)
    node = machine("b", disk)
    effects = [effect for second in range(4) for effect in node.handle(Ticked(float(second)))]
    assert {effect.to for effect in effects if isinstance(effect, Send)} == ({"a"} if stands else set())
