"""Flame's tutorial of participants who bring their own data, replayed as people would: by its script, row by row."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
ROWS = {f"A-{number:02}" for number in (*range(1, 15), 16, 17, 18, 21, 42)}


def test_the_tutorial_of_flame_is_replayed(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", ROOT / "examples" / "from_flame" / "run.sh", tmp_path / "a b"],
        capture_output=True, text=True, timeout=400, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed", done.stdout.splitlines()[-1])
    assert set(re.findall(r"^ok (A-\d\d) ", done.stdout, re.MULTILINE)) >= ROWS
