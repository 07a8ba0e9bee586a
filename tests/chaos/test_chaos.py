"""`python -m tests.chaos` as people call it: a short run on real processes, and what it says where it cannot run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.errors import BadInput
from swarm.nodes.bench.hosts import check_available

ROOT = Path(__file__).resolve().parents[2]
KEYS = [
    "minutes", "seed", "rounds_committed", "rounds_aborted", "faults", "digest_mismatches", "lost_updates",
    "tasks_lost", "tasks_run_twice", "orphans", "recovery_s", "recovery_by_fault_s", "longest_without_commit_s",
    "growth",
]  # fmt: skip


def chaos(*arguments, **more):
    command = [sys.executable, "-m", "tests.chaos", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT, **more)


@pytest.mark.root
@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.alone
def test_a_minute_of_chaos_breaks_no_promise(short_tmp):
    try:
        check_available()
    except BadInput as error:
        pytest.skip(str(error))
    ended = chaos("--minutes", "1", "--json", env={**os.environ, "TMPDIR": str(short_tmp)})
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert list(said) == ["ok", "version", "seconds", *KEYS]
    assert f"seed {said['seed']}\n" in ended.stderr
    for name in ("digest_mismatches", "lost_updates", "tasks_lost", "tasks_run_twice", "orphans"):
        assert said[name] == 0, name
    assert sum(said["faults"].values()) >= 6
    assert said["rounds_committed"] >= 5
    assert not list(short_tmp.iterdir())


def test_where_hosts_cannot_be_made_it_says_why_in_one_sentence(tmp_path):
    ended = chaos("--minutes", "1", "--json", env={**os.environ, "PATH": str(tmp_path)})
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: hosts of their own need ")
    assert ended.stderr.count("\n") == 1
    assert json.loads(ended.stdout)["error"]["code"] == 2
