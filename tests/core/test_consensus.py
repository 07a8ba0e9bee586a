"""The consensus machine: traces of single steps, then a small world that loses, doubles, reorders and crashes."""

from __future__ import annotations

import hashlib
import random

import pytest

from swarm.core import consensus
from swarm.core.consensus import Consensus
from swarm.core.ordering import (
    NO_HASH,
    Answer,
    Append,
    Commit,
    Configuration,
    Configured,
    Copies,
    Effect,
    Entries,
    Event,
    LogEntry,
    Message,
    Proposed,
    Received,
    Refuse,
    Role,
    Send,
    Stored,
    Ticked,
)

ALONE = Configuration(("s",), ())
PAIR = Configuration(("s",), ("p",))


def entry(index: int, term: int, prev: bytes, raw: bytes) -> LogEntry:
    return LogEntry(index, term, hashlib.sha256(b"%d %d " % (index, term) + prev + raw).digest(), raw)


class Disk:
    """What survives a crash."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.term = 0
        self.vote = ""
        self.commit = 0

    @property
    def last_index(self) -> int:
        return len(self.entries)

    def entry(self, index: int) -> LogEntry:
        return self.entries[index - 1]

    def read(self, after: int, upto: int, max_bytes: int) -> tuple[LogEntry, ...]:
        taken: list[LogEntry] = []
        for candidate in self.entries[after:upto]:
            if taken and sum(len(e.raw) for e in taken) + len(candidate.raw) > max_bytes:
                break
            taken.append(candidate)
        return tuple(taken)

    def write(self, append: Append) -> None:
        assert [e.index for e in append.entries] == list(
            range(self.last_index + 1, self.last_index + 1 + len(append.entries))
        )
        self.term, self.vote = append.term, append.vote
        self.entries.extend(append.entries)

    def copy(self) -> Disk:
        other = Disk()
        other.entries, other.term, other.vote, other.commit = list(self.entries), self.term, self.vote, self.commit
        return other


def machine(uid: str, disk: Disk, configuration: Configuration) -> Consensus:
    return Consensus(
        uid, disk, term=disk.term, vote=disk.vote, commit=min(disk.commit, disk.last_index), configuration=configuration
    )


def next_entries(node: Consensus, *raws: bytes) -> tuple[LogEntry, ...]:
    made: list[LogEntry] = []
    prev = node.hash_at(node.last_index)
    for index, raw in enumerate(raws, node.last_index + 1):
        made.append(entry(index, node.term, prev, raw))
        prev = made[-1].hash
    return tuple(made)


# ---- traces


class Bench:
    """Nodes in one hand: each step names an event of one node and gives back its effects as text."""

    def __init__(self, configuration: Configuration, *uids: str) -> None:
        self.configuration = configuration
        self.disks = {uid: Disk() for uid in uids}
        self.nodes = {uid: machine(uid, self.disks[uid], configuration) for uid in uids}
        self.appends: dict[str, list[Append]] = {uid: [] for uid in uids}
        self.sent: list[tuple[str, str, Message]] = []
        self.now_s = 0.0

    def step(self, line: str) -> list[str]:
        uid, verb, *words = line.split()
        node = self.nodes[uid]
        if verb == "propose":
            return self._do(uid, Proposed(next_entries(node, *(word.encode() for word in words))))
        if verb == "tick":
            self.now_s = float(words[0])
            return self._do(uid, Ticked(self.now_s))
        if verb == "store":  # everything that is under way
            batch, self.appends[uid] = self.appends[uid], []
            for append in batch:
                self.disks[uid].write(append)
            return self._do(uid, Stored(batch[-1].number))
        if verb == "take":  # the oldest message to this node
            place = next(i for i, (_, to, _) in enumerate(self.sent) if to == uid)
            sender, _, message = self.sent.pop(place)
            return self._do(uid, Received(sender, message))
        if verb == "lose":
            self.sent = [item for item in self.sent if item[1] != uid]
            return []
        if verb == "wipe":
            self.appends[uid], self.disks[uid] = [], Disk()
            self.nodes[uid] = machine(uid, self.disks[uid], Configuration())
            return []
        if verb == "configure":
            learners = tuple(words)
            return self._do(uid, Configured(Configuration(("s",), learners)))
        assert verb == "restart"
        self.appends[uid] = []
        self.nodes[uid] = machine(uid, self.disks[uid], self.configuration)
        return []

    def _do(self, uid: str, event: Event) -> list[str]:
        effects = self.nodes[uid].handle(event)
        self.nodes[uid].check()
        for effect in effects:
            if isinstance(effect, Append):
                self.appends[uid].append(effect)
            elif isinstance(effect, Send):
                self.sent.append((uid, effect.to, effect.message))
        return [told(effect) for effect in effects]


def told(effect: Effect) -> str:
    if isinstance(effect, Append):
        words = " ".join(e.raw.decode() for e in effect.entries)
        return f"append term={effect.term} vote={effect.vote or '-'} [{words}]"
    if isinstance(effect, Commit):
        return f"commit {effect.upto}"
    if isinstance(effect, Role):
        return f"role {effect.name} term={effect.term} leader={effect.leader}"
    if isinstance(effect, Copies):
        return f"in step: {' '.join(effect.in_step) or 'nobody'}"
    if isinstance(effect, Refuse):
        return f"refuse {effect.peer} from {effect.index}"
    message = effect.message
    if isinstance(message, Entries):
        words = " ".join(e.raw.decode() for e in message.entries)
        return f"to {effect.to}: after {message.prev_index} [{words}] commit {message.commit}"
    if message.conflict:
        return f"to {effect.to}: conflict at {message.conflict}"
    return f"to {effect.to}: have {message.match}" if message.found else f"to {effect.to}: gap behind {message.last}"


ONE_VOTER = """
s tick 0
  append term=1 vote=s []
