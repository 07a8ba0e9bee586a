"""The 20 planted bugs: one line of the product changed, in a process of its own, to see that a checker reports it.

``python -m tests.sim.planted NAME`` looks for one, from seed 0 on, and answers with one JSON object. An assertion or
another exception of the mutant does not count: only what the checkers say of the history, or that a world gets stuck.

``adopted_weights_forgotten_when_all_crash`` stands in `core/kept`, since what outlives a crash of all members is there:
a member that begins anew knows no model (``holds`` is the initial base, as in ``nodes/enrolling``), and the file on its
disk is as good as gone once the ledger takes nobody who is away for a holder of it. So the bug is that those who have
crashed count no more: the models that all of them had adopted are given up, though all of them come back with them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from tests.sim import litter

SEEDS_MAX = 150
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Bug:
    """In ``module`` the text ``right``, which stands there exactly once and within one line, becomes ``wrong``."""

    module: str
    right: str
    wrong: str
    sns: int = 0
    faults: tuple[str, ...] = ()
    """What its worlds are drawn towards (see `scenario.Lean`), so that it does not take too long."""
    leans: str = ""
    """What else of that."""


@dataclass(frozen=True, slots=True)
class Found:
    """``seeds``: how many it took; 0: no seed found it. ``seed`` is the last, ``text`` what its checker said."""

    seeds: int
    seed: int
    text: str


BUGS: dict[str, Bug] = {
    "adopt_before_commit": Bug(
        "member",
        "            return [ready]\n",
        '            return [ready, m.Answer("merged", self.contract.round, event.digest, 2)]\n',
    ),
    "merge_in_arrival_order": Bug("exchanging", "for uid in sorted(self._contributors)", "for uid in self.here"),
    "acknowledge_before_persist": Bug(
        "leadership",
        "voters, stored = self._journal.voters, self._journal.stored",
        "voters, stored = self._journal.voters, self._journal.last_index",
        sns=1,
        faults=("unsynced_write_lost",),
    ),
    "commit_with_one_ready_too_few": Bug("round", "return members // 2 + 1", "return max(1, members // 2)"),
    "base_of_offers_unchecked": Bug(
        "contract", 'if body["base"] != self.base:', "if False:", sns=1, faults=("blackout",)
    ),
    "adopted_weights_forgotten_when_all_crash": Bug(
        "kept",
        'return bool(self.at_hand(commit)) or any(self._members[uid].state != "left" for uid in commit.signers)',
        "return bool(self.at_hand(commit))",
        sns=1,
        faults=("blackout",),
    ),
    "shards_of_different_contributors": Bug(
        "exchanging",
        "        self.blamed[uid] = reason\n",
        "        self.blamed[uid] = reason; self._contributors = [one for one in self._contributors if one != uid]\n",
        sns=1,
        faults=("clog", "asymmetric_cut"),
    ),
    "ready_before_all_bytes_are_held": Bug(
        "exchanging",
        "if self.finished or not self.held.covers(0, self.nbytes):",
        "if self.finished or not self.held.covers(0, self.nbytes // 2):",
    ),
    "ready_counted_for_the_next_attempt": Bug(
        "round",
        "self.attempt = Attempt(snap)\n",
        "self.attempt = Attempt(snap, self.attempt.ready if self.attempt else {})\n",
        sns=1,
        faults=("asymmetric_cut", "clog"),
    ),
    "own_vote_counted_twice": Bug(
        "election",
        "return len(self.granted.intersection(voters)) >= majority(voters)",
        "return len(self.granted.intersection(voters)) + 1 >= majority(voters)",
        sns=3,
        faults=("crash",),
    ),
    "vote_not_persisted": Bug(
        "journal",
        "self.emit(Append(self.number, self.term, self.vote, after, entries))",
        'self.emit(Append(self.number, 0, "", after, entries))',
        sns=5,
        faults=("correlated_crash",),
    ),
    "log_truncated_without_term_check": Bug(
        "following", "same = min(len(entries), journal.last_index - prev)", "same = 0", sns=3, faults=("duplicate",)
    ),
    "commit_of_an_older_term_by_count": Bug(
        "leadership",
        "if decided > self._journal.commit and decided >= self.start:",
        "if decided > self._journal.commit:",
    ),
    "stale_leader_serves_reads": Bug(
        "leadership",
        "while self._reads and self._reads[0].stamp < confirmed:",
        "while self._reads:",
        sns=3,
        faults=("partition",),
    ),
    "two_membership_changes_in_flight": Bug(
        "leadership",
        "return self._journal.voters_index > self._journal.commit",
        "return False",
        sns=5,
    ),
    "snapshot_without_the_last_lease": Bug(  # always the same slot: a snapshot is refused that is not what comes of it
        "run",
        '"slots": [slot.to_state() for slot in self.slots.values()],',
        '"slots": [s.to_state() for id_, s in self.slots.items() if id_ != f"{self.number}.{self.needed - 1}"],',
        sns=1,
        faults=("crash", "correlated_crash"),
    ),
    "fence_ignored": Bug(
        "slot", "if fence != self.fence:", "if fence > self.fence:", sns=1, faults=("loss", "duplicate")
    ),
    "lease_ended_by_the_holders_clock": Bug(
        "operator",
        "held = {(slot.id, slot.fence) for slot in leases}",
        "held = {(slot.id, slot.fence) for slot in leases if self._lost is None}",
        faults=("partition",),
    ),
    "contribution_dropped_without_a_word": Bug("member", 'self._answer("kept", note=note)]', 'self._answer("kept")]'),
    "late_offer_merged_on_its_old_base": Bug(
        "contributing", 'return "rebased" if lineage.late or lineage.moved else "own"', 'return "own"'
    ),
}


MORE: dict[str, Bug] = {
    "two_signatures_convict_nobody": Bug(
        "dispute",
        "return dispute.show(body) != digest",
        "return dispute.show(body) != digest and False",
        leans="full",
    ),
    "momentum_forgotten": Bug("outer", "kept *= how.momentum", "kept *= 0.0", leans="full"),
    "recovery_judged_without_what_is_stored": Bug(
        "recovery", "range(ledger.head_index + 1, now.last_index + 1)", "range(0)", leans="recovery"
    ),
    "removed_and_never_told": Bug(
        "leadership",
        "for uid in dict.fromkeys([*stay, *known, *journal.decided])",
        "for uid in stay",
        leans="retiring",
    ),
    "removed_while_away_and_never_told": Bug(
        "voters",
        "return tuple(followed) != (uid,) and sum(other in said_by for other in others) >= needed",
        "return False",
        sns=2,
        faults=("partition", "pause"),
        leans="retiring",
    ),
}
"""In what only few worlds play: tests plant them, the command does not."""


class Planting(MetaPathFinder, Loader):
    """Loads one module of ``swarm.core`` with its line changed."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug
        self._name = f"swarm.core.{bug.module}"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        found = PathFinder.find_spec(fullname, path)
        assert found is not None
        return spec_from_loader(fullname, self, origin=found.origin)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        place = Path(str(module.__spec__.origin))
        source = place.read_text(encoding="utf-8")
        assert "\n" not in self._bug.right.strip("\n"), "a planted bug is in one line"
        assert source.count(self._bug.right) == 1, f"{self._bug.right!r} does not stand once in {place}"
        module.__file__ = str(place)
        exec(compile(source.replace(self._bug.right, self._bug.wrong), str(place), "exec"), module.__dict__)


def hunt(bug: Bug, seeds: int) -> Found:
    """In a process with a bug: the first world in which a checker reports anything."""
    from tests.sim.scenario import Lean, run

    litter.begin()
    for seed in range(seeds):
        litter.clear(seed)
        report = run(seed, lean=Lean(bug.sns, bug.faults, **({bug.leans: True} if bug.leans else {})))
        if report.violations or report.stuck:
            said = str(report.violations[0]) if report.violations else f"P4: stuck: {', '.join(report.open)}"
            return Found(seed + 1, seed, said)
    return Found(0, seeds - 1, "")


def search(name: str, seeds: int = SEEDS_MAX) -> Found:
    """The same from outside: in a child process, so that nothing of the bug is left here."""
    command = [sys.executable, "-m", "tests.sim.planted", name, str(seeds)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return Found(**json.loads(child.stdout))


def main(name: str, seeds: int) -> None:
    bug = {**BUGS, **MORE}[name]
    assert not any(module.startswith("swarm.core") for module in sys.modules), "the bug comes before the product"
    sys.meta_path.insert(0, Planting(bug))
    print(json.dumps(asdict(hunt(bug, seeds))))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else SEEDS_MAX)
