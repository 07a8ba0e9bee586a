"""The checkers of P1 to P5: they judge a recorded history, with code of their own.

P1 agreement   one log on all SNs, one leader a term, one model a round, adopted only once it is committed
P2 validity    a committed model is the mean of exactly the offers that the ledger names, recomputed here
P3 no lost update   what was acknowledged stays; who is in is merged, who is out is told so; reads are never stale
P4 progress    judged by `scenario`: once all is healed, everything ends within a bounded time
P5 tasks       none lost, none run twice, reports by the current fence only, leases end by silence alone
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from tests.sim.checkers_disputes import Disputes
from tests.sim.checkers_groups import Groups
from tests.sim.checkers_jobs import TASK_ENDED, Jobs
from tests.sim.checkers_recovery import RECOVERY, judged
from tests.sim.checkers_rounds import Rounds
from tests.sim.history import Entry, Fact, History, Values
from tests.sim.verdict import Check, Violation

LEASE_MIN_S = 29.0
LOST_MIN_S = 8.0


def check(history: History, *, ended: bool = True) -> list[Violation]:
    """Everything that the history breaks. ``ended``: the world came to its end, so nothing may be left open."""
    kinds = {entry.kind for entry in history.entries.values()}
    if RECOVERY in kinds:
        return judged(history, _judged, ended=ended)
    return _judged(history, ended)


def _judged(history: History, ended: bool) -> list[Violation]:
    rounds = Rounds(history)
    checks = [Logs(history), Groups(rounds), rounds, Programs(rounds), Reads(), Tasks(history), Jobs(history)]
    if any(entry.kind == "Evidence" for entry in history.entries.values()):
        checks.append(Disputes(history))
    eyes = {kind: [each.see for each in checks if kind in each.sees] for kind in {fact[0] for fact in history.facts}}
    for fact in history.facts:
        for see in eyes[fact[0]]:
            see(fact)
    if ended:
        for each in checks:
            each.end()
    return [violation for each in checks for violation in each.found]


class Logs(Check):
    """One log, one leader a term, and nothing acknowledged is lost."""

    sees = ("applied", "outcome", "role", "crash", "replaced", "reconfigured", "acknowledged", "gave_up_telling")

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._hash_at: dict[int, bytes] = {}
        self._leaders: dict[int, str] = {}
        self._acknowledged: list[tuple[str, bytes, int, bool]] = []
        self._accepted: dict[bytes, bool] = {}
        self._leads: dict[str, int] = {}
        """By name, the term in which it leads."""
        self._begun: dict[str, tuple[float, int]] = {}
        """Of who leads: when it applied an entry of an earlier term, if none of its own came with it; and which."""

    def see(self, fact: Fact) -> None:
        match fact:
            case ("applied", at_s, name, index, hash_, accepted):
                self._applied(at_s, name, index, hash_, accepted)
            case ("outcome", _, name, index, hash_, _):
                before = self._history.entries[hash_].prev_hash
                if index > 1 and self._hash_at.get(index - 1) not in (None, before):
                    self.broken("P1", f"entry {index} on {name} does not follow entry {index - 1}")
            case ("role", at_s, name, uid, role, term):
                self._role(at_s, name, uid, role, term)
            case ("crash", _, name, *_):
                self._leads.pop(name, None)
            case ("replaced", at_s, name, before, hash_) if before == hash_:
                index = self._history.entries[hash_].index
                self.broken(
                    "P1", f"{name} dropped at {at_s:.3f} s what it had stored from entry {index} on, for the same"
                )
            case ("reconfigured", _, _, hash_):
                self._reconfigured(self._history.entries[hash_])
            case ("gave_up_telling", at_s, name, uid):
                self.broken("P4", f"{name} sends no more to {uid} at {at_s:.3f} s, which answers and cannot know why")
            case ("acknowledged", _, name, _, proposal, index, accepted):
                self._acknowledged.append((name, proposal, index, accepted))

    def _applied(self, at_s: float, name: str, index: int, hash_: bytes, accepted: bool) -> None:
        if self._hash_at.setdefault(index, hash_) != hash_:
            self.broken("P1", f"{name} applied another entry {index} at {at_s:.3f} s than others")
        if self._accepted.setdefault(hash_, accepted) != accepted:
            self.broken("P1", f"entry {index} counts as {accepted} on {name}, and on others not")
        if name in self._leads:
            self._committed(at_s, name, index, self._history.entries[hash_].term)

    def _committed(self, at_s: float, name: str, index: int, term: int) -> None:
        """A leader counts copies of its own entries only; what came before is committed along with them."""
        begun_s, first = self._begun.pop(name, (at_s, 0))
        if begun_s != at_s:
            self.broken("P1", f"{name} committed entry {first} of an earlier term at {begun_s:.3f} s by itself")
        if term < self._leads[name]:
            self._begun[name] = (at_s, index)

    def _role(self, at_s: float, name: str, uid: str, role: str, term: int) -> None:
        self._leads.pop(name, None)
        self._begun.pop(name, None)
        if role != "leader":
            return
        self._leads[name] = term
        known = self._leaders.setdefault(term, uid)
        if known != uid:
            self.broken("P1", f"two leaders of term {term} at {at_s:.3f} s: {known} and {uid}")

    def _reconfigured(self, entry: Entry) -> None:
        """The change of voters before this one in its log is applied somewhere, so a majority has stored it."""
        before = self._history.entries.get(entry.prev_hash)
        while before is not None and before.kind not in ("Configuration", "Genesis"):
            before = self._history.entries.get(before.prev_hash)
        if before is None or before.hash not in self._accepted:
            self.broken("P1", f"the change of voters {entry.index} was made while another was under way")

    def end(self) -> None:
        for name, proposal, index, accepted in self._acknowledged:
            if index == 0:
                continue
            hash_ = self._hash_at.get(index)
            if hash_ is None or self._history.entries[hash_].proposal != proposal:
                self.broken("P3", f"entry {index}, acknowledged to {name}, is not in the ledger")
            elif self._accepted[hash_] != accepted:
                self.broken("P3", f"entry {index} was told to {name} as {accepted}, and counts as {not accepted}")


class Programs(Check):
    """What each training program was told at its sync points, against what the ledger decided."""

    sees = ("asked", "rebased", "told")

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds
        self._asked: dict[tuple[str, str], str] = {}
        self._changes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """What stands for the change that a program came with: its weights, and the same put on a newer model.

        By contract and uid: in an upper contract a group stands where a program does."""
        self._final = ""

    def see(self, fact: Fact) -> None:
        match fact:
            case ("asked", _, _, contract, uid, kind, digest):
                self._asked[contract, uid], self._changes[contract, uid] = kind, {digest}
            case ("rebased", _, _, contract, uid, digest):
                self._changes[contract, uid].add(digest)
            case ("told", at_s, name, contract, uid, kind, how, round_, digest, over, values, note):
                self._told(f"{name} at {at_s:.3f} s", (contract, uid), kind, how, digest, values, note)
                if how in ("merged", "adopted") and self._rounds.books[contract].committed.get(round_) != digest:
                    self.broken("P1", f"{name} was given in round {round_} another model than that of this round")
                if over and self._final not in ("", digest):
                    self.broken("P1", f"{name} was given another final model than others")
                self._final = digest if over else self._final

    def _told(
        self, who: str, where: tuple[str, str], kind: str, how: str, digest: str, values: Values, note: str
    ) -> None:
        book, uid = self._rounds.books[where[0]], where[1]
        if self._asked.pop(where, None) != kind:
            self.broken("P3", f"{who} was answered what it had not asked")
        if how in ("kept", "alone"):
            if not note:
                self.broken("P3", f"{who} keeps its own weights, and was not told why")
            return
        if digest not in book.bases:
            self.broken("P1", f"{who} was given a model that no round had committed by then")
        elif not values or self._rounds.history.models.get(digest, ())[: len(values)] != values:
            self.broken("P1", f"{who} was given other weights than those of the model {digest}")
        if kind != "sync":
            return
        counted = [round_ for round_, members in book.members.items() if members.get(uid) in self._changes[where]]
        nothing = not self._changes[where].isdisjoint(book.bases)  # a group whose merge was lost has nothing to lose
        if not counted and not nothing and (how == "merged" or not note):
            self.broken("P3", f"{who} was told {how} without a word, and its contribution is in no merge")
        if len(counted) > 1:
            self.broken("P3", f"{who} has one contribution in the merges of rounds {counted}")


class Reads(Check):
    """A read shows everything that had been acknowledged when it was asked."""

    sees = ("acknowledged", "read_asked", "was_read")

    def __init__(self) -> None:
        super().__init__()
        self._acknowledged = 0
        self._needs: dict[tuple[str, int], int] = {}

    def see(self, fact: Fact) -> None:
        match fact:
            case ("acknowledged", _, _, _, _, index, _):
                self._acknowledged = max(self._acknowledged, index)
            case ("read_asked", _, name, ticket):
                self._needs[name, ticket] = self._acknowledged
            case ("was_read", at_s, name, ticket, index):
                if index < self._needs[name, ticket]:
                    self.broken(
                        "P3", f"{name} read the ledger at {at_s:.3f} s as of entry {index}, after "
                        f"{self._needs[name, ticket]} was acknowledged",
                    )  # fmt: skip


class Tasks(Check):
    """Tasks, slots and their fences; and the workers that really run."""

    sees = (
        "TaskFinal", "TaskChanged", "SlotAssigned", "SlotChanged", "outcome", "role", "own_proposal",
        "worker_started", "worker_cut_short", "worker_ended",
    )  # fmt: skip

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._final: dict[str, str] = {}
        self._fences: dict[str, tuple[int, str]] = {}
        self._leased: dict[str, bool] = {}
        self._done: dict[str, int] = {}
        self._works: dict[tuple[str, int], str] = {}
        self._reset: set[tuple[str, int]] = set()
        """Leases of runs that their taskrunner has let go."""
        self._jobs: set[str] = set()
        """Runs whose slots the ledger may ask to end."""
        self._leads_since: dict[str, float] = {}

    def see(self, fact: Fact) -> None:
        match fact:
            case ("TaskFinal", _, _, task):
                self._final[task] = "final"
            case ("TaskChanged", _, _, _, _, task, state):
                self._final[task] = state
            case ("SlotAssigned", at_s, _, slot, _, swop, fence, _):
                if slot in self._fences and fence <= self._fences[slot][0]:
                    self.broken("P5", f"slot {slot} was leased again at {at_s:.3f} s without a higher fence")
                if self._leased.get(slot):
                    self.broken("P5", f"slot {slot} was leased twice at {at_s:.3f} s")
                self._fences[slot], self._leased[slot] = (fence, swop), True
            case ("SlotChanged", _, _, slot, _, _, _, leased):
                self._leased[slot] = leased
            case ("outcome", _, _, _, hash_, True):
                self._enter(self._history.entries[hash_])
            case ("role", at_s, name, _, "leader", _):
                self._leads_since[name] = at_s
            case ("own_proposal", at_s, name, kind, subject):
                self._ended(at_s, name, kind, subject)
            case ("worker_started", at_s, name, slot, fence):
                if self._works.get((slot, fence), "died") != "died":
                    self.broken("P5", f"slot {slot} is run twice with fence {fence} on {name} at {at_s:.3f} s")
                self._works[slot, fence] = "runs"
            case ("worker_cut_short", at_s, name, slot, fence):
                lease = (slot, fence)
                stands = self._leased.get(slot) and self._fences[slot][0] == fence and lease not in self._reset
                if stands and slot.partition(".")[0] not in self._jobs:
                    self.broken("P5", f"slot {slot} was cut short on {name} at {at_s:.3f} s, and fence {fence} stands")
            case ("worker_ended", _, _, slot, fence, died):
                self._works[slot, fence] = "died" if died else "ended"

    def _enter(self, entry: Entry) -> None:
        if entry.kind == "TaskrunnerReset":
            self._reset.update((slot, self._fences[slot][0]) for slot, leased in self._leased.items() if leased)
        if entry.kind in ("JobsSubmitted", "RolesSubmitted"):
            self._jobs.add(str(entry.index))
        if entry.kind not in ("SlotReported", "SlotTold"):
            return
        slot, fence, state = (entry.body[key] for key in ("slot", "fence", "state"))
        if self._fences.get(slot) != (fence, entry.author):
            self.broken("P5", f"a report on slot {slot} was taken with fence {fence}, of {self._fences.get(slot)}")
        if state == "done" and self._done.setdefault(slot, fence) != fence and slot.partition(".")[0] not in self._jobs:
            self.broken("P5", f"slot {slot} has two results, with fences {self._done[slot]} and {fence}")

    def _ended(self, at_s: float, name: str, kind: str, subject: str) -> None:
        """A node is lost, or a lease ends, when it has been silent for so long on the leader's clock."""
        limit_s = {"NodeLost": LOST_MIN_S, "LeaseEnded": LEASE_MIN_S}.get(kind)
        if limit_s is None:
            return
        uid = subject if kind == "NodeLost" else self._fences[subject][1]
        times = self._history.heard[name, uid]
        before = bisect_left(times, at_s)
        heard_s = max(times[before - 1] if before else 0.0, self._leads_since.get(name, 0.0))
        if at_s - heard_s < limit_s:
            self.broken("P5", f"{name} proposed {kind} of {subject} at {at_s:.3f} s, heard of at {heard_s:.3f} s")

    def end(self) -> None:
        for task, state in self._final.items():
            if state not in TASK_ENDED:
                self.broken("P5", f"task {task} is lost: it is {state} at the end")
