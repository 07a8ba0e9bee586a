"""`swarm bench stream` measures both stacks and notices bytes that arrived wrong."""

import json
import subprocess
import sys
from pathlib import Path

from swarm.nodes.bench import stream
from swarm.nodes.bench.stream import Comparison, Sample

KEYS = ["mb", "rounds", "ratio", "swarm_mb_s", "ssl_mb_s", "swarm_cpu_s_per_gib", "ssl_cpu_s_per_gib", "cpu_ratio"]


def test_it_answers_with_exactly_the_promised_keys_and_verified_bytes():
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), "bench", "stream", "--mb", "5", "--rounds", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert list(answer) == ["ok", "version", "seconds", *KEYS, "verified"]
    assert (answer["ok"], answer["verified"], answer["mb"], answer["rounds"]) == (True, True, 5, 1)
    assert len(done.stderr.splitlines()) == 2


def test_ratios_are_medians_of_the_rounds_own_ratios():
    ours = [Sample(2.0, 1.0, True), Sample(1.0, 1.0, True), Sample(4.0, 6.0, True)]
    theirs = [Sample(1.0, 2.0, True), Sample(1.0, 1.0, True), Sample(1.0, 2.0, True)]
    found = Comparison(10**9, {"swarm": ours, "ssl": theirs}).as_json()
    assert (found["ratio"], found["cpu_ratio"]) == (0.5, 1.0)
    assert (found["swarm_mb_s"], found["ssl_mb_s"]) == (500.0, 1000.0)


def test_bytes_that_arrived_wrong_fail_the_command():
    wrong = Comparison(10**6, {"swarm": [Sample(1.0, 1.0, False)], "ssl": [Sample(1.0, 1.0, True)]})
    assert not wrong.as_json()["verified"]
    assert wrong.failure().code == 1


def test_the_rounds_of_the_two_stacks_alternate(monkeypatch, tmp_path):
    order = []
    monkeypatch.setattr(stream, "measure", lambda directory, stack, nbytes, seed: Sample(1.0, 1.0, True))
    stream.compare(tmp_path / "certificates", 1, 2, lambda round_, stack, sample: order.append((round_, stack)))
    assert order == [(0, "swarm"), (0, "ssl"), (1, "ssl"), (1, "swarm")]
