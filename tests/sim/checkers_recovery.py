"""The checker of forced recoveries: where ledgers part, what was given up, and that nothing else was.

A world with one has two courses: that of the ledger that goes on, and that of the ledger that was given up, up to where
whoever followed it heard of it. Both begin alike, and the promises hold in each by itself: each is judged alone, by the
facts of those who followed it then. Its own account; nothing of the product's is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.sim.history import EVENTS, Fact, History
from tests.sim.verdict import Violation

Judge = Callable[[History, bool], list[Violation]]
RECOVERY = "ForcedRecovery"
ALWAYS = frozenset({"start", "crash", "program_died", "holds", "lied"})
"""What is so whatever the ledger says."""


class Parted:
    """Two ledgers: ``kept`` goes on, ``lost`` (if there is one) was given up; each with all its entries."""

    def __init__(self, history: History) -> None:
        self._entries = history.entries
        self.found: list[Violation] = []
        self._applied: dict[bytes, float] = {}
        """When each entry was applied first."""
        for fact in history.facts:
            if fact[0] == "applied":
                self._applied.setdefault(fact[4], fact[1])
        self.kept = self._chain(self._applied)
        gone = [hash_ for hash_ in self._applied if hash_ not in self.kept]
        self.lost = self._chain(gone)
        recoveries = (hash_ for hash_ in self.kept if self._entries[hash_].kind == RECOVERY)
        self.recovery = max(recoveries, key=lambda each: self._entries[each].index, default=b"")
        if gone:
            self._check(gone)

    def _chain(self, tips: dict[bytes, float] | list[bytes]) -> dict[bytes, int]:
        """The ledger with the newest of these entries: every entry of it, and where it stands."""
        at = max(tips, key=lambda each: (self._entries[each].term, self._entries[each].index), default=b"")
        chain = {}
        while any(at):
            chain[at] = self._entries[at].index
            at = self._entries[at].prev_hash
        return chain

    def _check(self, gone: list[bytes]) -> None:
        """They part where a recovery allows it, and nowhere else."""
        index = min(self._entries[hash_].index for hash_ in gone)
        if any(hash_ not in self.lost for hash_ in gone):
            self.found.append(Violation("P1", "there are three ledgers"))
        recovery = self._entries.get(self.recovery)
        if recovery is None or any(self._entries[hash_].term >= recovery.term for hash_ in gone):
            self.found.append(Violation("P1", f"entry {index} is two, and nobody has recovered anything"))
            return
        began_s = self._applied[self.recovery]
        early = [at for hash_, at in self.kept.items() if index <= at < recovery.index and self._was(hash_, began_s)]
        if early:
            self.found.append(Violation("P1", f"entry {min(early)} was decided in two ways before the recovery"))

    def _was(self, hash_: bytes, before_s: float) -> bool:
        return self._applied.get(hash_, before_s) < before_s


def judged(history: History, judge: Judge, *, ended: bool) -> list[Violation]:
    parted = Parted(history)
    found = [*parted.found, *judge(_course(history, parted, parted.kept, going_on=True), ended)]
    if parted.lost:
        found += judge(_course(history, parted, parted.lost, going_on=False), False)
    return [*found, *_unlisted(history, parted)]


def _unlisted(history: History, parted: Parted) -> list[Violation]:
    """What a node had applied of what was given up it lists when it comes back, as far as it has it in its log."""
    found: list[Violation] = []
    applied: dict[str, dict[bytes, int]] = {}
    for fact in history.facts:
        match fact:
            case ("applied", _, name, index, hash_, _) if hash_ not in parted.kept:
                applied.setdefault(name, {})[hash_] = index
            case ("rejoined", _, name, _):
                applied.pop(name, None)
            case ("came_back", at_s, name, _, first, listed):
                lacking = {index for hash_, index in applied.get(name, {}).items() if hash_ not in listed}
                came = f"{name} came back at {at_s:.3f} s and lists entry"
                if unsaid := [index for index in lacking if index >= first]:
                    found.append(Violation("P3", f"{came} {min(unsaid)} nowhere"))
                if kept := [parted.kept[hash_] for hash_ in listed if hash_ in parted.kept]:
                    found.append(Violation("P3", f"{came} {kept[0]}, which is not lost"))
    return found


def _course(history: History, parted: Parted, chain: dict[bytes, int], *, going_on: bool) -> History:
    """What happened as far as it was on one of the ledgers. Only of the one that goes on it is asked what was
    acknowledged and read, and of that not while nodes came back that did not know of it."""
    facts = list(Course(history, parted, chain, going_on=going_on))
    return History(facts, history.entries, history.models, history.heard)


class Course:
    def __init__(self, history: History, parted: Parted, chain: dict[bytes, int], *, going_on: bool) -> None:
        self._history, self._parted, self._chain, self._going_on = history, parted, chain, going_on
        self._heads: dict[str, bytes] = {}
        """Which entry each node has applied last."""
        self._inside = True
        self._works: dict[tuple[str, str, int], bool] = {}
        self._proposals = {(history.entries[hash_].proposal, at) for hash_, at in chain.items()}
        self._asked: set[tuple[str, int]] = set()
        self._from_s, self._to_s = self._unsure()

    def _unsure(self) -> tuple[float, float]:
        facts = self._history.facts
        began_s = next((fact[1] for fact in facts if fact[0] == "outcome" and fact[4] == self._parted.recovery), 0.0)
        back_s = [fact[1] for fact in facts if fact[0] in ("came_back", "rejoined")]
        return began_s, max([began_s, *back_s])

    def __iter__(self) -> Iterator[Fact]:
        for fact in self._history.facts:
            match fact:
                case ("stranded", at_s, _, name):
                    yield from self._forgets(at_s, name)
                case ("start", at_s, name, _) if not self._on(name):
                    yield from self._forgets(at_s, name)
            if self._has(fact):
                yield fact

    def _forgets(self, at_s: float, name: str) -> Iterator[Fact]:
        """What it reported, or forgot since it was told that this counts, was given up: it may do the same again."""
        return (("worker_ended", at_s, *work, True) for work in list(self._works) if work[0] == name)

    def _on(self, name: str) -> bool:
        return self._heads.get(name, self._parted.recovery) in self._chain or name not in self._heads

    def _has(self, fact: Fact) -> bool:
        match fact:
            case ("applied" | "read" as kind, _, name, *about):
                self._heads[name] = about[1] if kind == "applied" else about[0]
                return kind == "applied" and self._on(name)
            case ("outcome", _, _, _, hash_, _):
                self._inside = hash_ in self._chain
                return self._inside
            case ("start", _, name, _):
                self._heads.pop(name, None)
                return True
            case ("reconfigured", _, _, hash_):
                return hash_ in self._chain
            case ("acknowledged", _, _, _, proposal, index, _):
                return self._going_on and (index == 0 or (proposal, index) in self._proposals)
            case ("read_asked" | "was_read", *_):
                return self._going_on and self._reads(fact)
            case ("worker_started" | "worker_ended" | "worker_cut_short", *_):
                return self._work(fact)
            case (kind, _, name, *_):
                return self._inside if kind in EVENTS else kind in ALWAYS or self._on(name)
        return True

    def _reads(self, fact: Fact) -> bool:
        kind, at_s, name, ticket, *_ = fact
        if kind == "read_asked" and not self._from_s <= at_s <= self._to_s:
            self._asked.add((name, ticket))
        if kind == "was_read" and self._from_s <= at_s <= self._to_s:
            self._asked.discard((name, ticket))
        return (name, ticket) in self._asked

    def _work(self, fact: Fact) -> bool:
        """A worker belongs to the ledger by which it was started."""
        kind, _, name, slot, fence, *_ = fact
        if kind == "worker_started":
            self._works[name, slot, fence] = self._on(name)
        mine = self._works.get((name, slot, fence), False)
        return mine and (kind != "worker_cut_short" or self._on(name))
