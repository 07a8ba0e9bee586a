"""Many peers at one network node: every one of them in every round."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "rounds.py"


@pytest.mark.slow
def test_sixteen_peers_merge_fifty_rounds_without_an_error() -> None:
    ended = subprocess.run([sys.executable, str(BENCH), "--json"], capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["ok"], result["peers"], result["rounds"]) == (True, 16, 50)
