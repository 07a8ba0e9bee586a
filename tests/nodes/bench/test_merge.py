"""`swarm bench merge` runs a real swarm beside a ring and notices a merge that is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.core.merge import METHODS, Members
from swarm.core.merge.method import may_be_faulty
from swarm.nodes.bench import central, inputs, merge
from swarm.nodes.bench.merge import Measured, Settings
from swarm.nodes.launch import Launch
from swarm.nodes.local import HERE

KEYS = [
    "peers", "mb", "method", "wire", "commitments", "topology", "hash", "rounds", "verified", "median_s", "p10_s",
    "p90_s", "baseline_ring_tls_s", "ratio", "phases_s", "bytes_per_peer", "bytes_optimal", "ratio_to_link_optimum",
    "rss_peak_mb", "cpu_s", "recovery_s", "allowed_s",
]  # fmt: skip


@pytest.mark.parametrize(("mb", "topology"), [(1, "auto"), (1, "sharded")])
def test_it_answers_with_exactly_the_promised_keys_and_verified_merges(mb: int, topology: str):
    command = ["bench", "merge", "--peers", "2", "--mb", str(mb), "--rounds", "2", "--topology", topology, "--json"]
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == ["ok", "version", "seconds", *KEYS]
    assert (answer["ok"], answer["verified"], answer["rounds"], answer["hash"]) == (True, True, 2, "blake3")
    assert answer["topology"] == ("broadcast" if topology == "auto" else "sharded")
    assert list(answer["phases_s"]) == ["copy_in", "hash", "offer", "scatter", "merge", "gather", "commit", "load"]
    assert answer["bytes_optimal"] == 10**6
    assert 10**6 < answer["bytes_per_peer"] < 2.2 * 10**6  # a late peer fetches the whole model


SPOKEN = 10_000
"""Bytes of a round at most that a peer says to the ledger: they count as well, more of them where rounds are slow."""


@pytest.mark.parametrize(
    ("wire", "how", "times"),
    [
        ("int8", ["--peers", "2", "--topology", "sharded"], 1.02),
        pytest.param("bf16", ["--peers", "4", "--mb", "8"], 1.4, marks=pytest.mark.slow),
        pytest.param("int8", ["--peers", "3", "--method", "coordmedian"], 4.6, marks=pytest.mark.slow),
        pytest.param("int8", ["--peers", "4", "--mb", "8", "--kill", "scatter"], 3.0, marks=pytest.mark.slow),
        pytest.param("bf16", ["--peers", "3", "--mb", "5", "--commitments", "full"], 1.4, marks=pytest.mark.slow),
    ],
)
def test_weights_that_travel_in_fewer_bits_are_what_other_code_finds_and_no_more_bytes(wire, how, times):
    """``times`` the optimum. Of three and more, one whose link seems faster merges up to twice as much as the others; a
    broadcast of three moves half as much again, and who is late there, when the two others have committed, takes the
    model as it is from one of them (fp32 would be 6); a killed node's work is done twice."""
    command = ["bench", "merge", "--mb", "1", "--rounds", "2", *how, "--wire", wire, "--json"]
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["wire"], answer["verified"]) == (wire, True)
    assert (
        answer["bytes_optimal"]
        == 2 * (answer["peers"] - 1) * answer["mb"] * 10**6 // answer["peers"] // ({"bf16": 2, "int8": 4}[wire])
    )
    assert answer["bytes_per_peer"] <= times * answer["bytes_optimal"] + SPOKEN


SLOW = [name for name in METHODS if name not in ("mean", "geomedian")]


@pytest.mark.parametrize(
    ("method", "peers"),
    [("geomedian", 2), *(pytest.param(name, 4, marks=pytest.mark.slow) for name in ("geomedian", *SLOW))],
)
def test_every_method_merges_what_other_code_finds_in_one_place(method: str, peers: int):
    settings = ["--peers", str(peers), "--mb", "1", "--rounds", "2", "--topology", "sharded"]
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), "bench", "merge", *settings, "--method", method, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["method"], answer["verified"], answer["rounds"]) == (method, True, 2)
    assert answer["bytes_per_peer"] < 1.1 * answer["bytes_optimal"], "what is said about distances is little"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("equal", "away"), [(0, 1), (0, -1e3), (0, 1e7), (3, 7)])
def test_the_bench_finds_in_its_own_way_what_the_product_merges(method: str, equal: int, away: float):
    """``equal`` members have the same weights, and one is ``away`` times as far out as it would be."""
    for peers in (2, 3, 5, 10) if (equal, away) == (0, 1) else (5,):
        models = [inputs.arrays(1, peer if peer >= equal else 0, 0) for peer in range(peers)]
        for array in models[-1].values():
            array *= np.float32(away)
        flat = [np.concatenate(list(model.values())).astype(np.float64) for model in models]
        between = np.array([[((one - other) ** 2).sum() for other in flat] for one in flat])
        kernel = METHODS[method].kernel(Members((1,) * peers, may_be_faulty(peers), between))
        for name, expected in zip(models[0], central.merged(method, models), strict=True):
            out = np.empty_like(expected)
            kernel("float32", [model[name] for model in models], out)
            assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "phase", ["scatter", pytest.param("gather", marks=pytest.mark.slow), pytest.param("ready", marks=pytest.mark.slow)]
)
def test_the_others_end_the_round_in_which_a_learning_node_is_killed_with_a_merge_that_is_verified(phase: str):
    model = ["--peers", "4", "--mb", "8", "--commitments", "full"]
    command = ["bench", "merge", *model, "--rounds", "3", "--kill", phase, "--json"]
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == ["ok", "version", "seconds", *KEYS]
    assert (answer["ok"], answer["verified"], answer["rounds"], answer["commitments"]) == (True, True, 3, "full")
    assert answer["median_s"] + answer["recovery_s"] <= answer["allowed_s"], "the round with the death took too long"
    assert "round 2 of 3" in done.stderr
    assert "one was killed" in done.stderr


