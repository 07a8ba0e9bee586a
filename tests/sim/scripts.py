"""Traces of consensus, step by step, as text: the files in ``tests/sim/scripts``, and what runs them.

A file is one topic. It is made of blocks: commands, ``----``, and everything that happens because of them, up to an
empty line. ``python -m tests.sim.scripts --rewrite`` writes what happens now; read the difference before you keep it.

    network a b c learners d   three voters and a learner, who all have what was committed when they were named
    network - learners a b     nobody has anything yet; a founds the ledger
    tick 1.5 [a b]             that much time passes (for these nodes)
    propose a x y              the leader a gets two proposals; `change a +d` or `-b`: a change of the voters
    store [a]                  what is on its way to the disk arrives
    deliver a>b [2]            the oldest messages from a to b; `deliver`: all there are, but not what they lead to
    run                        store and deliver until nothing is under way; `settle`: the same, told in short
    wait 2                     so much time passes a quarter second at a time, each settled; told in short
    lose a>b, double a>b, swap a>b     what is on its way: all lost, all twice, the last one first
    cut a b, cut a>b, heal     nothing gets through between a and b, or from a to b
    remove c                   c is none of the network's from now on, by what all have committed
    crash a, start a           what was not stored is lost; `wipe a`: its disk, too
    backup a, restore a        keep a copy of the disk; start from it
    fit a no                   a should not lead
    read a 1                   somebody reads; 1 is how it is told apart
    compact a 5 [1]            a takes a snapshot at 5 and keeps so many entries before it
    install b, miss b          the snapshot that b fetches comes, or does not
    promote b                  a person makes b the only voter, in a new epoch
    prove a 1                  a is shown the signed recovery that begins epoch 1
    show                       what they all are and have
"""

from __future__ import annotations

import sys
from pathlib import Path

from swarm.core.consensus import Consensus
from swarm.core.ordering import (
    NO_HASH,
    Answer,
    Append,
    Ballot,
    Campaign,
    Commit,
    Configured,
    Copies,
    Effect,
    Entries,
    EpochProven,
    Event,
    FetchSnapshot,
    Fit,
    LogEntry,
    Message,
    Promoted,
    Proposed,
    Readable,
    ReadAsked,
    Received,
    Refuse,
    Role,
    Send,
    SnapshotFailed,
    SnapshotInstalled,
    SnapshotOffered,
    Stored,
    Superseded,
    Ticked,
    epoch_of,
    first_term,
)
from tests.core.consensus_world import Disk, entry, machine, next_entries

FOLDER = Path(__file__).with_name("scripts")
TURNS = 1000