s tick 0.1
s store
  role leader term=1 leader=s
s propose a b
  append term=1 vote=s [a b]
s propose c
  append term=1 vote=s [c]
s store
  commit 3
s restart
s tick 0.2
  append term=2 vote=s []
s store
  role leader term=2 leader=s
s propose d
  append term=2 vote=s [d]
s store
  commit 4
"""

NEVER_SENT_BEFORE_STORED = """
s tick 0
  append term=1 vote=s []
s store
  role leader term=1 leader=s
  to p: after 0 [] commit 0
p take
  append term=1 vote=- []
  role learner term=1 leader=s
p store
  to s: have 0
s take
  in step: p
s propose a
  append term=1 vote=s [a]
s store
  to p: after 0 [a] commit 0
s propose b c
  append term=1 vote=s [b c]
s store
p take
  append term=1 vote=- [a]
p store
  to s: have 1
s take
  commit 1
  to p: after 1 [b c] commit 1
p take
  append term=1 vote=- [b c]
p store
  commit 1
  to s: have 3
s take
  commit 3
  to p: after 3 [] commit 3
p take
  commit 3
  to s: have 3
s take
"""

PEER_DIES = """
s tick 0
  append term=1 vote=s []
s store
  role leader term=1 leader=s
  to p: after 0 [] commit 0
p take
  append term=1 vote=- []
  role learner term=1 leader=s
p store
  to s: have 0
s take
  in step: p
s propose a
  append term=1 vote=s [a]
s store
  to p: after 0 [a] commit 0
s tick 0.4
s tick 0.5
  to p: after 0 [] commit 0
s tick 1.0
  to p: after 0 [] commit 0
s tick 1.1
  in step: nobody
  commit 1
s propose b
  append term=1 vote=s [b]
s store
  commit 2
s tick 1.5
  to p: after 0 [] commit 2
p lose
p restart
s tick 2.0
  to p: after 0 [] commit 2
p take
  role learner term=1 leader=s
  to s: have 0
s take
  to p: after 0 [a b] commit 2
p take
  append term=1 vote=- [a b]
p store
  commit 2
  to s: have 2
s take
  in step: p
