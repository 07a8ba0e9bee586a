"""`swarm bench overlap` trains in a swarm and alone, and notices when the swarm ends with anything but its merge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.errors import BadInput
from swarm.nodes.bench import overlap, overlap_program
from swarm.nodes.bench.inputs import digest
from swarm.nodes.bench.overlap import Measured, Settings
from swarm.nodes.launch import Launch


@pytest.mark.slow
def test_it_answers_with_exactly_the_promised_keys_and_verified_merges() -> None:
    command = ["bench", "overlap", "--peers", "2", "--mb", "1", "--step-ms", "1", "--every", "10", "--json"]
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    keys = ["steps_per_s", "alone_steps_per_s", "ratio", "verified"]
    assert list(answer) == ["ok", "version", "seconds", *keys]
    assert answer["verified"] is True
    assert min(answer["steps_per_s"], answer["alone_steps_per_s"], answer["ratio"]) > 0


@pytest.mark.parametrize("peers", [2, 3, 5])
def test_everybodys_steps_make_what_is_expected_in_the_end(peers: int) -> None:
    trainers = [overlap_program.Trainer(1, peers, peer, 0) for peer in range(peers)]
    for trainer in trainers:
        for _ in range(3):
            trainer.step()
    means = [np.mean([t.weights[name] for t in trainers], axis=0, dtype=np.float64) for name in trainers[0].weights]
    assert overlap_program.expected(1, peers, 3) == digest([mean.astype(np.float32) for mean in means])


def test_other_weights_or_a_round_without_somebody_are_not_verified(tmp_path: Path) -> None:
    assert Measured([1.0], [1.0], verified=False).failure() is not None
    assert Measured([1.0], [1.0], verified=True).failure() is None
    settings = Settings(2, 1, 1.0, 10)
    with Launch() as launch:
        bench = overlap.Bench(settings, tmp_path, launch, lambda line: None)
        rounds = [{"members": 2}] * (2 + settings.steps // 10)
        assert bench._merged(rounds)
        assert not bench._merged([*rounds[1:], {"members": 0}])
        assert not bench._merged(rounds[1:])


def test_weights_that_would_be_rounded_are_refused(tmp_path: Path) -> None:
    with Launch() as launch, pytest.raises(BadInput, match="steps of 64 peers are too many"):
        overlap.Bench(Settings(64, 1, 1.0, 1000), tmp_path, launch, lambda line: None)