class Bench:
    """Nodes in one hand. ``told`` is what has happened since it was last taken."""

    def __init__(self) -> None:
        self.disks: dict[str, Disk] = {}
        self.backups: dict[str, Disk] = {}
        self.nodes: dict[str, Consensus] = {}
        self.appends: dict[str, list[Append]] = {}
        self.fetches: dict[str, FetchSnapshot] = {}
        self.network: list[tuple[str, str, Message]] = []
        self.severed: set[tuple[str, str]] = set()
        self.founder = ""
        self.removed: set[str] = set()
        self.now_s = 0.0
        self.told: list[str] = []

    def do(self, line: str) -> None:
        verb, *words = line.split()
        getattr(self, f"do_{verb}")(*words)

    # ---- nodes

    def do_network(self, *words: str) -> None:
        split = words.index("learners") if "learners" in words else len(words)
        voters, learners = [word for word in words[:split] if word != "-"], words[split + 1 :]
        self.disks = {uid: Disk() for uid in (*voters, *learners)}
        self.founder = "" if voters else learners[0]
        self.nodes, self.network, self.removed = {}, [], set()
        prev = NO_HASH
        for index in range(1, len(voters) + 1):
            named = entry(index, 1, prev, b"genesis" if index == 1 else b"voters", tuple(voters[:index]))
            prev = named.hash
            for disk in self.disks.values():
                disk.entries.append(named)
                disk.term, disk.commit = 1, index
        for uid in self.disks:
            self.appends[uid] = []
            self.do_start(uid)

    def do_start(self, uid: str) -> None:
        self.nodes[uid] = machine(uid, self.disks[uid], founder=uid == self.founder)
        self._configure(uid)

    def do_crash(self, uid: str) -> None:
        self.appends[uid] = []
        self.fetches.pop(uid, None)
        del self.nodes[uid]

    def do_wipe(self, uid: str) -> None:
        self.do_crash(uid)
        self.disks[uid] = Disk()

    def do_backup(self, uid: str) -> None:
        self.backups[uid] = self.disks[uid].copy()

    def do_restore(self, uid: str) -> None:
        self.do_crash(uid)
        self.disks[uid] = self.backups[uid].copy()
        self.do_start(uid)

    def do_remove(self, uid: str) -> None:
        self.removed.add(uid)
        for node in list(self.nodes):
            self._configure(node)

    def do_show(self) -> None:
        for uid, node in self.nodes.items():
            disk = self.disks[uid]
            log = " ".join(f"{_raw(each)}{_term_mark(each, node)}" for each in disk.entries)
            begin = f"snapshot {disk.floor.index}, " if disk.floor.index else ""
            self.told.append(
                f"{uid} {node.role} in term {_term(node.term)}, voters {' '.join(node.voters) or '-'}, "
                f"has {begin}[{log}], committed {node.commit}"
            )

    # ---- events

    def do_tick(self, seconds: str, *uids: str) -> None:
        self.now_s += float(seconds)
        for uid in uids or tuple(self.nodes):
            self._handle(uid, Ticked(self.now_s))

    def do_propose(self, uid: str, *raws: str) -> None:
        self._handle(uid, Proposed(next_entries(self.nodes[uid], *(raw.encode() for raw in raws))))

    def do_change(self, uid: str, change: str) -> None:
        voters, other = self.nodes[uid].voters, change[1:]
        changed = (*voters, other) if change[0] == "+" else tuple(voter for voter in voters if voter != other)
        self._handle(uid, Proposed(next_entries(self.nodes[uid], b"voters", voters=changed)))

    def do_fit(self, uid: str, answer: str) -> None:
        self._handle(uid, Fit(answer == "yes"))

    def do_read(self, uid: str, number: str) -> None:
        self._handle(uid, ReadAsked(int(number)))

    def do_promote(self, uid: str) -> None:
        node = self.nodes[uid]
        term = first_term(epoch_of(node.term) + 1)
        recovery = entry(node.last_index + 1, term, node.hash_at(node.last_index), b"recovery", (uid,))
        self._handle(uid, Promoted(recovery))

    def do_prove(self, uid: str, epoch: str) -> None:
        self._handle(uid, EpochProven(int(epoch)))

    def _handle(self, uid: str, event: Event) -> None:
        node = self.nodes[uid]
        effects = node.handle(event)
        node.check()
        for effect in effects:
            self.told.append(f"{uid} {_told(effect, self.disks[uid].last_index)}")
            match effect:
                case Append():
                    self.appends[uid].append(effect)
                case Send() if (uid, effect.to) not in self.severed:
                    self.network.append((uid, effect.to, effect.message))
                case FetchSnapshot():
                    self.fetches[uid] = effect
                case Commit():
                    self.disks[uid].commit = effect.upto
        if any(isinstance(effect, Role) and effect.name == "leader" for effect in effects):
            first = next_entries(node, b"blank") if node.last_index else next_entries(node, b"genesis", voters=(uid,))
            self._handle(uid, Proposed(first))
        self._configure(uid)

    def _configure(self, uid: str) -> None:
        others = (other for other in self.disks if other not in self.removed)
        learners = tuple(other for other in others if other not in self.nodes[uid].voters)
        if learners != self.nodes[uid].learners:
            self._handle(uid, Configured(learners))

    # ---- disks

    def do_store(self, *uids: str) -> None:
        for uid in uids or tuple(self.nodes):
            batch, self.appends[uid] = self.appends[uid], []
            for append in batch:
                self.disks[uid].write(append)
            if batch:
                self._handle(uid, Stored(batch[-1].number))

    def do_compact(self, uid: str, upto: str, keep: str = "0") -> None:
        self.disks[uid].compact(int(upto), int(keep))

    def do_install(self, uid: str) -> None:
        self.do_store(uid)
        mark = self.disks[self.fetches.pop(uid).sender].snapshot
        self.disks[uid].install(mark)
        self._handle(uid, SnapshotInstalled(mark.index, mark.term, mark.hash, mark.voters))

    def do_miss(self, uid: str) -> None:
        del self.fetches[uid]
        self._handle(uid, SnapshotFailed())

    # ---- the network

    def do_cut(self, *words: str) -> None:
        for word in words if len(words) == 1 else (">".join(words), ">".join(reversed(words))):
            self.severed.add(_link(word))
            self.do_lose(word)

    def do_heal(self) -> None:
        self.severed.clear()

    def do_lose(self, link: str) -> None:
        self.network = [item for item in self.network if item[:2] != _link(link)]

    def do_double(self, link: str) -> None:
        self.network.extend([item for item in self.network if item[:2] == _link(link)])

    def do_swap(self, link: str) -> None:
        last = [item for item in self.network if item[:2] == _link(link)][-1]
        self.network.remove(last)
        self.network.insert(0, last)

    def do_deliver(self, link: str = "", count: str = "1000") -> None:
        chosen = [item for item in self.network if not link or item[:2] == _link(link)][: int(count)]
        for item in chosen:
            self.network.remove(item)
            sender, to, message = item
            if to in self.nodes:
                self._handle(to, Received(sender, message))

    def do_run(self) -> None:
        for _ in range(TURNS):
            self.do_store()
            if not self.network:
                return
            self.do_deliver()
        raise AssertionError("it never comes to rest")

    def do_settle(self) -> None:
        self.do_run()
        self.told = [line for line in self.told if " > " not in line and " writes " not in line]

    def do_wait(self, seconds: str) -> None:
        for _ in range(round(float(seconds) / 0.25)):
            self.do_tick("0.25")
            self.do_settle()