"""

EMPTY_PEER_JOINS_LATE = """
s tick 0
  append term=1 vote=s []
s store
  role leader term=1 leader=s
s propose a b
  append term=1 vote=s [a b]
s store
  commit 2
s configure p
  to p: after 2 [] commit 2
p take
  append term=1 vote=- []
  role learner term=1 leader=s
p store
  to s: gap behind 0
s take
  to p: after 0 [a b] commit 2
p take
  append term=1 vote=- [a b]
p store
  commit 2
  to s: have 2
s take
  in step: p
s configure
  in step: nobody
"""


PEER_LOSES_ITS_LOG = """
s tick 0
  append term=1 vote=s []
s store
  role leader term=1 leader=s
  to p: after 0 [] commit 0
p take
  append term=1 vote=- []
  role learner term=1 leader=s
p store
  to s: have 0
s take
  in step: p
s propose a
  append term=1 vote=s [a]
s store
  to p: after 0 [a] commit 0
p take
  append term=1 vote=- [a]
p store
  to s: have 1
s take
  commit 1
  to p: after 1 [] commit 1
p wipe
p take
  append term=1 vote=- []
  role learner term=1 leader=s
p store
  to s: gap behind 0
s take
  in step: nobody
  to p: after 0 [a] commit 1
p take
  append term=1 vote=- [a]
p store
  commit 1
  to s: have 1
s take
  in step: p
