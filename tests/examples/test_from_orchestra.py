"""A sweep as on orchestra's cluster, replayed as people would: by its script, row by row."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
ROWS = {f"C-{number:02}" for number in (*range(1, 6), *range(7, 11), *range(13, 23), 27, 29, 35)}


def test_a_sweep_of_orchestra_is_replayed(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", ROOT / "examples" / "from_orchestra" / "run.sh", tmp_path / "a b"],
        capture_output=True, text=True, timeout=400, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed", done.stdout.splitlines()[-1])
    assert set(re.findall(r"^ok (C-\d\d) ", done.stdout, re.MULTILINE)) >= ROWS
    assert "\nok A-30 " in done.stdout, "Flame's same graph once for each group: a sweep of swarms"
