"""A small world for consensus machines: disks, a bad network, and every promise of the order checked at each step.

Drawn from one seed. Nodes crash (what was not synced is lost), links are cut one way or both, messages are lost,
doubled and reordered, logs are compacted, voters come and go, disks fill up; then all heals, and it must go on.
"""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise

from swarm.core import leadership
from swarm.core.consensus import Consensus
from swarm.core.ordering import (
    NO_HASH,
    Answer,
    Append,
    Ballot,
    Campaign,
    Commit,
    Configured,
    Entries,
    Event,
    FetchSnapshot,
    Fit,
    LogEntry,
    Message,
    Proposed,
    Readable,
    ReadAsked,
    Received,
    Refuse,
    Role,
    Send,
    SnapshotFailed,
    SnapshotInstalled,
    Stored,
    Superseded,
    Ticked,
)
from tests.core.storedlog import Mark, StoredLog


def entry(index: int, term: int, prev: bytes, raw: bytes, voters: tuple[str, ...] | None = None) -> LogEntry:
    named = " ".join(voters or ()).encode()
    return LogEntry(index, term, hashlib.sha256(b"%d %d %s " % (index, term, named) + prev + raw).digest(), raw, voters)


class Disk(StoredLog):
    """What survives a crash; also the machine's log."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshot = Mark()

    @property
    def snapshot_index(self) -> int:
        return self.snapshot.index

    def write(self, append: Append) -> None:
        assert append.term >= self.term, "terms do not go back"
        assert append.term > self.term or self.vote in ("", append.vote), "one vote in a term"
        assert all(each.index == append.after + place for place, each in enumerate(append.entries, 1))
        super().write(append)

    def compact(self, upto: int, keep: int) -> None:
        """Take a snapshot of what is committed ``upto`` there; entries before it go, except the last few."""
        self.snapshot = self.mark(upto)
        self.raise_floor(upto - keep)

    def install(self, mark: Mark) -> None:
        self.snapshot = mark
        self.replace(mark)

    def copy(self) -> Disk:
        other = Disk()
        other.__dict__.update(self.__dict__)
        other.entries = list(self.entries)
        return other


def machine(uid: str, disk: Disk, *, founder: bool = False) -> Consensus:
    return Consensus(uid, disk, term=disk.term, vote=disk.vote, commit=disk.commit, founder=founder)


def next_entries(node: Consensus, *raws: bytes, voters: tuple[str, ...] | None = None) -> tuple[LogEntry, ...]:
    made: list[LogEntry] = []
    prev = node.hash_at(node.last_index)
    for index, raw in enumerate(raws, node.last_index + 1):
        made.append(entry(index, node.term, prev, raw, voters))
        prev = made[-1].hash
    return tuple(made)


class World:
    """Up to five nodes; the first founds the ledger, the others join as learners, and all come and go as voters."""

    def __init__(self, seed: int, count: int = 0, *, quiet: bool = False) -> None:
        self.random = random.Random(seed)
        self.quiet = quiet
        draw = self.random.choice
        self.uids = "abcde"[: count or draw([1, 2, 2, 3, 3, 3, 4, 4, 5])]
        self.loss = 0.0 if quiet else draw([0.0, 0.05, 0.3])
        self.doubling = 0.0 if quiet else draw([0.0, 0.1, 0.3])
        self.crashes = 0.0 if quiet else draw([0.0, 0.01, 0.02])
        self.cuts = 0.0 if quiet else draw([0.0, 0.02, 0.04])
        self.changes = draw([0.0, 0.02, 0.06])
        self.now_s = 0.0
        self.disks = {uid: Disk() for uid in self.uids}
        self.preset(0 if count or not self.random.randrange(6) else self.random.randint(1, len(self.uids)))
        self.nodes: dict[str, Consensus] = {}
        self.appends: dict[str, list[Append]] = {uid: [] for uid in self.uids}
        self.fetches: dict[str, FetchSnapshot] = {}
        self.network: list[tuple[str, str, Message]] = []
        self.cut: set[tuple[str, str]] = set()
        self.frozen: set[str] = set()
        self.order = list(self.disks["a"].entries)  # what anybody saw committed
        self.leaders: dict[int, str] = {}
        self.reads: dict[int, int] = {}  # what was committed anywhere when it was asked
        self.asked = 0
        self.readable = 0
        self.refusals: list[tuple[str, Refuse | Superseded]] = []
        self.proposed = 0
        for uid in self.uids:
            self.start(uid)

    # ---- nodes and disks

    def preset(self, voters: int) -> None:
        """So many voters already, with all that is committed on every disk; none: the ledger is yet to be founded."""
        prev = NO_HASH
        for index in range(1, voters + 1):
            each = entry(index, 1, prev, b"voters", tuple(self.uids[:index]))
            prev = each.hash
            for disk in self.disks.values():
                disk.entries.append(each)
                disk.term, disk.commit = 1, index

    def start(self, uid: str) -> None:
        self.nodes[uid] = machine(uid, self.disks[uid], founder=uid == "a")
        self.configure(uid)

    def crash(self, uid: str) -> None:
        """Some of the writes under way make it to the disk, in their order. What is committed it may not know."""
        for append in self.appends[uid][: self.random.randint(0, len(self.appends[uid]))]:
            self.disks[uid].write(append)
        disk = self.disks[uid]
        disk.commit = self.random.randint(max(disk.floor.index, disk.snapshot.index), disk.commit)
        self.appends[uid] = []
        self.fetches.pop(uid, None)
        self.nodes.pop(uid)

    def configure(self, uid: str) -> None:
        """Every node is admitted: who does not vote learns."""
        node = self.nodes[uid]
        learners = tuple(other for other in self.uids if other not in node.voters)
        if learners != node.learners:
            self.do(uid, Configured(learners))

    def do(self, uid: str, event: Event) -> None:
        node = self.nodes[uid]
        effects = node.handle(event)
        for effect in effects:
            match effect:
                case Append():
                    self.appends[uid].append(effect)
                case Send():
                    self.check_sent(uid, effect.to, effect.message)
                    if (uid, effect.to) not in self.cut:
                        self.network.append((uid, effect.to, effect.message))
                case Commit():
                    self.note_commit(uid, effect.upto)
                case Role(name="leader"):
                    self.check_leader(uid, effect.term)
                case Readable():
                    assert effect.index >= self.reads.pop(effect.number), "a stale read"
                    self.readable += 1
                case FetchSnapshot():
                    self.fetches[uid] = effect
                case Refuse() | Superseded():
                    self.refusals.append((uid, effect))
        node.check()
        if any(isinstance(effect, Role) and effect.name == "leader" for effect in effects):
            self.propose(uid, b"")
            if self.random.random() < 0.3:
                self.read(uid)
        self.configure(uid)

    # ---- promises

    def check_sent(self, uid: str, to: str, message: Message) -> None:
        """Nothing leaves before it is stored, but for the entries of a leader that does not decide alone."""
        disk, node = self.disks[uid], self.nodes[uid]
        log = disk if node.voters == (uid,) else node._journal
        assert message.term <= disk.term or (isinstance(message, Campaign | Ballot) and message.pre)
        match message:
            case Entries():
                assert all(log.entry(e.index) == e for e in message.entries)
                assert sum(len(e.raw) for e in message.entries[1:]) <= leadership.PIECE_BYTES
                assert message.commit <= min(message.last, disk.last_index)
                assert message.last <= max(log.last_index, message.prev_index)
            case Answer():
                assert max(message.match, message.last) <= disk.last_index
            case Campaign(pre=False):
                assert disk.vote == uid
            case Ballot(pre=False, granted=True):
                assert disk.term > message.term or disk.vote == to

    def check_leader(self, uid: str, term: int) -> None:
        assert self.leaders.setdefault(term, uid) == uid, f"two leaders in term {term}"
        self.check_has(uid, len(self.order))

    def check_has(self, uid: str, upto: int) -> None:
        """This node has all of the order up to there."""
        disk = self.disks[uid]
        assert disk.last_index >= upto, f"{uid} lacks what is committed"
        if upto:
            found = disk.snapshot if upto < disk.floor.index else disk.mark(upto)
            assert self.order[found.index - 1].hash == found.hash, f"{uid} differs from what is committed"

    def note_commit(self, uid: str, upto: int) -> None:
        disk, node = self.disks[uid], self.nodes[uid]
        if upto > len(self.order):
            holders = [other for other in node.voters if self.holds(other, disk.entry(upto))]
            assert len(holders) > len(node.voters) // 2, f"{uid} commits {upto} without a majority"
            self.order.extend(disk.entry(index) for index in range(len(self.order) + 1, upto + 1))
        if node.role == "leader":
            assert disk.term_at(upto) == node.term, "commits by count what an earlier leader left behind"
        if node.in_step:
            assert all(self.holds(other, disk.entry(upto)) for other in node.in_step), "said to be in step"
        disk.commit = upto
        self.check_has(uid, upto)

    def holds(self, uid: str, each: LogEntry) -> bool:
        disk = self.disks[uid]
        return disk.last_index >= each.index and (
            disk.floor.index >= each.index or disk.entry(each.index).hash == each.hash
        )

    def check(self) -> None:
        """Equal terms at an index mean equal logs up to there; the voters change one at a time."""
        assert not self.refusals
        seen: dict[tuple[int, int], bytes] = {}
        for uid, disk in self.disks.items():
            for each in disk.entries:
                assert seen.setdefault((each.index, each.term), each.hash) == each.hash, "logs do not match"
            changes = [each for each in disk.entries if each.voters is not None]
            voters = [set(disk.floor.voters), *(set(each.voters) for each in changes)]
            assert all(len(a ^ b) <= 1 for a, b in pairwise(voters)), "two voters at once"
            assert all(each.index <= len(self.order) for each in changes[:-1]), f"{uid}: two changes under way"
        for uid in self.uids:
            self.check_has(uid, self.disks[uid].commit)

    # ---- what happens

    def step(self) -> None:
        uid, chance = self.random.choice(self.uids), self.random.random()
        if chance < self.crashes:
            uid = self.random.choice([uid, *self.leading()])
            if uid in self.nodes:
                self.crash(uid)
        elif chance < 0.05:
            if uid not in self.nodes:
                self.start(uid)
        elif chance < 0.05 + self.cuts:
            self.cut_or_heal()
        elif chance < 0.25:
            self.tick(self.random.choice([0.05, 0.1, 0.1, 0.3, 0.6, 1.0]))
        elif chance < 0.3:
            self.ask()
        elif chance < 0.31:
            self.compact(uid)
        elif chance < 0.31 + self.changes:
            self.change()
        elif chance < 0.4:
            self.fetch(uid)
        elif chance < 0.65:
            for _ in range(self.random.randint(1, 5)):
                self.store(self.random.choice(self.uids))
        else:
            for _ in range(self.random.randint(1, 8)):
                self.deliver()

    def cut_or_heal(self) -> None:
        """Some links fall silent, one way or both, and a leader's clock may stand still; or all come back."""
        if self.cut:
            if self.random.random() < 0.3:
                self.frozen.clear()
                self.cut.clear()
        elif self.cuts:
            side = self.random.sample(self.uids, self.random.randint(1, len(self.uids)))
            if self.random.random() < 0.5:
                side = self.leading()
            self.cut = {(one, other) for one in side for other in self.uids if other not in side}
            if self.random.random() < 0.3:
                self.frozen.update(self.leading())
            if self.random.random() < 0.5:
                self.cut |= {(other, one) for one, other in self.cut}

    def tick(self, seconds: float) -> None:
        self.now_s += seconds
        for uid in list(self.nodes):
            if self.quiet or (uid not in self.frozen and self.random.random() < 0.9):
                self.do(uid, Ticked(self.now_s))
            if not self.quiet and self.random.random() < 0.02:
                self.do(uid, Fit(self.random.random() < 0.9))

    def leading(self) -> list[str]:
        return [uid for uid, node in self.nodes.items() if node.role == "leader"]

    def ask(self) -> None:
        for uid in self.leading():
            if self.random.random() < 0.5:
                self.propose(uid, *(b"%d" % (self.proposed + i) for i in range(self.random.randint(1, 3))))
            else:
                self.read(uid)

    def read(self, uid: str) -> None:
        self.asked += 1
        self.reads[self.asked] = len(self.order)
        self.do(uid, ReadAsked(self.asked))

    def propose(self, uid: str, *raws: bytes) -> None:
        node = self.nodes[uid]
        founding = not node.last_index
        if founding:
            self.do(uid, Proposed(next_entries(node, b"genesis", voters=(uid,))))
        if not founding or raws != (b"",):
            self.proposed += len(raws)
            self.do(uid, Proposed(next_entries(node, *raws)))

    def change(self) -> None:
        """A leader takes a voter in, or lets one go (itself, perhaps)."""
        for uid in self.leading():
            node = self.nodes[uid]
            if not node.committed_own_term or node.changing:
                continue
            other = self.random.choice(self.uids)
            voters = tuple(v for v in node.voters if v != other) if other in node.voters else (*node.voters, other)
            if voters:
                self.do(uid, Proposed(next_entries(node, b"voters", voters=voters)))

    def compact(self, uid: str) -> None:
        disk = self.disks[uid]
        if uid in self.nodes and disk.commit > disk.snapshot.index:
            disk.compact(disk.commit, self.random.choice([0, 1, 5]))

    def fetch(self, uid: str) -> None:
        """A snapshot that was asked for comes, or not."""
        if uid not in self.fetches:
            return
        self.store(uid, all_of_it=True)
        wanted = self.fetches.pop(uid)
        sender = self.disks[wanted.sender]
        reached = wanted.sender in self.nodes and not self.cut and self.random.random() < 0.7
        if reached and sender.snapshot.index > self.disks[uid].commit:
            mark = sender.snapshot
            self.disks[uid].install(mark)
            self.do(uid, SnapshotInstalled(mark.index, mark.term, mark.hash, mark.voters))
        else:
            self.do(uid, SnapshotFailed())

    def store(self, uid: str, *, all_of_it: bool = False) -> None:
        if uid in self.nodes and self.appends[uid]:
            count = len(self.appends[uid]) if all_of_it else self.random.randint(1, len(self.appends[uid]))
            batch, self.appends[uid] = self.appends[uid][:count], self.appends[uid][count:]
            for append in batch:
                self.disks[uid].write(append)
            self.do(uid, Stored(batch[-1].number))

    def deliver(self) -> None:
        if not self.network:
            return
        place = self.random.randrange(len(self.network)) if self.random.random() < 0.5 and not self.quiet else 0
        sender, to, message = self.network[place]
        if self.random.random() >= self.doubling:
            self.network.pop(place)
        if self.random.random() >= self.loss and to in self.nodes:
            self.do(to, Received(sender, message))

    # ---- and when all is well again

    def heal(self) -> None:
        self.loss = self.doubling = 0.0
        self.quiet = True
        self.cut.clear()
        self.frozen.clear()
        for uid in self.uids:
            if uid not in self.nodes:
                self.start(uid)
            self.do(uid, Fit(True))
        for _ in range(100):
            self.tick(0.1)
            self.settle()
        leaders = self.leading()
        leader = max(leaders, key=lambda uid: self.nodes[uid].term)
        self.propose(leader, b"at last")
        self.settle()
        self.tick(0.3)
        self.settle()

    def settle(self) -> None:
        """Until nothing is under way: machines that send each other messages for ever are a fault, too."""
        for _ in range(10_000):
            if not self.network and not any(self.appends.values()) and not self.fetches:
                break
            for uid in self.uids:
                self.store(uid, all_of_it=True)
                self.fetch(uid)
            self.deliver()
        assert not self.network, "it never comes to rest"
        self.check()
