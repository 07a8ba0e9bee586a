"""The checkers of P1 to P5: they judge a recorded history, with code of their own.

P1 agreement   one log on all SNs, one leader a term, one model a round, adopted only once it is committed
P2 validity    a committed model is the mean of exactly the offers that the ledger names, recomputed here
P3 no lost update   what was acknowledged stays; who is in is merged, who is out is told so; reads are never stale
P4 progress    judged by `scenario`: once all is healed, everything ends within a bounded time
P5 tasks       none lost, none run twice, reports by the current fence only, leases end by silence alone
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from math import gcd
from typing import Any

from tests.sim.history import Entry, Fact, History, Values

LEASE_MIN_S = 29.0
LOST_MIN_S = 8.0
CONTRACT = "digits"
TASK_ENDED = ("done", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class Violation:
    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


def check(history: History, *, ended: bool = True) -> list[Violation]:
    """Everything that the history breaks. ``ended``: the world came to its end, so nothing may be left open."""
    rounds = Rounds(history)
    checks = [Logs(history), rounds, Programs(rounds), Reads(), Tasks(history)]
    for fact in history.facts:
        for each in checks:
            each.see(fact)
    if ended:
        for each in checks:
            each.end()
    return [violation for each in checks for violation in each.found]


class Check:
    def __init__(self) -> None:
        self.found: list[Violation] = []

    def broken(self, promise: str, text: str) -> None:
        self.found.append(Violation(promise, text))

    def see(self, fact: Fact) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """The history is over."""


class Logs(Check):
    """One log, one leader a term, and nothing acknowledged is lost."""

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
            case ("reconfigured", _, _, hash_):
                self._reconfigured(self._history.entries[hash_])
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


@dataclass(slots=True)
class Offer:
    digest: str
    weight: int
    base: str


@dataclass(slots=True)
class Book:
    """The contract as the checker itself keeps it from the entries."""

    base: str = ""
    initial: str = ""
    weights: dict[str, int] = field(default_factory=dict)
    offers: dict[tuple[int, str], Offer] = field(default_factory=dict)
    committed: dict[int, str] = field(default_factory=dict)
    members: dict[int, dict[str, str]] = field(default_factory=dict)
    """Of each committed round: who is in, with which contribution."""
    snaps: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    decided: set[int] = field(default_factory=set)
    bases: list[str] = field(default_factory=list)
    holders: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Who said that it holds a model, and neither that it misses it nor that it leaves."""


