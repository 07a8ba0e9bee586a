"""The checker of a contract's rounds (P2, and of P1 and P3 what concerns models), from the entries that decide them.

Its own account of bases, offers, attempts and decisions: nothing of the product's is used, nor its merge.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass, field
from math import gcd
from typing import Any

from tests.sim.history import Entry, Fact, History, Values
from tests.sim.verdict import Check


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
    picks: int = 0
    """How many take part in a round; 0: all."""
    steps: tuple[float, float] | None = None
    """Rate and momentum of the outer step; None: a merge is the next base as it is."""
    on: dict[int, str] = field(default_factory=dict)
    """The base of each round that has begun to merge."""
    upper: str = ""
    """Of a group: the contract in which groups merge, after ``every`` merges of their own each time."""
    every: int = 0
    merges: int = 0
    weight: int = 0
    """Of all that is in the group's newest merge."""
    handed: str = ""
    """What came from above last."""
    groups: dict[str, str] = field(default_factory=dict)
    """Of an upper contract: by the uid of who leads it, the group."""
    weights: dict[str, int] = field(default_factory=dict)
    offers: dict[tuple[int, str], Offer] = field(default_factory=dict)
    committed: dict[int, str] = field(default_factory=dict)
    members: dict[int, dict[str, str]] = field(default_factory=dict)
    """Of each merge: who is in, with which contribution."""
    snaps: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    decided: set[int] = field(default_factory=set)
    bases: list[str] = field(default_factory=list)
    holders: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Who said that it holds a model, and neither that it misses it nor that it leaves."""

    @property
    def down(self) -> bool:
        """Whether the round is for what comes from above."""
        return bool(self.upper) and self.merges >= self.every

    def enrol(self, uid: str, body: dict[str, Any]) -> None:
        options = body.get("options", {})
        self.initial = self.initial or body["initial_base"]
        self.base = self.base or self.initial
        self.weights[uid] = body["weight"]
        self.picks = self.picks or options.get("pickPeers", 0)
        self.upper, self.every = options.get("upper", ""), options.get("upperEvery", 1)
        if options.get("outer") == "nesterov":
            self.steps = options.get("outerLearningRate", 700) / 1000, options.get("outerMomentum", 900) / 1000

    def commit(self, round_: int, digest: str, snap: Any) -> None:
        self.committed[round_] = digest
        if self.down:
            self.merges, self.handed = 0, digest
            return
        self.members[round_] = {uid: offered for uid, _, offered in snap}
        self.merges, self.weight = self.merges + 1, sum(weight for _, weight, _ in snap)


class Rounds(Check):
    """The rounds of each contract, from the entries that decide them."""

    sees = ("outcome", "asked", "told", "program_died", "SnapMade", "Committed", "Aborted", "BaseLost")

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history
        self.books: defaultdict[str, Book] = defaultdict(Book)
        self._liars = {fact[3] for fact in history.facts if fact[0] == "lied" and not fact[5]}
        """Who told what nobody can check."""
        self._all_liars = {fact[3] for fact in history.facts if fact[0] == "lied"}
        self._asked: dict[tuple[str, str], str] = {}
        """By contract and uid, as what follows: the weights that stand at a sync point."""
        self._origin: dict[tuple[str, str], str] = {}
        """The model that each training was given last."""
        self._readys: defaultdict[tuple[str, int, int, str], set[str]] = defaultdict(set)
        self._holds = {fact[3:] for fact in history.facts if fact[0] == "holds"}

    def see(self, fact: Fact) -> None:
        match fact:
            case ("outcome", _, _, _, hash_, True):
                self._enter(self.history.entries[hash_])
            case ("asked", _, _, contract, uid, _, digest):
                self._asked[contract, uid] = digest
                if group := self.books[contract].groups.get(uid):  # who begins anew above goes on from what came down
                    self._origin.setdefault((contract, uid), self.books[group].handed)
            case ("told", _, _, contract, uid, _, "merged" | "adopted", _, digest, *_):
                self._origin[contract, uid] = digest
            case ("program_died", _, _, uid):
                self._asked, self._origin = (
                    {where: digest for where, digest in known.items() if where[1] != uid}
                    for known in (self._asked, self._origin)
                )
            case ("SnapMade", _, _, contract, round_, attempt, members, base):
                self._snap(self.books[contract], round_, attempt, members, base)
            case ("Committed", _, _, contract, round_, attempt, digest, members, signers, _):
                self._commit(contract, round_, attempt, digest, members, signers)
            case ("Aborted", _, _, contract, round_, reason):
                self._abort(contract, round_, reason)
                self._decide(self.books[contract], round_, self.books[contract].base)
            case ("BaseLost", _, _, contract, digest, base):
                self._lose(self.books[contract], digest, base)

    def _enter(self, entry: Entry) -> None:
        body = entry.body
        book = self.books[body.get("contract", "")]
        if entry.kind == "Enrolled":
            book.enrol(entry.author, body)
            if body.get("leads"):
                self.books[book.upper].groups[entry.author] = body["contract"]
        elif entry.kind == "Offer":
            weight = 0 if body.get("inactive") else self._weight(book, entry.author, body)
            book.offers[body["round"], entry.author] = Offer(body["digest"], weight, body["base"])
            if body["base"] != book.base:
                self.broken("P2", f"an offer of round {body['round']} on an old base was taken")
            if not book.down:
                self._check_origin(book, entry.author, body)
        elif entry.kind == "Ready":
            self._readys[body["contract"], body["round"], body["attempt"], body["digest"]].add(entry.author)
            book.holders[body["digest"]].add(entry.author)
            self._check_ready(book, entry.author, body)
        elif entry.kind == "Missing":
            book.holders[body["digest"]].discard(entry.author)
        elif entry.kind in ("Leave", "NodeLeft"):
            for each in self.books.values():
                for holders in each.holders.values():
                    holders.discard(entry.author)

    def _weight(self, book: Book, uid: str, body: dict[str, Any]) -> int:
        """Of a group's merge: of all that is in it."""
        share: int = body.get("weight_permille", 1000)
        if group := book.groups.get(uid):
            return max(1, self.books[group].weight * share // 1000)
        return book.weights[uid] * share

    def _check_origin(self, book: Book, uid: str, body: dict[str, Any]) -> None:
        """Weights as a program has them are offered on the model that it trained from, until they have counted; while
        there is no model (none yet, or all are lost) there is nothing that a change could be put on."""
        asked, origin = (known.get((body["contract"], uid), "") for known in (self._asked, self._origin))
        if any(members.get(uid) == asked for members in book.members.values()):
            return
        if body["digest"] == asked and body["base"] not in (origin, book.initial):
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
        made = self._made(book, body["round"], snap)
        return body["digest"] if self.history.models.get(body["digest"]) == made else "another"

    def _made(self, book: Book, round_: int, snap: Any) -> Values:
        """What the contributions of this snap, and the base that they were made on, give."""
        models, base = self.history.models, book.on[round_]
        merged = mean([(models[offered], weight) for _, weight, offered in snap if weight])
        if book.steps is None:
            return merged
        return stepped(merged, models[base] if base != book.initial else (), *book.steps)

    def _snap(self, book: Book, round_: int, attempt: int, members: Any, base: str) -> None:
        book.on[round_] = base
        if round_ in book.decided:
            self.broken("P1", f"round {round_} begins again after its decision")
        if book.snaps.setdefault((round_, attempt), members) != members:
            self.broken("P1", f"attempt {attempt} of round {round_} has two sets of members")
        if book.picks and len(members) > book.picks:
            self.broken("P2", f"{len(members)} members are in round {round_}, which takes {book.picks}")
        for uid, weight, digest in members:
            offer = book.offers.get((round_, uid))
            if offer is None or offer.digest != digest or offer.base != base:
                self.broken("P2", f"{uid} is in round {round_} with what it did not offer")
            elif weight not in (offer.weight, 0):
                self.broken("P2", f"{uid} counts with weight {weight} in round {round_}, not {offer.weight}")

    def _commit(self, contract: str, round_: int, attempt: int, digest: str, members: Any, signers: Any) -> None:
        book = self.books[contract]
        self._decide(book, round_, digest)
        snap = book.snaps.get((round_, attempt), ())
        book.commit(round_, digest, snap)
        uids = {uid for uid, _, _ in snap}
        if set(members) != uids or any(later > attempt for number, later in book.snaps if number == round_):
            self.broken("P2", f"round {round_} was committed with other members than its last attempt has")
        quorum = len(uids) // 2 + 1
        ready = self._readys[contract, round_, attempt, digest] & uids
        if len(ready) < quorum or not set(signers) <= ready:
            self.broken("P2", f"round {round_} was committed by {len(ready)} Readys of attempt {attempt}, not {quorum}")
        for uid in signers:
            if (contract, uid, round_, attempt, digest) not in self._holds:
                self.broken("P2", f"{uid} was Ready in round {round_} without all bytes of {digest}")
        self._recompute(book, round_, digest, snap)

    def _recompute(self, book: Book, round_: int, digest: str, snap: Any) -> None:
        if self._liars & {uid for uid, _, _ in snap}:
            return  # what an owner says of its own shard is bound by agreement alone, with commitments: result
        models = self.history.models
        if digest not in models:
            self.broken("P2", f"round {round_} was committed with a digest of nobody's bytes")
        elif models[digest] != self._made(book, round_, snap):
            self.broken("P2", f"the model of round {round_} is not the mean of its members' contributions")

    def _abort(self, contract: str, round_: int, reason: str) -> None:
        """Different results of one attempt end a round; those of two attempts have to differ."""
        attempt = max((attempt for number, attempt in self.books[contract].snaps if number == round_), default=0)
        said = {digest for *where, digest in self._readys if where == [contract, round_, attempt]}
        if "hold different results" in reason and len(said) < 2:
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
            book.members.pop(round_, None)  # who was in has its contribution back
        above = self.books[book.upper] if book.upper else book
        if base == book.initial:
            book.merges = book.weight = 0
        elif above.base != above.initial and (book.down or (book.upper and digest == book.handed)):
            book.merges, book.weight = book.every, 0  # it has nothing to go up, and takes what is newest above


def mean(parts: list[tuple[Values, int]]) -> Values:
    """Σ wᵢxᵢ / Σ wᵢ, element by element in the order given, in float64, rounded once to float32."""
    divisor = gcd(*(weight for _, weight in parts))
    parts = [(values, weight // divisor) for values, weight in parts]
    total = sum(weight for _, weight in parts)
    sums = [0.0] * len(parts[0][0])
    for values, weight in parts:
        for at, value in enumerate(values):
            sums[at] += value * weight
    return tuple(_single(each / total) for each in sums)


def stepped(merged: Values, base: Values, rate: float, momentum: float) -> Values:
    """The outer step with Nesterov's momentum, which lies behind the model in each base; none: the first one."""
    model, kept = [], []
    for z, g, before in zip(merged, base, base[len(merged) :], strict=False):
        gain = z - g
        kept.append(_single(before * momentum + gain))
        model.append(_single((kept[-1] * momentum + gain) * rate + g))
    return (*model, *kept) if base else (*merged, *(0.0 for _ in merged))


def _single(value: float) -> float:
    """As float32 holds it."""
    single: float = struct.unpack("f", struct.pack("f", value))[0]
    return single