"""

TRACES = {
    "one voter": (ONE_VOTER, ALONE),
    "never sent before stored": (NEVER_SENT_BEFORE_STORED, PAIR),
    "peer dies and returns": (PEER_DIES, PAIR),
    "empty peer joins late": (EMPTY_PEER_JOINS_LATE, ALONE),
    "peer loses its log": (PEER_LOSES_ITS_LOG, PAIR),
}


@pytest.mark.parametrize(("script", "configuration"), TRACES.values(), ids=TRACES.keys())
def test_trace(script: str, configuration: Configuration) -> None:
    bench = Bench(configuration, "s", "p")
    seen: list[str] = []
    for line in script.strip().splitlines():
        if not line.startswith(" "):
            seen.append(line)
            seen.extend(f"  {effect}" for effect in bench.step(line))
    assert seen == script.strip().splitlines()


# ---- a world


class World:
    """A sentinel, a peer and a bad network, all drawn from one seed; every promise is checked at each step."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loss = self.random.choice([0.0, 0.05, 0.3])
        self.doubling = self.random.choice([0.0, 0.1, 0.3])
        self.now_s = 0.0
        self.disks = {uid: Disk() for uid in ("s", "p")}
        self.nodes: dict[str, Consensus] = {}
        self.appends: dict[str, list[Append]] = {"s": [], "p": []}
        self.network: list[tuple[str, str, Message]] = []
        self.order: dict[int, bytes] = {}  # what anybody saw committed
        self.refusals: list[tuple[str, Refuse]] = []
        self.proposed = 0
        for uid in self.disks:
            self.start(uid)

    def start(self, uid: str) -> None:
        self.nodes[uid] = machine(uid, self.disks[uid], PAIR)

    def crash(self, uid: str) -> None:
        """Some of the writes under way make it to the disk, in their order."""
        for append in self.appends[uid][: self.random.randint(0, len(self.appends[uid]))]:
            self.disks[uid].write(append)
        self.appends[uid] = []
        self.nodes.pop(uid)

    def do(self, uid: str, event: Event) -> None:
        node = self.nodes[uid]
        for effect in node.handle(event):
            if isinstance(effect, Append):
                self.appends[uid].append(effect)
            elif isinstance(effect, Send):
                self.check_stored(uid, effect.message)
                self.network.append((uid, effect.to, effect.message))
            elif isinstance(effect, Commit):
                self.note_commit(uid, effect.upto)
            elif isinstance(effect, Refuse):
                self.refusals.append((uid, effect))
        node.check()

    def check_stored(self, uid: str, message: Message) -> None:
        disk = self.disks[uid]
        assert message.term <= disk.term
        if isinstance(message, Entries):
            assert all(disk.entry(e.index) == e for e in message.entries)
            assert sum(len(e.raw) for e in message.entries[1:]) <= consensus.PIECE_BYTES
        else:
            assert max(message.match, message.last) <= disk.last_index

    def note_commit(self, uid: str, upto: int) -> None:
        for index in range(1, upto + 1):
            assert self.order.setdefault(index, self.disks[uid].entry(index).hash) == self.disks[uid].entry(index).hash
        if uid == "s" and not self.nodes["s"].one_copy:
            assert self.disks["p"].last_index >= upto, "acknowledged as two copies, stored once"
        self.disks[uid].commit = upto

    def step(self) -> None:
        choice = self.random.random()
        uid = self.random.choice(("s", "p"))
        if choice < 0.02:
            if uid in self.nodes:
                self.crash(uid)
        elif choice < 0.08:
            if uid not in self.nodes:
                self.start(uid)
        elif choice < 0.2:
            self.now_s += self.random.choice([0.05, 0.1, 0.1, 0.6])
            for each in list(self.nodes):
                self.do(each, Ticked(self.now_s))
        elif choice < 0.35:
            self.propose()
        elif choice < 0.6:
            self.store(uid)
        else:
            self.deliver()
        self.check()

    def propose(self) -> None:
        node = self.nodes.get("s")
        if node is not None and node.role == "leader":
            raws = [b"%d" % (self.proposed + i) for i in range(self.random.randint(1, 3))]
            self.proposed += len(raws)
            self.do("s", Proposed(next_entries(node, *raws)))

    def store(self, uid: str) -> None:
        if uid in self.nodes and self.appends[uid]:
            count = self.random.randint(1, len(self.appends[uid]))
            batch, self.appends[uid] = self.appends[uid][:count], self.appends[uid][count:]
            for append in batch:
                self.disks[uid].write(append)
            self.do(uid, Stored(batch[-1].number))

    def deliver(self) -> None:
        if not self.network:
            return
        place = self.random.randrange(len(self.network)) if self.random.random() < 0.5 else 0
        sender, to, message = self.network[place]
        if self.random.random() >= self.doubling:
            self.network.pop(place)
        if self.random.random() >= self.loss and to in self.nodes:
            self.do(to, Received(sender, message))

    def check(self) -> None:
        sentinel, peer = self.disks["s"].entries, self.disks["p"].entries
        assert [e.hash for e in peer] == [e.hash for e in sentinel[: len(peer)]], "the peer is ahead or apart"
        assert len(sentinel) >= len(self.order), "an acknowledged entry is gone"
        assert all(sentinel[index - 1].hash == found for index, found in self.order.items())
        assert not self.refusals

    def heal(self) -> None:
        self.loss = self.doubling = 0.0
        for uid in self.disks:
            if uid not in self.nodes:
                self.start(uid)
        for _ in range(100):
            self.now_s += 0.1
            for uid in ("s", "p"):
                self.do(uid, Ticked(self.now_s))
            self.settle()
        assert self.nodes["s"].role == "leader"
        self.propose()
        self.settle()

    def settle(self) -> None:
        while self.network or any(self.appends.values()):
            self.store("s")
            self.store("p")
            self.deliver()
        self.check()


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_nothing_acknowledged_is_lost_and_both_agree_whatever_happens(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + 50):
        print("seed", seed)
        world = World(seed)
        for _ in range(600):
            world.step()
        world.heal()
        assert world.proposed
        assert not world.nodes["s"].one_copy
        assert not world.nodes["p"].one_copy
        assert world.disks["s"].entries == world.disks["p"].entries
        assert world.nodes["s"].commit == world.nodes["p"].commit == len(world.order)


def test_the_same_seed_gives_the_same_world() -> None:
    runs = []
    for _ in range(2):
        world = World(7)
        for _ in range(500):
            world.step()
        runs.append((world.order, world.network, world.now_s))
    assert runs[0] == runs[1]


