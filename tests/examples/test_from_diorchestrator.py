"""The tutorial of DI-orchestrator, replayed as people would: by its script, row by row, with a CartPole that learns."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
ROWS = {f"D-{number:02}" for number in (*range(1, 19), 22, 23, 25)}


def test_the_elastic_roles_of_di_orchestrator_are_replayed(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", ROOT / "examples" / "from_diorchestrator" / "run.sh", tmp_path / "a b"],
        capture_output=True, text=True, timeout=400, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed", done.stdout.splitlines()[-1])
    assert set(re.findall(r"^ok (D-\d\d) ", done.stdout, re.MULTILINE)) >= ROWS
