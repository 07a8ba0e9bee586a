"""Many peers at one network node: every one of them in every round."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "rounds.py"


@pytest.mark.slow
def test_sixteen_peers_merge_fifty_rounds_without_an_error() -> None:
    result = rounds()
    assert (result["ok"], result["peers"], result["rounds"]) == (True, 16, 50)
    assert 0 < result["round_s"]["median"] <= result["round_s"]["max"]
    assert result["bytes_per_peer"] > 15 * 4000, "each sends its weights to all others"


@pytest.mark.slow
def test_thirty_two_peers_have_the_same_bits_after_every_round_and_say_so_in_every_log() -> None:
    result = rounds("--peers", "32", "--rounds", "3")
    assert (result["ok"], result["peers"], result["rounds"]) == (True, 32, 3)


def rounds(*flags: str) -> dict[str, Any]:
    """What the bench says, which checks rounds, digests and logs of every peer."""
    ended = subprocess.run([sys.executable, str(BENCH), "--json", *flags], capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said
