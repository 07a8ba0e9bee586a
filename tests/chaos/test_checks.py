"""The checks of chaos find what they are for: each is shown one run that is right and one that is not."""

import json
import sqlite3

from swarm.core.events import Contributor
from tests.chaos import checks
from tests.chaos.census import Growth
from tests.chaos.checks import Findings
from tests.chaos.faults import KINDS
from tests.chaos.history import Commit, Fault, History


def contributor(uid, weight=1000):
    return Contributor(uid, weight, "blake3:offered", "10.78.0.4:30305")


def history(tmp_path, *commits):
    """Members a and b, in slots 7.0 and 7.1."""
    made = History(tmp_path / "history.jsonl")
    made.slots = {"a": "7.0-7", "b": "7.1-7"}
    made.commits = [Commit(at_s, round_, f"d{round_}", tuple(map(contributor, uids))) for at_s, round_, uids in commits]
    return made


def record(tmp_path, name, *merges):
    """A program's file; each merge: (offered, round, how, got)."""
    lines = []
    for number, (offered, round_, how, got) in enumerate(merges):
        lines.append({"at_s": number, "how": "offered", "credit": offered})
        if how == "kept":
            lines.append({"at_s": number, "how": "kept"})
        elif how:
            lines.append(
                {"at_s": number, "how": how, "round": round_, "digest": f"d{round_}", "hash": str(got), "credit": got}
            )
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def two_rounds(tmp_path, second=(1.5, 1.5)):
    record(tmp_path, "7.0-7-100", ([1.0, 0.0], 1, "merged", [0.5, 0.5]), ([1.5, 0.5], 2, "merged", list(second)))
    record(tmp_path, "7.1-7-101", ([0.0, 1.0], 1, "merged", [0.5, 0.5]), ([1.5, 2.5], 2, "merged", list(second)))
    return checks.read_records(tmp_path)


def test_equal_weights_that_are_the_base_and_the_mean_of_the_changes_are_right(tmp_path):
    made, records = history(tmp_path, (1, 1, "ab"), (2, 2, "ab")), two_rounds(tmp_path)
    assert checks.digest_mismatches(records, made.commits) == []
    assert checks.lost_updates(made, records) == []
    assert checks.rounds_computed(made, records) == 1


def test_work_that_is_missing_in_the_result_is_found(tmp_path):
    records = two_rounds(tmp_path, second=(1.5, 0.5))
    assert checks.lost_updates(history(tmp_path, (1, 1, "ab"), (2, 2, "ab")), records) == [
        "the result of round 2 is not its base and the mean of its members' changes"
    ]


def test_the_weights_of_the_members_count(tmp_path):
    records = two_rounds(tmp_path, second=(1.5, 1.0))
    made = history(tmp_path, (1, 1, "ab"))
    made.commits.append(Commit(2, 2, "d2", (contributor("a", 1500), contributor("b", 500))))
    assert checks.lost_updates(made, records) == []


def test_a_program_that_was_told_of_a_merge_it_is_no_member_of_is_found(tmp_path):
    made, records = history(tmp_path, (1, 1, "ab"), (2, 2, "b")), two_rounds(tmp_path)
    assert checks.lost_updates(made, records)[0].startswith("7.0-7 was told that its work is in round 2")


def test_programs_with_different_weights_under_one_digest_are_found(tmp_path):
    record(tmp_path, "7.0-7-100", ([1.0], 1, "merged", [0.5]))
    record(tmp_path, "7.1-7-101", ([0.0], 1, "adopted", [0.6]))
    wrong = checks.digest_mismatches(checks.read_records(tmp_path), history(tmp_path, (1, 1, "a")).commits)
    assert wrong == ["7.1-7 holds other weights than the others under d1"]


def test_a_digest_that_the_ledger_did_not_commit_is_found(tmp_path):
    record(tmp_path, "7.0-7-100", ([1.0], 3, "adopted", [0.5]))
    (wrong,) = checks.digest_mismatches(checks.read_records(tmp_path), history(tmp_path, (1, 1, "a")).commits)
    assert wrong == "7.0-7 got d3 in round 3, the ledger says None"


def test_the_change_of_a_member_that_was_late_counts_on_the_base_of_the_others(tmp_path):
    record(tmp_path, "7.0-7-100", ([1.0, 0.0], 1, "merged", [1.0, 0.0]), ([2.0, 0.0], 2, "merged", [1.5, 0.5]))
    record(tmp_path, "7.1-7-101", ([0.0, 1.0], 2, "merged", [1.5, 0.5]))
    made = history(tmp_path, (1, 1, "a"), (2, 2, "ab"))
    assert checks.lost_updates(made, checks.read_records(tmp_path)) == []
    assert checks.rounds_computed(made, checks.read_records(tmp_path)) == 1