def _link(word: str) -> tuple[str, str]:
    one, other = word.split(">")
    return one, other


# ---- telling


def _term(term: int) -> str:
    return f"{epoch_of(term)}.{term & 0xFFFF_FFFF}" if epoch_of(term) else str(term)


def _term_mark(each: LogEntry, node: Consensus) -> str:
    return f"/{_term(each.term)}" if each.term != node.term else ""


def _raw(each: LogEntry) -> str:
    return f"{each.raw.decode()}={','.join(each.voters)}" if each.voters else each.raw.decode()


def _told(effect: Effect, last: int) -> str:
    match effect:
        case Append(entries=entries):
            words = [f"{each.index}:{_raw(each)}" for each in entries]
            if entries and effect.after < last:
                words.insert(0, f"behind {effect.after}")
            return " ".join(["writes", *words, f"(term {_term(effect.term)}, vote {effect.vote or '-'})"])
        case Send():
            return f"> {effect.to} {_said(effect.message)}"
        case Commit():
            return f"commits {effect.upto}"
        case Role(name="leader"):
            return f"is leader in term {_term(effect.term)}"
        case Role():
            return f"is {effect.name} in term {_term(effect.term)}, {effect.leader or 'nobody'} leads"
        case Copies():
            return f"has in step: {' '.join(effect.in_step) or 'nobody'}"
        case Refuse():
            return f"refuses {effect.peer} from {effect.index} on"
        case Superseded():
            return f"is superseded by {effect.peer} in epoch {effect.epoch}, behind {effect.index}"
        case FetchSnapshot():
            return f"fetches snapshot {effect.index} from {effect.sender}"
        case Readable():
            return f"may answer read {effect.number} as of {effect.index}"


def _said(message: Message) -> str:
    term = _term(message.term)
    match message:
        case Entries():
            what = " ".join(_raw(each) for each in message.entries)
            what = f"after {message.prev_index} [{what}]" if what else f"after {message.prev_index}?"
            what = what if message.stamp else f"after {message.prev_index}"
            return f"{what} commit {message.commit} (term {term})"
        case SnapshotOffered():
            return f"snapshot {message.index} (term {term})"
        case Answer(conflict=0, found=True):
            return f"have {message.match} (term {term})"
        case Answer(conflict=0):
            return f"no, try after {message.last} (term {term})"
        case Answer():
            return f"no, I keep {message.conflict} (term {term})"
        case Campaign():
            would = "would you vote" if message.pre else "vote"
            return f"{would} for term {term}? I have {message.last_index} of term {_term(message.last_term)}"
        case Ballot():
            return f"{'would ' if message.pre else ''}{'yes' if message.granted else 'no'} (term {term})"


# ---- files


def run(text: str) -> str:
    """The script with what happens now in place of what it says."""
    bench = Bench()
    blocks: list[str] = []
    for block in text.strip().split("\n\n"):
        commands = block.split("\n----", 1)[0]
        for line in commands.splitlines():
            if not line.startswith("#"):
                bench.do(line)
        told, bench.told = bench.told, []
        only_words = all(line.startswith("#") for line in commands.splitlines())
        blocks.append(commands if only_words else "\n".join([commands, "----", *told]))
    return "\n\n".join(blocks) + "\n"


def main(arguments: list[str]) -> int:
    different = []
    for path in sorted(FOLDER.glob("*.txt")):
        before = path.read_text()
        after = run(before)
        if after != before:
            different.append(path.name)
            if "--rewrite" in arguments:
                path.write_text(after)
    print("\n".join(different) if different else "all traces are as written")
    return 1 if different and "--rewrite" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
