"""Jobs while every node is killed: `python -m benchmarks.sweep --restart`, as its page shows it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_no_job_of_two_hundred_is_lost_or_runs_twice_while_every_node_is_killed_and_started_again():
    """Each job creates a file that must not be there yet; the command fails unless there are exactly as many."""
    command = [sys.executable, "-m", "benchmarks.sweep", "--jobs", "200", "--restart", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert (answer["ok"], answer["jobs"], answer["restart"]) == (True, 200, True)
