"""What must hold after a run of chaos, worked out from what the programs recorded and what the ledger says.

Nothing of the rounds' own code is used: results are computed again from what was offered, by plain arithmetic.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np

from tests.chaos.census import Growth
from tests.chaos.faults import KINDS
from tests.chaos.history import Commit, History

Array = np.ndarray[Any, Any]

FAULTS_A_MINUTE, COMMITS_A_MINUTE = 6, 5
WITHOUT_COMMIT_S = 60.0
ALL_KINDS_FROM_MINUTES = 4
SOAK_MINUTES = 60
"""From then on a run says enough of growth to be judged by it."""
RSS_MIB_PER_HOUR, DESCRIPTORS_PER_HOUR = 1.0, 1.0


@dataclass(frozen=True)
class Merge:
    """One merge as a program recorded it."""

    change: Array
    """What its own work had added to the model that it loaded last."""
    began_s: float
    got: dict[str, Any] | None
    """What came of it; None: the program was ended before."""


def read_records(directory: Path) -> dict[str, list[Merge]]:
    """By slot and fence, in their order; the programs that a learning node's restart brought follow each other."""
    found: defaultdict[str, list[Merge]] = defaultdict(list)
    for path in directory.glob("*.jsonl"):
        place = path.stem.rpartition("-")[0]
        found[place] += _merges([json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")])
    return {place: sorted(merges, key=lambda merge: merge.began_s) for place, merges in found.items()}


def _merges(lines: list[dict[str, Any]]) -> list[Merge]:
    merges = []
    loaded: Array | float = 0.0
    for line, following in pairwise([*lines, {"how": "offered"}]):
        if line["how"] == "offered":
            got = following if following["how"] != "offered" else None
            merges.append(Merge(np.array(line["credit"]) - loaded, line["at_s"], got))
        elif line["how"] != "kept":
            loaded = np.array(line["credit"])
    return merges


# ---- weights


def digest_mismatches(records: dict[str, list[Merge]], commits: Sequence[Commit]) -> list[str]:
    """Programs that hold other weights after a round than the others, or another digest than the ledger."""
    ledger = {commit.round: commit.digest for commit in commits}
    hashes: dict[str, str] = {}
    wrong = []
    for place, merges in sorted(records.items()):
        for got in (merge.got for merge in merges):
            if got is None or got["how"] == "kept":
                continue
            round_, digest = got["round"], got["digest"]
            if ledger.get(round_) != digest:
                wrong.append(f"{place} got {digest} in round {round_}, the ledger says {ledger.get(round_)}")
            if hashes.setdefault(digest, got["hash"]) != got["hash"]:
                wrong.append(f"{place} holds other weights than the others under {digest}")
    return wrong


def lost_updates(history: History, records: dict[str, list[Merge]]) -> list[str]:
    """Rounds whose result lacks the work of a member, and programs told of a merge that they were no member of."""
    members = {commit.round: {one.uid for one in commit.members} for commit in history.commits}
    wrong = [
        f"{history.slots[uid]} was told that its work is in round {round_}, the ledger says nothing of that"
        for uid, round_ in _changes(history, records)
        if uid not in members.get(round_, ())
    ]
    for commit, expected, result in _computed(history, records):
        if not np.allclose(expected, result, rtol=1e-9):
            wrong.append(f"the result of round {commit.round} is not its base and the mean of its members' changes")
    return wrong


def rounds_computed(history: History, records: dict[str, list[Merge]]) -> int:
    """Of how many rounds the result could be computed again: all members lived to record what they had offered."""
    return len(list(_computed(history, records)))


def _computed(history: History, records: dict[str, list[Merge]]) -> Iterator[tuple[Commit, Array, Array]]:
    """(round, what its result has to be, what it was); a late member's change counts like any other, with its weight"""
    changes, results = _changes(history, records), _results(records)
    for base, commit in pairwise(history.commits):
        brought = [(one.weight, changes.get((one.uid, commit.round))) for one in commit.members]
        members = [(weight, change) for weight, change in brought if change is not None]
        whole = sum(weight for weight, _ in members)
        if whole and len(members) == len(commit.members) and {base.round, commit.round} <= results.keys():
            mean = sum((change * (weight / whole) for weight, change in members), np.zeros(1))
            yield commit, results[base.round] + mean, results[commit.round]


def _changes(history: History, records: dict[str, list[Merge]]) -> dict[tuple[str, int], Array]:
    """What a member brought into a round, where its program lived to record that it was merged."""
    return {
        (uid, merge.got["round"]): merge.change
        for uid, place in history.slots.items()
        for merge in records.get(place, [])
        if merge.got and merge.got["how"] == "merged"
    }


def _results(records: dict[str, list[Merge]]) -> dict[int, Array]:
    got = [merge.got for merges in records.values() for merge in merges if merge.got]
    return {one["round"]: np.array(one["credit"]) for one in got if one["how"] != "kept"}


# ---- the ledger


def ledger_differences(stores: Iterable[Path]) -> list[str]:
    """Entries of which network nodes hold different ones, as far as each has confirmed them."""
    chains = {}
    for path in stores:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            (commit,) = store.execute("SELECT value FROM meta WHERE key = 'commit'").fetchone()
            chains[path.parent.name] = dict(store.execute("SELECT idx, hash FROM entries WHERE idx <= ?", (commit,)))
    wrong = []
    for (one, its), (other, others) in pairwise(chains.items()):
        different = [index for index in its.keys() & others.keys() if its[index] != others[index]]
        if different:
            wrong.append(f"{one} and {other} hold different entries from {min(different)} on")
    return wrong


# ---- time


def recoveries(history: History) -> dict[str, list[float]]:
    """By kind: from the beginning of each fault to the end of the first whole round after it."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for fault in history.faults:
        after = [commit.at_s for commit in history.commits if commit.at_s > fault.begun_s]
        if len(after) > 1:
            found[fault.kind].append(after[1] - fault.begun_s)
    return dict(found)


def percentiles(seconds: Sequence[float]) -> dict[str, float | None]:
    if len(seconds) < 2:
        return dict.fromkeys(("p50", "p99"), round(seconds[0], 2) if seconds else None)
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def longest_without_commit(history: History, until_s: float) -> float:
    """Between commits, and from the last one to the end of the faults."""
    moments = [commit.at_s for commit in history.commits]
    return max((later - earlier for earlier, later in pairwise([*moments, max(until_s, moments[-1])])), default=0.0)


# ---- all together


@dataclass
class Findings:
    """What a run came to; ``wrong`` says each thing in a sentence."""

    minutes: float
    seed: int
    commits: int
    aborts: int
    faults: dict[str, int]
    digest_mismatches: list[str]
    lost_updates: list[str]
    tasks_lost: list[str]
    tasks_run_twice: list[str]
    orphans: list[str]
    deaths: list[str]
    recovery_s: dict[str, list[float]]
    longest_without_commit_s: float
    computed: int
    """Rounds whose results were computed again."""
    growth: dict[str, Growth]
    """By role."""

    @property
    def wrong(self) -> list[str]:
        lists = (
            self.digest_mismatches, self.lost_updates, self.tasks_lost, self.tasks_run_twice, self.orphans,
            self.deaths,
        )  # fmt: skip
        sentences = [sentence for each in lists for sentence in each]
        begun, missing = sum(self.faults.values()), [kind for kind in KINDS if not self.faults[kind]]
        if self.computed < self.commits / 2:
            sentences.append(f"only {self.computed} of {self.commits} results could be computed again")
        if begun < FAULTS_A_MINUTE * self.minutes:
            sentences.append(f"{begun} faults in {self.minutes:g} minutes, expected {FAULTS_A_MINUTE} a minute")
        if missing and self.minutes >= ALL_KINDS_FROM_MINUTES:
            sentences.append(f"no fault of kind {', '.join(missing)}")
        if self.commits < COMMITS_A_MINUTE * self.minutes:
            sentences.append(f"{self.commits} rounds in {self.minutes:g} minutes, expected {COMMITS_A_MINUTE} a minute")
        if self.longest_without_commit_s > WITHOUT_COMMIT_S:
            longest = f"{self.longest_without_commit_s:.0f} s"
            sentences.append(f"{longest} without a commit, at most {WITHOUT_COMMIT_S:g} s are allowed")
        return sentences + self._grown()

    def _grown(self) -> list[str]:
        """What an hour and more would have kept flat."""
        if self.minutes < SOAK_MINUTES:
            return []
        limits = (("rss_mib_per_hour", RSS_MIB_PER_HOUR), ("descriptors_per_hour", DESCRIPTORS_PER_HOUR))
        return [
            f"{what} of {role}: {value:g}, at most {limit:g} is allowed"
            for role, growth in self.growth.items()
            for what, limit in limits
            if (value := getattr(growth, what)) is not None and value > limit
        ]

    def as_json(self) -> dict[str, Any]:
        every = [seconds for kind in self.recovery_s.values() for seconds in kind]
        return {
            "minutes": self.minutes,
            "seed": self.seed,
            "rounds_committed": self.commits,
            "rounds_aborted": self.aborts,
            "faults": self.faults,
            "digest_mismatches": len(self.digest_mismatches),
            "lost_updates": len(self.lost_updates),
            "tasks_lost": len(self.tasks_lost),
            "tasks_run_twice": len(self.tasks_run_twice),
            "orphans": len(self.orphans),
            "recovery_s": percentiles(every),
            "recovery_by_fault_s": {kind: percentiles(self.recovery_s.get(kind, [])) for kind in KINDS},
            "longest_without_commit_s": round(self.longest_without_commit_s, 1),
            "growth": {role: growth.as_json() for role, growth in self.growth.items()},
        }