class Rounds(Check):
    """The rounds of each contract, from the entries that decide them."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history
        self.books: defaultdict[str, Book] = defaultdict(Book)
        self._liars = {fact[3] for fact in history.facts if fact[0] == "lied" and not fact[5]}
        """Who told what nobody can check."""
        self._all_liars = {fact[3] for fact in history.facts if fact[0] == "lied"}
        self._asked: dict[str, str] = {}
        self._origin: dict[str, str] = {}
        """The model that each program was given last."""
        self._readys: defaultdict[tuple[int, int, str], set[str]] = defaultdict(set)
        self._holds = {fact[3:] for fact in history.facts if fact[0] == "holds"}

    def see(self, fact: Fact) -> None:
        match fact:
            case ("outcome", _, _, _, hash_, True):
                self._enter(self.history.entries[hash_])
            case ("asked", _, _, uid, _, digest):
                self._asked[uid] = digest
            case ("told", _, _, uid, _, "merged" | "adopted", _, digest, *_):
                self._origin[uid] = digest
            case ("program_died", _, _, uid):
                self._asked.pop(uid, None)
                self._origin.pop(uid, None)
            case ("SnapMade", _, _, contract, round_, attempt, members, base):
                self._snap(self.books[contract], round_, attempt, members, base)
            case ("Committed", _, _, contract, round_, attempt, digest, members, signers, _):
                self._commit(self.books[contract], round_, attempt, digest, members, signers)
            case ("Aborted", _, _, contract, round_, reason):
                self._abort(self.books[contract], round_, reason)
                self._decide(self.books[contract], round_, self.books[contract].base)
            case ("BaseLost", _, _, contract, digest, base):
                self._lose(self.books[contract], digest, base)

    def _enter(self, entry: Entry) -> None:
        body = entry.body
        book = self.books[body.get("contract", "")]
        if entry.kind == "Enrolled":
            book.initial = book.initial or body["initial_base"]
            book.base = book.base or book.initial
            book.weights[entry.author] = body["weight"]
        elif entry.kind == "Offer":
            weight = 0 if body.get("inactive") else book.weights[entry.author] * body.get("weight_permille", 1000)
            book.offers[body["round"], entry.author] = Offer(body["digest"], weight, body["base"])
            if body["base"] != book.base:
                self.broken("P2", f"an offer of round {body['round']} on an old base was taken")
            self._check_origin(entry.author, body)
        elif entry.kind == "Ready":
            self._readys[body["round"], body["attempt"], body["digest"]].add(entry.author)
            book.holders[body["digest"]].add(entry.author)
            self._check_ready(book, entry.author, body)
        elif entry.kind == "Missing":
            book.holders[body["digest"]].discard(entry.author)
        elif entry.kind in ("Leave", "NodeLeft"):
            for each in self.books.values():
                for holders in each.holders.values():
                    holders.discard(entry.author)

    def _check_origin(self, uid: str, body: dict[str, Any]) -> None:
        """Weights as a program has them are offered on the model that it trained from, until they have counted."""
        asked, origin = self._asked.get(uid, ""), self._origin.get(uid, "")
        if any(members.get(uid) == asked for members in self.books[CONTRACT].members.values()):
            return
        if body["digest"] == asked and body["base"] != (origin or self.books[CONTRACT].initial):
            self.broken(
                "P2", f"{uid} offered in round {body['round']} what was trained from another model than it says"
            )

    def _check_ready(self, book: Book, uid: str, body: dict[str, Any]) -> None:
        snap = book.snaps.get((body["round"], body["attempt"]), ())
        if uid not in self._all_liars and self._expected(book, snap, body) not in (None, body["digest"]):
            self.broken("P2", f"{uid} was Ready in round {body['round']} with what is not the merge")

    def _expected(self, book: Book, snap: Any, body: dict[str, Any]) -> str | None:
        """The digest of the merge; None if it cannot be known, since somebody may have lied."""
        if not snap or self._liars & {uid for uid, _, _ in snap}:
            return None
        merged = mean([(self.history.models[offered], weight) for _, weight, offered in snap if weight])
        return body["digest"] if self.history.models.get(body["digest"]) == merged else "another"

    def _snap(self, book: Book, round_: int, attempt: int, members: Any, base: str) -> None:
        if round_ in book.decided:
            self.broken("P1", f"round {round_} begins again after its decision")
        if book.snaps.setdefault((round_, attempt), members) != members:
            self.broken("P1", f"attempt {attempt} of round {round_} has two sets of members")
        for uid, weight, digest in members:
            offer = book.offers.get((round_, uid))
            if offer is None or offer.digest != digest or offer.base != base:
                self.broken("P2", f"{uid} is in round {round_} with what it did not offer")
            elif weight not in (offer.weight, 0):
                self.broken("P2", f"{uid} counts with weight {weight} in round {round_}, not {offer.weight}")

    def _commit(self, book: Book, round_: int, attempt: int, digest: str, members: Any, signers: Any) -> None:
        self._decide(book, round_, digest)
        book.committed[round_] = digest
        snap = book.snaps.get((round_, attempt), ())
        book.members[round_] = {uid: offered for uid, _, offered in snap}
        uids = {uid for uid, _, _ in snap}
        if set(members) != uids or any(later > attempt for number, later in book.snaps if number == round_):
            self.broken("P2", f"round {round_} was committed with other members than its last attempt has")
        quorum = len(uids) // 2 + 1
        ready = self._readys[round_, attempt, digest] & uids
        if len(ready) < quorum or not set(signers) <= ready:
            self.broken("P2", f"round {round_} was committed by {len(ready)} Readys of attempt {attempt}, not {quorum}")
        for uid in signers:
            if (uid, round_, attempt, digest) not in self._holds:
                self.broken("P2", f"{uid} was Ready in round {round_} without all bytes of {digest}")
        self._recompute(book, round_, digest, snap)

    def _recompute(self, book: Book, round_: int, digest: str, snap: Any) -> None:
        if self._liars & {uid for uid, _, _ in snap}:
            return  # what an owner says of its own shard is bound by agreement alone, with commitments: result
        models = self.history.models
        parts = [(models[offered], weight) for _, weight, offered in snap if weight]
        if digest not in models:
            self.broken("P2", f"round {round_} was committed with a digest of nobody's bytes")
        elif models[digest] != mean(parts):
            self.broken("P2", f"the model of round {round_} is not the mean of its members' contributions")

    def _abort(self, book: Book, round_: int, reason: str) -> None:
        """Different results of one attempt end a round; those of two attempts have to differ."""
        attempt = max((attempt for number, attempt in book.snaps if number == round_), default=0)
        said = {digest for number, of, digest in self._readys if (number, of) == (round_, attempt)}
        if "different results" in reason and len(said) < 2:
            self.broken("P2", f"round {round_} was aborted over what was said in another attempt")

    def _decide(self, book: Book, round_: int, base: str) -> None:
        if round_ in book.decided:
            self.broken("P1", f"round {round_} was decided twice")
        book.decided.add(round_)
        book.base = base
        book.bases.append(base)

    def _lose(self, book: Book, digest: str, base: str) -> None:
        if digest != book.base:
            self.broken("P2", f"a base was lost that is none: {digest}")
        if book.holders[digest]:
            self.broken("P3", f"the committed model {digest} is given up, and {min(book.holders[digest])} may hold it")
        if base != book.initial and base not in book.bases:
            self.broken("P2", f"after a lost base comes one that never was: {base}")
        book.base = base
        book.bases.append(base)
        for round_ in [round_ for round_, committed in book.committed.items() if committed == digest]:
            del book.members[round_]  # who was in has its contribution back


def mean(parts: list[tuple[Values, int]]) -> Values:
    """Σ wᵢxᵢ / Σ wᵢ, element by element in the order given, in float64, rounded once to float32."""
    divisor = gcd(*(weight for _, weight in parts))
    parts = [(values, weight // divisor) for values, weight in parts]
    total = sum(weight for _, weight in parts)
    sums = [0.0] * len(parts[0][0])
    for values, weight in parts:
        for at, value in enumerate(values):
            sums[at] += value * weight
    return tuple(struct.unpack("f", struct.pack("f", each / total))[0] for each in sums)


class Programs(Check):
    """What each training program was told at its sync points, against what the ledger decided."""

    def __init__(self, rounds: Rounds) -> None:
        super().__init__()
        self._rounds = rounds
        self._asked: dict[str, str] = {}
        self._changes: defaultdict[str, set[str]] = defaultdict(set)
        """What stands for the change that a program came with: its weights, and the same put on a newer model."""
        self._final = ""

    def see(self, fact: Fact) -> None:
        match fact:
            case ("asked", _, _, uid, kind, digest):
                self._asked[uid], self._changes[uid] = kind, {digest}
            case ("rebased", _, _, uid, digest):
                self._changes[uid].add(digest)
            case ("told", at_s, name, uid, kind, how, _, digest, over, values, note):
                self._told(f"{name} at {at_s:.3f} s", uid, kind, how, digest, values, note)
                if over and self._final not in ("", digest):
                    self.broken("P1", f"{name} was given another final model than others")
                self._final = digest if over else self._final

    def _told(self, who: str, uid: str, kind: str, how: str, digest: str, values: Values, note: str) -> None:
        book = self._rounds.books[CONTRACT]
        if self._asked.pop(uid, None) != kind:
            self.broken("P3", f"{who} was answered what it had not asked")
        if how in ("kept", "alone"):
            if not note:
                self.broken("P3", f"{who} keeps its own weights, and was not told why")
            return
        if digest not in book.bases:
            self.broken("P1", f"{who} was given a model that no round had committed by then")
        elif self._rounds.history.models.get(digest) != values:
            self.broken("P1", f"{who} was given other weights than those of the model {digest}")
        if kind != "sync":
            return
        counted = [round_ for round_, members in book.members.items() if members.get(uid) in self._changes[uid]]
        if not counted and (how == "merged" or not note):
            self.broken("P3", f"{who} was told {how} without a word, and its contribution is in no merge")
        if len(counted) > 1:
            self.broken("P3", f"{who} has one contribution in the merges of rounds {counted}")


class Reads(Check):
    """A read shows everything that had been acknowledged when it was asked."""

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

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._final: dict[str, str] = {}
        self._fences: dict[str, tuple[int, str]] = {}
        self._leased: dict[str, bool] = {}
        self._done: dict[str, int] = {}
        self._works: dict[tuple[str, int], str] = {}
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
            case ("worker_ended", _, _, slot, fence, died):
                self._works[slot, fence] = "died" if died else "ended"

    def _enter(self, entry: Entry) -> None:
        if entry.kind != "SlotReported":
            return
        slot, fence, state = (entry.body[key] for key in ("slot", "fence", "state"))
        if self._fences.get(slot) != (fence, entry.author):
            self.broken("P5", f"a report on slot {slot} was taken with fence {fence}, of {self._fences.get(slot)}")
        if state == "done" and self._done.setdefault(slot, fence) != fence:
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