def test_records_of_a_killed_program_and_of_its_successor_follow_each_other(tmp_path):
    record(tmp_path, "7.0-7-9", ([1.0], 1, "merged", [0.5]), ([2.0], 0, "", None))
    record(tmp_path, "7.0-7-100", ([3.0], 0, "kept", None), ([4.0], 2, "adopted", [1.0]), ([2.0], 3, "merged", [2.0]))
    (merges,) = checks.read_records(tmp_path).values()
    assert sorted((merge.change.tolist(), merge.got and merge.got["how"]) for merge in merges) == [
        ([1.0], "merged"), ([1.0], "merged"), ([1.5], None), ([3.0], "kept"), ([4.0], "adopted"),
    ]  # fmt: skip


def store(path, hashes, commit):
    path.parent.mkdir()
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE entries (idx INTEGER, hash BLOB)")
        made.execute("CREATE TABLE meta (key TEXT, value)")
        made.execute("INSERT INTO meta VALUES ('commit', ?)", (commit,))
        made.executemany("INSERT INTO entries VALUES (?, ?)", enumerate(hashes, start=1))
    return path


def test_ledgers_that_differ_in_what_is_committed_are_found_and_unconfirmed_tails_are_not(tmp_path):
    one = store(tmp_path / "sn-1/ledger.db", [b"a", b"b", b"c"], 3)
    two = store(tmp_path / "sn-2/ledger.db", [b"a", b"b", b"x"], 2)
    three = store(tmp_path / "sn-3/ledger.db", [b"a", b"y", b"c"], 3)
    assert checks.ledger_differences([one, two]) == []
    assert checks.ledger_differences([one, two, three]) == ["sn-2 and sn-3 hold different entries from 2 on"]


def test_recovery_is_the_first_whole_round_after_a_fault_and_the_longest_gap_is_measured(tmp_path):
    made = history(tmp_path, (1.0, 1, "ab"), (5.0, 2, "ab"), (6.5, 3, "ab"), (20.0, 4, "ab"))
    made.faults = [Fault("kill_sn", "sn-1", 4.0, 5.0), Fault("cut", "sn-2", 19.0, 21.0)]
    assert checks.recoveries(made) == {"kill_sn": [2.5]}
    assert checks.longest_without_commit(made, 30.0) == 13.5
    assert checks.longest_without_commit(made, 40.0) == 20.0
    assert checks.percentiles([1.0, 2.0, 3.0]) == {"p50": 2.0, "p99": 2.98}


def findings(**changes):
    empty = {name: [] for name in ("digest_mismatches", "lost_updates", "tasks_lost", "tasks_run_twice", "orphans")}
    empty["deaths"] = []
    faults = dict.fromkeys(KINDS, 3)
    values = {"minutes": 4, "seed": 1, "commits": 20, "aborts": 0, "faults": faults, **empty, "recovery_s": {}}
    return Findings(**{**values, "longest_without_commit_s": 60.0, "computed": 10, "growth": {}, **changes})


def test_a_run_has_to_be_rough_enough_and_to_get_on():
    assert findings().wrong == []
    assert findings(computed=9).wrong == ["only 9 of 20 results could be computed again"]
    assert findings(orphans=["process 7"]).wrong == ["process 7"]
    assert findings(deaths=["sn-2 (SN) ended with exit code 2"]).wrong == ["sn-2 (SN) ended with exit code 2"]
    assert "23 faults" in findings(faults={**dict.fromkeys(KINDS, 2), "cut": 5}).wrong[0]
    assert findings(faults={**dict.fromkeys(KINDS, 3), "loss": 0}).wrong == ["no fault of kind loss"]
    assert "19 rounds" in findings(commits=19).wrong[0]
    assert "61 s without" in findings(longest_without_commit_s=61.0).wrong[0]


def test_what_grows_in_an_hour_and_more_is_named_and_a_short_run_does_not_judge():
    grown = {"sn": Growth(1.5, 0.0, 120.0, 40, 6.0), "sl": Growth(0.2, 3.0, 110.0, 30, 9.0)}
    hours = {"minutes": 120, "commits": 600, "computed": 600, "faults": dict.fromkeys(KINDS, 90)}
    assert findings(growth=grown, **hours).wrong == [
        "rss_mib_per_hour of sn: 1.5, at most 1 is allowed",
        "descriptors_per_hour of sl: 3, at most 1 is allowed",
    ]
    assert findings(growth=grown).wrong == []
    assert findings(growth={"ml": Growth(None, None, 0.0, 0, 0.0)}, **hours).wrong == []