def test_the_time_of_the_killed_round_is_told_beyond_that_of_the_others():
    measured = Measured(swarm_s=[1.0, 3.0], ring_s=[1.0, 1.0], killed_s=4.5)
    settings = Settings(4, 100, "mean", "auto", 3, 1, kill="scatter")
    found = merge.as_json(settings, measured)
    assert (found["recovery_s"], found["allowed_s"]) == (2.5, 5.0)
    assert (settings.killed_round, settings.min_peers) == (1, 3)
    assert (Settings(4, 100, "mean", "auto", 3, 1).killed_round, Settings(4, 100, "mean", "auto", 3, 1).min_peers) == (
        None,
        4,
    )


def test_the_arrays_have_the_size_that_is_named_and_differ():
    first, second, later = (inputs.arrays(1, peer, round_) for peer, round_ in ((0, 0), (1, 0), (0, 1)))
    assert sum(array.nbytes for array in first.values()) == 10**6
    assert all(np.any(first[name] != second[name]) for name in first)
    assert all(np.any(first[name] != later[name]) for name in first)


def test_a_model_that_is_made_in_blocks_or_over_an_earlier_one_is_the_same(monkeypatch: pytest.MonkeyPatch):
    model = inputs.arrays(1, 3, 7)
    monkeypatch.setattr(inputs, "BLOCK", 1001)  # odd: a draw's second half is the next block's first
    blocks = list(inputs.blocks(1, 3, 7))
    assert max(len(block) for block in blocks) == 1001
    assert inputs.digest(blocks) == inputs.digest(model.values())
    assert inputs.digest(inputs.arrays(1, 3, 7, out=inputs.arrays(1, 0, 0)).values()) == inputs.digest(model.values())


@pytest.mark.parametrize("method", central.BY_ELEMENT)
def test_what_is_expected_block_by_block_is_the_merge_of_the_whole_models(method: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "BLOCK", 5000)
    models = [inputs.arrays(1, peer, 2) for peer in (4, 0, 2)]
    whole = inputs.digest(central.merged(method, models))
    assert inputs.Expected(method, 1, "fp32", sharded=True).digest([4, 0, 2], 2) == whole


def test_one_bit_that_is_wrong_changes_the_digest_that_is_expected():
    expected = inputs.Expected("mean", 1, "fp32", sharded=True).digest([0, 1], 5)
    mean = [
        (a.astype(np.float64) + b) / 2 for a, b in zip(*(inputs.arrays(1, p, 5).values() for p in (0, 1)), strict=True)
    ]
    mean = [array.astype(np.float32) for array in mean]
    assert inputs.digest(mean) == expected
    mean[3].view(np.uint32)[0] ^= 1
    assert inputs.digest(mean) != expected


def test_a_merge_that_is_wrong_fails_the_command():
    assert Measured().failure() is None
    assert Measured(verified=False).failure().code == 1


def test_the_hash_is_the_one_that_the_rounds_were_named_by():
    measured = Measured(swarm_s=[1.0], ring_s=[1.0], hash="sha256")
    assert merge.as_json(Settings(4, 100, "mean", "auto", 3, 1), measured)["hash"] == "sha256"


def test_the_ratio_is_the_median_of_the_rounds_own_ratios():
    measured = Measured(swarm_s=[1.0, 4.0, 2.0], ring_s=[1.0, 1.0, 2.0], phases_s=[], cpu_s=[])
    found = merge.as_json(Settings(4, 100, "mean", "auto", 3, 1), measured)
    assert (found["ratio"], found["median_s"], found["baseline_ring_tls_s"]) == (1.0, 2.0, 1.0)
    assert (found["topology"], found["bytes_optimal"]) == ("sharded", 150_000_000)


def test_a_ring_that_does_not_fit_beside_the_swarm_leaves_its_figures_empty():
    measured = Measured(swarm_s=[1.0, 4.0, 2.0], ring_s=[None, None, None])
    found = merge.as_json(Settings(3, 2000, "mean", "auto", 3, 1), measured)
    assert (found["ratio"], found["baseline_ring_tls_s"], found["median_s"]) == (None, None, 2.0)


def test_for_a_ring_that_does_not_fit_beside_the_swarm_a_line_says_so(tmp_path: Path):
    said: list[str] = []
    bench = merge.Bench(Settings(3, 10**9, "mean", "auto", 3, 1), (HERE, []), tmp_path, Launch(), said.append)
    with bench.baseline() as baseline:
        assert baseline() is None
    assert said[0].startswith("no ring: it takes 3000000300 MB, and beside the swarm ")


def test_the_baseline_is_no_longer_than_what_anybody_reads_in_one_go():
    assert len(merge.RING.read_text().splitlines()) <= 120
