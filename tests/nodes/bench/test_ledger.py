"""`swarm bench ledger` writes to real network nodes, beside etcd where it is installed, and adds up what it saw."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.nodes.bench import etcd, ledger
from swarm.nodes.bench.ledger import Measured, Settings

SWARM = Path(sys.executable).with_name("swarm")
KEYS = [
    "sns", "sequential_per_s", "sequential_p50_ms", "batched_per_s", "signed_sequential_per_s", "signed_batched_per_s",
    "etcd_sequential_per_s", "ratio_etcd", "failover_p50_s", "failover_p99_s",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.alone
def test_it_answers_with_exactly_the_promised_keys():
    done = subprocess.run([SWARM, "bench", "ledger", "--json"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer) == ["ok", "version", "seconds", *KEYS]
    assert (answer["ok"], answer["sns"], answer["failover_p50_s"]) == (True, 3, None)
    assert all(answer[key] > 0 for key in KEYS[1:6])
    assert (answer["ratio_etcd"] is not None) == etcd.is_installed() == ("etcd is not installed" not in done.stderr)


def test_two_network_nodes_cannot_lose_their_leader():
    done = subprocess.run([SWARM, "bench", "ledger", "--sns", "2", "--failover", "1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 2 network nodes cannot do without their leader\n")


def test_figures_are_medians_of_turns_and_percentiles_of_kills():
    measured = Measured(
        sequential_per_s=[100.0, 300.0, 200.0],
        sequential_s=[0.002, 0.004, 0.003],
        batched_per_s=[10.0, 30.0, 20.0],
        signed_sequential_per_s=[1.0],
        signed_batched_per_s=[2.0],
        etcd_per_s=[200.0, 200.0, 100.0],
        failover_s=[1.0, 2.0, 3.0],
    )
    found = ledger.as_json(Settings(3, 3), measured)
    assert list(found) == KEYS
    assert (found["sequential_per_s"], found["sequential_p50_ms"], found["batched_per_s"]) == (200.0, 3.0, 20.0)
    assert (found["etcd_sequential_per_s"], found["ratio_etcd"]) == (200.0, 1.5)  # of 0.5, 1.5 and 2.0
    assert (found["failover_p50_s"], found["failover_p99_s"]) == (2.0, 2.98)


def test_without_etcd_nothing_is_compared():
    measured = Measured([100.0], [0.01], [1.0], [1.0], [1.0])
    found = ledger.as_json(Settings(1, 0), measured)
    assert (found["etcd_sequential_per_s"], found["ratio_etcd"]) == (None, None)


def test_opaque_entries_are_300_bytes_and_differ():
    one, other = ledger.opaque(), ledger.opaque()
    assert len(one) == len(other) == 300
    assert one != other