def healthy(raws: int = 10) -> World:
    """Both stored the same entries."""
    world = World(0)
    world.heal()
    node = world.nodes["s"]
    for number in range(raws - node.last_index):
        world.do("s", Proposed(next_entries(node, b"early %d" % number)))
        world.settle()
    assert world.disks["p"].last_index == raws
    return world


def test_an_empty_peer_catches_up_in_pieces() -> None:
    world = healthy()
    for number in range(30):
        world.do("s", Proposed(next_entries(world.nodes["s"], b"%d" % number + bytes(50_000))))
        world.settle()
    world.crash("p")
    world.disks["p"] = Disk()
    world.start("p")
    world.heal()
    assert world.disks["p"].entries == world.disks["s"].entries
    assert not world.nodes["s"].one_copy


def test_a_peer_that_lost_its_log_holds_nobody_up() -> None:
    world = healthy()
    world.crash("p")
    world.disks["p"] = Disk()
    world.start("p")
    node = world.nodes["s"]
    world.do("s", Proposed(next_entries(node, b"x")))
    world.store("s")
    while node.commit < 11:
        assert world.network
        world.deliver()
        world.store("p")  # no clock ticks: nothing is waited for


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_a_sentinel_from_an_old_backup_is_refused_and_stops(restarts: int) -> None:
    """However its new term compares with the peer's: fewer restarts than the lost ledger, as many, or more."""
    world = healthy()
    backup = world.disks["s"].copy()
    world.crash("s")
    world.start("s")
    world.heal()
    world.crash("s")
    world.network.clear()
    backup.entries = backup.entries[:6]
    backup.term += restarts - 1
    world.disks["s"] = backup
    before = list(world.disks["p"].entries)
    world.start("s")
    for _ in range(40):
        world.now_s += 0.1
        for uid in ("s", "p"):
            world.do(uid, Ticked(world.now_s))
        node = world.nodes["s"]
        if node.role == "leader" and not node.refused:
            world.do("s", Proposed(next_entries(node, b"other")))
        for _ in range(5):
            world.store("s")
            world.store("p")
            world.deliver()
    assert ("s", Refuse("p", 7)) in world.refusals
    assert world.disks["p"].entries == before
    count = world.disks["s"].last_index
    world.do("s", Ticked(world.now_s + 10))
    assert world.disks["s"].last_index == count
    assert world.nodes["s"].commit <= count


def test_a_peer_names_the_first_entry_that_differs() -> None:
    disk = Disk()
    disk.term = 1
    for raw in (b"a", b"b", b"c"):
        disk.entries.append(entry(disk.last_index + 1, 1, disk.entries[-1].hash if disk.entries else NO_HASH, raw))
    peer = machine("p", disk, PAIR)
    a = disk.entries[0]
    other = entry(2, 1, a.hash, b"other")
    effects = peer.handle(Received("s", Entries(1, 1, 1, a.hash, (other,), 2, 1, True)))
    assert Refuse("s", 2) in effects
    answers = [e.message for e in effects if isinstance(e, Send)]
    assert answers == [Answer(1, 1, False, 0, 3, 2)]
    assert not any(isinstance(e, Append | Commit) for e in effects)


def test_nobody_but_the_sentinel_is_followed() -> None:
    peer = machine("p", Disk(), PAIR)
    assert peer.handle(Received("x", Entries(9, 1, 0, NO_HASH, (), 0, 0, True))) == []


def test_a_message_of_an_older_term_is_answered_with_the_newer() -> None:
    disk = Disk()
    disk.term = 5
    peer = machine("p", disk, PAIR)
    (answer,) = peer.handle(Received("s", Entries(4, 1, 0, NO_HASH, (), 0, 0, True)))
    assert isinstance(answer, Send)
    assert answer.message.term == 5


def test_an_older_answer_that_comes_late_changes_nothing() -> None:
    world = healthy()
    node = world.nodes["s"]
    late = Answer(node.term, 1, False, 0, 0, 0)
    before = node.in_step
    assert before == ("p",)
    assert node.handle(Received("p", late)) == []
    assert node.in_step == before
